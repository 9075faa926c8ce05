"""Which combinations of two lists of parts every check takes; the rest of their product is for ``make test-all``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

import pytest


def pairwise(names: str, choices: Mapping[str, Sequence[str]]) -> Callable[[Any], Any]:
    """Return a decorator that gives each check every part with one of its choices, and marks the rest exhaustive.

    The choice moves on by one from part to part and from check to check, so that all pairs of check, part and choice
    are covered: a check has every part and every choice, and every part meets every choice in some check.

    Args:
        names: The two parameters' names, separated by a comma.
        choices: Part to what it may be combined with.
    """
    turns = count()

    def parametrize(check: Any) -> Any:
        turn = next(turns)
        cases = [
            pytest.param(part, choice, id=f"{part}-{choice}", marks=unless(number == (index + turn) % len(taken)))
            for index, (part, taken) in enumerate(choices.items())
            for number, choice in enumerate(taken)
        ]
        return pytest.mark.parametrize(names, cases)(check)

    return parametrize


def unless(is_taken: bool) -> tuple[pytest.MarkDecorator, ...]:
    """Return the marks of a combination that is exhaustive unless it is taken."""
    return () if is_taken else (pytest.mark.exhaustive,)
