"""Example cells of every target, one row a kind: what the checks of targets need to know of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

ANIMALS = ("cat", "dog", "owl")


@dataclass(frozen=True, kw_only=True)
class TargetExample:
    """What the checks need of one kind.

    Attributes:
        cells: Cells of six rows; the third is absent.
        hopeless: Cells from which nothing can be learnt.
        prior: Flat targets: what is predicted where nothing is known.
        broken: Structured targets: a cell that holds something, but no truth.
        answer: Structured targets: a cell that can be learnt, from the row's class (0 to 2) and number.
        reads: What the head reads of an encoder's detail, if anything.
    """

    cells: list[Any]
    hopeless: list[Any]
    prior: list[float] | None = None
    broken: Any = None
    answer: Callable[[int, int], Any] | None = None
    reads: Literal["steps", "places"] | None = None


def picture(level: int) -> np.ndarray[Any, Any]:
    """Return a grey picture that gets brighter from left to right."""
    return np.linspace(0, level, 80, dtype=np.uint8).reshape(8, 10)


TARGET_EXAMPLES = {
    "category": TargetExample(
        cells=["cat", "dog", None, "cat", "owl", "cat"],
        hopeless=["cat", "cat", None],
        prior=[3 / 5, 1 / 5, 1 / 5],
    ),
    "categories": TargetExample(
        cells=["a|b", "b", None, "a|b|c", "c", "b"],
        hopeless=[None, "", None],
        prior=[2 / 5, 4 / 5, 2 / 5],
    ),
    "number": TargetExample(
        cells=[1.5, "2.5", None, 4, "1e1", -3.0],
        hopeless=[2.0, "2", None, "many"],
        prior=[3.0],
    ),
    "boxes": TargetExample(
        cells=[
            [{"label": "cat", "box": [1, 2, 9, 8]}, {"label": "owl", "box": [4, 4, 7, 11]}],
            '[{"label": "cat", "box": [0, 0, 5, 5.5]}]',
            None,
            [],
            {"labels": ["owl"], "boxes": [[2, 2, 14, 9]]},
            [{"label": "cat", "box": [3, 1, 6, 4]}],
        ],
        hopeless=[[], [], None],
        broken='[{"label": "cat", "box": [9, 2, 1, 8]}]',
        answer=lambda label, row: [{"label": ANIMALS[label], "box": [0, label * 4, 12, label * 4 + 4]}][: row % 9],
        reads="places",
    ),
    "vector": TargetExample(
        cells=[[1.0, 2.0], "[2.0, 2.5]", None, [0.5, -1.0], [3.0, 0.0], [1.0, 1.0]],
        hopeless=[[1.0, 2.0], [1.0, 2.0], None],
        broken=[1.0, 2.0, 3.0],
        answer=lambda label, row: [float(label), label * 2 + row % 3 / 10, 1.0 - label],
    ),
    "caption": TargetExample(
        cells=["a red cat", "a red dog ", None, "Zwei Öfen", 7, "a red cat"],
        hopeless=["a red cat", "a red cat", None],
        broken=b"\xff\xfe",
        answer=lambda label, row: f"a {ANIMALS[label]} of {('three', 'four')[row % 2]} years",
    ),
    "series": TargetExample(
        cells=[[[1.0, 2.0]] * 3, "[[2.0, 2.5]]", None, [[0.5, -1.0], [1, 1]], np.zeros((3, 2)), [[1.0, 1.0]] * 2],
        hopeless=[[[1.0, 2.0]], [[1.0, 2.0]], None],
        broken=[[1.0, 2.0, 3.0]],
        answer=lambda label, row: [[label + step / 4, row % 3 / 10] for step in range(4 + row % 3)],
    ),
    "image": TargetExample(
        cells=[picture(0), picture(60), None, picture(120), picture(255).tolist(), picture(90)],
        hopeless=[picture(9), picture(9), None],
        broken="[1, 2]",
        answer=lambda label, row: np.kron(np.eye(3, dtype=np.uint8)[[label]], np.full((9, 3), 250 - row, np.uint8)),
    ),
    "transcript": TargetExample(
        cells=["one two", "two", None, "one  three", "three one", "two two"],
        hopeless=["one", "one ", None],
        broken=["one", "two"],
        answer=lambda label, row: ("no", "yes", "go")[label],
        reads="steps",
    ),
}
"""Name in ``TARGETS`` to its example; a kind that is missing here fails ``test_the_checks_cover_the_table``."""
