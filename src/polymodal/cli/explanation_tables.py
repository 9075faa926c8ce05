"""An explanation on the terminal, in tables that fit 80 columns (rich)."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import shorten
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from polymodal.cli.result_tables import INTERVAL, add_numbers, open_console, ruled_table
from polymodal.explain.explanation import CellParts, Change, Explanation, RowExplanation, TargetSummary

MAX_STREAMS = 12
MAX_PAIRS = 8
SHOWN_STREAMS = 3
SHOWN_PARTS = 3
BAR = 10
LONGEST = 24
PROBABILITIES = ("probability", "confidence")


def print_explanation(explanation: Explanation) -> None:
    """Print the summaries, the rows and the notices.

    Args:
        explanation: The explanation.
    """
    console = open_console()
    for summary in explanation.summaries:
        unit = explanation.units[summary.target]
        console.print(_importance_table(summary, unit))
        if summary.interactions:
            console.print(_pair_table(summary, unit))
        rows = [row for row in explanation.rows if row.target == summary.target]
        console.print(_row_table(rows, unit))
        for row in rows:
            _print_details(console, row, unit)
    for notice in explanation.notices:
        console.print(f"Note: {escape(notice)}")


def _importance_table(summary: TargetSummary, unit: str) -> Table:
    plural = "s" * (summary.rows != 1)
    table = ruled_table(
        f"{escape(summary.target)}: how much each stream moves the {unit}, {summary.rows:,} row{plural}"
    )
    table.add_column("stream", overflow="fold")
    add_numbers(table, ["mean change", INTERVAL])
    table.add_column(" ")
    ranked = sorted(summary.importance.items(), key=lambda item: -item[1]["mean"])
    largest = max((entry["mean"] for _, entry in ranked), default=0.0)
    for stream, entry in ranked[:MAX_STREAMS]:
        length = round(BAR * entry["mean"] / largest) if largest > 0 else 0
        bounds = f"{_plain(entry['low'], unit)} to {_plain(entry['high'], unit)}"
        table.add_row(escape(stream), _plain(entry["mean"], unit), bounds, "█" * length)
    if len(ranked) > MAX_STREAMS:
        table.caption = f"and {len(ranked) - MAX_STREAMS:,} more streams that move it less"
    return table


def _pair_table(summary: TargetSummary, unit: str) -> Table:
    table = ruled_table("pairs: what they add together (below zero: they say the same)")
    table.add_column("pair", overflow="fold")
    add_numbers(table, ["interaction", INTERVAL, *(["shared bits", "synergy bits"] if summary.information else [])])
    found = {" × ".join(entry["pair"]): entry for entry in summary.information}
    ranked = sorted(summary.interactions.items(), key=lambda item: -abs(item[1]["mean"]))
    for pair, entry in ranked[:MAX_PAIRS]:
        bounds = f"{_signed(entry['low'], unit)} to {_signed(entry['high'], unit)}"
        bits = [f"{found[pair][name]:.2f}" if pair in found else "–" for name in ("redundancy", "synergy")]
        table.add_row(escape(pair), _signed(entry["mean"], unit), bounds, *(bits if summary.information else []))
    return table


def _row_table(rows: Sequence[RowExplanation], unit: str) -> Table:
    table = ruled_table("rows: without any stream, with all of them, and the streams that decide")
    table.add_column("row", justify="right")
    table.add_column("answer", overflow="fold")
    add_numbers(table, ["without", "with"])
    table.add_column("because of", overflow="fold")
    for row in rows:
        values = [_plain(row.prior, unit), _plain(row.value, unit)]
        table.add_row(f"{row.row:,}", escape(_answer(row)), *values, escape(_streams(row, unit)))
    return table


def _answer(row: RowExplanation) -> str:
    named = row.explained if row.explained not in ("value", "confidence") else str(row.answer)
    truth = "" if row.truth is None or str(row.truth) == str(row.answer) else f" (truth: {row.truth})"
    return _short(named) + truth[:LONGEST]


def _streams(row: RowExplanation, unit: str) -> str:
    present = [(stream, value) for stream, value in row.streams.items() if stream not in row.absent]
    if not present:
        return "nothing: every stream is absent"
    ranked = sorted(present, key=lambda item: -abs(item[1]))
    shown = [f"{stream} {_signed(value, unit)}{_error(row, stream, unit)}" for stream, value in ranked[:SHOWN_STREAMS]]
    more = f" and {len(ranked) - SHOWN_STREAMS} more" if len(ranked) > SHOWN_STREAMS else ""
    return ", ".join(shown) + more


def _error(row: RowExplanation, stream: str, unit: str) -> str:
    error = row.standard_errors.get(stream, 0.0)
    return f" ± {_plain(error, unit)}" if error > 0 else ""


def _print_details(console: Console, row: RowExplanation, unit: str) -> None:
    """Print the strongest parts of the row's cells and the first change, a line each."""
    for cell in row.cells:
        console.print(escape(f"row {row.row}, {cell.column or cell.stream}: {_parts(cell, unit)}"))
    for change in row.changes[:1]:
        console.print(escape(f"row {row.row} would be {_short(change.answer)} {_change(change)}"))


def _parts(cell: CellParts, unit: str) -> str:
    ranked = sorted(cell.parts, key=lambda part: -abs(part.value))[:SHOWN_PARTS]
    return ", ".join(f"{_short(part.label)} {_signed(part.value, unit)}" for part in ranked) or "no parts"


def _change(change: Change) -> str:
    if change.kind == "absent":
        return f"without {change.stream}"
    if change.kind == "swap":
        return f"with the {change.stream} of training row {change.row:,}"
    return f"as training row {change.row:,} is, the nearest with another answer"


def _short(value: Any) -> str:
    return shorten(str(value), LONGEST, placeholder="…")


def _plain(value: float, unit: str) -> str:
    return f"{value:.3f}" if unit in PROBABILITIES else f"{value:.4g}"


def _signed(value: float, unit: str) -> str:
    text = f"{value:+.3f}" if unit in PROBABILITIES else f"{value:+.4g}"
    return text.replace("-", "−")
