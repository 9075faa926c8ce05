"""Fits the weights of the ensemble's members on validation rows (numpy).

Shape legend as in ``ensemble``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.ensemble.ensemble import FUSION, Floats, Mask, MemberWeights, log_softmax, pool_members, pooling_inputs

NUM_FOLDS = 5
PRIOR_STRENGTH = 2.0
"""Strength of the pull towards the anchor, in rows: a Gaussian prior on the weights with variance 1 / PULL."""
MAX_WEIGHT = 50.0
SMOOTHING = 1e-3
"""Added to the total weight of a row during fitting, so that gradients at weight zero are bounded."""


def fit_member_weights(
    kind: str,
    members: Mapping[str, Floats],
    present: Mapping[str, Mask],
    truth: NDArray[np.generic],
    seed: int,
    anchor: str = FUSION,
) -> MemberWeights:
    """Fit the weights of the members on validation rows.

    Three candidates are compared by cross-validation on these rows: the best single member, equal weights, and free
    weights. Free weights are used only if their loss is lower than that of both simple ones.

    Args:
        kind: "category", "categories" or "number".
        members: Member to ``[N, C]`` probabilities or ``[N]`` numbers.
        present: Member to bool ``[N]``.
        truth: int64 ``[N]``, 0/1 ``[N, C]`` or float64 ``[N]``.
        seed: Seed of the folds.
        anchor: The member towards which free weights are regularised; equal weights without it.

    Returns:
        The weights; with fewer than ten rows, the anchor alone, or equal weights.
    """
    names = sorted(members)
    present_MN = np.stack([present[name] for name in names])
    values = pooling_inputs(kind, [members[name] for name in names], present_MN)
    data = _PoolingData(kind, values, present_MN, _to_labels(kind, truth), _loss_unit(kind, truth))
    start = np.array([float(name == anchor) for name in names])
    start = start if start.any() else np.full(len(names), 1.0 / len(names))
    weights, fallback = start, _fit_single_weights(data)
    if len(data) >= 2 * NUM_FOLDS:
        weights = _choose(data, _candidates(start), seed)(data, fallback, True)
    tables = (dict(zip(names, column.tolist(), strict=True)) for column in (weights, fallback, data.scale()))
    return MemberWeights(kind, *tables)


@dataclass(frozen=True)
class _PoolingData:
    """The data that weights are fitted on: values ``[M, N, ..., K]``, present ``[M, N]``, truth ``[N, ...]``."""

    kind: str
    values: Floats
    present: Mask
    truth: NDArray[Any]
    loss_unit: float

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.present.shape[1])

    def single_member(self, member: int) -> _PoolingData:
        """Return the data of one member."""
        return replace(self, values=self.values[[member]], present=self.present[[member]])

    def take(self, rows: NDArray[Any]) -> _PoolingData:
        """Return the data of some rows."""
        return replace(self, values=self.values[:, rows], present=self.present[:, rows], truth=self.truth[rows])

    def with_any_member(self) -> _PoolingData:
        """Return the data of the rows with a present member."""
        some = np.flatnonzero(self.present.any(axis=0))
        return self if len(some) == len(self) else self.take(some)

    def scale(self) -> Floats:
        """Return the mean standard deviation of each member's log-probabilities, ``[M]``; 1 for numbers."""
        if self.kind == "number":
            return np.ones(len(self.present))
        spread = self.values.std(axis=-1)
        spread = spread if spread.ndim == 2 else spread.mean(axis=2)
        return np.asarray((spread * self.present).sum(axis=1) / np.maximum(self.present.sum(axis=1), 1))

    def loss(self, weights: Floats, fallback: Floats) -> float:
        """Return the mean loss on the rows with a present member, combined as in prediction."""
        usable = self.with_any_member()
        if not len(usable):
            return 0.0
        return usable._losses(pool_members(usable.values, usable.present, weights, fallback, float(weights.sum())))[0]

    def loss_and_gradient(self, weights: Floats) -> tuple[float, Floats]:
        """Return the mean loss and its gradient ``[M]``; every row must have a present member."""
        present_MN, by_row = self.present.astype(np.float64), (-1, *(1,) * (self.values.ndim - 2))
        # einsum, not matmul: the arrays are too small for the threads of a matrix library to be worth their start.
        available = np.einsum("m,mn->n", weights, present_MN) + SMOOTHING
        summed = np.einsum("m,m...->...", weights, self.values)
        factor = weights.sum() / available if self.kind != "number" else 1.0 / available
        factor_growth = 1.0 / available if self.kind != "number" else np.zeros(len(self))
        change = factor_growth - (factor / available) * present_MN
        loss, residual = self._losses(factor.reshape(by_row) * summed)
        by_factor = (residual * summed).reshape(len(self), -1).sum(axis=1)
        by_value = (residual * factor.reshape(by_row)).ravel()
        gradient = np.einsum("mi,i->m", self.values.reshape(len(weights), -1), by_value)
        return loss, gradient + np.einsum("mn,n->m", change, by_factor)

    def _losses(self, pooled: Floats) -> tuple[float, Floats]:
        """Return the mean loss and its gradient by the pooled values."""
        truth = self.truth
        if self.kind == "number":
            error = pooled[..., 0] - truth
            return float((error**2).mean() / self.loss_unit), 2 * error[..., None] / truth.size / self.loss_unit
        logs = log_softmax(pooled)
        right = np.take_along_axis(logs, truth[..., None], axis=-1)
        residual = np.exp(logs)
        np.put_along_axis(residual, truth[..., None], np.exp(right) - 1.0, axis=-1)
        return float(-right.mean()), residual / truth.size


