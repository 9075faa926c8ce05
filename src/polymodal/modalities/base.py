"""The interface of every modality, and functions for plain cells (numbers, labels, dates)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from polymodal.arrays import BrokenCell, Cell, Column

T = TypeVar("T")

MAX_ABS_VALUE = 10.0
"""Standardised values are limited to -10..10, so that one outlier cannot dominate a network."""


class CellReadError(Exception):
    """A cell that is present but cannot be decoded; the message is the reason, as one clause.

    It is never raised outside ``modalities``: ``transform`` converts it to a ``BrokenCell``.
    """


@dataclass(frozen=True)
class ColumnGroup:
    """Columns of a table that are one column of a modality together, such as a latitude and a longitude.

    Attributes:
        name: Name of the column they are.
        columns: Their names; a cell is the tuple of theirs in this order.
        reason: One clause why.
        refusal: One clause why they are not joined although their names say so; empty where they are.
    """

    name: str
    columns: tuple[str, ...]
    reason: str
    refusal: str = ""


@dataclass(frozen=True)
class Cut:
    """How many cells are longer than what a modality reads of them.

    Attributes:
        num_cut: Cells that are longer.
        num_cells: Cells that were looked at.
        effect: What is longer than what, and what is used of it: the rest of a sentence after "12 of 400 cells".
        option: The option of the modality that sets the length; empty where none makes it longer.
    """

    num_cut: int
    num_cells: int
    effect: str
    option: str


class Settings(BaseModel):
    """Options of a modality: keyword-only, all with defaults, no unknown names."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Modality(Protocol):
    """A fitted modality, which transforms cells into arrays. Its fields, plain JSON types, are its whole state.

    A modality is a subclass that overrides what differs from the defaults.

    Attributes:
        name: The modality's name.
        summary: One line: what cells it takes and what it makes of them.
        paper: Where the method comes from.
        is_column: Whether a column of a table can be of it; False where it is several columns together.
        is_stream: Whether it is one encoder's input; columns of other modalities join the stream ``tabular``.
        is_media: Whether decoding is worth caching: files, arrays and text.
        is_file: Whether cells may be paths of files.
        is_json: Whether cells may be JSON text.
        endings: Endings of files, in lower case with their dot, that are taken for this modality.
        track: Modality of a second column that files hold, as videos hold sound; empty where there is none.
        Settings: Its options.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    paper: ClassVar[str]
    is_column: ClassVar[bool] = True
    is_stream: ClassVar[bool] = True
    is_media: ClassVar[bool] = False
    is_file: ClassVar[bool] = False
    is_json: ClassVar[bool] = False
    endings: ClassVar[frozenset[str]] = frozenset()
    track: ClassVar[str] = ""
    Settings: ClassVar[type[BaseModel]]

    @classmethod
    def fit(cls, cells: Any, settings: Any, folder: Path | None, *, num_threads: int | None = None) -> Self:
        """Fit on these cells.

        Args:
            cells: One column's training cells; for ``tabular`` a mapping of column names to cells.
            settings: An instance of the modality's ``Settings``.
            folder: Where relative paths of media cells begin; None refuses strings as paths.
            num_threads: Number of decoding threads media, None for all cores; plain modalities use one.

        Returns:
            The fitted modality. Without any readable cell, defaults.
        """

    def transform(
        self, cells: Any, folder: Path | None, *, num_threads: int | None = None
    ) -> tuple[Column, list[BrokenCell]]:
        """Transform cells into arrays, one row per cell.

        Args:
            cells: As in ``fit``.
            folder: As in ``fit``.
            num_threads: As in ``fit``.

        Returns:
            The arrays, and the cells that could not be decoded, by row; they count as absent.
            ``BrokenCell.column`` is left empty, except by ``tabular``.
        """

    def state(self) -> dict[str, Any]:
        """Return the fitted state, in plain JSON types."""

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Restore the modality from its ``state``.

        Args:
            state: What ``state`` returned, possibly through JSON.

        Returns:
            A modality that transforms every cell to the same bits.
        """

    def with_settings(self, settings: Any) -> Self:  # noqa: ARG002  (few modalities differ)
        """Return the modality for one of several streams that were fitted together.

        Args:
            settings: The stream's own ``Settings``.

        Returns:
            The same state, but for what each stream has for itself.
        """
        return self

    def notice(self, column: str, asked: Mapping[str, Any]) -> str:  # noqa: ARG002
        """Report the effect of settings that depends on the data.

        Args:
            column: The column's name.
            asked: Options that the user gave.

        Returns:
            A sentence for the user; empty where there is nothing to say.
        """
        return ""

    def cut(self, cells: Sequence[Cell], folder: Path | None, *, num_threads: int | None = None) -> Cut | None:  # noqa: ARG002
        """Count the cells that are longer than what is read of them.

        Args:
            cells: Any cells of the column; a bounded number of them is looked at.
            folder: As in ``fit``.
            num_threads: As in ``fit``.

        Returns:
            The counts; None for modalities that read all of a cell.
        """
        return None


