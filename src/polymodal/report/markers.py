"""Shapes of dots in charts: series differ by shape and dash as well as by colour."""

from __future__ import annotations

from collections.abc import Callable


def _circle(x: float, y: float, r: float) -> str:
    return f"M{x - r:.1f} {y:.1f}a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0Z"


def _square(x: float, y: float, r: float) -> str:
    return f"M{x - r:.1f} {y - r:.1f}h{2 * r}v{2 * r}h{-2 * r}Z"


def _triangle(x: float, y: float, r: float) -> str:
    return f"M{x:.1f} {y - 1.2 * r:.1f}L{x + 1.2 * r:.1f} {y + r:.1f}H{x - 1.2 * r:.1f}Z"


def _diamond(x: float, y: float, r: float) -> str:
    return f"M{x:.1f} {y - 1.3 * r:.1f}L{x + 1.3 * r:.1f} {y:.1f}L{x:.1f} {y + 1.3 * r:.1f}L{x - 1.3 * r:.1f} {y:.1f}Z"


MARKERS: tuple[Callable[[float, float, float], str], ...] = (_circle, _square, _triangle, _diamond)
"""Each returns the path of a shape around a point, given the point and half its width in SVG units."""
