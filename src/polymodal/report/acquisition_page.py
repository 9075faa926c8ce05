"""The HTML page of an acquisition: which absent cells, or labels, to get next; one self-contained file."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path
from typing import Any

from markupsafe import Markup

from polymodal.acquisition.acquisition import Acquisition, Labelling
from polymodal.atomic_files import write_text
from polymodal.report import charts
from polymodal.report.page import render
from polymodal.version import VERSION

SHOWN = 200
"""Entries of the order that are shown."""
CURVE_POINTS = 200


def write_acquisition(found: Acquisition | Labelling, path: Path) -> None:
    """Write the page.

    Args:
        found: Cells or labels to get.
        path: The HTML file; replaced atomically.

    Raises:
        OSError: If it cannot be written: disk full, no permission.
    """
    described = _describe_labels(found) if isinstance(found, Labelling) else _describe_cells(found)
    write_text(path, render("acquisition.html", {**described, "found": found, "version": VERSION, "most": SHOWN}))


def _describe_cells(found: Acquisition) -> dict[str, Any]:
    per_stream = [entry for entry in found.per_stream() if entry["chosen"]]
    largest = max((entry["mean_gain"] for entry in per_stream), default=0.0) or 1.0
    histograms = [(entry["stream"], _histogram(found, entry["stream"])) for entry in per_stream]
    return {
        "title": "Which cells to get next",
        "streams": [{**entry, "share": entry["mean_gain"] / largest} for entry in per_stream],
        "histograms": histograms,
        "curve": _curve(found),
        "rows": list(zip(*[cells[:SHOWN] for cells in found.to_columns().values()], strict=True)),
        "is_labels": False,
    }


def _histogram(found: Acquisition, stream: str) -> Markup:
    gains = [entry.gain for entry in found.entries if entry.stream == stream]
    title = f"Expected gains of {stream}"
    return charts.histogram(gains, title=title, x_label=f"expected gain, {found.unit}", height=220)


def _curve(found: Acquisition) -> Markup | str:
    """Draw the summed gain against the cost."""
    if not found.entries or not found.cost:
        return ""
    points = [
        (0.0, 0.0),
        *zip((e.spent for e in found.entries), accumulate(e.gain for e in found.entries), strict=True),
    ]
    step = max(1, len(points) // CURVE_POINTS)
    shown = points[::step] if (len(points) - 1) % step == 0 else [*points[::step], points[-1]]
    title = "Expected gain against cost"
    line = charts.Line("in this order", shown)
    return charts.line_chart([line], title=title, x_label="cost", y_label=f"expected gain, {found.unit}")


def _describe_labels(found: Labelling) -> dict[str, Any]:
    columns = found.to_columns()
    columns["answer"] = [str(answer) for answer in columns["answer"]]
    values = [float(value) for value in found.uncertainty]
    chart = charts.histogram(values, title="Uncertainty", x_label="uncertainty", height=220) if values else ""
    return {
        "title": f"Which rows to label next: {found.target}",
        "streams": [],
        "histograms": [("the chosen rows", chart)] if values else [],
        "curve": "",
        "rows": list(zip(*[cells[:SHOWN] for cells in columns.values()], strict=True)),
        "is_labels": True,
    }
