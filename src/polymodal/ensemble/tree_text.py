"""Reading of LightGBM's text of a model, checked. LightGBM itself trusts it, and ends the process where it is changed.

The form is that of LightGBM 4 (``GBDT::SaveModelToString`` and ``Tree::ToString``): a header of ``name=value`` lines, a
block of such lines for each tree, whose lengths the header lists, ``end of trees``, and the parameters of training.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_FEATURES = 2**24
MAX_LEAVES = 2**20
END = "end of trees"
AVERAGE = "average_output"
INTEGERS, NUMBERS = re.compile(r"(?:-?[0-9]{1,10}(?: |$))*"), re.compile(r"(?:[-+0-9.e ]|inf)*")
OBJECTIVES = ("", "regression", "binary", "multiclass")
OPTION = re.compile(r"(num_class|sigmoid):([0-9]{1,9})")
DECISIONS = frozenset({0, 2, 4, 6, 8, 10})
"""Of numbers: whether an absent one goes left (2), and what counts as absent (0: nothing, 4: zero, 8: NaN)."""


class Tree(NamedTuple):
    """A tree of S splits and S + 1 leaves.

    Attributes:
        features: int64 ``[S]``, the feature that a split reads.
        decisions: int64 ``[S]``, of ``DECISIONS``.
        thresholds: float64 ``[S]``; what is not above goes left.
        children: int64 ``[S, 2]``, right and left: a split, or a leaf as -1, -2, ...
        leaves: float64 ``[S + 1]``.
    """

    features: NDArray[np.int64]
    decisions: NDArray[np.int64]
    thresholds: NDArray[np.float64]
    children: NDArray[np.int64]
    leaves: NDArray[np.float64]


class Trees(NamedTuple):
    """A model whose text was checked.

    Attributes:
        trees: Of each round one tree an output.
        objective: LightGBM's name of the loss, or "".
        sigmoid: Factor of the outputs of the loss "binary".
        is_mean: Whether an output is the mean of its trees, not their sum.
        num_features: Features it reads.
        num_outputs: Values it predicts for a row.
    """

    trees: list[Tree]
    objective: str
    sigmoid: float
    is_mean: bool
    num_features: int
    num_outputs: int


def read_trees(text: str) -> Trees:
    """Check that a model's text is whole, and that its trees lead from the root to a leaf whatever the features are.

    Args:
        text: What ``Booster.model_to_string`` returned for trees over numbers.

    Returns:
        The model. What else is in the text, as the parameters of training, is left out.

    Raises:
        ValueError: If it is cut or changed; the message is one clause.
    """
    start, end = text.find("\nTree=0\n") + 1, text.find(f"\n{END}\n") + 1
    if not text.startswith("tree\n") or not end:
        raise ValueError(f"it does not go from 'tree' to '{END}'")
    header = _lines(text[: start or end])
    num_outputs, num_features = _integer(header, "num_class"), _integer(header, "max_feature_idx") + 1
    if not 0 < num_features <= MAX_FEATURES or not 0 < num_outputs == _integer(header, "num_tree_per_iteration"):
        raise ValueError("its numbers of features, classes and trees do not fit each other")
    trees = []
    for number, tree in enumerate(_tree_texts(text, start, end, _integers(header, "tree_sizes"))):
        try:
            trees.append(_checked_tree(_lines(tree), number, num_features))
        except ValueError as error:
            raise ValueError(f"in tree {number}, {error}") from None
    if len(trees) % num_outputs:
        raise ValueError(f"its {len(trees):,} trees are not a multiple of {num_outputs:,}")
    objective, sigmoid = _objective(header, num_outputs)
    is_mean = f"\n{AVERAGE}\n" in text[: start or end]
    return Trees(trees, objective, sigmoid, is_mean, num_features, num_outputs)


def _objective(lines: Mapping[str, str], num_outputs: int) -> tuple[str, float]:
    words = lines.get("objective", "").split(" ")
    found = [OPTION.fullmatch(word) for word in words[1:]]
    options = {option[1]: int(option[2]) for option in found if option is not None}
    if words[0] not in OBJECTIVES or None in found or options.get("num_class", num_outputs) != num_outputs:
        raise ValueError("its objective is another one, or of another number of classes")
    return words[0], float(options.get("sigmoid", 1))


def _tree_texts(text: str, start: int, end: int, sizes: list[int]) -> list[str]:
    """Cut the text into trees by the header's list of their sizes, as LightGBM does too."""
    trees, place = [], start
    for size in sizes if start else []:
        trees.append(text[place : place + size])
        place += size
    if min(sizes, default=1) < 1 or (place != end if start else bool(sizes)):
        raise ValueError("its trees have other sizes than it says")
    return trees