def is_absent(cell: Cell) -> bool:
    """Return whether a cell holds nothing: None, NaN, NaT, pandas' NA, or blank text.

    Args:
        cell: Any cell.

    Returns:
        True where there is nothing to decode.
    """
    if cell is None:
        return True
    if isinstance(cell, str):
        return not cell or cell.isspace()
    if isinstance(cell, float | np.floating | datetime):
        return bool(cell != cell)
    if isinstance(cell, np.datetime64):
        return bool(np.isnat(cell))
    return type(cell).__name__ == "NAType"


def quote(cell: Cell, limit: int = 40) -> str:
    """Format a cell's value for a message.

    Args:
        cell: Any cell.
        limit: Maximum number of characters.

    Returns:
        The value in quotes, cut where it is long.
    """
    text = repr(cell[: limit + 1] if isinstance(cell, str | bytes) else cell)
    return text if len(text) <= limit + 2 else f"{text[:limit]}..."


def list_quoted(names: Sequence[str], most: int = 5) -> str:
    """Quote names for a message.

    Args:
        names: Any number of names.
        most: How many are written out.

    Returns:
        The names between commas; ``...`` stands for more of them.
    """
    return ", ".join([*(quote(name) for name in names[:most]), *(["..."] if len(names) > most else [])])


def read_cells(cells: Sequence[Cell], read: Callable[[Cell], T | None]) -> tuple[list[T | None], list[BrokenCell]]:
    """Parse plain cells one by one.

    Args:
        cells: Cells of one column.
        read: Returns a cell's value, or None where it turns out to be blank; raises CellReadError.

    Returns:
        A value for each cell, None where it is absent or broken; and the broken cells.
    """
    values: list[T | None] = []
    broken = []
    for index, cell in enumerate(cells):
        try:
            values.append(None if is_absent(cell) else read(cell))
        except CellReadError as error:
            values.append(None)
            broken.append(BrokenCell(index + 1, "", str(error)))
    return values, broken


def fit_mean_std(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation over the first axis, without overflow; no deviation is zero.

    Args:
        values: float64 ``[rows, ...]``, finite; may have no rows.

    Returns:
        Mean (0 without rows) and standard deviation (1 where there is none), each ``[...]``.
    """
    if not len(values):
        return np.zeros(values.shape[1:]), np.ones(values.shape[1:])
    unit = np.abs(values).max(axis=0)
    unit = np.where(unit > 0, unit, 1.0)
    scaled = values / unit
    mean, deviation = scaled.mean(axis=0), scaled.std(axis=0)
    constant = deviation <= 1e-12
    return mean * unit, np.where(constant, 1.0, np.maximum(deviation * unit, np.finfo(np.float64).tiny))


def standardise(values: NDArray[np.float64], mean: Any, std: Any) -> NDArray[np.float32]:
    """Subtract the mean, divide by the deviation and limit to -10..10.

    Args:
        values: float64 ``[...]``, finite.
        mean: Broadcasts to the values.
        std: Broadcasts to the values, above zero.

    Returns:
        float32 of the same shape.
    """
    with np.errstate(over="ignore"):
        scaled: NDArray[np.float32] = np.clip((values - mean) / std, -MAX_ABS_VALUE, MAX_ABS_VALUE).astype(np.float32)
    return scaled


def quantile_edges(values: NDArray[np.float32], count: int = 33) -> list[float]:
    """Return quantile edges of the training values; few distinct values are all edges.

    Args:
        values: float32 ``[rows]``, standardised.
        count: Maximum number of edges; duplicates are dropped.

    Returns:
        Edges for piecewise-linear embeddings, none without values.
    """
    edges = np.unique(values)
    if len(edges) > count:
        edges = np.unique(np.quantile(values, np.linspace(0, 1, count)).astype(np.float32))
    return [float(edge) for edge in edges]


def single_blanks(text: str) -> str:
    """Put one blank for each run of blanks, none at the ends: forms with optional blanks take long on long runs.

    Args:
        text: Any text.

    Returns:
        The text.
    """
    return " ".join(text.split())
