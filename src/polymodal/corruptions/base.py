"""What a corruption is, and what it may know besides the cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.arrays import Cell
from polymodal.modalities import Modality
from polymodal.modalities.media import is_absent_media

NUM_SEVERITIES = 5
NUM_VOICES = 8
"""Cells of other rows that are kept to mix sounds with."""


@dataclass(frozen=True)
class CorruptionContext:
    """What a corruption may know besides the cell.

    Attributes:
        folder: Base folder of relative paths; None: strings are not opened as paths.
        modality: The column's fitted modality: its spread, its levels, how it reads cells. None: what can be known is
            taken from the cell itself.
        others: Cells of the same column, of which some are mixed into others (babble).
    """

    folder: Path | None = None
    modality: Modality | None = None
    others: Sequence[Cell] = ()

    @cached_property
    def voices(self) -> list[Cell]:
        """At most ``NUM_VOICES`` present cells of ``others``, evenly spaced."""
        present = [cell for cell in self.others if not is_absent_media(cell)]
        places = np.unique(np.linspace(0, len(present) - 1, min(NUM_VOICES, len(present))).astype(int))
        return [present[place] for place in places]

    @cached_property
    def decoded(self) -> dict[tuple[int, int], Any]:
        """Memory for what is read of ``voices``, by their number and the rate in Hz."""
        return {}

    def option(self, name: str, default: Any) -> Any:
        """Return a fitted value of the modality.

        Args:
            name: Attribute of the fitted modality.
            default: Where there is no modality, or none with that attribute.

        Returns:
            The value.
        """
        return getattr(self.modality, name, default)


CorruptCell = Callable[[Cell, float, np.random.Generator, CorruptionContext], Cell]
"""From a present cell, the level of the severity, random numbers and the context to the corrupted cell."""


@dataclass(frozen=True, kw_only=True)
class Corruption:
    """A kind of noise of one modality, at five severities.

    Attributes:
        modality: The modality of the columns it is for.
        title: What it is, for people.
        unit: What a level means, with its unit.
        levels: The level of each severity, 1 to 5.
        function: Corrupts a cell that is present and readable.
        moves: Whether things change their place in the cell, so that boxes around them no longer fit.
        needs_others: Whether cells of other rows are needed.
    """

    modality: str
    title: str
    unit: str
    levels: tuple[float, float, float, float, float]
    function: CorruptCell
    moves: bool = False
    needs_others: bool = False
