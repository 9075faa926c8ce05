"""The HTML page of a comparison of a new table with the training rows, one self-contained file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from markupsafe import Markup

from polymodal.atomic_files import write_text
from polymodal.data.profiles.measures import DAYS
from polymodal.drift.compare_profiles import show_number
from polymodal.drift.comparison import Chart, Comparison, Drift
from polymodal.report.page import describe_date, render
from polymodal.report.pair_charts import pair_histogram
from polymodal.version import VERSION

DRAWN_COLUMNS = 30
"""Most drifted columns that have a section of their own."""
DRAWN_QUIET = 6
"""Most columns that are drawn although they have not drifted: those with the least p-values."""
OPEN_TESTS = 40
"""A longer table of tests is shown where the reader asks for it."""
SUBJECTS = {
    "input": "input",
    "target": "truth",
    "prediction": "prediction",
    "stream": "stream",
    "rows": "all streams together",
}


def write_drift(drift: Drift, path: Path, command: str | None = None) -> None:
    """Write the page.

    Args:
        drift: All comparisons.
        path: The HTML file; replaced atomically.
        command: The command line it was made with.
    """
    drifted = _group(drift.drifted)
    quiet = [found for found in drift.comparisons if not found.is_drifted]
    values = {
        "drift": drift,
        "columns": drifted[:DRAWN_COLUMNS],
        "undrawn": len(drifted) - DRAWN_COLUMNS,
        "quiet": [_describe(found, is_named=True) for found in quiet[:DRAWN_QUIET]],
        "tests": [_describe(found, is_drawn=False) for found in drift.comparisons],
        "open_tests": OPEN_TESTS,
        "created": describe_date(drift.created),
        "version": VERSION,
        "command": command,
    }
    write_text(path, render("drift.html", values))


def _group(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """Group comparisons by column and subject, in the order of their first, which is the worst."""
    groups: dict[tuple[str, str], list[Comparison]] = {}
    for found in comparisons:
        groups.setdefault((found.subject, found.column), []).append(found)
    return [
        {"name": title_of(found[0]), "subject": subject_of(found[0]), "comparisons": [_describe(one) for one in found]}
        for found in groups.values()
    ]


def title_of(found: Comparison) -> str:
    """Name what a comparison is about.

    Args:
        found: The comparison.

    Returns:
        The column's name, or "all rows".
    """
    return "all rows" if found.subject == "rows" else found.column


def subject_of(found: Comparison) -> str:
    """Say what a column is, after its name.

    Args:
        found: The comparison.

    Returns:
        "image input", "truth", "prediction", "stream" or "all streams together".
    """
    subject = SUBJECTS[found.subject]
    return f"{found.modality} {subject}" if found.subject == "input" else subject


def _describe(found: Comparison, *, is_drawn: bool = True, is_named: bool = False) -> dict[str, Any]:
    return {
        "found": found,
        "title": title_of(found),
        "subject": subject_of(found),
        "caption": f"{title_of(found)} ({subject_of(found)}), {found.measure}" if is_named else found.measure,
        "effect": f"{found.effect:.2f}",
        "p_value": show_p_value(found.adjusted_p_value),
        "chart": _draw(found) if is_drawn and found.chart.kind == "numbers" else Markup(""),
        "shares": _describe_shares(found.chart) if is_drawn and found.chart.kind == "shares" else [],
    }


def show_p_value(p_value: float) -> str:
    """Write a p-value.

    Args:
        p_value: From 0 to 1.

    Returns:
        Two digits, or that it is tiny.
    """
    return "< 0.0001" if p_value < 1e-4 else f"{p_value:.2g}"


def _draw(found: Comparison) -> Markup:
    chart = found.chart
    label = found.measure if chart.unit in ("", DAYS, "probability") else f"{found.measure} ({chart.unit})"
    label = "p-value" if found.measure == "unusual" else label
    title = f"{found.column}: {found.measure} of training rows and new rows"
    write = partial(show_number, unit=chart.unit)
    return pair_histogram(chart.edges, chart.reference, chart.new, title=title, x_label=label, write=write)


def _describe_shares(chart: Chart) -> list[dict[str, Any]]:
    rows = zip(chart.labels, chart.reference, chart.new, strict=True)
    return [{"label": label, "reference": before, "new": after} for label, before, after in rows]
