"""An earlier decision level, kept for comparison: one set of weights for complete rows, one for the others.

Probabilities are pooled in the logarithm with non-negative weights, numbers are averaged. Of three candidates (the
best single member, equal weights, free weights drawn towards the fusion), cross-validation on the validation rows
chooses; with fewer than ten rows the fusion decides alone. The prior is no member.

Shape legend: M members, N rows, K classes; labels of a multi-label target count as rows of two classes each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from decision_dumps import FUSION, PRIOR, UNMASKED, Dump, Floats, Mask

NUM_FOLDS, PRIOR_STRENGTH, MAX_WEIGHT, SMOOTHING, MIN_PROBABILITY = 5, 2.0, 50.0, 1e-3, 1e-12


@dataclass(frozen=True)
class _Data:
    """Values ``[M, N, ..., K]``, present ``[M, N]``, truth ``[N, ...]``, and the unit of the loss."""

    kind: str
    values: Floats
    present: Mask
    truth: NDArray[Any]
    unit: float = 1.0

    def __len__(self) -> int:
        return int(self.present.shape[1])

    def take(self, rows: NDArray[Any]) -> _Data:
        return replace(self, values=self.values[:, rows], present=self.present[:, rows], truth=self.truth[rows])

    def member(self, index: int) -> _Data:
        return replace(self, values=self.values[[index]], present=self.present[[index]])

    def usable(self) -> _Data:
        return self.take(np.flatnonzero(self.present.any(axis=0)))

    def loss(self, weights: Floats, fallback: Floats) -> float:
        usable = self.usable()
        return usable.losses(_pool(usable, weights, fallback))[0] if len(usable) else 0.0

    def loss_and_gradient(self, weights: Floats) -> tuple[float, Floats]:
        present, by_row = self.present.astype(np.float64), (-1, *(1,) * (self.values.ndim - 2))
        available = weights @ present + SMOOTHING
        summed = np.einsum("m,m...->...", weights, self.values)
        factor = weights.sum() / available if self.kind != "number" else 1.0 / available
        growth = 1.0 / available if self.kind != "number" else np.zeros(len(self))
        change = growth - (factor / available) * present
        loss, residual = self.losses(factor.reshape(by_row) * summed)
        by_factor = (residual * summed).reshape(len(self), -1).sum(axis=1)
        gradient = self.values.reshape(len(weights), -1) @ (residual * factor.reshape(by_row)).ravel()
        return loss, gradient + change @ by_factor

    def losses(self, pooled: Floats) -> tuple[float, Floats]:
        """Return the mean loss and its gradient by the pooled values."""
        if self.kind == "number":
            error = pooled[..., 0] - self.truth
            return float((error**2).mean() / self.unit), 2 * error[..., None] / self.truth.size / self.unit
        logs = _log_softmax(pooled)
        right = np.take_along_axis(logs, self.truth[..., None], axis=-1)
        residual = np.exp(logs)
        np.put_along_axis(residual, self.truth[..., None], np.exp(right) - 1.0, axis=-1)
        return float(-right.mean()), residual / self.truth.size


def old_final(dump: Dump) -> Floats:
    """Fit the old decision level on a dump's validation rows and predict its test rows.

    Args:
        dump: The dump.

    Returns:
        ``[N, C]`` probabilities, or ``[N]`` numbers.
    """
    complete, everything = dump.validation.present.all(axis=1), np.ones(len(dump.validation.truth), np.bool_)
    masks = [mask for mask in dump.validation.predictions if mask != UNMASKED]
    whole = _fit_level(dump, [(UNMASKED, complete if complete.any() else everything)])
    lacking = _fit_level(dump, [(UNMASKED, ~complete), *((mask, everything) for mask in masks)]) if masks else whole
    data = _data(dump, "test", [(UNMASKED, np.ones(len(dump.test.truth), np.bool_))])
    use_whole = dump.test.present.all(axis=1).reshape(-1, *(1,) * (data.values.ndim - 2))
    pooled = np.where(use_whole, _pool(data, *whole), _pool(data, *lacking))
    found = _to_prediction(dump.kind, pooled)
    found[~data.present.any(axis=0)] = dump.prior if dump.kind != "number" else dump.prior[0]
    return found


def _fit_level(dump: Dump, subsets: list[tuple[str, Mask]]) -> tuple[Floats, Floats]:
    """Return the weights of the members, and what weight each has where it is alone."""
    data = _data(dump, "validation", subsets)
    anchor = np.array([float(name == FUSION) for name in _members(dump)])
    weights = anchor = anchor if anchor.any() else np.full(len(anchor), 1.0 / len(anchor))
    fallback = _fit_alone(data)
    if len(data) >= 2 * NUM_FOLDS:
        weights = _choose(data, _candidates(anchor), dump.seed)(data, fallback, True)
    return weights, fallback


def _members(dump: Dump) -> list[str]:
    return sorted(name for name in dump.members if name != PRIOR)


def _data(dump: Dump, split: str, subsets: list[tuple[str, Mask]]) -> _Data:
    """Concatenate rows of several masks."""
    rows, names = getattr(dump, split), _members(dump)
    present = np.concatenate(
        [np.stack([dump.present(rows, mask)[name][used] for name in names], axis=1) for mask, used in subsets]
    ).T
    members = [np.concatenate([rows.predictions[mask][name][used] for mask, used in subsets]) for name in names]
    truth = np.concatenate([rows.truth[used] for _, used in subsets])
    stacked = np.stack(members)
    if dump.kind == "number":
        values, unit = stacked[..., None], float(truth.var()) or 1.0
        return _Data(dump.kind, _zero_absent(values, present), present, truth, unit)
    pair = [_log(1.0 - stacked), _log(stacked)]
    values = np.stack(pair, axis=-1) if dump.kind == "categories" else _log(stacked)
    return _Data(dump.kind, _zero_absent(values, present), present, truth.astype(np.int64))


def _zero_absent(values: Floats, present: Mask) -> Floats:
    return np.where(present.reshape(present.shape + (1,) * (values.ndim - 2)), values, 0.0)


def _pool(data: _Data, weights: Floats, fallback: Floats) -> Floats:
    available = data.present * weights[:, None]
    sums = available.sum(axis=0)
    rescaled = available * (weights.sum() / np.where(sums > 0, sums, 1.0))
    fallbacks = data.present * fallback[:, None] / np.maximum(data.present.sum(axis=0), 1)
    used = np.where(sums > 0, rescaled, fallbacks)
    return np.asarray((used.reshape(used.shape + (1,) * (data.values.ndim - 2)) * data.values).sum(axis=0))


Candidate = Callable[[_Data, Floats, bool], Floats]


def _candidates(anchor: Floats) -> list[Candidate]:
    """Return the ways of fitting weights, simplest first: each member alone, equal weights, free weights."""
    count = len(anchor)

    def single(index: int) -> Candidate:
        return lambda _data, fallback, _thorough: np.where(np.arange(count) == index, fallback, 0.0)

    def equal(data: _Data, fallback: Floats, _thorough: bool) -> Floats:
        return _fit(data, fallback[None, :] / count, np.ones(1))

    def free(data: _Data, _fallback: Floats, thorough: bool) -> Floats:
        return _fit(data, np.eye(count), anchor, thorough)

    singles = [single(index) for index in np.argsort(-anchor, kind="stable")]
    return singles if count == 1 else [*singles, equal, free]


def _choose(data: _Data, candidates: list[Candidate], seed: int) -> Candidate:
    """Return the candidate with the least cross-validated loss; the simpler one if they are equal."""
    losses, rows = np.zeros(len(candidates)), np.arange(len(data))
    for places in np.array_split(np.random.default_rng(seed).permutation(rows), NUM_FOLDS):
        training, held_out = data.take(np.setdiff1d(rows, places)), data.take(places)
        fallback = _fit_alone(training)
        for index, candidate in enumerate(candidates):
            losses[index] += held_out.loss(candidate(training, fallback, False), fallback) * len(places) / len(rows)
    return candidates[int(np.argmin(losses.round(9)))]


def _fit_alone(data: _Data) -> Floats:
    if data.kind == "number":
        return np.ones(len(data.present))
    alone = [_fit(data.member(index), np.ones((1, 1)), np.ones(1))[0] for index in range(len(data.present))]
    return np.maximum(alone, 1e-3)


def _fit(data: _Data, basis: Floats, start: Floats, thorough: bool = False) -> Floats:
    """Minimise the loss over non-negative combinations of ``basis [K, M]``, drawn towards ``start [K]``."""
    usable = data.usable()
    if not len(usable):
        return start @ basis
    strength = PRIOR_STRENGTH / len(usable)

    def objective(free: Floats) -> tuple[float, Floats]:
        loss, gradient = usable.loss_and_gradient(free @ basis)
        difference = free - start
        return loss + strength / 2 * float(difference @ difference), basis @ gradient + strength * difference

    bounds = [(0.0, MAX_WEIGHT)] * len(start)
    results = [minimize(objective, start + 0.05, jac=True, method="L-BFGS-B", bounds=bounds)]
    if thorough and not usable.present.all():
        without_one = np.where(np.eye(len(start), dtype=np.bool_), 0.0, results[0].x)
        results += [minimize(objective, free, jac=True, method="L-BFGS-B", bounds=bounds) for free in without_one]
    weights = min(results, key=lambda result: float(result.fun)).x @ basis
    weights = weights if weights.sum() > 1e-6 else start @ basis
    return weights / weights.sum() if data.kind == "number" else weights


def _to_prediction(kind: str, pooled: Floats) -> Floats:
    if kind == "number":
        return pooled[..., 0].copy()
    probabilities = np.exp(_log_softmax(pooled))
    return probabilities[..., 1].copy() if kind == "categories" else probabilities


def _log(probabilities: Floats) -> Floats:
    return np.log(np.clip(probabilities, MIN_PROBABILITY, 1.0))


def _log_softmax(values: Floats) -> Floats:
    shifted = values - values.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))
