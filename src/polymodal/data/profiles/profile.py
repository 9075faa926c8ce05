"""The profile of a table: how many cells of each column are there, and distributions of what is measured of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import arrays_under
from polymodal.data.profiles.measures import Measure

MAX_VALUES = 1000
"""Most labels of a column that are told apart, the most frequent ones."""
OTHER_VALUES = "(other values)"
MAX_NUMBERS = 2**18
"""Most numbers that a saved profile holds, of all columns together: 2 MB."""
MIN_NUMBERS = 100

Role = Literal["input", "target", "prediction"]


@dataclass(frozen=True)
class Distribution:
    """The distribution of one measure of a column.

    Attributes:
        measure: What is measured: "value", "length", "brightness".
        unit: Its unit, or empty.
        numbers: float64, ascending; empty for labels.
        counts: Label to number of cells; empty for numbers.
        is_fitted: Whether it depends on what was fitted on the training rows.
    """

    measure: str
    unit: str
    numbers: NDArray[np.float64]
    counts: dict[str, int] = field(default_factory=dict)
    is_fitted: bool = False

    @classmethod
    def of(cls, measure: Measure) -> Distribution:
        """Summarise a measure.

        Args:
            measure: One value for each cell.

        Returns:
            Its distribution; numbers that are not finite are left out.
        """
        values = [value for value in measure.values if value is not None]
        if values and isinstance(values[0], str):
            counts = Counter(map(str, values)).most_common()
            kept = dict(counts[:MAX_VALUES])
            rest = len(values) - sum(kept.values())
            kept |= {OTHER_VALUES: rest} if rest else {}
            return cls(measure.name, measure.unit, np.zeros(0), kept, measure.is_fitted)
        numbers = np.sort(np.asarray(values, np.float64))
        return cls(measure.name, measure.unit, numbers[np.isfinite(numbers)], {}, measure.is_fitted)

    def __len__(self) -> int:
        """Return the number of cells that it summarises."""
        return len(self.numbers) + sum(self.counts.values())

    def thinned(self, most: int) -> Distribution:
        """Return the distribution with fewer numbers, evenly spaced in rank.

        Args:
            most: How many are kept.

        Returns:
            The same distribution function, up to steps of one in ``most``.
        """
        if len(self.numbers) <= most:
            return self
        ranks = ((np.arange(most) + 0.5) * len(self.numbers) / most).astype(np.int64)
        return replace(self, numbers=self.numbers[ranks])


@dataclass(frozen=True)
class ColumnProfile:
    """The profile of one column.

    Attributes:
        name: The column.
        modality: What it holds.
        role: "input", "target" or "prediction".
        rows: Rows that were looked at.
        present: Cells among them that are there and can be read.
        distributions: What was measured of those.
    """

    name: str
    modality: str
    role: Role
    rows: int
    present: int
    distributions: tuple[Distribution, ...] = ()


@dataclass(frozen=True)
class Profile:
    """The profile of a table.

    Attributes:
        table: The table's name.
        total_rows: Rows of the table.
        rows: Rows that were looked at, a random sample.
        columns: Name to profile.
    """

    table: str
    total_rows: int
    rows: int
    columns: dict[str, ColumnProfile]

    def with_fitted_of(self, held_out: Profile) -> Profile:
        """Return the profile with the measures of rows that nothing was fitted on, where a measure depends on it.

        Args:
            held_out: The profile of such rows of the same columns.

        Returns:
            Fitted measures of ``held_out``, the others of this profile.
        """
        columns = {}
        for name, column in self.columns.items():
            fitted = tuple(d for d in held_out.columns[name].distributions if d.is_fitted)
            columns[name] = replace(column, distributions=(*_without_fitted(column), *fitted))
        return replace(self, columns=columns)

    def without_fitted(self) -> Profile:
        """Return the profile without measures that depend on what was fitted on its rows."""
        columns = {name: replace(c, distributions=_without_fitted(c)) for name, c in self.columns.items()}
        return replace(self, columns=columns)

    def thinned(self) -> Profile:
        """Return the profile with at most ``MAX_NUMBERS`` numbers of all columns together."""
        number = sum(len(column.distributions) for column in self.columns.values())
        most = max(MIN_NUMBERS, MAX_NUMBERS // max(number, 1))
        columns = {
            name: replace(column, distributions=tuple(d.thinned(most) for d in column.distributions))
            for name, column in self.columns.items()
        }
        return replace(self, columns=columns)

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[np.float64]]]:
        """Return the profile as plain JSON and named arrays."""
        columns, arrays = [], {}
        for place, column in enumerate(self.columns.values()):
            kept = []
            for number, found in enumerate(column.distributions):
                kept.append({name: getattr(found, name) for name in ("measure", "unit", "counts", "is_fitted")})
                arrays[f"{place}.{number}"] = found.numbers
            plain = {name: getattr(column, name) for name in ("name", "modality", "role", "rows", "present")}
            columns.append({**plain, "distributions": kept})
        return {"table": self.table, "total_rows": self.total_rows, "rows": self.rows, "columns": columns}, arrays

    @classmethod
    def from_state(cls, state: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Profile:
        """Restore a profile.

        Args:
            state: The plain part of ``state``.
            arrays: Its arrays.

        Returns:
            The same profile.
        """
        columns = {}
        for place, column in enumerate(state["columns"]):
            own = arrays_under(arrays, f"{place}.")
            found = tuple(Distribution(**d, numbers=own[str(n)]) for n, d in enumerate(column["distributions"]))
            columns[column["name"]] = ColumnProfile(**{**column, "distributions": found})
        return cls(state["table"], state["total_rows"], state["rows"], columns)


def _without_fitted(column: ColumnProfile) -> tuple[Distribution, ...]:
    return tuple(found for found in column.distributions if not found.is_fitted)
