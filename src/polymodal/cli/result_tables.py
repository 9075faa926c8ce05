"""Results on the terminal: the verdict in a sentence, and tables of scores that fit 80 columns (rich)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from polymodal.metrics import metric_of
from polymodal.progress import format_seconds
from polymodal.report.comparison import difference_interval_text, difference_text, margin_text
from polymodal.report.error_sections import slice_metrics
from polymodal.report.verdict import write_headline
from polymodal.report.wording import PRIORS, format_score, is_number, metric_title, signed_difference

if TYPE_CHECKING:
    from polymodal.report.comparison import Comparison, ComparisonRow

WIDTH = 80
"""Where the output is no terminal; tables need no more."""
OTHER_METRICS = 1
INTERVAL = "95 % interval"
SHORT_HEADING = 10
WINNER, OTHER = "▶ ", "  "


def open_console() -> Console:
    """Return a console; where the output is no terminal, one of 80 columns."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH)


def ruled_table(title: str) -> Table:
    """Return a table without columns, its heading ruled off.

    Args:
        title: Its title, in rich's markup.

    Returns:
        The table.
    """
    return Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False
    )


def add_numbers(table: Table, headings: Iterable[str]) -> None:
    """Add columns of numbers; long headings are broken into words, so that names keep the width.

    Args:
        table: The table.
        headings: One a column; ``INTERVAL`` is written dim.
    """
    for heading in headings:
        is_whole = heading == INTERVAL or len(heading) <= SHORT_HEADING
        words = escape(heading if is_whole else heading.replace(" ", "\n"))
        table.add_column(words, justify="right", style="dim" if heading == INTERVAL else None, no_wrap=True)


@dataclass(frozen=True)
class ScoreRow:
    """A line of the table of results.

    Attributes:
        name: What is scored, as people call it.
        kind: final, fusion, stream or baseline.
        scores: Metric to value.
        bounds: 95 % interval of the primary metric, or None.
        lead: By how much the final answer is better by the primary metric, or None.
    """

    name: str
    kind: str
    scores: Mapping[str, float]
    bounds: Sequence[float] | None
    lead: float | None = None


def score_rows(target: str, primary: str, evaluation: Mapping[str, Any]) -> list[ScoreRow]:
    """List everything that was scored for a target: the final answer, the members and the prior.

    Args:
        target: Name of the target.
        primary: Its primary metric.
        evaluation: The ``evaluation`` of the report data.

    Returns:
        The rows, the final answer first.
    """

    def section(name: str) -> Mapping[str, Any]:
        scores: Mapping[str, Any] = evaluation.get(name, {}).get(target) or {}
        return scores

    bounds, leads = section("member_intervals"), section("comparisons")
    rows = [ScoreRow("final answer", "final", section("targets"), section("intervals").get(primary))]
    members = {"fusion": section("fusion")} if section("fusion") else {}
    members |= {f"stream:{name}": scores for name, scores in section("streams").items()}
    members |= {f"baseline:{name}": scores for name, scores in section("baselines").items()}
    for member, scores in members.items():
        kind, _, name = member.partition(":")
        lead = leads.get(member, {}).get("lead")
        rows.append(ScoreRow(_row_name(kind, name), kind, scores, bounds.get(member), lead))
    return rows


def _row_name(kind: str, name: str) -> str:
    if kind == "fusion":
        return "fusion network"
    return f"{name}, no inputs" if name in PRIORS else f"{kind} {name}"


def print_results(report_data: Mapping[str, Any]) -> None:
    """Print the verdict on each target, and its scores beside those of each stream and baseline.

    Args:
        report_data: The ``targets_info`` and the ``evaluation`` of a model.
    """
    console = open_console()
    evaluation = report_data["evaluation"]
    for info in report_data["targets_info"]:
        if evaluation["targets"].get(info["name"]):
            headline = write_headline(info, evaluation)
            console.print(f"[bold]{escape(headline.verdict)}.[/bold] {escape(headline.sentence)}")
            console.print(_results_table(info, evaluation))
            note = evaluation.get("decision", {}).get(info["name"], {}).get("note")
            console.print(escape(note or ""))


def _results_table(info: Mapping[str, Any], evaluation: Mapping[str, Any]) -> Table:
    target, primary = info["name"], info["primary_metric"]
    rows = score_rows(target, primary, evaluation)
    others = [metric for metric in rows[0].scores if metric != primary][:OTHER_METRICS]
    table = ruled_table(
        f"{escape(target)}: {evaluation['rows']:,} {evaluation['split']} rows{_direction(primary, *others)}"
    )
    table.box = box.MINIMAL_HEAVY_HEAD
    table.add_column(" ")
    table.add_column("model", overflow="fold")
    add_numbers(table, [metric_title(primary), INTERVAL, "final leads by", *map(metric_title, others)])
    winner = best_row(rows, primary)
    for row in rows:
        cells = _score_cells(row, primary, others, is_winner=row is winner)
        table.add_row(*cells, style="bold" if row is winner else None)
    return table


