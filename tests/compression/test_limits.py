"""Limits are read from texts with units, and wrong ones are refused in one sentence."""

from __future__ import annotations

import pytest

from polymodal import ConfigError
from polymodal.compression.limits import Limits, check_methods, read_limits


@pytest.mark.parametrize(
    ("size", "latency", "drop", "expected"),
    [
        ("5MB", "2ms", "0.5%", Limits(max_bytes=5_000_000, max_ms=2.0, max_drop=0.5)),
        ("800 kB", "0.5 s", "1", Limits(max_bytes=800_000, max_ms=500.0, max_drop=1.0)),
        ("1MiB", "300us", "0", Limits(max_bytes=2**20, max_ms=0.3, max_drop=0.0)),
        (1234, 2.5, 0.25, Limits(max_bytes=1234, max_ms=2.5, max_drop=0.25)),
        (None, None, None, Limits()),
    ],
)
def test_limits_have_units(size: object, latency: object, drop: object, expected: Limits) -> None:
    read = read_limits(size, latency, drop)  # type: ignore[arg-type]
    assert read.max_bytes == expected.max_bytes
    assert read.max_drop == expected.max_drop
    assert read.max_ms == (None if expected.max_ms is None else pytest.approx(expected.max_ms))


@pytest.mark.parametrize("size", ["5 parsecs", "MB", "", "-3MB", "0", "nan", "inf", "5MB6", "٣MB", "1e999"])
def test_unknown_sizes_are_refused(size: str) -> None:
    with pytest.raises(ConfigError, match=r"--size takes a number of bytes, as in 5MB"):
        read_limits(size, None, None)


@pytest.mark.parametrize(("latency", "drop", "option"), [("2 m", None, "--latency"), (None, "-1%", "--max-drop")])
def test_unknown_times_and_drops_are_refused(latency: str | None, drop: str | None, option: str) -> None:
    with pytest.raises(ConfigError, match=option):
        read_limits(None, latency, drop)


def test_unknown_methods_are_refused_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"Did you mean 'pruned'\?"):
        check_methods(["prunned"])
