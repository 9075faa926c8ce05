"""Data of the report's charts and tables of one target: confusion, classes, curves, thresholds, residuals, slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.data.tables.slices import slice_value
from polymodal.data.tables.stored_columns import take_cells
from polymodal.metrics.calibration import calibration_bins
from polymodal.metrics.classification import class_scores, confusion, label_scores, positive_class
from polymodal.metrics.counts import rank_correlation
from polymodal.metrics.ranking_curves import CurvePoints, curve_points
from polymodal.modalities.base import CellReadError
from polymodal.modalities.number import parse_number
from polymodal.model.batches import Examples
from polymodal.model.scorer import Scored, Scorer
from polymodal.model.trained_model import TrainedModel
from polymodal.targets import StructuredTarget
from polymodal.targets.base import Prediction
from polymodal.targets.structured import values_of

RESIDUAL_POINTS = 2000
COLUMN_POINTS = 300
"""Most rows of the residuals against one number column."""
MAX_COLUMNS = 24
CURVE_POINTS = 80
MAX_CURVES = 8
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
SMALL_GROUP = 20
"""A slice with fewer rows is marked: its score says little."""


def chart_data(scorer: Scorer, final: Scored, fusion: Scored | None, rows: NDArray[np.int64]) -> dict[str, Any]:
    """Compute the data of the charts of a target.

    Args:
        scorer: The target's scorer.
        final: The final prediction.
        fusion: The fusion network's, before the decision level; None where there is none.
        rows: The table's rows where the truth is known, from 0.

    Returns:
        Section of the evaluation to its data, plain JSON.
    """
    kind, truth, predicted = scorer.target.kind, scorer.truth, final.prediction
    if isinstance(scorer.target, StructuredTarget):
        return scorer.target.report_sections(truth, values_of(predicted))
    if kind == "number":
        kept = slice(None, None, max(len(truth) // RESIDUAL_POINTS, 1))
        pairs = {"truth": truth[kept].tolist(), "prediction": predicted[kept].tolist()}
        return {"residuals": {**pairs, "rows": (rows[kept] + 1).tolist()}}
    classes = scorer.target.classes or []
    calibration = {
        "bins": calibration_bins(kind, truth, predicted),
        "ece_before": (final if fusion is None else fusion).scores.get("ece"),
        "ece_after": final.scores.get("ece"),
    }
    shared = {"calibration": calibration, "ranking": _ranking(kind, truth, predicted, classes)}
    if kind == "categories":
        return {**shared, "per_label": label_scores(truth, predicted, classes)}
    weights = scorer.label_weights
    counts = confusion(truth, predicted, weights).tolist()
    return {
        **shared,
        "confusion": {"labels": classes, "counts": counts},
        "per_label": class_scores(truth, predicted, classes, weights),
        **({"thresholds": _thresholds(truth, predicted, classes, weights)} if len(classes) == 2 else {}),
    }


def _ranking(kind: str, truth: NDArray[Any], predicted: Prediction, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return the curves of the classes that are hardest to tell from the rest; of two classes, of the positive one."""
    is_true = truth.astype(np.bool_) if kind == "categories" else truth[:, None] == np.arange(len(classes))
    shown = [positive_class(classes)] if kind == "category" and len(classes) == 2 else range(len(classes))
    points = {
        classes[index]: curve_points(is_true[:, index], predicted[:, index])
        for index in shown
        if 0 < is_true[:, index].sum() < len(truth)
    }
    hardest = sorted(points, key=lambda label: points[label].roc_area())[:MAX_CURVES]
    return [
        {
            "label": label,
            "share": points[label].num_positives / len(truth),
            "roc": _rounded(points[label].roc(CURVE_POINTS)),
            "precision_recall": _rounded(points[label].precision_recall(CURVE_POINTS)),
        }
        for label in hardest
    ]


def _rounded(points: list[list[float]]) -> list[list[float]]:
    return [[round(value, 4) for value in point] for point in points]


def _thresholds(
    truth: NDArray[Any], predicted: Prediction, classes: Sequence[str], label_weights: Sequence[float] | None
) -> dict[str, Any]:
    """Return what each threshold on the positive class's probability gives, the one in use, and that of the best F1."""
    positive = positive_class(classes)
    points = curve_points(truth == positive, predicted[:, positive])
    found = points.num_positives + points.flagged
    best = points.thresholds[np.argmax(2 * points.hits / np.maximum(found, 1))] if len(found) else 0.5
    in_use = 0.5 if label_weights is None else label_weights[1 - positive] / sum(label_weights)
    chosen = sorted({*THRESHOLDS, round(float(best), 4), round(in_use, 4)})
    return {
        "label": classes[positive],
        "best_f1": round(float(best), 4),
        "in_use": round(in_use, 4),
        "rows": [_at_threshold(points, threshold) for threshold in chosen],
    }