def best_row(rows: Sequence[ScoreRow], primary: str) -> ScoreRow | None:
    """Find the row with the best score; of equal ones the first, which is the final answer.

    Args:
        rows: Rows of ``score_rows``.
        primary: The metric.

    Returns:
        The row; None where none has a score.
    """
    scored = [row for row in rows if is_number(row.scores.get(primary))]
    sign = 1 if metric_of(primary).higher_is_better else -1
    return max(scored, key=lambda row: sign * row.scores[primary], default=None)


def _direction(*metrics: str) -> str:
    """Say of which metrics lower values are better."""
    lower = [metric_title(metric) for metric in metrics if not metric_of(metric).higher_is_better]
    return f"; lower is better: {', '.join(lower)}" if lower else ""


def _score_cells(row: ScoreRow, primary: str, others: Iterable[str], is_winner: bool) -> list[str]:
    scores = [format_score(metric, row.scores.get(metric)) for metric in others]
    lead = "" if row.lead is None else signed_difference(primary, row.lead)
    mark = (WINNER if is_winner else OTHER).strip()
    return [
        mark,
        escape(row.name),
        format_score(primary, row.scores.get(primary)),
        _bounds(primary, row.bounds),
        lead,
        *scores,
    ]


def _bounds(metric: str, bounds: Sequence[float] | None) -> str:
    return "–" if bounds is None else " to ".join(format_score(metric, bound) for bound in bounds)


def print_slices(report_data: Mapping[str, Any]) -> None:
    """Print the score of the rows of each value of the columns that were asked for, the worst first.

    Args:
        report_data: The ``targets_info`` and an ``evaluation`` of a model.
    """
    slices = report_data["evaluation"].get("slices", {})
    for info in report_data["targets_info"]:
        for column, entries in slices.get(info["name"], {}).items():
            open_console().print(_slice_table(info, column, entries))


def _slice_table(info: Mapping[str, Any], column: str, entries: Sequence[Mapping[str, Any]]) -> Table:
    metrics = slice_metrics(info["primary_metric"], entries)
    table = ruled_table(f"{escape(info['name'])} by {escape(column)}, the worst first{_direction(*metrics)}")
    table.add_column(escape(column), overflow="fold")
    add_numbers(table, ["rows", metric_title(metrics[0]), INTERVAL, *map(metric_title, metrics[1:])])
    for entry in entries:
        cells = [escape(entry["value"]), f"{entry['rows']:,}" + (" (few)" if entry["is_small"] else "")]
        texts = [format_score(metric, entry["scores"].get(metric)) for metric in metrics]
        cells += [texts[0], _bounds(metrics[0], entry["intervals"].get(metrics[0])), *texts[1:]]
        table.add_row(*cells, style="dim" if entry["is_small"] else None)
    return table


def print_comparison(comparison: Comparison) -> None:
    """Print the rows of a comparison, target by target, the best first.

    Args:
        comparison: The comparison.
    """
    console = open_console()
    for target in comparison.targets:
        console.print(_comparison_table(comparison, target))
    for sentence in (comparison.budget, *(f"Note: {note}" for note in comparison.notes)):
        console.print(escape(sentence))


def _comparison_table(comparison: Comparison, target: str) -> Table:
    rows = comparison.of(target)
    metric, many = rows[0].metric, len(rows[0].seeds) > 1
    seeds = f"seed{'s' * many} {', '.join(map(str, rows[0].seeds))}"
    title = f"{escape(target)}: {comparison.num_rows:,} {comparison.split} rows, {seeds}{_direction(metric)}"
    table = ruled_table(title)
    table.add_column(OTHER + "variant", overflow="fold")
    lead = f"lead over {rows[0].reference}"
    add_numbers(table, [metric_title(metric), INTERVAL, lead, INTERVAL, "training"])
    for row in rows:
        table.add_row(*_comparison_cells(row, row is rows[0]), style="bold" if row is rows[0] else None)
    return table


def _comparison_cells(row: ComparisonRow, is_first: bool) -> list[str]:
    return [
        escape((WINNER if is_first else OTHER) + row.variant),
        format_score(row.metric, row.score),
        margin_text(row),
        difference_text(row),
        difference_interval_text(row),
        format_seconds(row.train_seconds),
    ]
