"""The HTML page of a comparison, one self-contained file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from polymodal.atomic_files import write_text
from polymodal.report import charts
from polymodal.report.comparison import (
    Comparison,
    ComparisonRow,
    difference_interval_text,
    difference_text,
    margin_text,
)
from polymodal.report.page import describe_config, describe_date, render
from polymodal.report.small_charts import whisker, whisker_axis
from polymodal.report.wording import clip_to_metric_range, format_score, metric_title


def write_comparison(comparison: Comparison, path: Path) -> None:
    """Write the page.

    Args:
        comparison: The comparison.
        path: The HTML file; replaced atomically.
    """
    values = {
        "found": comparison,
        "targets": [_describe_target(comparison, target) for target in comparison.targets],
        "created": describe_date(comparison.created),
        "config": describe_config(comparison.options),
        "seeds": comparison.rows[0].seeds if comparison.rows else [],
    }
    write_text(path, render("compare.html", values))


def _describe_target(comparison: Comparison, target: str) -> dict[str, Any]:
    rows = comparison.of(target)
    scale = _scale(rows)
    metric = rows[0].metric
    return {
        "name": target,
        "metric": metric,
        "higher_is_better": comparison.higher_is_better[target],
        "axis": whisker_axis(scale),
        "rows": [_describe_row(row, scale, first=row is rows[0]) for row in rows],
        "streams": any(row.best_stream for row in rows),
        "reference": rows[0].reference,
        "linked": any(row.folders for row in rows),
        "curves": _draw_curves(target, rows),
        "undrawn": max(len(rows) - charts.NUM_COLOURS, 0),
    }


def _draw_curves(target: str, rows: Sequence[ComparisonRow]) -> Markup:
    lines = [
        charts.Line(
            row.variant, [(epoch, score) for epoch, score in enumerate(row.curve, start=1) if score is not None]
        )
        for row in rows[: charts.NUM_COLOURS]
    ]
    metric = metric_title(rows[0].metric)
    return charts.line_chart(lines, title=f"Validation {metric} of {target}", x_label="epoch", y_label=metric)


def _describe_row(row: ComparisonRow, scale: charts.Point, first: bool) -> dict[str, Any]:
    low, high = row.interval or (None, None)
    tip = f"{row.variant}: {format_score(row.metric, row.score)} ({margin_text(row)})"
    return {
        "row": row,
        "chart": whisker(row.score, low, high, scale, "final" if first else "fusion", tip),
        "margin": margin_text(row),
        "lead": difference_text(row),
        "lead_interval": difference_interval_text(row),
        "links": list(zip(row.seeds, row.folders, strict=False)),
        "first": first,
    }


def _scale(rows: Sequence[ComparisonRow]) -> charts.Point:
    values = [row.score for row in rows] + [bound for row in rows for bound in row.interval or ()]
    low, high = charts.padded_range(values, share=0.08)
    return clip_to_metric_range(rows[0].metric, low, high)
