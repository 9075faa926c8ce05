"""Prediction by boosted trees (numpy): what LightGBM fitted is followed without LightGBM.

LightGBM needs SciPy, and both take longer to import than a row takes to predict.

Shape legend: N rows, F features, T trees, K outputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.ensemble.tree_text import Tree, Trees, read_trees

Floats = NDArray[np.float64]

DEFAULT_LEFT, ZERO_IS_ABSENT, NAN_IS_ABSENT = 2, 4, 8
"""Bits of a decision."""
ZERO = float(np.float32(1e-35))
"""LightGBM's limit of what is zero."""
BLOCK_CELLS = 2**17
"""Rows times trees that are followed at once, so that they stay in a core's cache."""


class BoostedTrees:
    """Boosted trees over numbers, flattened: splits and leaves of all trees are nodes of one array.

    Example:
        >>> BoostedTrees.from_text(booster.model_to_string()).predict(features)  # doctest: +SKIP

    Attributes:
        trees: What was read.
    """

    def __init__(self, trees: Trees) -> None:
        """Flatten trees.

        Args:
            trees: The checked trees.
        """
        self.trees = trees
        sizes = [2 * len(tree.leaves) - 1 for tree in trees.trees]
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])
        self._roots, num_nodes = starts[:-1], int(starts[-1])
        self._features, self._thresholds = np.zeros(num_nodes, np.int64), np.zeros(num_nodes)
        self._decisions, self._values = np.zeros(num_nodes, np.int64), np.zeros(num_nodes)
        self._children = np.zeros((num_nodes, 2), np.int64)
        self._is_split = np.zeros(num_nodes, np.bool_)
        for start, tree in zip(self._roots.tolist(), trees.trees, strict=True):
            self._place(start, tree)
        is_left = self._decisions & DEFAULT_LEFT > 0
        self._absent_is_left = np.where(
            self._decisions & (ZERO_IS_ABSENT | NAN_IS_ABSENT) > 0, is_left, self._thresholds >= 0
        )
        self._has_zeros = bool((self._decisions & ZERO_IS_ABSENT).any())

    @classmethod
    def from_text(cls, text: str) -> BoostedTrees:
        """Read LightGBM's text of a model.

        Args:
            text: What ``Booster.model_to_string`` returned for trees over numbers.

        Returns:
            The trees.

        Raises:
            ValueError: If the text is cut or changed; the message is one clause.
        """
        return cls(read_trees(text))

    def _place(self, start: int, tree: Tree) -> None:
        """Write a tree's splits and, behind them, its leaves."""
        num_splits = len(tree.features)
        splits, leaves = slice(start, start + num_splits), slice(start + num_splits, start + 2 * num_splits + 1)
        self._features[splits], self._decisions[splits] = tree.features, tree.decisions
        self._thresholds[splits], self._values[leaves] = tree.thresholds, tree.leaves
        self._children[splits] = start + np.where(tree.children < 0, num_splits - 1 - tree.children, tree.children)
        self._is_split[splits] = True

    def predict(self, features: NDArray[Any]) -> Floats:
        """Predict rows.

        Args:
            features: float ``[N, F]``, NaN where absent.

        Returns:
            float64 ``[N]``: the numbers, or probabilities of the second of two classes; ``[N, K]`` probabilities of
            more classes. The sums over trees are LightGBM's to the bit.

        Raises:
            ValueError: If there are fewer features than the trees read.
        """
        if features.shape[1] != self.trees.num_features:
            raise ValueError(f"trees over {self.trees.num_features:,} features were given {features.shape[1]:,}")
        step = max(1, BLOCK_CELLS // max(len(self._roots), 1))
        starts = range(0, max(len(features), 1), step)
        scores = np.concatenate([self._scores(features[start : start + step]) for start in starts])
        return self._to_predictions(scores)

    def _scores(self, features: NDArray[Any]) -> Floats:
        """Return the sums of the leaves ``[N, K]``."""
        leaves = self._values[self._follow(features.astype(np.float64))]
        rounds = leaves.reshape(-1, self.trees.num_outputs, len(features))
        if not len(rounds):
            return np.zeros((len(features), self.trees.num_outputs))
        total: Floats = np.add.accumulate(rounds, axis=0)[-1].T  # tree after tree, as LightGBM adds them
        return np.asarray(total / len(rounds)) if self.trees.is_mean else total

    def _follow(self, features: Floats) -> NDArray[np.int64]:
        """Return the leaf of each tree and row, ``[T, N]``."""
        num_rows, flat = len(features), features.ravel()
        nodes = np.repeat(self._roots, num_rows)
        offsets = np.tile(np.arange(num_rows) * features.shape[1], len(self._roots))
        has_absent = bool(np.isnan(flat).any())
        moving = np.flatnonzero(self._is_split[nodes])
        while len(moving):
            at = nodes[moving]
            values = flat[offsets[moving] + self._features[at]]
            is_left = values <= self._thresholds[at]
            if has_absent:
                is_left |= np.isnan(values) & self._absent_is_left[at]
            if self._has_zeros:
                is_zero = (self._decisions[at] & ZERO_IS_ABSENT > 0) & (np.abs(values) <= ZERO)
                is_left = np.where(is_zero, self._absent_is_left[at], is_left)
            at = self._children[at, is_left.astype(np.int64)]
            nodes[moving] = at
            moving = moving[self._is_split[at]]
        return nodes.reshape(len(self._roots), num_rows)

    def _to_predictions(self, scores: Floats) -> Floats:
        """Undo the link of the loss, as LightGBM does."""
        if self.trees.objective == "binary":
            scores = 1.0 / (1.0 + np.exp(-self.trees.sigmoid * scores))
        elif self.trees.objective == "multiclass":
            scores = np.exp(scores - scores.max(axis=1, keepdims=True))
            scores /= scores.sum(axis=1, keepdims=True)
        return scores[:, 0] if self.trees.num_outputs == 1 else scores
