"""Parameters of which only some are tried by ``make test``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def quick(values: Iterable[Any], *chosen: Any) -> list[Any]:
    """Mark all values but those chosen as exhaustive; a tuple holds the values of several names."""
    return [value if value in chosen else _exhaustive(value) for value in values]


def _exhaustive(value: Any) -> Any:
    values = value if isinstance(value, tuple) else (value,)
    return pytest.param(*values, marks=pytest.mark.exhaustive)
