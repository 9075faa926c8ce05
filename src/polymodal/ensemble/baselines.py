"""Baselines for the network: the prior, a linear model and boosted trees (numpy, scipy, LightGBM).

Linear: multinomial or per-label logistic regression, or ridge regression, by L-BFGS; the penalty with the lowest loss
    on validation rows is used. Boosting: LightGBM (Ke et al. 2017) with early stopping on
validation rows. No pickle: a state is plain JSON, arrays, and LightGBM's own text format.

Shape legend: N rows, D dense features, S sparse features, K outputs, C classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from polymodal.ensemble.boosting import Rows, fit_trees
from polymodal.ensemble.features import FeatureBlocks
from polymodal.ensemble.stream_features import LINEAR, TREES
from polymodal.ensemble.tree_text import load_booster

Floats = NDArray[np.float64]
State = tuple[dict[str, Any], dict[str, NDArray[Any]], dict[str, str]]

PENALTIES = (1e-3, 1.2e-4, 1.5e-5, 2e-6)
DEFAULT_PENALTY = 1.2e-4
ITERATION_RANGE = (15, 40)
TOLERANCE = 1e-6
"""Relative decrease of the objective below which L-BFGS stops."""
ITERATION_CELLS = 8e9
MAX_WEIGHTS = 4_000_000
MIN_ROWS = 20


class Baseline(ABC):
    """A fitted baseline of one target; ``name`` says which, ``forms`` which features it reads."""

    name: ClassVar[str]
    forms: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def predict(self, features: FeatureBlocks) -> Floats:
        """Predict rows.

        Args:
            features: Features of N rows, from the extractor the baseline was fitted with.

        Returns:
            float64 ``[N, C]`` probabilities, or ``[N]`` numbers.
        """

    @abstractmethod
    def state(self) -> State:
        """Return plain JSON, named arrays and named texts; ``from_state`` makes an equal baseline of them."""

    @staticmethod
    def from_state(state: dict[str, Any], arrays: Mapping[str, NDArray[Any]], texts: Mapping[str, str]) -> Baseline:
        """Restore a baseline.

        Args:
            state: The plain part of ``state``.
            arrays: Its arrays.
            texts: Its texts.

        Returns:
            A baseline whose predictions are bit-identical.

        Raises:
            ValueError: If a text is cut or changed.
        """
        if state["name"] == "prior":
            return Prior(arrays["prior"])
        if state["name"] == "linear":
            return Linear(state["kind"], state["center"], state["scale"], **arrays)
        boosting = Boosting(state["kind"], [texts[f"trees{index}"] for index in range(len(texts))])
        _ = boosting.boosters  # a damaged text is found now, not at the first prediction
        return boosting


@dataclass(frozen=True)
class Prior(Baseline):
    """Predicts the same for every row: class frequencies, label frequencies, or the mean.

    Attributes:
        prior: float64 ``[C]``, or ``[]`` for a number.
    """

    prior: Floats
    name: ClassVar[str] = "prior"

    def predict(self, features: FeatureBlocks) -> Floats:
        """Return the prior for every row."""
        return np.broadcast_to(self.prior, (len(features), *self.prior.shape)).copy()

    def state(self) -> State:
        """Return the frequencies as an array."""
        return {"name": self.name}, {"prior": self.prior}, {}


@dataclass(frozen=True)
class Linear(Baseline):
    """Logistic or ridge regression.

    Attributes:
        kind: "category", "categories" or "number".
        center: Mean of a number in training; 0 for the others.
        scale: Standard deviation of a number in training; 1 for the others.
        dense: float32 ``[D, K]``.
        sparse: float32 ``[S', K]``.
        columns: int64 ``[S']``, the sparse features in use.
        bias: float32 ``[K]``.
    """

    kind: str
    center: float
    scale: float
    dense: NDArray[np.float32]
    sparse: NDArray[np.float32]
    columns: NDArray[np.int64]
    bias: NDArray[np.float32]
    name: ClassVar[str] = "linear"
    forms: ClassVar[frozenset[str]] = frozenset({LINEAR})

    def predict(self, features: FeatureBlocks) -> Floats:
        """Return probabilities or numbers."""
        outputs = features.dense @ self.dense + self.bias
        if len(self.columns):
            is_whole = len(self.columns) == features.sparse.shape[1]
            outputs = outputs + (features.sparse if is_whole else features.sparse[:, self.columns]) @ self.sparse
        return _to_prediction(self.kind, outputs.astype(np.float64), self.center, self.scale)

    def state(self) -> State:
        """Return the weights as arrays."""
        arrays = {name: getattr(self, name) for name in ("dense", "sparse", "columns", "bias")}
        plain = {"name": self.name, "kind": self.kind, "center": self.center, "scale": self.scale}
        return plain, arrays, {}


@dataclass(frozen=True)
class Boosting(Baseline):
    """Gradient-boosted trees.

    Attributes:
        kind: "category", "categories" or "number".
        models: LightGBM's text of each model: one, or one a label.
    """

    kind: str
    models: list[str]
    name: ClassVar[str] = "boosting"
    forms: ClassVar[frozenset[str]] = frozenset({TREES})

    @cached_property
    def boosters(self) -> list[Any]:
        """The loaded models."""
        return [load_booster(text) for text in self.models]

    def predict(self, features: FeatureBlocks) -> Floats:
        """Return probabilities or numbers."""
        outputs = [np.asarray(booster.predict(features.trees), dtype=np.float64) for booster in self.boosters]
        if self.kind == "categories":
            return np.stack(outputs, axis=1)
        if self.kind == "category" and outputs[0].ndim == 1:
            return np.stack([1.0 - outputs[0], outputs[0]], axis=1)
        return outputs[0]

    def state(self) -> State:
        """Return the models as texts."""
        texts = {f"trees{index}": text for index, text in enumerate(self.models)}
        return {"name": self.name, "kind": self.kind}, {}, texts


def fit_baselines(
    kind: str,
    num_classes: int,
    features_train: FeatureBlocks,
    truth_train: NDArray[Any],
    features_validation: FeatureBlocks,
    truth_validation: NDArray[Any],
    seed: int = 0,
    num_threads: int = 1,
    budget_s: float | None = None,
) -> list[Baseline]:
    """Fit the prior, the linear model and boosted trees for one target.

    Args:
        kind: "category", "categories" or "number".
        num_classes: Classes or labels; 1 for a number.
        features_train: Features of the training rows.
        truth_train: int64 ``[N]``, 0/1 ``[N, C]`` or float64 ``[N]``.
        features_validation: Features of the rows that choose the penalty and the number of trees; may be empty.
        truth_validation: Their truth.
        seed: Seed of the trees.
        num_threads: Maximum number of threads of LightGBM.
        budget_s: Approximate time limit of the trees, which bounds their number; None: the default of ``fit_trees``.

    Returns:
        The baselines; below 20 training rows, or without any feature for them, there are no trees.
    """
    prior = Prior(_prior(kind, num_classes, truth_train))
    train, validation = (features_train, truth_train), (features_validation, truth_validation)
    linear = _fit_linear(kind, num_classes, prior.prior, train, validation)
    if len(truth_train) < MIN_ROWS or not features_train.trees.shape[1]:
        return [prior, linear]
    trees = fit_trees(kind, num_classes, train, validation, seed=seed, num_threads=num_threads, budget_s=budget_s)
    return [prior, linear, Boosting(kind, trees)]


def _prior(kind: str, num_classes: int, truth: NDArray[Any]) -> Floats:
    if kind == "category":
        return np.bincount(truth, minlength=num_classes) / len(truth)
    return np.asarray(truth.mean(axis=0), dtype=np.float64)


def _to_prediction(kind: str, outputs: Floats, center: float, scale: float) -> Floats:
    if kind == "number":
        return outputs[:, 0] * scale + center
    if kind == "category" and outputs.shape[1] > 1:
        exponentials = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))
    positive = 0.5 * (1.0 + np.tanh(outputs / 2))
    return np.concatenate([1.0 - positive, positive], axis=1) if kind == "category" else positive


def _fit_linear(kind: str, num_classes: int, prior: Floats, train: Rows, validation: Rows) -> Linear:
    """Decrease the penalty, with warm starts, while the validation loss decreases."""
    from scipy.sparse import csr_matrix

    features, truth = train
    sparse = csr_matrix((len(features), 0), dtype=np.float32) if features.sparse is None else features.sparse
    center, scale = (float(truth.mean()), float(truth.std()) or 1.0) if kind == "number" else (0.0, 1.0)
    target = _encode_target(kind, num_classes, (truth - center) / scale if kind == "number" else truth)
    columns = _largest_features(sparse, MAX_WEIGHTS // target.shape[1])
    problem = _LinearProblem(kind, target, features.dense, sparse[:, columns])
    weights = problem.initial_weights(kind, prior)
    best, best_loss = weights, np.inf
    for penalty in PENALTIES:
        weights = problem.solve(weights, penalty)
        result = _linear(kind, center, scale, problem, weights, columns)
        if not len(validation[1]):
            best = weights
            if penalty == DEFAULT_PENALTY:
                break
            continue
        loss = _loss(kind, result.predict(validation[0]), validation[1])
        if loss >= best_loss:
            break
        best, best_loss = weights, loss
    return _linear(kind, center, scale, problem, best, columns)


def _linear(
    kind: str, center: float, scale: float, problem: _LinearProblem, weights: Floats, columns: NDArray[np.int64]
) -> Linear:
    return Linear(kind, center, scale, *problem.split(weights), columns=columns, bias=weights[-1].astype(np.float32))


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

    def __init__(self, kind: str, target: NDArray[np.float32], dense: NDArray[np.float32], sparse: Any) -> None:
        self.kind, self.target, self.dense, self.sparse = kind, target, dense, sparse
        self.sparse_T = sparse.T.tocsr()
        self.max_iterations = int(np.clip(ITERATION_CELLS / (dense.size * target.shape[1] + 1), *ITERATION_RANGE))
        self.shape = (dense.shape[1] + sparse.shape[1] + 1, target.shape[1])

    def initial_weights(self, kind: str, prior: Floats) -> Floats:
        """Return zero weights with the bias that predicts the prior."""
        weights = np.zeros(self.shape)
        if kind != "number":
            probability = np.clip(prior, 1e-4, 1 - 1e-4)
            odds = np.log(probability) - (0.0 if kind == "category" else np.log(1 - probability))
            weights[-1] = odds if len(odds) == self.shape[1] else odds[1] - odds[0]
        return weights

    def split(self, weights: Floats) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the dense and the sparse weights as float32."""
        weights_32 = weights.astype(np.float32)
        return weights_32[: self.dense.shape[1]], weights_32[self.dense.shape[1] : -1]

    def solve(self, start: Floats, penalty: float) -> Floats:
        """Minimise by L-BFGS, in one thread: the vectors are too short for several."""
        from scipy.optimize import minimize
        from threadpoolctl import threadpool_limits

        objective, options = (
            partial(self.loss_and_gradient, penalty=penalty),
            {"maxiter": self.max_iterations, "ftol": TOLERANCE},
        )
        with threadpool_limits(1, user_api="blas"):
            result = minimize(objective, start.ravel(), jac=True, method="L-BFGS-B", options=options)
        return np.asarray(result.x).reshape(self.shape)

    def loss_and_gradient(self, flat: Floats, penalty: float) -> tuple[float, Floats]:
        """Return the objective and its gradient."""
        weights = flat.reshape(self.shape)
        dense, sparse = self.split(weights)
        outputs = self.dense @ dense + self.sparse @ sparse + weights[-1].astype(np.float32)
        loss, residual = _loss_and_residual(self.kind, outputs, self.target)
        parts = [self.dense.T @ residual, self.sparse_T @ residual, residual.sum(axis=0, keepdims=True)]
        gradient = np.concatenate(parts).astype(np.float64)
        gradient[:-1] += penalty * weights[:-1]
        return loss + penalty / 2 * float((weights[:-1] ** 2).sum()), gradient.ravel()


def _loss_and_residual(
    kind: str, outputs: NDArray[np.float32], target: NDArray[np.float32]
) -> tuple[float, NDArray[np.float32]]:
    """Return the mean loss over rows and its gradient by the outputs."""
    num_rows = len(target)
    if kind == "number":
        error = outputs - target
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


def _loss(kind: str, prediction: Floats, truth: NDArray[Any]) -> float:
    if kind == "number":
        return float(((prediction - truth) ** 2).mean())
    if kind == "category":
        right = prediction[np.arange(len(truth)), truth]
    else:
        right = np.where(truth > 0.5, prediction, 1.0 - prediction)
    return float(-np.log(np.clip(right, 1e-12, 1.0)).mean())
