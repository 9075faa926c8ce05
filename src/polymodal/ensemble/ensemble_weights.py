"""Fits the weights of the ensemble's members on rows that none of them was fitted on (numpy, scipy).

1. Baselines are pooled on all rows for which there are out-of-fold predictions: training and validation rows.
2. That pool, the network and its streams are pooled on the validation rows, whatever streams a row has.
3. Each pattern of absent streams gets weights of its own, from the rows that have it and from rows in which a further
   stream was masked, with an L2 penalty towards the weights of step 2.

Steps 1 and 2 shrink the weights towards equal weights of calibrated members (ridge stacking: LeBlanc & Tibshirani 1996,
section 3). The strength is chosen by cross-validation: few rows that agree little choose nearly equal weights.

Shape legend as in ``pooling``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.ensemble.ensemble import MIN_SHARE, PRIOR, STREAM, Ensemble, MemberWeights, rows_by_pattern
from polymodal.ensemble.pooling import Floats, Mask, PoolingData, add_bias, pool_members

BASELINE = "baseline:"
NUM_FOLDS = 5
STRENGTHS = (160.0, 40.0, 10.0, 3.0)
"""Candidate strengths of the L2 penalty towards equal weights, in rows: a Gaussian prior of variance 1 / strength."""
TYPICAL_SCALE, CALIBRATION_STRENGTH = 0.6, 2.0
"""Scale of one member alone, towards which it is penalised, and by how much: most members are overconfident."""
BIAS_STRENGTH = 16.0
"""Strength of the penalty on biases, towards zero."""
PATTERN_STRENGTH = 20.0
"""Strength of the penalty on the weights and biases of a pattern, towards those of all rows."""
MANY_ROWS = 1_000
"""Number of rows from which the strength is not chosen but the smallest is used."""
MAX_WEIGHT = 50.0
SMALLEST = 1e-9
MAX_BIAS = 10.0


@dataclass(frozen=True)
class MemberRows:
    """Predictions of members for some rows, and their truth.

    Attributes:
        members: Member to ``[N, C]`` probabilities, or ``[N]`` or ``[N, D]`` numbers.
        visible: Stream to bool ``[N]``, True where it is present and not masked.
        truth: int64 ``[N]``, 0/1 ``[N, L]``, or float64 ``[N]`` or ``[N, D]``.
        rows: int64 ``[N]``, the number of each row in the table.
    """

    members: Mapping[str, Floats]
    visible: Mapping[str, Mask]
    truth: NDArray[Any]
    rows: NDArray[np.int64]

    def take(self, rows: NDArray[Any]) -> MemberRows:
        """Return some of the rows.

        Args:
            rows: Indices or mask ``[N]``.

        Returns:
            Those rows.
        """
        return MemberRows(
            members={name: values[rows] for name, values in self.members.items()},
            visible={stream: mask[rows] for stream, mask in self.visible.items()},
            truth=self.truth[rows],
            rows=self.rows[rows],
        )

    def with_noise(self, noisy: MemberRows | None) -> MemberRows:
        """Return these rows and copies of some of them below, which count as rows of their own.

        Args:
            noisy: Copies of rows with noise in their cells, if there are any; ``rows`` says of which.

        Returns:
            All of them; the numbers of copies are beyond those of the rows.
        """
        if noisy is None or not len(noisy.rows):
            return self
        beyond = int(max(self.rows.max(initial=0), noisy.rows.max())) + 1
        return MemberRows(
            members={name: np.concatenate([values, noisy.members[name]]) for name, values in self.members.items()},
            visible={stream: np.concatenate([mask, noisy.visible[stream]]) for stream, mask in self.visible.items()},
            truth=np.concatenate([self.truth, noisy.truth]),
            rows=np.concatenate([self.rows, noisy.rows + beyond]),
        )

    def data(self, kind: str, names: Sequence[str], prior: Floats | float) -> PoolingData:
        """Return the data to fit the weights of some members on."""
        everywhere = np.ones(len(self.truth), np.bool_)
        present_MN = np.stack([member_present(name, self.visible) if self.visible else everywhere for name in names])
        return PoolingData.of(kind, [self.members[name] for name in names], present_MN, self.truth, prior)


def member_present(member: str, visible: Mapping[str, Mask]) -> Mask:
    """Return where a member has an input: its stream, or any stream.

    Args:
        member: Its name.
        visible: Stream to bool ``[N]``; at least one.

    Returns:
        bool ``[N]``.
    """
    if member.startswith(STREAM):
        return visible[member.removeprefix(STREAM)]
    return np.asarray(np.any(list(visible.values()), axis=0))


@dataclass(frozen=True)
class _Pool:
    """Weights ``[M]``, biases ``[B]``, and what rows use in which no member with a weight is present ``[M]``."""

    weights: Floats
    bias: Floats
    fallback: Floats

    def values(self, data: PoolingData) -> Floats:
        """Return the pooled values of rows ``[N, ...]``, differences to the prior."""
        return add_bias(data.kind, pool_members(data.values, data.present, self.weights, self.fallback), self.bias)


def fit_ensemble(
    kind: str,
    rows: Sequence[MemberRows],
    prior: Floats | float,
    seed: int,
    baseline_rows: MemberRows | None = None,
    noisy: MemberRows | None = None,
) -> Ensemble:
    """Fit the weights of the members of one target.

    Args:
        kind: "category", "categories" or "number".
        rows: Validation rows as they are, and again with streams masked; the same members in each.
        prior: Probabilities ``[C]``, a number, or numbers ``[D]``.
        seed: Seed of the folds.
        baseline_rows: Further rows for which only the baselines have predictions, out of fold.
        noisy: Copies of validation rows with noise in their cells, of a hardened run; the same members.

    Returns:
        The weights; equal ones if there are no rows.
    """
    rows = [rows[0].with_noise(noisy), *rows[1:]]
    names = sorted(set(rows[0].members) - {PRIOR})
    unmasked = rows[0].data(kind, names, prior)
    pooled = _fit_pooled(unmasked, names, _baseline_data(kind, rows[0], names, prior, baseline_rows), seed)
    pieces = _pieces_by_pattern(kind, rows, names, prior)
    patterns = {absent: _fit_pattern(data, pooled) for absent, data in pieces.items() if len(pieces) > 1}
    scale = unmasked.spread()
    return Ensemble(
        pooled=_named(kind, names, pooled, scale),
        patterns={absent: _named(kind, names, found, pieces[absent].spread()) for absent, found in patterns.items()},
    )


def _named(kind: str, names: Sequence[str], pool: _Pool, scale: Floats) -> MemberWeights:
    """Name the weights, without those of members that have no influence to speak of: they need not be computed."""
    strength = pool.weights * scale
    pool = replace(pool, weights=np.where(strength >= MIN_SHARE * strength.sum(), pool.weights, 0.0))
    tables = [dict(zip(names, column.tolist(), strict=True)) for column in (pool.weights, pool.fallback, scale)]
    return MemberWeights(kind, tables[0], tables[1], tables[2], pool.bias.tolist())


def _baseline_data(
    kind: str, unmasked: MemberRows, names: Sequence[str], prior: Floats | float, further: MemberRows | None
) -> PoolingData | None:
    """Return the data of the baselines alone, on all rows that have their out-of-fold predictions."""
    baselines = [name for name in names if name.startswith(BASELINE)]
    if not baselines:
        return None
    parts = [unmasked] if further is None else [unmasked, further]
    return _join([part.data(kind, baselines, prior) for part in parts])


def _join(parts: Sequence[PoolingData]) -> PoolingData:
    first = parts[0]
    values, present = (
        np.concatenate([getattr(part, name) for part in parts], axis=1) for name in ("values", "present")
    )
    return replace(first, values=values, present=present, truth=np.concatenate([part.truth for part in parts]))


def _fit_pooled(data: PoolingData, names: Sequence[str], baselines: PoolingData | None, seed: int) -> _Pool:
    """Pool the baselines, then all members with the pool of the baselines as one of them."""
    if baselines is None:
        return _fit_pool(data, _equal(len(names)), seed)
    inner = [index for index, name in enumerate(names) if name.startswith(BASELINE)]
    outer = [index for index in range(len(names)) if index not in inner]
    pool = _fit_pool(baselines, _equal(len(inner)), seed)
    if not outer:
        return pool
    of_baselines = pool.values(data.members(inner))[None]
    stacked = replace(
        data,
        values=np.concatenate([data.values[outer], of_baselines]),
        present=np.concatenate([data.present[outer], data.present[inner].any(axis=0, keepdims=True)]),
    )
    joint = _fit_pool(stacked, np.append(_equal(len(outer)), 1.0) / 2, seed)
    return _Pool(
        _expand(joint.weights, outer, inner, pool.weights),
        joint.bias + joint.weights[-1] * pool.bias,
        _expand(joint.fallback, outer, inner, pool.fallback),
    )


def _equal(number: int) -> Floats:
    return np.full(number, 1.0 / number)


def _expand(weights: Floats, outer: list[int], inner: list[int], of_inner: Floats) -> Floats:
    """Return the weights of all members, of which the last weight is that of the pool of the inner ones."""
    expanded = np.zeros(len(outer) + len(inner))
    expanded[outer], expanded[inner] = weights[:-1], weights[-1] * of_inner
    return expanded


def _fit_pool(data: PoolingData, equal: Floats, seed: int) -> _Pool:
    """Fit weights that are shrunk towards equal ones ``[M]``, by a strength that is chosen by cross-validation."""
    data = data.with_any_member()
    return _fit_shrunk(data, equal, [_choose_strength(data, equal, seed)])[0]


def _fit_shrunk(data: PoolingData, equal: Floats, strengths: Sequence[float]) -> list[_Pool]:
    """Fit weights with a penalty towards equal weights of calibrated members, by each strength."""
    factors = _calibrate(data)
    if not len(data):
        return [_Pool(equal, np.zeros(data.num_biases), equal)] * len(strengths)
    calibrated, no_bias = data.scaled(factors), np.zeros(data.num_biases)
    scaled, _ = _minimise(calibrated, np.ones(1), no_bias, CALIBRATION_STRENGTH, equal[None])
    fitted = [_minimise(calibrated, scaled, no_bias, strength) for strength in strengths]
    return [_Pool(weights * factors, bias, scaled * factors) for weights, bias in fitted]


def _calibrate(data: PoolingData) -> Floats:
    """Return the factor of each member's values with the least loss, if it is alone."""
    alone = [data.members([index]).with_any_member() for index in range(len(data.values))]
    start, no_bias = np.full(1, TYPICAL_SCALE), np.zeros(data.num_biases)
    found = [_minimise(one, start, no_bias, CALIBRATION_STRENGTH)[0][0] if len(one) else TYPICAL_SCALE for one in alone]
    return np.maximum(found, 1e-3)


