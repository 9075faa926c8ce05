"""Which point to deploy: the smallest one within the limits, and, where there is none, what came nearest."""

from __future__ import annotations

from collections.abc import Sequence

from polymodal.compression.limits import Limits
from polymodal.compression.points import Point


def pareto_front(points: Sequence[Point]) -> list[str]:
    """Find the points that no other one beats.

    Args:
        points: All points.

    Returns:
        Names of those for which no other point is at least as good in drop, bytes and milliseconds, and better in one.
    """
    return [point.name for point in points if not any(_beats(other, point) for other in points)]


def _costs(point: Point) -> tuple[float, float, float]:
    return (point.drop, float(point.num_bytes), point.ms)


def _beats(other: Point, point: Point) -> bool:
    pairs = list(zip(_costs(other), _costs(point), strict=True))
    return all(one <= two for one, two in pairs) and any(one < two for one, two in pairs)


def choose(points: Sequence[Point], limits: Limits) -> Point | None:
    """Choose the smallest point within the limits; of equally small ones the faster one.

    Args:
        points: All points, the original first.
        limits: What is asked for.

    Returns:
        The point; None where none keeps all limits.
    """
    within = [point for point in points if not failed_limits(point, limits)]
    return min(within, key=lambda point: (point.num_bytes, point.ms), default=None)


def failed_limits(point: Point, limits: Limits) -> list[str]:
    """Tell which limits a point breaks.

    Args:
        point: The point.
        limits: What is asked for.

    Returns:
        Clauses, such as "5.3 MB are above --size 5 MB".
    """
    failed = []
    if not point.drop <= limits.max_drop + 1e-9:  # a score that is not a number fails too
        failed.append(f"it loses {point.drop:.2f} points, --max-drop is {limits.max_drop:g}")
    if limits.max_bytes is not None and point.num_bytes > limits.max_bytes:
        failed.append(f"it takes {show_bytes(point.num_bytes)}, --size is {show_bytes(limits.max_bytes)}")
    if limits.max_ms is not None and point.ms > limits.max_ms:
        failed.append(f"a row takes {show_ms(point.ms)}, --latency is {show_ms(limits.max_ms)}")
    return failed


def describe_choice(points: Sequence[Point], chosen: Point | None, limits: Limits) -> str:
    """Say what was chosen, or which limit failed and what came nearest.

    Args:
        points: All points, the original first.
        chosen: The point that was chosen.
        limits: What is asked for.

    Returns:
        One or two sentences.
    """
    original = points[0]
    if chosen is None:
        nearest = min(points, key=lambda point: _excess(point, limits))
        reasons = " and ".join(failed_limits(nearest, limits))
        return f"No model keeps all limits. Nearest is {nearest.name!r}: {reasons}. Raise that limit."
    if chosen is original:
        return "Nothing smaller keeps the limits: the original itself is the smallest model within them."
    return (
        f"{chosen.name!r} is {original.num_bytes / max(chosen.num_bytes, 1):.1f} times smaller "
        f"({show_bytes(chosen.num_bytes)} instead of {show_bytes(original.num_bytes)}) and "
        f"{_speed(original.ms / max(chosen.ms, 1e-9))} ({show_ms(chosen.ms)} a row instead of "
        f"{show_ms(original.ms)}), and {_drop(chosen.drop)} on validation rows."
    )


def _excess(point: Point, limits: Limits) -> float:
    """Return by how much a point breaks the limits, each relative to its size."""
    excess = max(point.drop - limits.max_drop, 0.0) / max(limits.max_drop, 1.0)
    if limits.max_bytes is not None:
        excess += max(point.num_bytes / limits.max_bytes - 1, 0.0)
    if limits.max_ms is not None:
        excess += max(point.ms / limits.max_ms - 1, 0.0)
    return excess


def _speed(ratio: float) -> str:
    return f"{ratio:.1f} times faster" if ratio >= 1 else f"{1 / ratio:.1f} times slower"


def _drop(points: float) -> str:
    if abs(points) < 0.005:
        return "loses no point"
    return f"loses {points:.2f} points" if points > 0 else f"gains {-points:.2f} points"


def show_bytes(num_bytes: float) -> str:
    """Write bytes in decimal units.

    Args:
        num_bytes: Bytes.

    Returns:
        Such as "1.24 MB".
    """
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= factor:
            return f"{num_bytes / factor:.3g} {unit}"
    return f"{num_bytes:.0f} bytes"


def show_ms(ms: float) -> str:
    """Write milliseconds.

    Args:
        ms: Milliseconds.

    Returns:
        Such as "2.1 ms".
    """
    return f"{ms:.3g} ms"