def _lines(text: str) -> dict[str, str]:
    pairs = [line.partition("=") for line in text.split("\n")]
    return {name: value for name, sign, value in pairs if sign}


def _checked_tree(lines: Mapping[str, str], number: int, num_features: int) -> Tree:
    num_leaves = _integer(lines, "num_leaves")
    if _integer(lines, "Tree") != number or not 1 <= num_leaves <= MAX_LEAVES:
        raise ValueError("its number or its number of leaves is wrong")
    if _integer(lines, "num_cat") or _integer(lines, "is_linear"):
        raise ValueError("there are decisions of another kind than numbers below a threshold")
    leaves = _numbers(lines, "leaf_value", num_leaves)
    if num_leaves == 1:
        nothing = np.zeros(0, np.int64)
        return Tree(nothing, nothing, np.zeros(0), nothing.reshape(0, 2), leaves)
    names = ("split_feature", "decision_type", "left_child", "right_child")
    features, decisions, left, right = (_integers(lines, name, num_leaves - 1) for name in names)
    if not (min(features) >= 0 and max(features) < num_features):
        raise ValueError("a split reads a feature that is not there")
    if not DECISIONS.issuperset(decisions):
        raise ValueError("there are decisions of another kind than numbers below a threshold")
    _check_children(left, right, num_leaves)
    thresholds = _numbers(lines, "threshold", num_leaves - 1, may_be_infinite=True)
    children = np.array([right, left], np.int64).T
    return Tree(np.array(features, np.int64), np.array(decisions, np.int64), thresholds, children, leaves)


def _check_children(left: list[int], right: list[int], num_leaves: int) -> None:
    """Check that each split and leaf is the child of one split before it: splits are 0, 1, ..., leaves -1, -2, ..."""
    children = sorted(left + right)
    is_whole = children == [*range(-num_leaves, 0), *range(1, num_leaves - 1)]
    if not is_whole or any(0 < child <= split for side in (left, right) for split, child in enumerate(side)):
        raise ValueError("splits do not lead to leaves")


def _integer(lines: Mapping[str, str], name: str) -> int:
    return _integers(lines, name, 1)[0]


def _integers(lines: Mapping[str, str], name: str, count: int | None = None) -> list[int]:
    text = lines.get(name, "")
    if not INTEGERS.fullmatch(text):
        raise ValueError(f"{name} holds no integers")
    values = [int(word) for word in text.split()]
    if count is not None and len(values) != count:
        raise ValueError(f"{name} has {len(values):,} values, expected {count:,}")
    return values


def _numbers(lines: Mapping[str, str], name: str, count: int, may_be_infinite: bool = False) -> NDArray[np.float64]:
    """Read so many numbers; infinite thresholds tell absent values from others."""
    text = lines.get(name, "")
    try:
        values = np.array(text.split() if NUMBERS.fullmatch(text) else ["nan"], np.float64)
    except ValueError:
        values = np.array([np.nan])
    if np.isnan(values).any() or (np.isinf(values).any() and not may_be_infinite):
        raise ValueError(f"{name} holds a value that is no finite number")
    if len(values) != count:
        raise ValueError(f"{name} has {len(values):,} values, expected {count:,}")
    return values
