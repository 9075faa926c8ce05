"""What a stress test found, as tables on standard output (rich)."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from polymodal.cli.console import print_line, print_table
from polymodal.report.wording import format_score, member_title, metric_title, signed_difference
from polymodal.robustness import Absence, Estimate, NoiseCurve, StressReport, TargetStress

SHOWN_ABSENCES = 12


def print_stress(found: StressReport) -> None:
    """Print the mean errors, the kinds of noise and the combinations of absent streams, the worst first.

    Args:
        found: The stress test.
    """
    for name, target in found.targets.items():
        _print_means(name, target)
        if target.curves:
            _print_curves(target, found)
        if target.missing:
            _print_missing(target)
    for notice in found.notices:
        print_line(f"Note: {notice}")


def _print_means(name: str, target: TargetStress) -> None:
    metric = metric_title(target.metric)
    table = Table(title=f"{escape(name)}: {metric} of {target.rows:,} rows under noise", title_justify="left")
    table.add_column("answer")
    for heading in ("clean", "under noise", "lost", "95 % interval"):
        table.add_column(heading, justify="right")
    for member in target.members:
        scores = [format_score(target.metric, figures[member].value) for figures in (target.clean, target.noisy)]
        table.add_row(escape(member_title(member)), *scores, *_loss(target.metric, target.mean_error[member]))
    print_table(table)


def _loss(metric: str, error: Estimate) -> tuple[str, str]:
    if error.value is None or error.interval is None:
        return "–", ""
    low, high = (signed_difference(metric, bound) for bound in error.interval)
    return signed_difference(metric, error.value), f"{low} to {high}"


def _print_curves(target: TargetStress, found: StressReport) -> None:
    table = Table(title="Noise in one stream, the worst for the final answer first", title_justify="left")
    for heading in ("stream", "noise"):
        table.add_column(heading)
    for severity in found.severities:
        table.add_column(f"severity {severity}", justify="right")
    table.add_column("lost", justify="right")
    for member in _others(target):
        table.add_column(f"lost by {escape(member_title(member))}", justify="right")
    for curve in target.curves:
        scores = [format_score(target.metric, score) for score in curve.scores["final"]]
        table.add_row(escape(curve.stream), curve.kind, *scores, *_losses(target, curve))
    print_table(table)


def _print_missing(target: TargetStress) -> None:
    table = Table(title="Streams absent in every row, the worst first", title_justify="left")
    table.add_column("absent")
    table.add_column(metric_title(target.metric), justify="right")
    table.add_column("lost", justify="right")
    for member in _others(target):
        table.add_column(f"lost by {escape(member_title(member))}", justify="right")
    for entry in target.missing[:SHOWN_ABSENCES]:
        score = format_score(target.metric, entry.scores["final"])
        table.add_row(escape(", ".join(entry.absent)), score, *_losses(target, entry))
    print_table(table)
    if len(target.missing) > SHOWN_ABSENCES:
        print_line(f"{len(target.missing) - SHOWN_ABSENCES} more combinations: --json or --output shows them.")


def _others(target: TargetStress) -> list[str]:
    return [member for member in target.members if member not in ("final", "baseline:prior")]


def _losses(target: TargetStress, entry: NoiseCurve | Absence) -> list[str]:
    return [_loss(target.metric, entry.error[member])[0] for member in ("final", *_others(target))]
