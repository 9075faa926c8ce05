"""How much each member of the decision level weighs, learned on validation rows (numpy).

Shape legend as in ``decision``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.ensemble.ensemble import FUSION, Floats, Mask, MemberWeights, log_softmax, pool, views_of

NUM_FOLDS = 5
PULL = 2.0
"""Strength of the pull towards the anchor, in rows: a Gaussian prior on the weights with variance 1 / PULL."""
MAX_WEIGHT = 50.0
SMOOTHING = 1e-3
"""Added to a row's available weight while fitting, so that a member at weight zero keeps a bounded gradient."""


def fit_member_weights(
    kind: str,
    members: Mapping[str, Floats],
    present: Mapping[str, Mask],
    truth: NDArray[np.generic],
    seed: int,
    anchor: str = FUSION,
) -> MemberWeights:
    """Learn the weights of the members on validation rows.

    Three candidates are compared by cross-validation on these rows: the best single member, all members alike,
    and free weights. Free weights are taken only if they beat both simple ones.

    Args:
        kind: "category", "categories" or "number".
        members: Member to ``[N, C]`` probabilities or ``[N]`` numbers.
        present: Member to bool ``[N]``.
        truth: int64 ``[N]``, 0/1 ``[N, C]`` or float64 ``[N]``.
        seed: Fixes the folds.
        anchor: The member that free weights are pulled towards; all alike where there is no such member.

    Returns:
        The decision; with fewer than ten rows it is the anchor alone, or all members alike.
    """
    names = sorted(members)
    there = np.stack([present[name] for name in names])
    values = views_of(kind, [members[name] for name in names], there)
    problem = _Problem(kind, values, there, _as_rows(kind, truth), _spread(kind, truth))
    start = np.array([float(name == anchor) for name in names])
    start = start if start.any() else np.full(len(names), 1.0 / len(names))
    weights, reserve = start, _reserve(problem)
    if len(problem) >= 2 * NUM_FOLDS:
        weights = _choose(problem, _candidates(start), seed)(problem, reserve, True)
    tables = (dict(zip(names, column.tolist(), strict=True)) for column in (weights, reserve, problem.scale()))
    return MemberWeights(kind, *tables)


@dataclass(frozen=True)
class _Problem:
    """What weights are fitted on: values ``[M, N, ..., K]``, there ``[M, N]``, truth ``[N, ...]``."""

    kind: str
    values: Floats
    there: Mask
    truth: NDArray[Any]
    spread: float

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.there.shape[1])

    def only(self, member: int) -> _Problem:
        """Return the problem of one member alone."""
        return replace(self, values=self.values[[member]], there=self.there[[member]])

    def take(self, rows: NDArray[Any]) -> _Problem:
        """Return the problem of some rows."""
        return replace(self, values=self.values[:, rows], there=self.there[:, rows], truth=self.truth[rows])

    def known(self) -> _Problem:
        """Return the problem of the rows with a present member."""
        some = np.flatnonzero(self.there.any(axis=0))
        return self if len(some) == len(self) else self.take(some)

    def scale(self) -> Floats:
        """Return the usual spread of each member's log-probabilities, ``[M]``; 1 for numbers."""
        if self.kind == "number":
            return np.ones(len(self.there))
        spread = self.values.std(axis=-1)
        spread = spread if spread.ndim == 2 else spread.mean(axis=2)
        return np.asarray((spread * self.there).sum(axis=1) / np.maximum(self.there.sum(axis=1), 1))

    def loss(self, weights: Floats, spare: Floats) -> float:
        """Return the mean loss on the rows with a present member, as they would be combined."""
        known = self.known()
        if not len(known):
            return 0.0
        return known._losses(pool(known.values, known.there, weights, spare, float(weights.sum())))[0]

    def slope(self, weights: Floats) -> tuple[float, Floats]:
        """Return the mean loss and its gradient ``[M]``; every row must have a present member."""
        there, by_row = self.there.astype(np.float64), (-1, *(1,) * (self.values.ndim - 2))
        # einsum, not matmul: the arrays are too small for the threads of a matrix library to be worth their start.
        available = np.einsum("m,mn->n", weights, there) + SMOOTHING
        summed = np.einsum("m,m...->...", weights, self.values)
        factor = weights.sum() / available if self.kind != "number" else 1.0 / available
        growth = 1.0 / available if self.kind != "number" else np.zeros(len(self))
        change = growth - (factor / available) * there
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
            return float((error**2).mean() / self.spread), 2 * error[..., None] / truth.size / self.spread
        logs = log_softmax(pooled)
        right = np.take_along_axis(logs, truth[..., None], axis=-1)
        residual = np.exp(logs)
        np.put_along_axis(residual, truth[..., None], np.exp(right) - 1.0, axis=-1)
        return float(-right.mean()), residual / truth.size


