"""The table of a drift comparison on the terminal, within 80 columns (rich)."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from polymodal.drift.comparison import Comparison, Drift
from polymodal.report.drift_page import show_p_value, title_of

WIDTH = 80
"""Where the output is no terminal; the table needs no more."""
SHOWN = 20
"""Most tests that are listed: all that have drifted first."""
SHOWN_QUIET = 3
"""Tests that have not drifted, listed where nothing else fills the table."""


def print_drift(drift: Drift, page: Path | None) -> None:
    """Print the verdict, and the tests that found drift, the worst first.

    Args:
        drift: All comparisons.
        page: The page that was written, or None.
    """
    console = Console(highlight=False)
    console = console if console.is_terminal else Console(highlight=False, width=WIDTH)
    console.print(f"[bold]{escape(drift.sentence)}[/bold]")
    shown = drift.drifted[:SHOWN] or drift.comparisons[:SHOWN_QUIET]
    if shown:
        console.print(_table(drift, shown))
    left_out = len(drift.drifted) - len(shown)
    if left_out > 0:
        console.print(f"and {left_out:,} more, which --json and --output list.")
    for notice in drift.notices:
        console.print(f"Note: {escape(notice)}")
    if page is not None:
        console.print(f"Page: {escape(str(page))}", soft_wrap=True)


def _table(drift: Drift, shown: list[Comparison]) -> Table:
    title = "What has drifted, the worst first" if drift.is_drifted else "Nearest to an alarm"
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("column", overflow="fold", max_width=18)
    table.add_column("measure", overflow="fold", max_width=14)
    table.add_column("what has changed", overflow="fold", ratio=1)
    table.add_column("effect", justify="right", no_wrap=True)
    table.add_column("p", justify="right", no_wrap=True, style="dim")
    for found in shown:
        name = title_of(found) + (f" ({found.subject})" if found.subject in ("prediction", "target") else "")
        cells = [name, found.measure, found.sentence, f"{found.effect:.2f}", show_p_value(found.adjusted_p_value)]
        table.add_row(*map(escape, cells))
    return table
