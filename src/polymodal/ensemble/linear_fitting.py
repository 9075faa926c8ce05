"""Fitting of the linear baseline: logistic or ridge regression by L-BFGS, with the penalty of the lowest held-out loss.

Shape legend: N rows, D dense features, S sparse features, K outputs, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.ensemble.baselines import Floats, Linear
from polymodal.ensemble.features import FeatureBlocks
from polymodal.ensemble.held_out_loss import center_and_scale, held_out_loss
from polymodal.ensemble.sparse_rows import SparseRows

PENALTIES = (1e-1, 1e-2, 1e-3, 1.2e-4, 1.5e-5, 2e-6)
DEFAULT_PENALTY = 1.2e-4
LARGE_DATA_ROWS = 10_000
"""Number of rows from which the two largest penalties are left out."""
ITERATION_RANGE = (15, 100)
TOLERANCE = 1e-6
"""Relative decrease of the objective below which L-BFGS stops."""
ITERATION_CELLS = 8e9
MAX_WEIGHTS = 4_000_000
MAX_OUTPUTS, NUM_COMPONENTS = 128, 48
"""More numbers than this are predicted by so many of their principal components."""


def fit_linear(
    kind: str,
    num_classes: int,
    features: FeatureBlocks,
    truth: NDArray[Any],
    held_out: Sequence[NDArray[np.int64]],
    prior: Floats,
    largest: float | None = None,
) -> tuple[Linear, list[Linear]]:
    """Fit the linear baseline on all rows, and once for each fold without the rows that it holds out.

    The penalty decreases, with warm starts, while the loss of the held-out rows of all folds decreases.

    Args:
        kind: "category", "categories", "number" or "numbers".
        num_classes: Classes, labels or numbers; 1 for a number.
        features: Features of the rows.
        truth: int64 ``[N]``, 0/1 ``[N, C]``, float64 ``[N]`` or ``[N, C]``, NaN where a number is unknown.
        held_out: The rows that each fold holds out, int64; without folds the penalty is a fixed one.
        prior: What the bias starts from: class or label frequencies, or the mean.
        largest: Limit of the predictions of a number, whose logarithm is fitted; None: the number itself is.

    Returns:
        The model of all rows, and those of the folds.
    """
    problem = _LinearProblem(kind, num_classes, features, truth, prior, largest)
    every_row = np.arange(len(truth))
    penalties = PENALTIES if len(truth) < LARGE_DATA_ROWS else PENALTIES[2:]
    if not held_out:
        return problem.model(problem.solve(problem.initial, DEFAULT_PENALTY, every_row)), []
    folds = [np.setdiff1d(every_row, rows) for rows in held_out]
    of_fold, penalty = _choose_penalty(problem, truth, folds, held_out, penalties)
    weights = problem.solve(np.mean(of_fold, axis=0), penalty, every_row)
    return problem.model(weights), [problem.model(fold) for fold in of_fold]


def _choose_penalty(
    problem: _LinearProblem,
    truth: NDArray[Any],
    folds: Sequence[NDArray[np.int64]],
    held_out: Sequence[NDArray[np.int64]],
    penalties: Sequence[float],
) -> tuple[list[Floats], float]:
    """Return the weights of each fold, and the penalty of the lowest held-out loss."""
    weights = [problem.initial for _ in folds]
    best, chosen, best_loss = weights, penalties[0], np.inf
    rows = np.concatenate(held_out)
    for penalty in penalties:
        weights = [problem.solve(start, penalty, fold) for start, fold in zip(weights, folds, strict=True)]
        pairs = zip(weights, held_out, strict=True)
        found = np.concatenate([problem.model(fold).predict(problem.features.take(held)) for fold, held in pairs])
        loss = held_out_loss(problem.kind, found, truth[rows])
        if loss >= best_loss:
            break
        best, chosen, best_loss = weights, penalty, loss
    return best, chosen


def _principal_components(target: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the components of each row ``[N, K]`` and what they stand for ``[K, C]``; unknown numbers are means."""
    from scipy.linalg import svd

    filled = np.nan_to_num(target)
    sample = filled[:: max(1, len(filled) // 2_000)]
    _, _, basis = svd(sample, full_matrices=False)
    basis = np.ascontiguousarray(basis[:NUM_COMPONENTS], np.float32)
    return filled @ basis.T, basis


def _encode_target(kind: str, num_classes: int, truth: NDArray[Any]) -> NDArray[np.float32]:
    """Return the target of the outputs, float32 ``[N, K]``; two classes need one output."""
    if kind != "category":
        return truth.reshape(len(truth), -1).astype(np.float32)
    if num_classes == 2:
        return truth[:, None].astype(np.float32)
    one_hot = np.zeros((len(truth), num_classes), np.float32)
    one_hot[np.arange(len(truth)), truth] = 1.0
    return one_hot


def _largest_features(sparse: Any, max_features: int) -> NDArray[np.int64]:
    """Return the sparse features with the largest total squared weight, in order."""
    squares = np.asarray(sparse.power(2).sum(axis=0)).ravel()
    return np.sort(np.argsort(-squares, kind="stable")[:max_features])


class _LinearProblem:
    """Mean loss with an L2 penalty; the bias, the last row of the weights, is not penalised."""

    def __init__(
        self,
        kind: str,
        num_classes: int,
        features: FeatureBlocks,
        truth: NDArray[Any],
        prior: Floats,
        largest: float | None,
    ) -> None:
        self.kind, self.features, self.dense, self.largest = kind, features, features.dense, largest
        truth = truth if largest is None else np.log(truth)
        self.center, self.scale = center_and_scale(kind, truth)
        self.basis: NDArray[np.float32] | None = None
        is_class = kind in ("category", "categories")
        self.target = _encode_target(kind, num_classes, truth if is_class else (truth - self.center) / self.scale)
        if kind == "numbers" and self.target.shape[1] > MAX_OUTPUTS:
            self.target, self.basis = _principal_components(self.target)
        sparse = (features.sparse or SparseRows.empty(len(features), 0)).to_scipy()
        self.columns = _largest_features(sparse, MAX_WEIGHTS // self.target.shape[1])
        self.sparse = sparse[:, self.columns]
        cells = self.dense.size * self.target.shape[1] + 1
        self.max_iterations = int(np.clip(ITERATION_CELLS / cells, *ITERATION_RANGE))
        self.shape = (self.dense.shape[1] + self.sparse.shape[1] + 1, self.target.shape[1])
        self.initial = self._initial_weights(prior)

    def _initial_weights(self, prior: Floats) -> Floats:
        """Return zero weights with the bias that predicts the prior."""
        weights = np.zeros(self.shape)
        if self.kind in ("category", "categories"):
            probability = np.clip(prior, 1e-4, 1 - 1e-4)
            odds = np.log(probability) - (0.0 if self.kind == "category" else np.log(1 - probability))
            weights[-1] = odds if len(odds) == self.shape[1] else odds[1] - odds[0]
        return weights

    def model(self, weights: Floats) -> Linear:
        """Return the model with these weights."""
        bias = weights[-1].astype(np.float32)
        parts = self.split(weights)
        options: dict[str, Any] = {"largest": self.largest, "basis": self.basis}
        return Linear(self.kind, self.center, self.scale, *parts, self.columns, bias=bias, **options)

    def split(self, weights: Floats) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the dense and the sparse weights as float32."""
        weights_32 = weights.astype(np.float32)
        return weights_32[: self.dense.shape[1]], weights_32[self.dense.shape[1] : -1]

    def solve(self, start: Floats, penalty: float, rows: NDArray[np.int64]) -> Floats:
        """Minimise over some rows by L-BFGS, in one thread: the vectors are too short for several."""
        from scipy.optimize import minimize
        from threadpoolctl import threadpool_limits

        objective = partial(self._loss_and_gradient, penalty, self._take(rows))
        options = {"maxiter": self.max_iterations, "ftol": TOLERANCE}
        with threadpool_limits(1, user_api="blas"):
            result = minimize(objective, start.ravel(), jac=True, method="L-BFGS-B", options=options)
        return np.asarray(result.x).reshape(self.shape)

    def _take(self, rows: NDArray[np.int64]) -> tuple[Any, Any, Any, NDArray[np.float32]]:
        """Return the features and the target of some rows, in order: dense, sparse, sparse transposed, target."""
        if len(rows) == len(self.target):
            return self.dense, self.sparse, self.sparse.T.tocsr(), self.target
        sparse = self.sparse[rows]
        return self.dense[rows], sparse, sparse.T.tocsr(), self.target[rows]

    def _loss_and_gradient(
        self, penalty: float, data: tuple[Any, Any, Any, NDArray[np.float32]], flat: Floats
    ) -> tuple[float, Floats]:
        dense_features, sparse_features, sparse_T, target = data
        weights = flat.reshape(self.shape)
        dense, sparse = self.split(weights)
        outputs = dense_features @ dense + sparse_features @ sparse + weights[-1].astype(np.float32)
        loss, residual = _loss_and_residual(self.kind, outputs, target)
        parts = [dense_features.T @ residual, sparse_T @ residual, residual.sum(axis=0, keepdims=True)]
        gradient = np.concatenate(parts).astype(np.float64)
        gradient[:-1] += penalty * weights[:-1]
        return loss + penalty / 2 * float((weights[:-1] ** 2).sum()), gradient.ravel()


def _loss_and_residual(
    kind: str, outputs: NDArray[np.float32], target: NDArray[np.float32]
) -> tuple[float, NDArray[np.float32]]:
    """Return the mean loss over rows and its gradient by the outputs."""
    num_rows = len(target)
    if kind in ("number", "numbers"):
        error = np.nan_to_num(outputs - target)
        loss = (error**2).sum(dtype=np.float64) / 2
        return float(loss) / num_rows, (error / num_rows).astype(np.float32, copy=False)
    if kind == "category" and target.shape[1] > 1:
        shifted = outputs - outputs.max(axis=1, keepdims=True)
        exponentials = np.exp(shifted)
        sums = exponentials.sum(axis=1, keepdims=True)
        loss = np.log(sums).sum(dtype=np.float64) - (target * shifted).sum(dtype=np.float64)
        return float(loss) / num_rows, ((exponentials / sums - target) / num_rows).astype(np.float32, copy=False)
    losses = np.logaddexp(np.float32(0), outputs) - target * outputs
    positive = 0.5 * (1.0 + np.tanh(outputs / 2))
    residual = (positive - target) / num_rows
    return float(losses.sum(dtype=np.float64)) / num_rows, residual.astype(np.float32, copy=False)
