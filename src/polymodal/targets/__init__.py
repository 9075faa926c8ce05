"""What a column to predict can be, one file each."""

from __future__ import annotations

from typing import NamedTuple

from polymodal.targets.base import Target, build_head, primary_metric_of
from polymodal.targets.categories import Categories
from polymodal.targets.category import Category
from polymodal.targets.number import NumberTarget


class TargetEntry(NamedTuple):
    """A row of the table of targets.

    Attributes:
        target: The class.
        summary: One line.
        paper: Where it comes from.
    """

    target: type[Target]
    summary: str
    paper: str


TARGETS: dict[str, TargetEntry] = {
    "category": TargetEntry(Category, "one class a row: softmax, cross-entropy", "Szegedy et al. 2016 (smoothing)"),
    "categories": TargetEntry(Categories, "any number of labels a row: a sigmoid each", "Zhang and Zhou 2014 (survey)"),
    "number": TargetEntry(NumberTarget, "one number a row: squared error of the standardised value", "least squares"),
}

__all__ = [
    "TARGETS",
    "Categories",
    "Category",
    "NumberTarget",
    "Target",
    "TargetEntry",
    "build_head",
    "primary_metric_of",
]