Candidate = Callable[[_Problem, Floats, bool], Floats]
"""From rows, the reserve and whether to search thoroughly to weights."""


def _candidates(start: Floats) -> list[Candidate]:
    """Return ways of fitting weights, simplest first: each member alone, all alike, free."""

    def single(index: int) -> Candidate:
        return lambda _problem, reserve, _thorough: np.where(np.arange(len(start)) == index, reserve, 0.0)

    def alike(problem: _Problem, reserve: Floats, _thorough: bool) -> Floats:
        return _fit(problem, reserve[None, :] / len(start), np.ones(1))

    def free(problem: _Problem, _reserve: Floats, thorough: bool) -> Floats:
        return _fit(problem, np.eye(len(start)), start, thorough)

    singles = [single(index) for index in np.argsort(-start, kind="stable")]
    return singles if len(start) == 1 else [*singles, alike, free]


def _choose(problem: _Problem, candidates: list[Candidate], seed: int) -> Candidate:
    """Return the candidate with the least cross-validated loss; the simpler one if they are equal."""
    if len(candidates) == 1:
        return candidates[0]
    losses, rows = np.zeros(len(candidates)), np.arange(len(problem))
    for places in np.array_split(np.random.default_rng(seed).permutation(rows), NUM_FOLDS):
        kept, held_out = problem.take(np.setdiff1d(rows, places)), problem.take(places)
        reserve = _reserve(kept)
        for index, candidate in enumerate(candidates):
            losses[index] += held_out.loss(candidate(kept, reserve, False), reserve) * len(places) / len(rows)
    return candidates[int(np.argmin(losses.round(9)))]


def _reserve(problem: _Problem) -> Floats:
    """Return the best weight of each member alone, from the rows in which it is present; 1 for numbers."""
    if problem.kind == "number":
        return np.ones(len(problem.there))
    alone = [_fit(problem.only(index), np.ones((1, 1)), np.ones(1))[0] for index in range(len(problem.there))]
    return np.maximum(alone, 1e-3)


def _fit(problem: _Problem, basis: Floats, start: Floats, thorough: bool = False) -> Floats:
    """Minimise the loss over non-negative combinations of the basis ``[K, M]``, pulled towards the start ``[K]``.

    Where members are absent in some rows, leaving one out may be a minimum of its own: a thorough search looks there.
    """
    known = problem.known()
    if not len(known):
        return start @ basis
    pull = PULL / len(known)

    def objective(free: Floats) -> tuple[float, Floats]:
        loss, gradient = known.slope(free @ basis)
        away = free - start
        return loss + pull / 2 * float(away @ away), basis @ gradient + pull * away

    found = _minimise(objective, start + 0.05)
    if thorough and not known.there.all():
        fewer = np.where(np.eye(len(start), dtype=np.bool_), 0.0, found.x)
        found = min([found, *(_minimise(objective, free) for free in fewer)], key=lambda result: result.fun)
    weights = found.x @ basis
    weights = weights if weights.sum() > 1e-6 else start @ basis
    return weights / weights.sum() if problem.kind == "number" else weights


def _minimise(objective: Callable[[Floats], tuple[float, Floats]], start: Floats) -> Any:
    """Return SciPy's result: the numbers ``x`` in 0..MAX_WEIGHT with the least loss ``fun``."""
    from scipy.optimize import minimize

    return minimize(objective, start, jac=True, method="L-BFGS-B", bounds=[(0.0, MAX_WEIGHT)] * len(start))


def _as_rows(kind: str, truth: NDArray[np.generic]) -> NDArray[Any]:
    return truth.astype(np.float64 if kind == "number" else np.int64)


def _spread(kind: str, truth: NDArray[np.generic]) -> float:
    """Return the variance of a number, the unit of its loss; 1 for the other kinds and for a constant."""
    variance = float(truth.astype(np.float64).var()) if kind == "number" and len(truth) else 1.0
    return variance or 1.0
