"""Ridge regression of several numbers: exact where features are dense and not too many, else by L-BFGS.

Shape legend: N rows, D dense features, K numbers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polymodal.ensemble.baselines import Floats, Linear
from polymodal.ensemble.features import FeatureBlocks
from polymodal.ensemble.held_out_loss import held_out_loss, number_scale
from polymodal.ensemble.linear_fitting import PENALTIES, fit_linear

MAX_EXACT_FEATURES = 3000
"""The eigenvectors of more features take longer than L-BFGS."""
EXACT_PENALTIES = (100.0, 10.0, 1.0, *PENALTIES)


def fit_ridge(features: FeatureBlocks, truth: Floats, num_train: int) -> Linear:
    """Fit a ridge regression on the first rows; the others choose its penalty.

    Args:
        features: Features of the rows.
        truth: float64 ``[N, K]``, NaN where a number is unknown.
        num_train: How many of the first rows it is fitted on.

    Returns:
        The regression, which has seen the other rows in its penalty alone.
    """
    if features.sparse is None and features.dense.shape[1] <= MAX_EXACT_FEATURES:
        return _fit_exactly(features, truth, num_train)
    held_out: NDArray[np.int64] = np.arange(num_train, len(truth))
    size = truth.shape[1]
    fitted, of_fold = fit_linear("numbers", size, features, truth, [held_out] * bool(len(held_out)), np.zeros(size))
    return of_fold[0] if of_fold else fitted


def _fit_exactly(features: FeatureBlocks, truth: Floats, num_train: int) -> Linear:
    """Solve the normal equations, once for the numbers that are known in the same rows."""
    center, scale = number_scale(truth[:num_train])
    target = (truth[:num_train] - center) / scale
    patterns, of_number = np.unique(~np.isnan(target), axis=1, return_inverse=True)
    size = (len(EXACT_PENALTIES), features.dense.shape[1], truth.shape[1])
    weights, biases = np.zeros(size), np.zeros((size[0], size[2]))
    for pattern in range(patterns.shape[1]):
        numbers = np.flatnonzero(of_number.ravel() == pattern)
        known = np.flatnonzero(patterns[:, pattern])
        if len(known):
            found = _solve(features.dense[known], target[known][:, numbers])
            weights[:, :, numbers], biases[:, numbers] = found
    models = [_linear(*pair, center, scale) for pair in zip(weights, biases, strict=True)]
    held_out = features.take(np.arange(num_train, len(truth)))
    if not len(held_out):
        return models[EXACT_PENALTIES.index(1.0)]
    losses = [held_out_loss("numbers", model.predict(held_out), truth[num_train:]) for model in models]
    return models[int(np.argmin(losses))]


def _solve(dense: NDArray[np.float32], target: Floats) -> tuple[Floats, Floats]:
    """Return weights ``[penalties, D, K]`` and biases ``[penalties, K]`` of least squares with an L2 penalty."""
    from scipy.linalg import eigh

    means, target_means = dense.mean(axis=0, dtype=np.float64), target.mean(axis=0)
    centred = dense - means
    values, vectors = eigh(centred.T @ centred / len(dense))
    projected = vectors.T @ (centred.T @ (target - target_means) / len(dense))
    weights = np.stack(
        [vectors @ (projected / (np.maximum(values, 0) + penalty)[:, None]) for penalty in EXACT_PENALTIES]
    )
    return weights, target_means - means @ weights


def _linear(weights: Floats, bias: Floats, center: Floats, scale: Floats) -> Linear:
    return Linear(
        "numbers",
        center,
        scale,
        dense=weights.astype(np.float32),
        sparse=np.zeros((0, weights.shape[1]), np.float32),
        columns=np.zeros(0, np.int64),
        bias=bias.astype(np.float32),
    )
