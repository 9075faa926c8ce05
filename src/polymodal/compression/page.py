"""The page of a compression, one self-contained file, and its chart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup

from polymodal.atomic_files import write_text
from polymodal.compression.choice import failed_limits, show_bytes, show_ms
from polymodal.compression.points import Compression, Point, points_lost
from polymodal.report.page import render
from polymodal.report.pareto_chart import ParetoPoint, pareto_chart, standalone_svg
from polymodal.report.wording import format_score
from polymodal.version import VERSION

METHODS = {
    "original": "original",
    "members": "fewer members",
    "distilled": "student",
    "pruned": "pruned",
    "exported": "exported",
    "int8": "int8",
}


def write_page(found: Compression, path: Path) -> None:
    """Write the page.

    Args:
        found: The compression.
        path: The HTML file; replaced atomically.

    Raises:
        OSError: If it cannot be written: disk full, no permission.
    """
    values = {
        "title": "How small it can be",
        "found": found,
        "points": [_describe(found, point) for point in found.points],
        "by_bytes": _chart(found, is_time=False),
        "by_ms": _chart(found, is_time=True),
        "asked": _asked(found),
        "test": _test_rows(found),
        "score_of": format_score,
        "version": VERSION,
    }
    write_text(path, render("compression.html", values))


def pareto_svg(found: Compression) -> str:
    """Draw the chart of points by bytes as a file of its own.

    Args:
        found: The compression.

    Returns:
        SVG.
    """
    return standalone_svg(_chart(found, is_time=False))


def _chart(found: Compression, *, is_time: bool) -> Markup:
    points = [
        ParetoPoint(
            x=point.ms if is_time else point.num_bytes / 1e6,
            y=point.drop,
            low=_drop_bounds(found, point)[0],
            high=_drop_bounds(found, point)[1],
            kind=METHODS[point.method],
            is_chosen=point.name == found.chosen,
            is_front=point.name in found.front,
            tip=f"{point.name}: {point.drop:+.2f} points, {show_bytes(point.num_bytes)}, {show_ms(point.ms)} a row",
        )
        for point in found.points
    ]
    limit = found.limits.max_ms if is_time else found.limits.max_bytes and found.limits.max_bytes / 1e6
    return pareto_chart(
        points,
        title="Points lost against " + ("milliseconds of a row" if is_time else "megabytes"),
        x_label="milliseconds of one row" if is_time else "megabytes on disk",
        y_label="points lost",
        y_limit=found.limits.max_drop,
        x_limit=limit,
    )


def _drop_bounds(found: Compression, point: Point) -> tuple[float, float]:
    """Return the interval of the score that loses most, as points lost against the original's score."""
    name = max(point.scores, key=lambda target: point.scores[target].drop)
    score, original = point.scores[name], found.original.scores[name]
    if score.interval is None:
        return point.drop, point.drop
    bounds = [points_lost(score.metric, original.value, bound) for bound in score.interval]
    return min(bounds), max(bounds)


def _describe(found: Compression, point: Point) -> dict[str, Any]:
    original = found.original
    return {
        "point": point,
        "method": METHODS[point.method],
        "bytes": show_bytes(point.num_bytes),
        "ms": show_ms(point.ms),
        "network_ms": "" if point.network_ms is None else show_ms(point.network_ms),
        "smaller": f"{original.num_bytes / max(point.num_bytes, 1):.1f} ×",
        "faster": f"{original.ms / max(point.ms, 1e-9):.1f} ×",
        "drop": f"{point.drop:+.2f}".replace("-", "−"),
        "scores": [(name, score) for name, score in point.scores.items()],
        "is_chosen": point.name == found.chosen,
        "is_front": point.name in found.front,
        "fits": not failed_limits(point, found.limits),
    }


def _asked(found: Compression) -> str:
    limits = found.limits
    asked = [f"at most {limits.max_drop:g} points lost"]
    asked += [] if limits.max_bytes is None else [f"at most {show_bytes(limits.max_bytes)}"]
    asked += [] if limits.max_ms is None else [f"at most {show_ms(limits.max_ms)} a row"]
    return ", ".join(asked)


def _test_rows(found: Compression) -> list[dict[str, Any]]:
    before, after = found.test.get("original", {}), found.test.get("chosen", {})
    return [{"target": name, "original": score, "chosen": after.get(name)} for name, score in before.items()]
