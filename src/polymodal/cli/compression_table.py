"""What a compression tried and chose, as tables on standard output (rich)."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from polymodal.cli.console import print_line, print_table
from polymodal.compression.choice import show_bytes, show_ms
from polymodal.compression.points import Compression, Point, TargetScore
from polymodal.report.wording import format_score, metric_title

PAGE = "compression.html"


def print_compression(found: Compression) -> None:
    """Print every point, the scores on test rows and what was chosen.

    Args:
        found: The compression.
    """
    table = Table(title="Models that were tried, by validation rows", title_justify="left")
    table.add_column("")
    table.add_column("model")
    for name, score in found.original.scores.items():
        table.add_column(f"{escape(name)}: {metric_title(score.metric)}", justify="right")
    for heading in ("points lost", "size", "smaller", "one row", "faster"):
        table.add_column(heading, justify="right")
    for point in found.points:
        table.add_row(*_cells(found, point))
    print_table(table)
    for name, before in found.test.get("original", {}).items():
        print_line(_test_line(name, before, found.test.get("chosen", {}).get(name), found.rows["test"]))
    for notice in found.notices:
        print_line(f"Note: {notice}")
    if found.chosen is not None:
        print_line(found.sentence)
        if found.folder is not None:
            print_line(f"Model: {found.folder}")
            print_line(f"Page:  {found.folder / PAGE}")


def _cells(found: Compression, point: Point) -> list[str]:
    original = found.original
    mark = "▶" if point.name == found.chosen else "·" if point.name in found.front else ""
    scores = [format_score(score.metric, score.value) for score in point.scores.values()]
    smaller, faster = original.num_bytes / max(point.num_bytes, 1), original.ms / max(point.ms, 1e-9)
    return [
        mark,
        escape(point.name),
        *scores,
        f"{point.drop:+.2f}".replace("-", "−"),
        show_bytes(point.num_bytes),
        f"{smaller:.1f} ×",
        show_ms(point.ms),
        f"{faster:.1f} ×",
    ]


def _test_line(name: str, before: TargetScore, after: TargetScore | None, rows: int) -> str:
    said = f"{name}, {rows:,} test rows: {metric_title(before.metric)} {format_score(before.metric, before.value)}"
    if after is None:
        return f"{said} by the original."
    return f"{said} by the original, {format_score(after.metric, after.value)} by the chosen model."
