"""The sections about errors of one target in the report: confusion, classes, curves, thresholds, residuals, slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from polymodal.report import charts
from polymodal.report.small_charts import whisker, whisker_axis
from polymodal.report.wording import clip_to_metric_range, format_number, format_score, format_share, is_number

MAX_MATRIX_CLASSES = 20
"""Confusion matrices with more classes are shown as lists."""
MAX_CONFUSIONS = 15
MAX_POINTS = 1500
OPEN_LABELS = 12
"""Tables of more classes show the hardest ones, and the rest where the reader asks for it."""
HARDEST = 8
OPEN_COLUMNS = 4
"""Residuals against more number columns are shown where the reader asks for them."""


def describe_errors(info: Mapping[str, Any], evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Describe the sections about errors.

    Args:
        info: The target's entry of ``targets_info``.
        evaluation: The report data's ``evaluation``.

    Returns:
        Section to the variables of the template; None where there is nothing to show.
    """
    name = info["name"]

    def found(section: str) -> Any:
        return evaluation.get(section, {}).get(name)

    return {
        "confusion": _describe_confusion(found("confusion")),
        "residuals": _describe_residuals(name, found("residuals")),
        "residuals_by": _describe_residuals_by(found("residuals_by") or {}),
        "per_label": _describe_labels(info["kind"], found("per_label") or []),
        "ranking": _describe_ranking(name, found("ranking") or []),
        "thresholds": _describe_thresholds(found("thresholds")),
        "calibration": _describe_calibration(name, found("calibration")),
        "slices": [_describe_slice(info, evaluation, *pair) for pair in (found("slices") or {}).items()],
    }


