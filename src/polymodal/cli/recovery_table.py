"""How well absent cells are recovered, as a table on standard output (rich)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from polymodal.cli.console import print_line, print_table
from polymodal.report.recovery_section import MEANINGS, METHOD_TITLES, hidden_sentence, recovery_rows

MOST_ROWS = 20
"""So many columns are printed; the report has all of them."""


def print_recovery(report_data: Mapping[str, Any]) -> None:
    """Print how well each column is recovered, and whether the network beats ridge regression.

    Args:
        report_data: The ``evaluation`` of a model; without ``recovery`` nothing is printed.
    """
    evaluation = report_data["evaluation"]
    entries = evaluation.get("recovery") or []
    if not entries:
        return
    rows = recovery_rows(entries)
    methods = [method for method in METHOD_TITLES if any(method in row.scores for row in rows)]
    table = Table(title="Recovered cells", title_justify="left", title_style="bold")
    for heading in ("column", "measure"):
        table.add_column(heading, overflow="fold")
    for method in methods:
        table.add_column(METHOD_TITLES[method], justify="right")
    table.add_column("verdict; returned", overflow="fold")
    for row in rows[:MOST_ROWS]:
        scores = [row.scores.get(method, "–") for method in methods]
        table.add_row(escape(row.column), row.metric, *scores, f"{row.verdict}; {row.returned}")
    print_table(table)
    if len(rows) > MOST_ROWS:
        print_line(f"{len(rows) - MOST_ROWS:,} more columns are in the report and in --json.")
    print_line(hidden_sentence(entries, evaluation["split"]))
    print_line(MEANINGS)
