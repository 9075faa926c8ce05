"""The datasets of the coverage benchmark, and what is taken of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Case:
    """A dataset and what is taken of it.

    Attributes:
        name: Its folder.
        targets: Columns to predict.
        rows: Most training, validation and test rows.
        drop: Columns that are no inputs.
        settings: Options of the run.
        remark: What is not exchangeable.
    """

    name: str
    targets: tuple[str, ...]
    rows: tuple[int, int, int]
    drop: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    remark: str = ""


CASES = (
    Case(name="takeaway_zh", targets=("label",), rows=(600, 250, 250), settings={"train.epochs": 6}),
    Case(name="clothing", targets=("recommended",), rows=(600, 300, 300), drop=("rating",)),
    Case(name="baby_products", targets=("price",), rows=(800, 250, 250), settings={"train.epochs": 6}),
    Case(name="esc10", targets=("label",), rows=(238, 80, 80), drop=("fold",), settings={"train.epochs": 6}),
    Case(name="leaf", targets=("species",), rows=(693, 99, 198), settings={"train.epochs": 6}),
    Case(
        name="avdigits",
        targets=("digit",),
        rows=(300, 150, 150),
        drop=("speaker",),
        settings={"train.epochs": 3},
        remark="the speaker of the test rows is in no other row",
    ),
    Case(
        name="radhar",
        targets=("activity",),
        rows=(150, 78, 150),
        settings={"train.epochs": 2},
        remark="windows of one recording are alike, and only the official split keeps them together",
    ),
    Case(
        name="movingdigits",
        targets=("digit", "direction"),
        rows=(120, 100, 120),
        settings={"train.epochs": 3},
        remark="the speaker of the test rows is in no other row",
    ),
    Case(name="easyvqa", targets=("answer",), rows=(600, 200, 200), settings={"train.epochs": 3}),
)
RERUN = {"takeaway_zh": (150, 120, 200), "baby_products": (200, 120, 200)}
"""Rows of the runs that are trained anew for each split."""
