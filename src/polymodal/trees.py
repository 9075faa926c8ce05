"""Boosted trees of a few rows, without LightGBM: its import takes longer than the rest of a short prediction (numpy).

Reads LightGBM's text format, version 4, and decides as its ``Tree::NumericalDecision`` does: a missing value counts as
zero unless the split knows missing values, which it then sends to its default side.

Shape legend: N rows, K features, T trees, C outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ZERO = 1e-35
"""LightGBM's bound of what counts as zero."""
DEFAULT_LEFT, MISSING_SHIFT, MISSING_ZERO, MISSING_NAN = 2, 2, 1, 2
FIELDS = ("split_feature", "threshold", "decision_type", "left_child", "right_child", "leaf_value")


@dataclass(frozen=True, kw_only=True)
class Trees:
    """All trees of one model, their nodes and then their leaves in one row of places.

    Attributes:
        num_nodes: Places of nodes; a place from there on is a leaf, which follows itself.
        roots: int64 ``[T]``, each tree's first place.
        feature: int64 ``[places]``, which feature is compared; 0 in leaves.
        threshold: float64 ``[places]``; what is not larger goes left.
        missing: int64 ``[places]``: 0 no missing values, 1 zeros, 2 NaN.
        missing_left: bool ``[places]``; True where missing values go left.
        left: int64 ``[places]``.
        right: int64 ``[places]``.
        value: float64 ``[places]``, the leaves' values; 0 in nodes.
        num_outputs: C; the trees take turns.
        objective: First word of the model's objective.
        steepness: Factor of a binary model's sigmoid.
    """

    num_nodes: int
    roots: NDArray[np.int64]
    feature: NDArray[np.int64]
    threshold: Floats
    missing: NDArray[np.int64]
    missing_left: NDArray[np.bool_]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    value: Floats
    num_outputs: int
    objective: str
    steepness: float

    @classmethod
    def from_text(cls, text: str) -> Trees:
        """Read a model.

        Args:
            text: LightGBM's text of a model without categorical features or linear leaves.

        Returns:
            The trees.
        """
        head, *blocks = text.partition("\nend of trees")[0].split("\nTree=")
        options = _entries(head)
        trees = [{name: _numbers(found.get(name, "")) for name in FIELDS} for found in map(_entries, blocks)]
        node_counts = np.array([len(tree["threshold"]) for tree in trees], np.int64)
        leaf_counts = np.array([len(tree["leaf_value"]) for tree in trees], np.int64)
        num_nodes = int(node_counts.sum())
        nodes_at = np.cumsum(node_counts) - node_counts
        leaves_at = num_nodes + np.cumsum(leaf_counts) - leaf_counts
        leaves = np.arange(num_nodes, num_nodes + int(leaf_counts.sum()))
        kinds = np.concatenate([tree["decision_type"] for tree in trees]).astype(np.int64)
        goal = options["objective"].split()
        steepness = [float(word.partition(":")[2]) for word in goal if word.startswith("sigmoid:")]

        def children(name: str) -> NDArray[np.int64]:
            found = [tree[name].astype(np.int64) for tree in trees]
            starts = zip(found, nodes_at, leaves_at, strict=True)
            return np.concatenate([*(np.where(c < 0, leaf - c - 1, node + c) for c, node, leaf in starts), leaves])

        def padded(values: NDArray[Any]) -> NDArray[Any]:
            return np.concatenate([values, np.zeros(len(leaves), values.dtype)])

        return cls(
            num_nodes=num_nodes,
            roots=np.where(node_counts > 0, nodes_at, leaves_at),
            feature=padded(np.concatenate([tree["split_feature"] for tree in trees]).astype(np.int64)),
            threshold=padded(np.concatenate([tree["threshold"] for tree in trees])),
            missing=padded(kinds >> MISSING_SHIFT & 3),
            missing_left=padded(kinds & DEFAULT_LEFT > 0),
            left=children("left_child"),
            right=children("right_child"),
            value=np.concatenate([np.zeros(num_nodes), *(tree["leaf_value"] for tree in trees)]),
            num_outputs=int(options["num_tree_per_iteration"]),
            objective=goal[0],
            steepness=steepness[0] if steepness else 1.0,
        )

    def __len__(self) -> int:
        """Return the number of trees."""
        return len(self.roots)

    def predict(self, features: NDArray[np.float32]) -> Floats:
        """Predict rows.

        Args:
            features: float32 ``[N, K]``, NaN where absent.

        Returns:
            Probabilities ``[N]`` of a binary model or ``[N, C]``, or numbers ``[N]``.
        """
        owners = np.repeat(np.arange(len(features)), len(self))
        places = np.tile(self.roots, len(features))
        moving = np.flatnonzero(places < self.num_nodes)
        while len(moving):
            places[moving] = self._next(places[moving], features[owners[moving], self.feature[places[moving]]])
            moving = moving[places[moving] < self.num_nodes]
        shape = len(features), len(self) // self.num_outputs, self.num_outputs
        return self._finish(self.value[places].reshape(shape).sum(axis=1))

    def _next(self, places: NDArray[np.int64], found: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return where nodes send what is found there."""
        values, missing, is_nan = found.astype(np.float64), self.missing[places], np.isnan(found)
        values[is_nan] = 0.0
        unknown = np.where(missing == MISSING_NAN, is_nan, (missing == MISSING_ZERO) & (np.abs(values) <= ZERO))
        is_left = np.where(unknown, self.missing_left[places], values <= self.threshold[places])
        return np.where(is_left, self.left[places], self.right[places])

    def _finish(self, sums: Floats) -> Floats:
        if self.objective == "binary":
            return np.asarray(1.0 / (1.0 + np.exp(-self.steepness * sums[:, 0])))
        if self.objective == "multiclass":
            powers = np.exp(sums - sums.max(axis=1, keepdims=True))
            return np.asarray(powers / powers.sum(axis=1, keepdims=True))
        return np.asarray(sums[:, 0])


def _entries(block: str) -> Mapping[str, str]:
    return {name: value for name, _, value in (line.partition("=") for line in block.splitlines())}


def _numbers(words: str) -> Floats:
    return np.array(words.split(), dtype=np.float64)