Candidate = Callable[[_PoolingData, Floats, bool], Floats]
"""From data, fallback weights and whether to restart the search with each member left out, to weights."""


def _candidates(start: Floats) -> list[Candidate]:
    """Return the ways of fitting weights, simplest first: each member alone, equal weights, free weights."""

    def single(index: int) -> Candidate:
        return lambda _data, fallback, _thorough: np.where(np.arange(len(start)) == index, fallback, 0.0)

    def equal(data: _PoolingData, fallback: Floats, _thorough: bool) -> Floats:
        return _fit(data, fallback[None, :] / len(start), np.ones(1))

    def free(data: _PoolingData, _fallback: Floats, thorough: bool) -> Floats:
        return _fit(data, np.eye(len(start)), start, thorough)

    singles = [single(index) for index in np.argsort(-start, kind="stable")]
    return singles if len(start) == 1 else [*singles, equal, free]


def _choose(data: _PoolingData, candidates: list[Candidate], seed: int) -> Candidate:
    """Return the candidate with the least cross-validated loss; the simpler one if they are equal."""
    if len(candidates) == 1:
        return candidates[0]
    losses, rows = np.zeros(len(candidates)), np.arange(len(data))
    for places in np.array_split(np.random.default_rng(seed).permutation(rows), NUM_FOLDS):
        training, held_out = data.take(np.setdiff1d(rows, places)), data.take(places)
        fallback = _fit_single_weights(training)
        for index, candidate in enumerate(candidates):
            losses[index] += held_out.loss(candidate(training, fallback, False), fallback) * len(places) / len(rows)
    return candidates[int(np.argmin(losses.round(9)))]


def _fit_single_weights(data: _PoolingData) -> Floats:
    """Return the best weight of each member alone, from the rows in which it is present; 1 for numbers."""
    if data.kind == "number":
        return np.ones(len(data.present))
    alone = [_fit(data.single_member(index), np.ones((1, 1)), np.ones(1))[0] for index in range(len(data.present))]
    return np.maximum(alone, 1e-3)


def _fit(data: _PoolingData, basis: Floats, start: Floats, thorough: bool = False) -> Floats:
    """Minimise the loss over non-negative combinations of ``basis [K, M]``, with an L2 penalty towards ``start [K]``.

    If members are absent in some rows there may be local minima: ``thorough`` restarts with each member left out.
    """
    usable = data.with_any_member()
    if not len(usable):
        return start @ basis
    prior_strength = PRIOR_STRENGTH / len(usable)

    def objective(free: Floats) -> tuple[float, Floats]:
        loss, gradient = usable.loss_and_gradient(free @ basis)
        difference = free - start
        return loss + prior_strength / 2 * float(
            difference @ difference
        ), basis @ gradient + prior_strength * difference

    result = _minimize(objective, start + 0.05)
    if thorough and not usable.present.all():
        without_one = np.where(np.eye(len(start), dtype=np.bool_), 0.0, result.x)
        result = min([result, *(_minimize(objective, free) for free in without_one)], key=lambda result: result.fun)
    weights = result.x @ basis
    weights = weights if weights.sum() > 1e-6 else start @ basis
    return weights / weights.sum() if data.kind == "number" else weights


def _minimize(objective: Callable[[Floats], tuple[float, Floats]], start: Floats) -> Any:
    """Return SciPy's result: the numbers ``x`` in 0..MAX_WEIGHT with the least loss ``fun``."""
    from scipy.optimize import minimize

    return minimize(objective, start, jac=True, method="L-BFGS-B", bounds=[(0.0, MAX_WEIGHT)] * len(start))


def _to_labels(kind: str, truth: NDArray[np.generic]) -> NDArray[Any]:
    return truth.astype(np.float64 if kind == "number" else np.int64)


def _loss_unit(kind: str, truth: NDArray[np.generic]) -> float:
    """Return the variance of a number, the unit of its loss; 1 for the other kinds and for a constant."""
    variance = float(truth.astype(np.float64).var()) if kind == "number" and len(truth) else 1.0
    return variance or 1.0
