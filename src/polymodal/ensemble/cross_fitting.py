"""Baselines fitted on all rows, and judged on validation rows by models that did not see them (cross-fitting).

Each fold holds out some of the validation rows and is fitted on all other rows. The hyperparameters are chosen once, on
the held-out rows of all folds; then the baselines are fitted again on all rows.

Shape legend: N rows, C classes.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from polymodal.ensemble.baselines import Baseline, Boosting, Floats, Prior
from polymodal.ensemble.boosting import fit_trees
from polymodal.ensemble.features import FeatureBlocks
from polymodal.ensemble.linear_fitting import fit_linear

Rows = NDArray[np.int64]

NUM_FOLDS = 5
ONE_FOLD_ROWS = 2_000
"""Number of validation rows from which one fold, which holds out all of them, is enough."""
MIN_ROWS = 20
"""Fewer rows than this get no trees."""


class CrossFitted(NamedTuple):
    """Baselines of one target.

    Attributes:
        baselines: Fitted on all rows.
        folds: For each fold the same baselines, fitted without the rows that it holds out.
    """

    baselines: list[Baseline]
    folds: list[list[Baseline]]


def deal_folds(
    truth: NDArray[Any], groups: Sequence[Hashable] | None, seed: int, num_folds: int | None = None
) -> list[Rows]:
    """Deal rows to folds, each class in proportion; rows of a group stay together.

    Args:
        truth: Encoded cells ``[N]`` or ``[N, C]`` of the rows to hold out; whole numbers ``[N]`` are classes.
        groups: The group of each row; None: each row is a group of its own.
        seed: Seed of the order.
        num_folds: How many at most; None: 5, or 1 for 2,000 rows and more.

    Returns:
        int64 indices of each fold, rising; no fold is empty, and without rows there are none.
    """
    num_folds = num_folds or (NUM_FOLDS if len(truth) < ONE_FOLD_ROWS else 1)
    keys: list[Hashable] = list(range(len(truth))) if groups is None else list(groups)
    order = np.random.default_rng(seed).permutation(len(truth))
    if truth.ndim == 1 and truth.dtype.kind in "iu":
        order = order[np.argsort(truth[order], kind="stable")]
    rows_of: dict[Hashable, list[int]] = {}
    for row in order.tolist():
        rows_of.setdefault(keys[row], []).append(row)
    folds: list[list[int]] = [[] for _ in range(min(num_folds, len(rows_of)))]
    for rows in sorted(rows_of.values(), key=len, reverse=True):
        min(folds, key=len).extend(rows)
    return [np.sort(np.array(fold, np.int64)) for fold in folds]


def cross_fit_baselines(
    kind: str,
    num_classes: int,
    features: FeatureBlocks,
    truth: NDArray[Any],
    held_out: Sequence[Rows],
    seed: int = 0,
    num_threads: int = 1,
    budget_s: float | None = None,
) -> CrossFitted:
    """Fit the prior, the linear model and boosted trees for one target.

    Args:
        kind: "category", "categories" or "number".
        num_classes: Classes or labels; 1 for a number.
        features: Features of the training and the validation rows.
        truth: int64 ``[N]``, 0/1 ``[N, C]`` or float64 ``[N]``.
        held_out: The rows that each fold holds out; without folds, hyperparameters are fixed ones.
        seed: Seed of the trees.
        num_threads: Maximum number of threads of LightGBM.
        budget_s: Approximate time limit of one fit of the trees, which bounds their number; None: the default of
            ``fit_trees``.

    Returns:
        The baselines; below 20 rows, or without any feature for them, there are no trees.
    """
    seen = [truth, *(np.delete(truth, rows, axis=0) for rows in held_out)]
    fitted: list[list[Baseline]] = [[Prior(_prior(kind, num_classes, rows))] for rows in seen]
    linear = fit_linear(kind, num_classes, features, truth, held_out, _prior(kind, num_classes, truth))
    for members, model in zip(fitted, [linear[0], *linear[1]], strict=True):
        members.append(model)
    if len(truth) >= MIN_ROWS and features.trees.shape[1]:
        trees = fit_trees(
            kind, num_classes, features, truth, held_out, seed=seed, num_threads=num_threads, budget_s=budget_s
        )
        for members, texts in zip(fitted, [trees[0], *trees[1]], strict=True):
            members.append(Boosting(kind, texts))
    return CrossFitted(fitted[0], fitted[1:])


def _prior(kind: str, num_classes: int, truth: NDArray[Any]) -> Floats:
    if kind == "category":
        return np.bincount(truth, minlength=num_classes) / len(truth)
    return np.asarray(truth.mean(axis=0), dtype=np.float64)
