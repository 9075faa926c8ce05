"""Times × channels of a series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.explain.explanation import PartKind
from polymodal.explain.parts.base import Atoms, Box, CellSource, DividedCell, Floats, atom_of, edges, enlarge, spread

STEP_ATOMS = 32
"""Most stretches of a series."""


@dataclass(frozen=True)
class TimeChannels(DividedCell):
    """A series and a grid over its steps and channels; an atom is taken away by the mean of training.

    Attributes:
        columns: The series' column.
        values: float64 ``[steps, channels]``.
        means: Mean of each channel in training.
        times: Edges of the stretches, in steps.
        is_channels_first: Whether the model expects ``[channels, steps]``.
    """

    columns: tuple[str, ...]
    values: NDArray[np.float64]
    means: NDArray[np.float64]
    times: NDArray[np.int64]
    is_channels_first: bool

    kind: ClassVar[PartKind] = "time_channels"

    @classmethod
    def divide(cls, source: CellSource) -> Self:
        """Read a series.

        Args:
            source: A series.

        Returns:
            The series.
        """
        modality = source.modality
        values = modality.read_raw(source.cell, source.folder)
        times = edges(len(values), STEP_ATOMS)
        return cls((source.column,), values, np.array(modality.mean), times, modality.channels_first)

    @property
    def shape(self) -> tuple[int, ...]:
        """Stretches of time and channels."""
        return len(self.times) - 1, self.values.shape[1]

    def weights(self) -> tuple[float, ...]:
        """Return the length of an atom along each axis: channels are told apart before times."""
        return 1 / self.shape[0], 2.0

    def remove(self, removed: Atoms) -> dict[str, Cell]:
        """Replace atoms by the mean of training.

        Args:
            removed: bool ``[stretches, channels]``.

        Returns:
            Column to float64 ``[steps, channels]``, or the other way round where the model expects it so.
        """
        gone = enlarge(removed, self.times)
        changed = np.where(gone, self.means, self.values)
        return {self.columns[0]: changed.T if self.is_channels_first else changed}

    def pool(self, values: Floats, array: NDArray[Any], modality: Any) -> Floats:  # noqa: ARG002
        """Add up the values of steps by time and channel; those of a channel's gaps count for the channel.

        Args:
            values: float64 ``[steps, features]``, as the encoder reads series.
            array: Not needed.
            modality: The fitted series.

        Returns:
            float64 ``[stretches, channels]``.
        """
        middles = (np.arange(len(values)) + 0.5) * len(self.values) / len(values)
        channels = np.concatenate([np.arange(self.shape[1]), np.flatnonzero(modality.has_gaps)])
        return spread(values, [atom_of(middles, self.times), channels], self.shape)

    def describe(self, box: Box) -> tuple[str, dict[str, Any]]:
        """Describe some steps of one or several channels.

        Args:
            box: Its atoms.

        Returns:
            Steps from the first on, and the channel's number from 0, or the first and last of several.
        """
        steps = [int(self.times[place]) for place in box[0]]
        first, last = box[1][0], box[1][1] - 1
        channel = first if first == last else f"{first}-{last}"
        label = f"steps {steps[0]:,}-{steps[1]:,}, channel{'' if first == last else 's'} {channel}"
        return label, {"steps": steps, "channel": channel}
