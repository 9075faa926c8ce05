"""Output of the command line: lines, JSON and tables on standard output, error sentences on standard error (rich)."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from polymodal.arrays import BrokenCell
from polymodal.cli.json_text import json_text
from polymodal.data.input_check import SHOWN_CELLS, describe_broken
from polymodal.data.notes.table_notices import notice_lines
from polymodal.report.comparison import margin_text
from polymodal.report.wording import (
    format_number,
    format_score,
    format_seconds,
    format_share,
    metric_heading,
    metric_title,
)

if TYPE_CHECKING:
    from polymodal.report.comparison import Comparison, ComparisonRow


SHOWN_METRICS = 3
SHOWN_CLASSES = 8
MIN_WIDTH = 140


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


@dataclass(frozen=True)
class ScoreRow:
    """A line of the table of results.

    Attributes:
        kind: final, fusion, stream or baseline.
        name: The member that is scored.
        scores: Metric to value.
        bounds: 95 % interval of the primary metric, or None.
    """

    kind: str
    name: str
    scores: Mapping[str, float]
    bounds: Sequence[float] | None


def score_rows(target: str, primary: str, evaluation: Mapping[str, Any]) -> list[ScoreRow]:
    """List everything that was scored for a target: the whole model, its members and the baselines.

    Args:
        target: Name of the target.
        primary: Its primary metric.
        evaluation: The ``evaluation`` of the report data.

    Returns:
        The rows, the final model first.
    """

    def section(name: str) -> Mapping[str, Any]:
        scores: Mapping[str, Any] = evaluation.get(name, {}).get(target) or {}
        return scores

    bounds, intervals = section("member_intervals"), section("intervals")
    rows = [ScoreRow("final", "polymodal", section("targets"), intervals.get(primary))]
    if section("fusion"):
        rows.append(ScoreRow("fusion", "fusion network", section("fusion"), bounds.get("fusion")))
    for kind, name in (("stream", "streams"), ("baseline", "baselines")):
        for member, scores in section(name).items():
            rows.append(ScoreRow(kind, member, scores, bounds.get(f"{kind}:{member}")))
    return rows


def print_results(report_data: Mapping[str, Any]) -> None:
    """Print "fused vs each modality vs baseline", one table a target.

    Args:
        report_data: The ``targets_info`` and the ``evaluation`` of a model.
    """
    console = _console()
    evaluation = report_data["evaluation"]
    for info in report_data["targets_info"]:
        if evaluation["targets"].get(info["name"]):
            console.print(_results_table(info, evaluation))
            note = evaluation.get("decision", {}).get(info["name"], {}).get("note")
            console.print(escape(note or ""))


def _results_table(info: Mapping[str, Any], evaluation: Mapping[str, Any]) -> Table:
    target, primary = info["name"], info["primary_metric"]
    rows = score_rows(target, primary, evaluation)
    others = [metric for metric in rows[0].scores if metric != primary][: SHOWN_METRICS - 1]
    title = f"{escape(target)}: {evaluation['rows']:,} {evaluation['split']} rows"
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("model")
    table.add_column("what it is", style="dim")
    for metric in (primary, *others):
        table.add_column(metric_heading(metric), justify="right")
        if metric == primary:
            table.add_column("95 % interval", justify="right", style="dim")
    for row in rows:
        table.add_row(*_score_cells(row, primary, others), style="bold" if row.kind == "final" else None)
    return table


def _score_cells(row: ScoreRow, primary: str, others: Sequence[str]) -> list[str]:
    meaning = {
        "final": "the whole model",
        "fusion": "all streams, before the decision level",
        "stream": "this stream alone",
        "baseline": "knows no input" if row.name == "prior" else "cheap features",
    }
    interval = "–" if row.bounds is None else " to ".join(format_score(primary, bound) for bound in row.bounds)
    scores = [format_score(metric, row.scores.get(metric)) for metric in others]
    return [escape(row.name), meaning[row.kind], format_score(primary, row.scores.get(primary)), interval, *scores]


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


def print_comparison(comparison: Comparison) -> None:
    """Print the rows of a comparison, target by target, the best first.

    Args:
        comparison: The comparison.
    """
    console = _console()
    for target in comparison.targets:
        console.print(_comparison_table(comparison, target))
    for note in comparison.notes:
        print_line(f"Note: {note}")


def _comparison_table(comparison: Comparison, target: str) -> Table:
    rows = comparison.of(target)
    metric, many = rows[0].metric, rows[0].spread is not None
    seeds = f"seed{'s' * many} {', '.join(map(str, rows[0].seeds))}"
    title = f"{escape(target)}: {comparison.num_rows:,} {comparison.split} rows, {seeds}"
    table = Table(title=title, title_justify="left", title_style="bold")
    for heading in ("variant", "fusion", "level"):
        table.add_column(heading, style="dim" if heading == "level" else None)
    margin = "sd" if many else "95 % interval"
    names = ("whole model", "best stream alone", "fusion parameters", "training", "predict a row")
    for heading in (metric_heading(metric), margin, *names):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*_comparison_cells(row), style="bold" if row is rows[0] else None)
    return table


def _comparison_cells(row: ComparisonRow) -> list[str]:
    stream = "–" if row.best_stream is None else f"{row.best_stream} {format_score(row.metric, row.best_stream_score)}"
    return [
        escape(row.variant),
        row.fusion,
        row.level,
        format_score(row.metric, row.score),
        margin_text(row),
        format_score(row.metric, row.final),
        escape(stream),
        f"{row.fusion_parameters:,}",
        format_seconds(row.train_seconds),
        f"{row.predict_ms:.2f} ms",
    ]


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
    """Print the modality of each column, the reason, and missing and broken cells.

    Args:
        name: The table.
        inspection: The output of ``inspect_table``.
    """
    console = _console()
    title = f"{escape(name)}: {inspection['rows']:,} rows, {len(inspection['columns'])} columns"
    table = Table(title=title, title_justify="left", title_style="bold")
    for heading in ("column", "modality", "goes to"):
        table.add_column(heading)
    for heading in ("missing", "broken"):
        table.add_column(heading, justify="right")
    table.add_column("why", style="dim", ratio=1)
    for column in inspection["columns"]:
        table.add_row(*map(escape, _column_cells(column, inspection["rows"])))
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


def _column_cells(column: Mapping[str, Any], num_rows: int) -> list[str]:
    goes_to = f"stream {column['stream']}" if column["stream"] else column["role"]
    unsupported = "" if column["supported"] else "; this version does not learn from it"
    missing, broken = _count(column["missing"], num_rows), _count(column["broken"], num_rows)
    return [column["name"], column["modality"], goes_to, missing, broken, column["reason"] + unsupported]


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


def print_slices(report_data: Mapping[str, Any]) -> None:
    """Print the score of the rows of each value of the columns that were asked for, the worst first.

    Args:
        report_data: The ``targets_info`` and an ``evaluation`` of a model.
    """
    slices = report_data["evaluation"].get("slices", {})
    for info in report_data["targets_info"]:
        for column, entries in slices.get(info["name"], {}).items():
            _console().print(_slice_table(info, column, entries))


def _slice_table(info: Mapping[str, Any], column: str, entries: Sequence[Mapping[str, Any]]) -> Table:
    metric = info["primary_metric"]
    table = Table(title=f"{escape(info['name'])} by {escape(column)}", title_justify="left", title_style="bold")
    table.add_column(escape(column), overflow="fold")
    for heading in ("rows", metric_heading(metric), "95 % interval"):
        table.add_column(heading, justify="right")
    for entry in entries:
        rows = f"{entry['rows']:,}" + (" (few)" if entry["is_small"] else "")
        cells = (
            escape(entry["value"]),
            rows,
            format_score(metric, entry["score"]),
            _bounds_text(metric, entry["interval"]),
        )
        table.add_row(*cells, style="dim" if entry["is_small"] else None)
    return table


def _bounds_text(metric: str, bounds: Sequence[float] | None) -> str:
    return "–" if bounds is None else " to ".join(format_score(metric, bound) for bound in bounds)
