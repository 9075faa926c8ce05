"""Measures tables and builds their profiles part by part: decoded pictures and sounds are never held together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell, Column
from polymodal.data.preprocessor import Preprocessor
from polymodal.data.profiles.measures import (
    ColumnCells,
    Measure,
    measure_categories,
    measure_dates,
    measure_numbers,
    measure_places,
    measure_points,
    measure_series,
    measure_texts,
    measure_vectors,
)
from polymodal.data.profiles.media_measures import measure_images, measure_sounds, measure_videos
from polymodal.data.profiles.profile import ColumnProfile, Distribution, Profile, Role
from polymodal.data.tables.table import Table
from polymodal.modalities import Tabular
from polymodal.modalities.base import is_absent

MEASURES: dict[str, Callable[[ColumnCells], list[Measure]]] = {
    "number": measure_numbers,
    "category": measure_categories,
    "datetime": measure_dates,
    "text": measure_texts,
    "image": measure_images,
    "audio": measure_sounds,
    "video": measure_videos,
    "vector": measure_vectors,
    "series": measure_series,
    "points": measure_points,
    "geo": measure_places,
}
"""Modality to what is measured of its cells; of others only whether they are there."""
TARGET_MEASURES = {"category": "category", "number": "number", "transcript": "text", "caption": "text"}
"""Kind of target to the modality whose measures its cells have."""


@dataclass(frozen=True)
class MeasuredColumn:
    """What was measured of the cells of one column in some rows.

    Attributes:
        name: The column.
        modality: What it holds.
        role: "input", "target" or "prediction".
        stream: The stream it belongs to; empty for a target.
        rows: How many rows.
        present: Cells among them that are there and can be read.
        measures: One value a row each.
    """

    name: str
    modality: str
    role: Role
    stream: str
    rows: int
    present: int
    measures: list[Measure]


def measure_table(
    preprocessor: Preprocessor, table: Table, columns: Mapping[str, Column], *, media_only: bool = False
) -> list[MeasuredColumn]:
    """Measure the cells of a table.

    Args:
        preprocessor: The fitted preprocessor; its schema names the columns.
        table: The rows; a missing input column is absent in every row, a missing target is not measured.
        columns: Stream to the same rows' arrays.
        media_only: Whether numbers, categories, dates and targets are left out.

    Returns:
        One entry a column.
    """
    table = preprocessor.schema.with_derived(table)
    absent: Sequence[Cell] = [None] * table.num_rows
    found = []
    for stream in preprocessor.schema.streams:
        modality, arrays = preprocessor.modalities[stream.name], columns[stream.name]
        for name in stream.columns:
            cells = table.columns.get(name, absent)
            if not isinstance(modality, Tabular):
                column = ColumnCells(cells, arrays, modality, table.folder)
                present = int(arrays.row_present.sum())
                found.append(_measure(name, stream.modality, "input", stream.name, column, present))
            elif not media_only:
                column = ColumnCells(cells, None, modality.members[name], table.folder)
                present = int(arrays.present[:, modality.places[name].start].sum())
                found.append(_measure(name, modality.members[name].name, "input", stream.name, column, present))
    return found if media_only else found + _measure_targets(preprocessor, table)


def _measure_targets(preprocessor: Preprocessor, table: Table) -> list[MeasuredColumn]:
    found = []
    for target in preprocessor.schema.targets:
        if target.kind in TARGET_MEASURES and target.name in table.columns:
            cells = table.columns[target.name]
            column, present = ColumnCells(cells, folder=table.folder), sum(not is_absent(cell) for cell in cells)
            found.append(_measure(target.name, TARGET_MEASURES[target.kind], "target", "", column, present))
    return found


def _measure(name: str, modality: str, role: Role, stream: str, column: ColumnCells, present: int) -> MeasuredColumn:
    measures = MEASURES[modality](column) if present and modality in MEASURES else []
    return MeasuredColumn(name, modality, role, stream, len(column.cells), present, measures)


class ProfileBuilder:
    """Collects what was measured of a table's rows, part by part.

    Example:
        >>> builder = ProfileBuilder()
        >>> sizes = Measure("value", "", [3.0, 1.0])
        >>> builder.see([MeasuredColumn("size", "number", "input", "tabular", 2, 2, [sizes])])
        >>> builder.build("new.csv", total_rows=2).columns["size"].distributions[0].numbers
        array([1., 3.])
    """

    def __init__(self) -> None:
        """Start without rows."""
        self._columns: dict[str, list[MeasuredColumn]] = {}

    def see(self, measured: Iterable[MeasuredColumn]) -> None:
        """Add the next rows.

        Args:
            measured: What was measured of them.
        """
        for column in measured:
            self._columns.setdefault(column.name, []).append(column)

    def build(self, name: str, total_rows: int) -> Profile:
        """Return the profile of all rows that were seen.

        Args:
            name: The table's name.
            total_rows: Rows of the table they are of.

        Returns:
            The profile.
        """
        columns = {column: _join(parts) for column, parts in self._columns.items()}
        return Profile(name, total_rows, max((column.rows for column in columns.values()), default=0), columns)


def _join(parts: Sequence[MeasuredColumn]) -> ColumnProfile:
    joined: dict[str, Measure] = {}
    for measure in (measure for part in parts for measure in part.measures):
        earlier = joined.get(measure.name)
        values: list[Any] = [*(earlier.values if earlier else ()), *measure.values]
        joined[measure.name] = replace(measure, values=values)
    first, rows, present = parts[0], sum(part.rows for part in parts), sum(part.present for part in parts)
    distributions = tuple(filter(len, map(Distribution.of, joined.values())))
    return ColumnProfile(first.name, first.modality, first.role, rows, present, distributions)


def sample_rows(num_rows: int, most: int, seed: int) -> NDArray[np.int64]:
    """Draw rows at random.

    Args:
        num_rows: Rows there are.
        most: How many are drawn; all of them where there are no more.
        seed: Fixes the draw.

    Returns:
        int64, ascending row indices from 0.
    """
    return np.sort(np.random.default_rng(seed).permutation(num_rows)[:most])
