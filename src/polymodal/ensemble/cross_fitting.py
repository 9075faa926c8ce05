"""Baselines fitted on all rows, and judged by models that did not see the rows that judge them (cross-fitting).

Each fold holds out some of the rows and is fitted on all others. The hyperparameters are chosen once, on
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
from polymodal.ensemble.held_out_loss import center_and_scale, held_out_loss, number_scale
from polymodal.ensemble.linear_fitting import fit_linear

Rows = NDArray[np.int64]

MAX_FOLDS = ((5_000, 5), (15_000, 3))
"""Below so many rows there are so many folds at most."""
MIN_ROWS = 20
"""Fewer rows than this get no trees."""
MAX_TREE_OUTPUTS = 32
"""More numbers than this get no trees: each takes trees of its own."""


class CrossFitted(NamedTuple):
    """Baselines of one target.

    Attributes:
        baselines: Fitted on all rows.
        folds: For each fold the same baselines, fitted without the rows that it holds out.
    """

    baselines: list[Baseline]
    folds: list[list[Baseline]]


def deal_folds(
    truth: NDArray[Any], is_validation: NDArray[np.bool_], groups: Sequence[Hashable] | None, seed: int
) -> list[Rows]:
    """Deal rows to folds, training and validation rows and each class in proportion; rows of a group stay together.

    Args:
        truth: Encoded cells ``[N]`` or ``[N, C]``; whole numbers ``[N]`` are classes.
        is_validation: bool ``[N]``; with many rows these are the only ones that are held out, by a single fold.
        groups: The group of each row; None: each row is a group of its own.
        seed: Seed of the order.

    Returns:
        int64 indices of each fold, rising; no fold is empty.
    """
    num_folds = next((folds for rows, folds in MAX_FOLDS if len(truth) < rows), 1)
    if num_folds == 1:
        return validation_fold(is_validation)
    keys: list[Hashable] = list(range(len(truth))) if groups is None else list(groups)
    order = np.random.default_rng(seed).permutation(len(truth))
    order = order[np.argsort(is_validation[order], kind="stable")]
    if truth.ndim == 1 and truth.dtype.kind in "iu":
        order = order[np.argsort(truth[order], kind="stable")]
    rows_of: dict[Hashable, list[int]] = {}
    for row in order.tolist():
        rows_of.setdefault(keys[row], []).append(row)
    if len(rows_of) < 2:
        return validation_fold(is_validation)
    folds: list[list[int]] = [[] for _ in range(min(num_folds, len(rows_of)))]
    for rows in sorted(rows_of.values(), key=len, reverse=True):
        min(folds, key=len).extend(rows)
    return [np.sort(np.array(fold, np.int64)) for fold in folds]


def validation_fold(is_validation: NDArray[np.bool_]) -> list[Rows]:
    """Return the one fold that holds out the validation rows, as rows that follow each other in time are judged.

    Args:
        is_validation: bool ``[N]``.

    Returns:
        int64 indices of the fold; no fold without validation rows or training rows.
    """
    return [] if is_validation.all() or not is_validation.any() else [np.flatnonzero(is_validation)]


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
        kind: "category", "categories", "number" or "numbers".
        num_classes: Classes, labels or numbers; 1 for a number.
        features: Features of the training and the validation rows.
        truth: int64 ``[N]``, 0/1 ``[N, C]``, float64 ``[N]`` or ``[N, C]``, NaN where a number is unknown.
        held_out: The rows that each fold holds out; without folds, hyperparameters are fixed ones.
        seed: Seed of the trees.
        num_threads: Maximum number of threads of LightGBM.
        budget_s: Approximate time limit of one fit of the trees, which bounds their number; None: the default of
            ``fit_trees``.

    Returns:
        The baselines; below 20 rows, for more than 32 numbers, or without any feature for them, there are no trees.
    """
    seen = [truth, *(np.delete(truth, rows, axis=0) for rows in held_out)]
    prior = _prior(kind, num_classes, truth)
    limits = [None, 2 * float(truth.max())] if kind == "number" and is_skewed(truth) else [None]
    linear = [fit_linear(kind, num_classes, features, truth, held_out, prior, limit) for limit in limits]
    candidates: list[list[list[Baseline]]] = [[[model, *folds] for model, folds in linear]]
    has_trees = len(truth) >= MIN_ROWS and (kind != "numbers" or num_classes <= MAX_TREE_OUTPUTS)
    if has_trees and features.trees.shape[1]:
        options: dict[str, Any] = {"seed": seed, "num_threads": num_threads, "budget_s": budget_s}
        candidates.append([])
        for limit in limits:
            numbers = truth if limit is None else np.log(truth)
            center, scale = center_and_scale(kind, numbers)
            labels = (numbers - center) / scale if kind in ("number", "numbers") else numbers
            texts = fit_trees(kind, num_classes, features, labels, held_out, **options)
            candidates[-1].append([Boosting(kind, rows, limit, center, scale) for rows in (texts[0], *texts[1])])
    chosen = [_best(kind, of_family, features, truth, held_out) for of_family in candidates]
    fitted: list[list[Baseline]] = [[Prior(_prior(kind, num_classes, rows))] for rows in seen]
    for members, *of_rows in zip(fitted, *chosen, strict=True):
        members.extend(of_rows)
    return CrossFitted(fitted[0], fitted[1:])


def is_skewed(truth: NDArray[np.float64]) -> bool:
    """Return whether numbers are all positive and so skewed that their logarithm may be easier to predict.

    Args:
        truth: float64 ``[N]``.

    Returns:
        Whether the mean is more than a tenth of the standard deviation above the median.
    """
    return bool((truth > 0).all() and truth.mean() - np.median(truth) > 0.1 * truth.std())


def _best(
    kind: str, candidates: list[list[Baseline]], features: FeatureBlocks, truth: NDArray[Any], held_out: Sequence[Rows]
) -> list[Baseline]:
    """Return the candidate of the lowest held-out loss: the model of all rows, then those of the folds."""
    if len(candidates) == 1 or not held_out:
        return candidates[0]
    known = truth[np.concatenate(held_out)]
    losses = []
    for _, *folds in candidates:
        pairs = zip(folds, held_out, strict=True)
        found = np.concatenate([baseline.predict(features.take(rows)) for baseline, rows in pairs])
        losses.append(held_out_loss(kind, found, known))
    return candidates[int(np.argmin(losses))]


def _prior(kind: str, num_classes: int, truth: NDArray[Any]) -> Floats:
    if kind == "category":
        return np.bincount(truth, minlength=num_classes) / len(truth)
    if kind == "numbers":
        return number_scale(truth)[0]
    return np.asarray(truth.mean(axis=0), dtype=np.float64)
