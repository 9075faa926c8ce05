"""Output of the command line: lines, JSON and tables on standard output, error sentences on standard error (rich)."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from polymodal.arrays import BrokenCell
from polymodal.cli.json_text import json_text
from polymodal.data.input_check import SHOWN_CELLS, describe_broken
from polymodal.data.notes.table_notices import notice_lines
from polymodal.report.wording import (
    format_number,
    format_score,
    format_share,
    metric_title,
)

SHOWN_CLASSES = 8
MIN_WIDTH = 140
SHOWN_SURE = 0.99
OVERRULE = "To overrule a modality: --modality COLUMN=ELSE, or any other; to leave a column out: --drop COLUMN"


def print_error(sentence: str) -> None:
    """Print a sentence on standard error.

    Args:
        sentence: What went wrong and what to do next.
    """
    print(sentence, file=sys.stderr, flush=True)


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object on standard output; numbers that JSON cannot hold become null.

    Args:
        value: What to print.
    """
    print(json_text(value), flush=True)


def print_line(text: str = "") -> None:
    """Print a line on standard output, as it is.

    Args:
        text: The line.
    """
    print(text, flush=True)


def _console() -> Console:
    """Return a console on standard output; wide enough for the tables if it is not a terminal."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=max(console.width, MIN_WIDTH))


def print_table(table: Table) -> None:
    """Print a table on standard output.

    Args:
        table: A table of rich.
    """
    _console().print(table)


def print_hits(hits: Sequence[Any]) -> None:
    """Print the results of a search.

    Args:
        hits: Rows, scores and cells, best first.
    """
    table = Table()
    for heading in ("row", "similarity"):
        table.add_column(heading, justify="right")
    names = list(dict.fromkeys(name for hit in hits for name in hit.cells))
    for name in names:
        table.add_column(escape(name))
    for hit in hits:
        cells = [escape(str(hit.cells.get(name, ""))) for name in names]
        table.add_row(str(hit.row), f"{hit.score:.3f}", *cells)
    _console().print(table)


def print_pairs(report_data: Mapping[str, Any]) -> None:
    """Print the retrieval scores from stream to stream, for a model without target.

    Args:
        report_data: The report data of a model.
    """
    for name, pairs in report_data["evaluation"].get("pairs", {}).items():
        metrics = list(next(iter(pairs.values()), {}))
        table = Table(title=f"{escape(name)}: from stream to stream", title_justify="left", title_style="bold")
        table.add_column("query → found")
        for metric in metrics:
            table.add_column(metric_title(metric), justify="right")
        for pair, scores in pairs.items():
            table.add_row(escape(pair), *[format_score(metric, scores[metric]) for metric in metrics])
        _console().print(table)


def print_missing(report_data: Mapping[str, Any]) -> None:
    """Print the primary metric with each stream absent in every row.

    Args:
        report_data: The ``targets_info`` and an ``evaluation`` of a model.
    """
    evaluation = report_data["evaluation"]
    for info in report_data["targets_info"]:
        missing = evaluation["missing"].get(info["name"])
        if not missing:
            continue
        metric = info["primary_metric"]
        table = Table(
            title=f"{escape(info['name'])}: when a stream is absent", title_justify="left", title_style="bold"
        )
        table.add_column("absent in every row")
        table.add_column(metric_title(metric), justify="right")
        for stream, scores in missing.items():
            table.add_row(escape(stream), format_score(metric, scores.get(metric)))
        _console().print(table)


def print_broken(broken: Sequence[Mapping[str, Any]], more: str) -> None:
    """Print on standard error which cells could not be read, the first few with their reasons.

    Args:
        broken: Rows, columns and reasons.
        more: Text that says where the others are listed.
    """
    if broken:
        first = [BrokenCell(cell["row"], cell["column"], cell["reason"]) for cell in broken[:SHOWN_CELLS]]
        print_error(describe_broken(first, len(broken), more=more))


def print_inspection(name: str, inspection: Mapping[str, Any]) -> None:
    """Print each column's modality, how sure it is, the reason, what overrules it, missing and broken cells.

    Args:
        name: The table.
        inspection: The output of ``inspect_table``.
    """
    console = _console()
    title = f"{escape(name)}: {inspection['rows']:,} rows, {len(inspection['columns'])} columns"
    table = Table(
        title=title, title_justify="left", title_style="bold", caption=OVERRULE, caption_justify="left", box=SIMPLE_HEAD
    )
    counts = [kind for kind in ("missing", "broken") if any(column[kind] for column in inspection["columns"])]
    table.add_column("column", overflow="fold")
    for heading in ("modality", "else", "goes to", *counts):
        table.add_column(heading, justify="right" if heading in counts else "left")
    table.add_column("why", style="dim", ratio=1, overflow="fold")
    for column in inspection["columns"]:
        table.add_row(*map(escape, _column_cells(column, inspection["rows"], counts)))
    console.print(table)
    for target in inspection["targets"]:
        console.print(
            f"[bold]{escape(target['name'])}[/bold] ({target['kind']})", escape(_balance(target, inspection["rows"]))
        )
    for column in inspection["columns"]:
        for cell in column["broken_examples"]:
            print_error(f"row {cell['row']}, column {column['name']!r}: {cell['reason']}")
    print_table_notices(inspection["notices"])


def print_table_notices(notices: Sequence[Mapping[str, Any]]) -> None:
    """Print what was done with a table and what the user should know of it.

    Args:
        notices: The notices as plain JSON, by kind.
    """
    for line in notice_lines(notices):
        print_line(line)


def _column_cells(column: Mapping[str, Any], num_rows: int, counts: Sequence[str]) -> list[str]:
    unsupported = "" if column["supported"] else "; this version does not learn from it"
    option = f" ({column['overrule']})" if column["overrule"] and column["certainty"] != "sure" else ""
    share = "" if column["confidence"] > SHOWN_SURE else f" {column['confidence']:.0%}"
    return [
        column["name"],
        f"{column['modality']}\n{column['certainty']}{share}",
        column["second_guess"] or "–",
        column["stream"] or column["role"],
        *(_count(column[kind], num_rows) for kind in counts),
        column["reason"] + unsupported + option,
    ]


def _count(part: int, whole: int) -> str:
    return "–" if not part else f"{part:,} ({format_share(part, whole)})"


def _balance(target: Mapping[str, Any], num_rows: int) -> str:
    """Return the frequency of each class, or the range of the numbers."""
    if "range" in target:
        return ", ".join(f"{name} {format_number(value)}" for name, value in target["range"].items())
    if "different" in target:
        return f"{target['different']:,} different answers in {num_rows - target['missing']:,} rows"
    shown = target["balance"][:SHOWN_CLASSES]
    if "boxes" in target:
        return f"{target['boxes']:,} boxes: " + ", ".join(f"{entry['rows']:,} {entry['value']}" for entry in shown)
    classes = ", ".join(f"{entry['value']} {_count(entry['rows'], num_rows)}" for entry in shown)
    rest = int(target["classes"]) - len(shown)
    return f"{classes} and {rest:,} more classes" if rest > 0 else classes


def print_entries(title: str, headings: Sequence[str], entries: Sequence[Sequence[str | list[str]]]) -> None:
    """Print a list of names with their descriptions.

    Args:
        title: What the entries are.
        headings: What is said of each, after its name.
        entries: Name and cells of each; a cell may be a list.
    """
    table = Table(title=escape(title), title_justify="left", title_style="bold")
    table.add_column("name", no_wrap=True)
    for heading in headings:
        table.add_column(heading, style="dim" if heading == headings[-1] else None)
    for entry in entries:
        table.add_row(*(escape(cell if isinstance(cell, str) else ", ".join(cell)) for cell in entry))
    _console().print(table)
