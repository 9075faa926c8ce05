"""Categories as integer codes; 0 is the code of unseen values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, Field

from polymodal.arrays import BrokenCell, Cell, Column
from polymodal.modalities.base import CellReadError, Modality, Settings, quote, read_cells
from polymodal.modalities.label_lookup import LabelLookup

WHOLE = re.compile(r"(-?\d+)\.0+")
PLAIN = (str, int, float, Decimal, date, np.number, np.bool_)


class CategorySettings(Settings):
    """Options of categories.

    Attributes:
        max_values: Maximum number of values, the most frequent ones; all others count as unseen.
    """

    max_values: int = Field(default=10_000, ge=1)


def category_text(cell: Cell) -> str:
    """Return the normalised text of a label.

    The same label reads the same whether a file held it as text or as a number: ``"1"``, ``1`` and
    ``1.0`` are one value, and so are ``True``, ``"true"`` and ``"TRUE"``. Blanks around text do
    not count; ``"007"`` stays as it is.

    Args:
        cell: Text, number, bool or date.

    Returns:
        The label's text.

    Raises:
        CellReadError: If the cell is none of these.
    """
    if isinstance(cell, bytes):
        cell = _decode(cell)
    if not isinstance(cell, PLAIN):
        raise CellReadError(f"{quote(cell)} is not a label; expected text or a number")
    text = str(cell).strip()
    if text.lower() in ("true", "false"):
        return text.lower()
    whole = WHOLE.fullmatch(text)
    return whole.group(1) if whole else text


def _decode(cell: bytes) -> str:
    try:
        return cell.decode("utf-8")
    except UnicodeDecodeError:
        raise CellReadError(f"{quote(cell)} is not text in UTF-8") from None


@dataclass(frozen=True, kw_only=True)
class Category(Modality):
    """Labels as integer codes: 1 for the most frequent training value, 2 for the next, 0 for unseen ones.

    Attributes:
        values: Training values by falling frequency, equals in alphabetical order.
    """

    values: list[str]

    name: ClassVar[str] = "category"
    summary: ClassVar[str] = "labels, coded by frequency, with one code for unseen ones"
    paper: ClassVar[str] = "Guo and Berkhahn 2016, Entity Embeddings of Categorical Variables"
    is_stream: ClassVar[bool] = False
    Settings: ClassVar[type[BaseModel]] = CategorySettings

    @property
    def cardinality(self) -> int:
        """Number of codes, the unseen one included."""
        return len(self.values) + 1

    @cached_property
    def known(self) -> frozenset[str]:
        """The values as a set."""
        return frozenset(self.values)

    @cached_property
    def _lookup(self) -> LabelLookup:
        return LabelLookup(self.values)

    @classmethod
    def fit(
        cls,
        cells: Sequence[Cell],
        settings: CategorySettings,
        folder: Path | None,  # noqa: ARG003  (all modalities are called alike)
        *,
        num_threads: int | None = None,  # noqa: ARG003
    ) -> Category:
        """Count the training values.

        Args:
            cells: Training cells.
            settings: Options.
            folder: Not needed.
            num_threads: Not needed.

        Returns:
            The fitted modality.
        """
        texts, _ = read_cells(cells, category_text)
        counts = Counter(text for text in texts if text is not None)
        ordered = sorted(counts, key=lambda text: (-counts[text], text))
        return cls(values=ordered[: settings.max_values])

    def transform(
        self,
        cells: Sequence[Cell],
        folder: Path | None,  # noqa: ARG002
        *,
        num_threads: int | None = None,  # noqa: ARG002
    ) -> tuple[Column, list[BrokenCell]]:
        """Look up codes.

        Args:
            cells: Labels.
            folder: Not needed.
            num_threads: Not needed.

        Returns:
            int64 ``[rows]`` in 0..len(values); and the broken cells.
        """
        texts, broken = read_cells(cells, category_text)
        codes = [0 if text is None else self._lookup.find(text) + 1 for text in texts]
        present = np.array([text is not None for text in texts], bool)
        return Column(np.array(codes, np.int64), present), broken

    def state(self) -> dict[str, Any]:
        """Return the fitted state, in plain JSON types."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Category:
        """Restore the modality from its state.

        Args:
            state: What ``state`` returned.

        Returns:
            The same modality.
        """
        return cls(**state)
