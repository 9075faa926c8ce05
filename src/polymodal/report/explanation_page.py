"""The page of an explanation: which streams and which parts of the cells decided, one self-contained HTML file."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path

from polymodal.atomic_files import write_text
from polymodal.data.tables.table import Table
from polymodal.explain.explanation import Explanation
from polymodal.report.explained_cells import ExplainedTable
from polymodal.report.explanation_sections import STYLE, describe_explanation
from polymodal.report.page import MEDIA_BYTES, describe_date, render
from polymodal.version import VERSION

LINKED_ROWS = 40
"""Rows that the page's contents link to."""


def write_explanation(
    explanation: Explanation,
    table: Table,
    path: Path,
    modalities: Mapping[str, str] | None = None,
    max_bytes: int = MEDIA_BYTES,
) -> None:
    """Write the page of an explanation.

    Args:
        explanation: The explanation.
        table: The explained table, with the columns that are read from others (``Schema.with_derived``).
        path: The HTML file; replaced atomically.
        modalities: Column to modality, for cells without parts; others are shown as plain values.
        max_bytes: Maximum size of all rows in bytes; further rows are left out, which the page says.

    Raises:
        OSError: If it cannot be written: disk full, no permission.
    """
    source = ExplainedTable(explanation, table, modalities or {})
    write_text(path, explanation_html(source, max_bytes))


def explanation_html(source: ExplainedTable, max_bytes: int = MEDIA_BYTES) -> str:
    """Return the page of an explanation.

    Args:
        source: The explanation and its table.
        max_bytes: Maximum size of all rows in bytes.

    Returns:
        One HTML page that needs no other file.
    """
    values = {
        "explained": describe_explanation(source, max_bytes),
        "created": describe_date(datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")),
        "version": VERSION,
        "linked_rows": LINKED_ROWS,
    }
    return render("explanation.html", values, STYLE)
