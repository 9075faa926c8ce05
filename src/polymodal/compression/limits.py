"""What a compressed model may cost: the drop of the score, bytes and milliseconds, read from texts such as ``5MB``."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from polymodal.errors import ConfigError, parameter_error

UNIT_BYTES = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
UNIT_MS = {"": 1.0, "MS": 1.0, "US": 1e-3, "S": 1e3}
UNIT_POINTS = {"": 1.0, "%": 1.0}
METHODS = ("members", "pruned", "distilled", "int8")
"""Fewer members of the ensemble, pruned networks, students, and exported graphs with int8 weights."""
MAX_DROP = 0.5
"""Points of the primary metric that may be lost, where nothing else is asked for."""
NUMBER = re.compile(r"\s*([0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?)\s*([a-zA-Z%]*)\s*", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is asked of a compressed model.

    Attributes:
        max_drop: Most points of each target's primary metric that may be lost on validation rows.
        max_bytes: Most bytes of the deployed folder; None: no limit.
        max_ms: Most milliseconds of one row; None: no limit.
    """

    max_drop: float = MAX_DROP
    max_bytes: int | None = None
    max_ms: float | None = None


def check_methods(methods: Sequence[str] | None) -> tuple[str, ...]:
    """Check names of methods.

    Args:
        methods: Names; None or none: all of them.

    Returns:
        The methods to try.

    Raises:
        ConfigError: If there is no such method.
    """
    for name in methods or ():
        if name not in METHODS:
            raise parameter_error("method", "a compression", f"one of: {', '.join(METHODS)}", name, METHODS)
    return tuple(methods or METHODS)


def read_limits(size: str | float | None, latency: str | float | None, max_drop: str | float | None) -> Limits:
    """Read limits from texts or numbers.

    Args:
        size: Bytes of the deployed folder, such as ``5MB``.
        latency: Milliseconds of one row, such as ``2ms``.
        max_drop: Points of the primary metric, such as ``0.5%``.

    Returns:
        The limits; what is None has no limit, or for the drop the default.

    Raises:
        ConfigError: If one cannot be read, or is not above 0.
    """
    num_bytes = None if size is None else _read(size, UNIT_BYTES, "--size", "bytes, as in 5MB or 800KB")
    ms = None if latency is None else _read(latency, UNIT_MS, "--latency", "milliseconds, as in 2ms or 0.5ms")
    drop = MAX_DROP if max_drop is None else _read(max_drop, UNIT_POINTS, "--max-drop", "points, as in 0.5%", least=0)
    return Limits(max_drop=drop, max_bytes=None if num_bytes is None else int(num_bytes), max_ms=ms)


def _read(
    given: str | float, units: dict[str, float] | dict[str, int], option: str, form: str, least: int = 1
) -> float:
    match = NUMBER.fullmatch(str(given))
    factor = None if match is None else units.get(match[2].upper())
    value = math.nan if match is None or factor is None else float(match[1]) * factor
    if not math.isfinite(value) or value < 0 or (least and value == 0):
        raise ConfigError(f"The option {option} takes a number of {form}. Got {str(given)[:40]!r} instead.")
    return value
