"""Checks of LightGBM's text of a model. LightGBM itself trusts it, and ends the process where it is cut or changed.

The form is that of LightGBM 4 (``GBDT::SaveModelToString`` and ``Tree::ToString``): a header of ``name=value`` lines, a
block of such lines for each tree, whose lengths the header lists, ``end of trees``, and the parameters of training.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

MAX_FEATURES = 2**24
MAX_LEAVES = 2**20
END = "end of trees"
AVERAGE = "average_output"
INTEGERS, NUMBERS = re.compile(r"(?:-?[0-9]{1,10}(?: |$))*"), re.compile(r"(?:[-+0-9.e ]|inf)*")
OBJECTIVE = re.compile(r"[a-z0-9_]+(?: (?P<name>[a-z_]+):[0-9.]+)*")
DECISIONS = frozenset({0, 2, 4, 6, 8, 10})
"""Of numbers: whether an absent one goes left (2), and what counts as absent (0: nothing, 4: zero, 8: NaN)."""


class Trees(NamedTuple):
    """A model whose text was checked.

    Attributes:
        text: Its text, of only what predictions are made of.
        num_features: Features it reads.
        num_outputs: Values it predicts for a row.
    """

    text: str
    num_features: int
    num_outputs: int


def load_booster(text: str) -> Any:
    """Load a model that was checked.

    Args:
        text: What ``Booster.model_to_string`` returned for trees over numbers.

    Returns:
        A ``lightgbm.Booster`` with the same predictions, without the parameters of training.

    Raises:
        ValueError: If the text is cut or changed; the message is one clause.
    """
    import lightgbm

    try:
        return lightgbm.Booster(model_str=read_trees(text).text)
    except lightgbm.basic.LightGBMError as error:
        raise ValueError(f"LightGBM cannot load it: {str(error).partition(chr(10))[0]}") from None


def read_trees(text: str) -> Trees:
    """Check that a model's text is whole, and that its trees lead from the root to a leaf whatever the features are.

    Args:
        text: What ``Booster.model_to_string`` returned for trees over numbers.

    Returns:
        The model, with the same predictions to the bit. What else is in the text, as the parameters of training,
        is left out, because LightGBM would follow it unchecked.

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
    average = f"{AVERAGE}\n" if f"\n{AVERAGE}\n" in text[: start or end] else ""
    head = _header(header, num_outputs, num_features) + average
    sizes = "tree_sizes=" + " ".join(str(len(tree)) for tree in trees)
    return Trees(f"{head}{sizes}\n\n{''.join(trees)}{END}\n", num_features, num_outputs)


def _header(lines: Mapping[str, str], num_outputs: int, num_features: int) -> str:
    objective = lines.get("objective", "")
    num_classes = re.search(r" num_class:([0-9]+)(?: |$)", objective)
    if not OBJECTIVE.fullmatch(objective) or (num_classes and int(num_classes[1]) != num_outputs):
        raise ValueError("its objective is none, or of another number of classes")
    names = " ".join(f"Column_{number}" for number in range(num_features))
    return (
        f"tree\nversion=v4\nnum_class={num_outputs}\nnum_tree_per_iteration={num_outputs}\nlabel_index=0\n"
        f"max_feature_idx={num_features - 1}\nobjective={objective}\nfeature_names={names}\n"
        f"feature_infos={' '.join(['none'] * num_features)}\n"
    )


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


def _checked_tree(lines: Mapping[str, str], number: int, num_features: int) -> str:
    """Check a tree and write it again."""
    num_leaves = _integer(lines, "num_leaves")
    if _integer(lines, "Tree") != number or not 1 <= num_leaves <= MAX_LEAVES:
        raise ValueError("its number or its number of leaves is wrong")
    if _integer(lines, "num_cat") or _integer(lines, "is_linear"):
        raise ValueError("there are decisions of another kind than numbers below a threshold")
    written = {"num_leaves": str(num_leaves), "num_cat": "0"}
    if num_leaves > 1:
        written |= _checked_splits(lines, num_leaves, num_features)
    written["leaf_value"] = _numbers(lines, "leaf_value", num_leaves)
    written |= {"is_linear": "0", "shrinkage": _numbers(lines, "shrinkage", 1)}
    return f"Tree={number}\n" + "".join(f"{name}={value}\n" for name, value in written.items()) + "\n\n"


def _checked_splits(lines: Mapping[str, str], num_leaves: int, num_features: int) -> dict[str, str]:
    names = ("split_feature", "decision_type", "left_child", "right_child")
    features, decisions, left, right = (_integers(lines, name, num_leaves - 1) for name in names)
    if not (min(features) >= 0 and max(features) < num_features):
        raise ValueError("a split reads a feature that is not there")
    if not DECISIONS.issuperset(decisions):
        raise ValueError("there are decisions of another kind than numbers below a threshold")
    _check_children(left, right, num_leaves)
    thresholds = _numbers(lines, "threshold", num_leaves - 1, may_be_infinite=True)
    return {name: lines[name] for name in names} | {"threshold": thresholds}


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


def _numbers(lines: Mapping[str, str], name: str, count: int, may_be_infinite: bool = False) -> str:
    """Check that a line holds so many numbers and return it; infinite thresholds tell absent values from others."""
    text = lines.get(name, "")
    try:
        values = [float(word) for word in text.split()] if NUMBERS.fullmatch(text) else [math.nan]
    except ValueError:
        values = [math.nan]
    if any(math.isnan(value) or (math.isinf(value) and not may_be_infinite) for value in values):
        raise ValueError(f"{name} holds a value that is no finite number")
    if len(values) != count:
        raise ValueError(f"{name} has {len(values):,} values, expected {count:,}")
    return text
