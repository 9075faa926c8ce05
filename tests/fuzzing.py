"""How many inputs the fuzz tests try: a few dozen in every check, thousands in ``make test-all``."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

ALL = list(HealthCheck)
QUICK = settings(
    max_examples=30, derandomize=True, deadline=None, database=None, suppress_health_check=ALL, print_blob=False
)


def examples(count: int) -> settings:
    """Return settings that try more inputs: those of all tests of ``make test-all`` are 10,000 together."""
    return settings(QUICK, max_examples=count)