def _describe_confusion(confusion: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not confusion or not confusion["labels"]:
        return None
    labels, counts = confusion["labels"], confusion["counts"]
    totals = [sum(row) for row in counts]
    pairs = [
        {"truth": labels[i], "prediction": labels[j], "count": count, "of": totals[i]}
        for i, row in enumerate(counts)
        for j, count in enumerate(row)
        if i != j and count
    ]
    return {
        "labels": labels,
        "matrix": list(zip(labels, counts, totals, strict=True)) if len(labels) <= MAX_MATRIX_CLASSES else None,
        "top": sorted(pairs, key=lambda pair: -pair["count"])[:MAX_CONFUSIONS],
        "errors": sum(pair["count"] for pair in pairs),
        "rows": sum(totals),
        "upright": max(len(label) for label in labels) > 3,
    }


def _describe_residuals(name: str, residuals: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not residuals:
        return None
    triples = zip(residuals["truth"], residuals["prediction"], residuals.get("rows") or residuals["truth"], strict=True)
    points = [(t, p, row) for t, p, row in triples if is_number(t) and is_number(p)]
    if not points:
        return None
    shown = points[:: -(-len(points) // MAX_POINTS)]
    rows = [row for _, _, row in shown] if "rows" in residuals else None
    errors = sorted(prediction - truth for truth, prediction, _ in points)
    return {
        "scatter": charts.scatter_chart(
            [(truth, prediction) for truth, prediction, _ in shown],
            title=f"Prediction against truth of {name}",
            x_label="truth",
            y_label="prediction",
            rows=rows,
        ),
        "histogram": charts.histogram(errors, title=f"Residuals of {name}", x_label="prediction − truth"),
        "shown": len(shown),
        "rows": len(points),
        "median": format_number(errors[len(errors) // 2]),
        "middle": format_number(sorted(abs(error) for error in errors)[len(errors) // 2]),
    }


def _describe_residuals_by(columns: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    drawn = [
        {
            "column": column,
            "chart": charts.residual_chart(
                [(x, y) for x, y, _ in entry["points"]],
                title=f"Residuals against {column}",
                x_label=column,
                y_label="prediction − truth",
                rows=[row for _, _, row in entry["points"]],
            ),
            "note": f"Rank correlation {entry['rank_correlation']:+.2f}".replace("-", "−") + _drawn_text(entry),
        }
        for column, entry in columns.items()
    ]
    return {"open": drawn[:OPEN_COLUMNS], "more": drawn[OPEN_COLUMNS:]} if drawn else None


def _drawn_text(entry: Mapping[str, Any]) -> str:
    drawn, rows = len(entry["points"]), entry["rows"]
    return f"; {drawn} of {rows:,} rows drawn." if drawn < rows else "."


def _describe_labels(kind: str, entries: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Describe the table of classes or labels; its last column is drawn as a bar."""
    if not entries:
        return None
    metrics = [name for name in entries[0] if name not in {"label", "support", "intervals"}]
    hardest = sorted(entries, key=lambda entry: entry[metrics[-1]] or 0.0)[:HARDEST]
    noun = "label" if kind in {"categories", "boxes"} else "class"
    return {
        "noun": noun,
        "entries": entries,
        "hardest": hardest if len(entries) > OPEN_LABELS else None,
        "metrics": metrics,
        "support": "true boxes" if kind == "boxes" else "rows",
    }


def _describe_ranking(name: str, entries: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    if not entries:
        return None
    roc, recall = ([_curve(entry, section) for entry in entries] for section in ("roc", "precision_recall"))
    only = entries[0] if len(entries) == 1 else None
    return {
        "roc": charts.line_chart(
            roc,
            title=f"ROC curve of {name}",
            x_label="false positives, of all negatives",
            y_label="true positives, of all positives",
            unit_square=True,
            diagonal=True,
        ),
        "precision_recall": charts.line_chart(
            recall,
            title=f"Precision-recall curve of {name}",
            x_label="recall",
            y_label="precision",
            unit_square=True,
            reference=(only["share"], "flag every row") if only else None,
        ),
        "label": only["label"] if only else None,
        "number": len(entries),
    }


def _curve(entry: Mapping[str, Any], section: str) -> charts.Line:
    names = ("false positives", "true positives") if section == "roc" else ("recall", "precision")
    tips = [
        f"threshold {threshold:.3g}: {names[0]} {100 * x:.0f}%, {names[1]} {100 * y:.0f}%"
        for x, y, threshold in entry[section]
    ]
    return charts.Line(entry["label"], [(x, y) for x, y, _ in entry[section]], tips)


def _describe_thresholds(thresholds: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not thresholds:
        return None
    metrics = ("precision", "recall", "f1", "accuracy")
    rows = [
        {
            "threshold": f"{row['threshold']:.4g}",
            "scores": [format_score(metric, row[metric]) for metric in metrics],
            "flagged": format_share(row["flagged"], 1),
            "is_best": row["threshold"] == thresholds["best_f1"],
            "is_default": row["threshold"] == thresholds.get("in_use", 0.5),
        }
        for row in thresholds["rows"]
    ]
    return {"label": thresholds["label"], "metrics": metrics, "rows": rows, "best": f"{thresholds['best_f1']:.4g}"}


def _describe_calibration(name: str, calibration: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not calibration or not any(entry["count"] for entry in calibration["bins"]):
        return None
    before: Any = calibration.get("ece_before")
    after: Any = calibration.get("ece_after")
    return {
        "chart": charts.calibration_chart(calibration["bins"], title=f"Calibration of {name}"),
        "before": format_score("ece", before),
        "after": format_score("ece", after),
        "gap": f"{100 * after:.1f}" if is_number(after) else "–",
        "better": is_number(before) and is_number(after) and after <= before,
    }


def _describe_slice(
    info: Mapping[str, Any], evaluation: Mapping[str, Any], column: str, entries: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    metrics = slice_metrics(info["primary_metric"], entries)
    whole = evaluation["targets"][info["name"]].get(metrics[0])
    values = [entry["scores"].get(metrics[0]) for entry in entries]
    values += [end for entry in entries for end in entry["intervals"].get(metrics[0], ())]
    known = [value for value in [*values, whole] if is_number(value)] or [0.0, 1.0]
    scale = clip_to_metric_range(metrics[0], *charts.padded_range(known, share=0.08))
    return {
        "column": column,
        "metrics": metrics,
        "axis": whisker_axis(scale),
        "whole": whole,
        "rows": [_slice_row(metrics[0], entry, scale) for entry in entries],
    }


def slice_metrics(primary: str, entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Choose the metrics of slices: the primary one and the first other, which may be defined where that is not.

    Args:
        primary: The target's primary metric.
        entries: The slices of a column.

    Returns:
        One or two metrics.
    """
    others = [metric for entry in entries for metric in entry["scores"] if metric != primary]
    return [primary, *others[:1]]


def _slice_row(metric: str, entry: Mapping[str, Any], scale: charts.Point) -> dict[str, Any]:
    value, bounds = entry["scores"].get(metric), entry["intervals"].get(metric)
    low, high = bounds or (None, None)
    tip = f"{entry['value']}: {format_score(metric, value)}, {entry['rows']:,} rows"
    if bounds:
        tip += f", 95% interval {format_score(metric, low)} to {format_score(metric, high)}"
    kind = "baseline" if entry["is_small"] else "final"
    return {**entry, "chart": whisker(value, low, high, scale, kind, tip) if is_number(value) else ""}