def _at_threshold(points: CurvePoints, threshold: float) -> dict[str, float]:
    passed = int((np.round(points.thresholds, 4) >= threshold).sum())
    hits, flagged = (int(values[passed - 1]) if passed else 0 for values in (points.hits, points.flagged))
    missed, false_alarms = points.num_positives - hits, flagged - hits
    return {
        "threshold": threshold,
        "precision": hits / max(flagged, 1),
        "recall": hits / max(points.num_positives, 1),
        "f1": 2 * hits / max(flagged + points.num_positives, 1),
        "accuracy": 1 - (missed + false_alarms) / points.num_rows,
        "flagged": flagged / points.num_rows,
    }


def residuals_by_column(
    model: TrainedModel, examples: Examples, scorer: Scorer, final: Scored
) -> dict[str, dict[str, Any]]:
    """Compare a number target's residuals with the number columns.

    Args:
        model: The model, for its schema.
        examples: The evaluated rows.
        scorer: The target's scorer.
        final: The final prediction.

    Returns:
        Column to ``points``, ``[value, prediction minus truth, row from 1]`` of some rows, and ``rank_correlation`` of
        the first two over all rows; the columns with the strongest first.
    """
    names = [column.name for column in model.schema.columns if column.modality == "number"]
    rows, residuals = examples.rows[scorer.known], final.prediction - scorer.truth
    found = {name: _against(take_cells(examples.cells[name], rows), residuals, rows) for name in names}
    usable = {name: entry for name, entry in found.items() if entry is not None}
    ordered = sorted(usable, key=lambda name: -abs(usable[name]["rank_correlation"]))
    return {name: usable[name] for name in ordered[:MAX_COLUMNS]}


def _against(cells: Sequence[Cell], residuals: NDArray[np.float64], rows: NDArray[np.int64]) -> dict[str, Any] | None:
    values = np.array([_number(cell) for cell in cells])
    known = np.isfinite(values)
    if known.sum() < 3 or np.ptp(values[known]) == 0 or np.ptp(residuals[known]) == 0:
        return None
    x, y = values[known], residuals[known]
    kept = slice(None, None, -(-len(x) // COLUMN_POINTS))
    triples = zip(x[kept], y[kept], rows[known][kept], strict=True)
    points = [[float(f"{a:.5g}"), float(f"{b:.4g}"), int(row) + 1] for a, b, row in triples]
    return {"points": points, "rows": len(x), "rank_correlation": round(rank_correlation(x, y), 4)}


def _number(cell: Cell) -> float:
    try:
        value = None if cell is None else parse_number(cell)
    except CellReadError:
        value = None
    return np.nan if value is None else value


def slice_scores(
    scorer: Scorer, final: Scored, slices: Mapping[str, Sequence[Cell]]
) -> dict[str, list[dict[str, Any]]]:
    """Score the rows of each value of some columns.

    Args:
        scorer: The target's scorer.
        final: The final prediction.
        slices: Column to its cells in all evaluated rows.

    Returns:
        Column to one entry for each value, the worst primary score first: ``value``, ``rows``, ``is_small``, and
        ``scores`` and ``intervals`` of the metrics; those that are undefined on its rows are left out.
    """
    return {column: _slice(scorer, final, cells) for column, cells in slices.items()}


def _slice(scorer: Scorer, final: Scored, cells: Sequence[Cell]) -> list[dict[str, Any]]:
    known = np.flatnonzero(scorer.known)
    groups: dict[str, list[int]] = {}
    for index, row in enumerate(known):
        groups.setdefault(slice_value(cells[int(row)]), []).append(index)
    entries = [_slice_entry(scorer, final, value, np.array(rows)) for value, rows in groups.items()]
    sign = -1 if not scorer.is_higher_better else 1

    def place(entry: Mapping[str, Any]) -> tuple[bool, float, str]:
        value = entry["scores"].get(scorer.primary)
        return value is None, sign * (value or 0.0), entry["value"]

    return sorted(entries, key=place)


def _slice_entry(scorer: Scorer, final: Scored, value: str, rows: NDArray[np.int64]) -> dict[str, Any]:
    scored = scorer.judge_rows(final, rows)
    return {
        "value": value,
        "rows": len(rows),
        "is_small": len(rows) < SMALL_GROUP,
        "scores": scored.scores,
        "intervals": scored.intervals,
    }