def _choose_strength(data: PoolingData, equal: Floats, seed: int) -> float:
    """Return the strength with the least cross-validated loss; of equal ones the largest."""
    if len(data) < 2 * NUM_FOLDS or len(data.values) < 2:
        return STRENGTHS[0]
    if len(data) > MANY_ROWS:
        return STRENGTHS[-1]
    losses, rows = np.zeros(len(STRENGTHS)), np.arange(len(data))
    for held_out in np.array_split(np.random.default_rng(seed).permutation(rows), NUM_FOLDS):
        pools, rest = _fit_shrunk(data.take(np.setdiff1d(rows, held_out)), equal, STRENGTHS), data.take(held_out)
        losses += [rest.row_losses(pool.weights, pool.bias, pool.fallback).sum() for pool in pools]
    return STRENGTHS[int(np.argmin((losses / len(data)).round(9)))]


def _minimise(
    data: PoolingData,
    start: Floats,
    bias: Floats,
    strength: float,
    basis: Floats | None = None,
    bias_strength: float = BIAS_STRENGTH,
) -> tuple[Floats, Floats]:
    """Minimise the loss over weights (sums of the rows of ``basis [K, M]``) and biases, penalised towards the start."""
    from scipy.optimize import minimize

    basis, num_rows = np.eye(len(data.values)) if basis is None else basis, len(data)
    strengths = np.concatenate([np.full(len(start), strength), np.full(len(bias), bias_strength)]) / num_rows
    anchor = np.concatenate([start, bias])

    def objective(parameters: Floats) -> tuple[float, Floats]:
        weights, biases = parameters[: len(start)] @ basis, parameters[len(start) :]
        loss, by_weight, by_bias = data.loss_and_gradient(weights, biases)
        pull = strengths * (parameters - anchor)
        gradient = np.concatenate([basis @ by_weight, by_bias])
        return loss + float(pull @ (parameters - anchor)) / 2, gradient + pull

    bounds = [(0.0, MAX_WEIGHT)] * len(start) + [(-MAX_BIAS, MAX_BIAS)] * len(bias)
    found = minimize(objective, anchor, jac=True, method="L-BFGS-B", bounds=bounds).x
    return found[: len(start)] @ basis, found[len(start) :]


