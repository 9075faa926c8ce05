"""Builds the profile of a table part by part, so that decoded pictures and sounds never have to be held together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

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


class ProfileBuilder:
    """Collects measures of a table's rows, part by part.

    Example:
        >>> builder = ProfileBuilder(preprocessor)  # doctest: +SKIP
        >>> builder.see(table, columns)  # doctest: +SKIP
        >>> builder.build("new.csv", total_rows=100).columns["size"].present  # doctest: +SKIP
        98
    """

    def __init__(self, preprocessor: Preprocessor) -> None:
        """Start without rows.

        Args:
            preprocessor: The fitted preprocessor; its schema names the columns.
        """
        self._preprocessor = preprocessor
        self._num_rows = 0
        self._present: dict[str, int] = {}
        self._seen: dict[str, dict[str, Measure]] = {}

    def see(self, table: Table, columns: Mapping[str, Column]) -> None:
        """Measure the next rows.

        Args:
            table: The rows; a missing input column is absent in every row, a missing target is not profiled.
            columns: Stream to the same rows' arrays.
        """
        table = self._preprocessor.schema.with_derived(table)
        self._num_rows += table.num_rows
        absent: Sequence[Cell] = [None] * table.num_rows
        for stream in self._preprocessor.schema.streams:
            modality, arrays = self._preprocessor.modalities[stream.name], columns[stream.name]
            for name in stream.columns:
                cells = table.columns.get(name, absent)
                if isinstance(modality, Tabular):
                    place, member = modality.places[name], modality.members[name]
                    present = int(arrays.present[:, place.start].sum())
                    self._add(name, member.name, ColumnCells(cells, None, member, table.folder), present)
                else:
                    present = int(arrays.row_present.sum())
                    self._add(name, stream.modality, ColumnCells(cells, arrays, modality, table.folder), present)
        for target in self._preprocessor.schema.targets:
            if target.kind in TARGET_MEASURES and target.name in table.columns:
                cells = table.columns[target.name]
                present = sum(not is_absent(cell) for cell in cells)
                self._add(target.name, TARGET_MEASURES[target.kind], ColumnCells(cells, folder=table.folder), present)

    def _add(self, name: str, modality: str, column: ColumnCells, present: int) -> None:
        self._present[name] = self._present.get(name, 0) + present
        seen = self._seen.setdefault(name, {})
        if not present or modality not in MEASURES:
            return
        for measure in MEASURES[modality](column):
            earlier = seen.get(measure.name)
            values: list[Any] = [*(earlier.values if earlier else ()), *measure.values]
            seen[measure.name] = Measure(measure.name, measure.unit, values, measure.is_fitted)

    def build(self, name: str, total_rows: int) -> Profile:
        """Return the profile of all rows that were seen.

        Args:
            name: The table's name.
            total_rows: Rows of the table they are of.

        Returns:
            The profile.
        """
        schema = self._preprocessor.schema
        modalities = {entry.name: entry.modality for entry in schema.columns}
        modalities |= {target.name: TARGET_MEASURES.get(target.kind, target.kind) for target in schema.targets}
        targets = {target.name for target in schema.targets}
        columns = {}
        for column, present in self._present.items():
            role: Role = "target" if column in targets else "input"
            found = tuple(filter(len, map(Distribution.of, self._seen[column].values())))
            columns[column] = ColumnProfile(column, modalities[column], role, self._num_rows, present, found)
        return Profile(name, total_rows, self._num_rows, columns)


def sample_rows(num_rows: int, most: int, seed: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Draw rows at random.

    Args:
        num_rows: Rows there are.
        most: How many are drawn; all of them where there are no more.
        seed: Fixes the draw.

    Returns:
        int64, ascending row indices from 0.
    """
    return np.sort(np.random.default_rng(seed).permutation(num_rows)[:most])
