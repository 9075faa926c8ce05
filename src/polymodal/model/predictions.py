"""Predictions for the rows of a table, and their conversion to columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import BrokenCell, Cell
from polymodal.errors import ConfigError
from polymodal.targets.base import Prediction

T = TypeVar("T")


@dataclass(frozen=True)
class Predictions:
    """Predictions for the rows of a table, in its order, none left out.

    Attributes:
        values: Flat target to probabilities ``[rows, classes]`` or values ``[rows]``.
        labels: Target to plain predictions, one a row.
        classes: Target to class names, or None for numbers.
        weights: Stream to the fusion's weight ``[rows]``, if requested and available.
        broken_cells: Cells that could not be decoded and counted as absent.
        label_probabilities: Target of one class a row to the probability of each label ``[rows]``.
        records: Targets whose predictions are lists of dictionaries.
        confidences: Structured target to the confidence of each prediction, for targets that have one.
        recovered: ``recovered:COLUMN`` to what absent cells may have held, None where the cell is there; where that is
            the cell of a training row, ``recovered:COLUMN:row`` to its number.
        kept: Columns of the table that were asked for, as they are.
        sets: Target of classes or labels to the labels of each row's prediction set, if asked for.
        intervals: Target of a number to ``[rows, 2]``, infinite where nothing can be excluded, if asked for.
        abstained: Target to bool ``[rows]``, True where the label is None as the row is too unsure, if asked for.
        unusual: p-values ``[rows]``, small where a row is unlike those of training, if asked for.
    """

    values: dict[str, Prediction]
    labels: dict[str, list[Cell]]
    classes: dict[str, list[str] | None]
    weights: dict[str, NDArray[np.float32]]
    broken_cells: list[BrokenCell]
    label_probabilities: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    records: frozenset[str] = frozenset()
    confidences: dict[str, list[float | None]] = field(default_factory=dict)
    recovered: dict[str, list[Cell]] = field(default_factory=dict)
    kept: dict[str, list[Cell]] = field(default_factory=dict)
    sets: dict[str, list[list[Cell]]] = field(default_factory=dict)
    intervals: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    abstained: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    unusual: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter((self.labels | self.recovered).values()), []))

    def to_columns(self, all_classes: bool = True) -> dict[str, list[Cell]]:
        """Convert the predictions to columns of a table.

        Args:
            all_classes: Whether every class gets a column of probabilities.

        Returns:
            Column name to cells: the kept columns, ``TARGET``, ``TARGET_probability``, ``TARGET:CLASS``,
            ``TARGET_confidence``, ``TARGET_set``, ``TARGET_low`` and ``TARGET_high`` (None: no bound),
            ``TARGET_abstained``, ``recovered:COLUMN``, ``weight:STREAM``, ``unusual``.
        """
        columns = dict(self.kept)
        for target, labels in self.labels.items():
            columns[target] = labels
            names = self.classes[target]
            if target in self.confidences:
                columns[f"{target}_confidence"] = list(self.confidences[target])
            if names is not None:
                if target in self.label_probabilities:
                    columns[f"{target}_probability"] = [float(p) for p in self.label_probabilities[target]]
                if all_classes:
                    columns |= _class_columns(target, names, self.values[target])
            columns |= self._certain_columns(target)
        weights = {f"weight:{name}": [float(w) for w in values] for name, values in self.weights.items()}
        unusual = {} if self.unusual is None else {"unusual": [float(p) for p in self.unusual]}
        return columns | self.recovered | weights | unusual

    def _certain_columns(self, target: str) -> dict[str, list[Cell]]:
        columns: dict[str, list[Cell]] = {}
        if target in self.sets:
            columns[f"{target}_set"] = list(self.sets[target])
        if target in self.intervals:
            for place, end in enumerate(("low", "high")):
                columns[f"{target}_{end}"] = [
                    float(value) if np.isfinite(value) else None for value in self.intervals[target][:, place]
                ]
        if target in self.abstained:
            columns[f"{target}_abstained"] = self.abstained[target].tolist()
        return columns

    def with_abstained(self, abstained: Mapping[str, NDArray[np.bool_]]) -> Predictions:
        """Return the predictions without the labels of rows that are too unsure.

        Args:
            abstained: Target to bool ``[rows]``, True where there is no answer.

        Returns:
            A copy; probabilities are kept.
        """
        labels = {
            name: [None if left_out else label for label, left_out in zip(self.labels[name], mask, strict=True)]
            for name, mask in abstained.items()
        }
        return replace(self, labels=self.labels | labels, abstained=dict(abstained))

    def to_rows(self, all_classes: bool = True) -> list[dict[str, Cell]]:
        """Convert the predictions to one dictionary a row.

        Args:
            all_classes: Whether every class gets a probability.

        Returns:
            The rows of ``to_columns``.
        """
        columns = self.to_columns(all_classes)
        return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]

    def take(self, rows: slice, first_row: int = 1) -> Predictions:
        """Return consecutive rows.

        Args:
            rows: Indices from 0.
            first_row: The table's number of the row at index 0.

        Returns:
            Those rows; broken cells keep the table's row numbers.
        """
        selected = range(len(self))[rows]
        return replace(
            self,
            values={name: values[rows] for name, values in self.values.items()},
            labels={name: cells[rows] for name, cells in self.labels.items()},
            label_probabilities={name: values[rows] for name, values in self.label_probabilities.items()},
            weights={name: values[rows] for name, values in self.weights.items()},
            broken_cells=[cell for cell in self.broken_cells if cell.row - first_row in selected],
            confidences={name: cells[rows] for name, cells in self.confidences.items()},
            recovered={name: cells[rows] for name, cells in self.recovered.items()},
            kept={name: cells[rows] for name, cells in self.kept.items()},
            sets={name: cells[rows] for name, cells in self.sets.items()},
            intervals={name: values[rows] for name, values in self.intervals.items()},
            abstained={name: values[rows] for name, values in self.abstained.items()},
            unusual=None if self.unusual is None else self.unusual[rows],
        )

    def with_kept(self, columns: Mapping[str, Sequence[Cell]]) -> Predictions:
        """Return the predictions with columns of their table, which come first in ``to_columns``.

        Args:
            columns: Name to cells.

        Returns:
            A copy.

        Raises:
            ConfigError: If a column is called like one of the predictions.
        """
        if not columns:
            return self
        taken = next((name for name in self.to_columns() if name in columns), None)
        if taken is not None:
            raise ConfigError(
                f"The column {taken!r} cannot be kept: the predictions have a column of that name. Leave it out, or "
                "rename it in the table."
            )
        return replace(self, kept={name: list(cells) for name, cells in columns.items()})


def join_predictions(chunks: Sequence[Predictions]) -> Predictions:
    """Concatenate predictions of one model.

    Args:
        chunks: At least one.

    Returns:
        All rows.
    """
    if len(chunks) == 1:
        return chunks[0]
    return replace(
        chunks[0],
        values=_concatenate_arrays([chunk.values for chunk in chunks]),
        labels=_concatenate_lists([chunk.labels for chunk in chunks]),
        label_probabilities=_concatenate_arrays([chunk.label_probabilities for chunk in chunks]),
        weights=_concatenate_arrays([chunk.weights for chunk in chunks]),
        broken_cells=[cell for chunk in chunks for cell in chunk.broken_cells],
        confidences=_concatenate_lists([chunk.confidences for chunk in chunks]),
        recovered=_concatenate_lists([chunk.recovered for chunk in chunks]),
        kept=_concatenate_lists([chunk.kept for chunk in chunks]),
        sets=_concatenate_lists([chunk.sets for chunk in chunks]),
        intervals=_concatenate_arrays([chunk.intervals for chunk in chunks]),
        abstained=_concatenate_arrays([chunk.abstained for chunk in chunks]),
        unusual=_concatenate_unusual([chunk.unusual for chunk in chunks]),
    )


def _concatenate_unusual(chunks: Sequence[NDArray[np.float64] | None]) -> NDArray[np.float64] | None:
    found = [chunk for chunk in chunks if chunk is not None]
    return np.concatenate(found) if found else None


def _concatenate_arrays(chunks: Sequence[Mapping[str, Prediction]]) -> dict[str, Prediction]:
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _concatenate_lists(chunks: Sequence[Mapping[str, list[T]]]) -> dict[str, list[T]]:
    return {name: [cell for chunk in chunks for cell in chunk[name]] for name in chunks[0]}


def _class_columns(target: str, names: list[str], values: Prediction) -> dict[str, list[Cell]]:
    return {f"{target}:{name}": [float(p) for p in values[:, index]] for index, name in enumerate(names)}