def rows_of_patterns(rows: Sequence[MemberRows]) -> Iterator[tuple[frozenset[str], int, NDArray[np.int64]]]:
    """Group rows, as they are and masked, by the streams that are absent; a row counts once under a pattern.

    Args:
        rows: Validation rows as they are, and again with streams masked.

    Yields:
        The absent streams, a place in ``rows``, and the indices of its rows; rows without any stream are left out.
    """
    for place, part in enumerate(rows):
        changed = _changed_rows(rows[0], part) if place else np.ones(len(part.rows), np.bool_)
        for absent, of_pattern in rows_by_pattern(part.visible):
            used = of_pattern[changed[of_pattern]]
            if len(used) and len(absent) < len(part.visible):
                yield absent, place, used


def _pieces_by_pattern(
    kind: str, rows: Sequence[MemberRows], names: Sequence[str], prior: Floats | float
) -> dict[frozenset[str], PoolingData]:
    data = [part.data(kind, names, prior) for part in rows]
    pieces: dict[frozenset[str], list[PoolingData]] = {}
    for absent, place, used in rows_of_patterns(rows):
        pieces.setdefault(absent, []).append(data[place].take(used))
    return {absent: _join(parts) for absent, parts in pieces.items()}


def _changed_rows(unmasked: MemberRows, masked: MemberRows) -> Mask:
    """Return the masked rows that had every stream which is masked, bool ``[N]``."""
    places = np.searchsorted(unmasked.rows, masked.rows)
    changed = [unmasked.visible[stream][places] != mask for stream, mask in masked.visible.items()]
    hidden = [mask for mask in changed if mask.any()]
    return np.asarray(np.all(hidden, axis=0)) if hidden else np.zeros(len(masked.rows), np.bool_)


def _fit_pattern(data: PoolingData, pooled: _Pool) -> _Pool:
    """Fit the weights of rows with the same absent streams, with a penalty towards the weights of all rows."""
    present = data.present[:, 0]
    start = np.where(present, pooled.weights, 0.0)
    start = start if start.any() else np.where(present, pooled.fallback, 0.0)
    start *= pooled.weights.sum() / max(start.sum(), SMALLEST)
    weights, bias = _minimise(data, start, pooled.bias, PATTERN_STRENGTH, bias_strength=PATTERN_STRENGTH)
    return _Pool(np.where(present, weights, 0.0), bias, pooled.fallback)
