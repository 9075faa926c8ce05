"""What the final answer becomes where parts of a cell are taken away, with other streams present and absent.

Shape legend: K outputs of a row, Q stream masks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell, Column
from polymodal.explain.answers import DecodedRows, masked_values
from polymodal.explain.outputs import Output
from polymodal.model.inference_network import StreamMask
from polymodal.model.predict import NO_CACHE
from polymodal.model.trained_model import TrainedModel
from polymodal.progress import SilentProgress

Floats = NDArray[np.float64]

MOST_OTHERS = 3
"""Of so many other streams all coalitions are averaged, of more only all of them and none."""


@dataclass(frozen=True)
class Coalitions:
    """Which other streams are present while a cell is changed, and how much each such coalition counts.

    Coalitions of s of the n other streams have the Shapley weight ``s! (n - s)! / (n + 1)!``. What a stream is worth on
    average over them is its Shapley value, and what its parts are worth are values in a game with a priori unions, the
    streams (Owen 1977).

    Attributes:
        masks: Streams that are treated as absent, Q sets.
        weights: float64 ``[Q]``, sum 1.
    """

    masks: tuple[StreamMask, ...]
    weights: Floats

    @classmethod
    def of(cls, stream: str, streams: Sequence[str]) -> Coalitions:
        """Enumerate the coalitions of the other streams.

        Args:
            stream: The stream whose cell is changed.
            streams: All streams.

        Returns:
            All coalitions of at most three other streams; of more streams the largest and the smallest one.
        """
        others = [other for other in streams if other != stream]
        count = len(others)
        sizes = range(count + 1) if count <= MOST_OTHERS else (0, count)
        absent = list(chain.from_iterable(combinations(others, size) for size in sizes))
        weights = np.array([1 / comb(count, len(names)) for names in absent])
        return cls(tuple(frozenset(names) for names in absent), weights / weights.sum())

    def without(self, stream: str) -> tuple[StreamMask, ...]:
        """Return the masks with a stream added to each: it is absent too.

        Args:
            stream: The stream whose cell is changed.

        Returns:
            Q masks.
        """
        return tuple(mask | {stream} for mask in self.masks)


@dataclass(frozen=True)
class ChangedCells:
    """Some decoded rows, and what outputs become where cells of one stream are changed.

    Attributes:
        model: The trained model.
        decoded: The rows.
    """

    model: TrainedModel
    decoded: DecodedRows

    def with_and_without(self, stream: str, outputs: Sequence[Output], places: Sequence[int]) -> tuple[Floats, Floats]:
        """Return what outputs are with a stream and without it.

        Args:
            stream: The stream.
            outputs: What is read, K of them.
            places: For each output the row of ``decoded``.

        Returns:
            float64 ``[K]`` each, averaged over the coalitions of other streams; their difference is the Shapley value.
        """
        coalitions = Coalitions.of(stream, self.model.network.streams)
        masks = [*coalitions.masks, *coalitions.without(stream)]
        values = masked_values(self.model, self.decoded, outputs, places, masks)
        count = len(coalitions.masks)
        return coalitions.weights @ values[:count], coalitions.weights @ values[count:]

    def answers(
        self,
        stream: str,
        places: Sequence[int],
        cells: Sequence[Mapping[str, Cell]],
        outputs: Sequence[Sequence[Output]],
    ) -> list[Floats]:
        """Return what outputs become in rows with a changed cell.

        Args:
            stream: The stream whose cells are changed.
            places: For each changed row the row of ``decoded``, R of them.
            cells: Column to cell, for each.
            outputs: What is read of each, K of them.

        Returns:
            float64 ``[K]`` for each, averaged over the coalitions of other streams.
        """
        coalitions = Coalitions.of(stream, self.model.network.streams)
        changed = self._changed(stream, places, cells)
        read = [output for of_row in outputs for output in of_row]
        rows = [row for row, of_row in enumerate(outputs) for _ in of_row]
        values = coalitions.weights @ masked_values(self.model, changed, read, rows, coalitions.masks)
        return np.split(values, np.cumsum([len(of_row) for of_row in outputs])[:-1])

    def _changed(self, stream: str, places: Sequence[int], cells: Sequence[Mapping[str, Cell]]) -> DecodedRows:
        """Copy rows with other cells; raw cells of files stay, as targets read the size of a picture from them."""
        modality = self.model.preprocessor.modalities[stream]
        copies = self.decoded.take(np.asarray(places, np.int64))
        raw = dict(copies.context.cells)
        names = next(entry.columns for entry in self.model.schema.streams if entry.name == stream)
        changed = {name: [cell.get(name, raw[name][row]) for row, cell in enumerate(cells)] for name in names}
        column, _ = modality.transform(changed[names[0]] if modality.is_column else changed, copies.context.folder)
        context = copies.context if modality.is_file else replace(copies.context, cells={**raw, **changed})
        return DecodedRows({**copies.columns, stream: self._with_outputs(stream, column)}, context)

    def _with_outputs(self, stream: str, column: Column) -> Column:
        """Run the stream's encoder ahead of time where it is frozen, as it was on the rows."""
        return self.model.network.precompute({stream: column}, NO_CACHE, SilentProgress())[stream]
