"""A small model over the streams' own predictions, fitted on validation rows (numpy).

Stacked generalisation (Wolpert 1992; Ting and Witten 1999, section 2) for streams that may be absent: with z_sc what
stream s says of class c (centred log-probabilities, log-odds of a label, or a standardised number) and p_s = 1 where
it is present, else 0, the answer has the logits (for numbers: is)

    b_c + Σ_s p_s ((w_s + Σ_t (1 - p_t) d_st + e_sc) z_sc + v_sc).

w weighs the streams, d moves weight to a stream when another is absent, e and v are a class's own weights and biases.
All are fitted together, pulled towards the mean of the streams that are there; how strongly, cross-validation says.

Shape legend: N rows, S streams, C classes, labels, or 1 for numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

PULLS = (1.0, 10.0, 100.0)
"""Strengths of the pull towards the mean that are tried, in rows."""
NUM_FOLDS = 5
SMALLEST = 1e-6
"""Probabilities nearer to 0 or 1 count as this near."""
MAX_STEPS = 100
CONVERGED = 2e-9
"""A step that lowers the loss by no more than this share of it ends the fit."""


@dataclass(frozen=True)
class Stacker:
    """A fitted model over the streams' predictions of one target.

    Attributes:
        kind: "category", "categories" or "number".
        streams: Names of the streams.
        num_outputs: C.
        centre: Mean of a number target; 0 for the other kinds.
        scale: Deviation of a number target; 1 for the other kinds.
        parameters: b, w, d, e and v in a row.
    """

    kind: str
    streams: list[str]
    num_outputs: int
    centre: float
    scale: float
    parameters: list[float]

    def predict(self, members: Mapping[str, Floats], present: Mapping[str, Mask]) -> Floats:
        """Predict from the streams' predictions.

        Args:
            members: Stream to ``[N, C]`` probabilities or ``[N]`` numbers.
            present: Stream to bool ``[N]``; what stands in absent rows is never read.

        Returns:
            float64 ``[N, C]`` or ``[N]``; of no meaning in rows without any stream.
        """
        there = np.stack([present[name] for name in self.streams], axis=1)
        views = self._views(np.stack([members[name] for name in self.streams], axis=1), there)
        return self._finish(_logits(np.array(self.parameters), views, there))

    def _views(self, values: Floats, there: Mask) -> Floats:
        """Return z, ``[N, S, C]``; 0 where a stream is absent."""
        if self.kind == "number":
            views = (values[:, :, None] - self.centre) / self.scale
        elif self.kind == "categories":
            clipped = np.clip(values, SMALLEST, 1 - SMALLEST)
            views = np.log(clipped) - np.log1p(-clipped)
        else:
            views = np.log(np.clip(values, SMALLEST, 1.0))
            views = views - views.mean(axis=2, keepdims=True)
        return np.where(there[:, :, None], views, 0.0)

    def _finish(self, logits: Floats) -> Floats:
        if self.kind == "number":
            return np.asarray(logits[:, 0] * self.scale + self.centre)
        return _sigmoid(logits) if self.kind == "categories" else _softmax(logits)

    def state(self) -> dict[str, Any]:
        """Return the fitted fields as plain JSON."""
        return dict(vars(self))

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Stacker:
        """Restore the model.

        Args:
            state: What ``state`` returned.

        Returns:
            An equal model.
        """
        return cls(**state)


@dataclass(frozen=True)
class Stacked:
    """A fitted model, and others fitted without some rows each, to judge it by.

    Attributes:
        whole: Fitted on all rows.
        parts: Rows of a fold and the model fitted without them.
    """

    whole: Stacker
    parts: list[tuple[NDArray[np.int64], Stacker]]

    def predict_held_out(self, members: Mapping[str, Floats], present: Mapping[str, Mask]) -> Floats:
        """Predict each row by a model that was not fitted on it.

        Args:
            members: Stream to ``[N, C]`` probabilities or ``[N]`` numbers of all rows.
            present: Stream to bool ``[N]``.

        Returns:
            float64 ``[N, C]`` or ``[N]``.
        """
        said = self.whole.predict(members, present)
        for rows, stacker in self.parts:
            taken = {name: values[rows] for name, values in members.items()}
            said[rows] = stacker.predict(taken, {name: there[rows] for name, there in present.items()})
        return said


def fit_stacker(
    kind: str,
    members: Mapping[str, Floats],
    present: Mapping[str, Mask],
    truth: NDArray[Any],
    rows: NDArray[np.int64],
    seed: int,
) -> Stacked:
    """Fit the model over the streams.

    Args:
        kind: "category", "categories" or "number".
        members: Stream to ``[N, C]`` probabilities or ``[N]`` numbers.
        present: Stream to bool ``[N]``.
        truth: int64 ``[N]``, 0/1 ``[N, C]`` or float64 ``[N]``.
        rows: int64 ``[N]``, which row each is; what is said of one row is never on both sides of a fold.
        seed: Fixes the folds.

    Returns:
        The model, and those of the folds. With fewer than two rows a fold, it is the mean of the streams that are
        there.
    """
    from threadpoolctl import threadpool_limits

    streams = list(members)
    first = members[streams[0]]
    blank = _blank(kind, streams, truth, 1 if first.ndim == 1 else first.shape[1])
    there = np.stack([present[name] for name in streams], axis=1)
    views = blank._views(np.stack([members[name] for name in streams], axis=1), there)
    problem, known = _Problem(kind, views, there, _wanted(blank, truth)), np.unique(rows)
    if len(known) < 2 * NUM_FOLDS:
        return Stacked(blank, [])
    folds = np.array_split(np.random.default_rng(seed).permutation(known), NUM_FOLDS)
    with threadpool_limits(1, user_api="blas"):
        tried = [problem.fit_folds([np.isin(rows, fold) for fold in folds], blank, pull) for pull in PULLS]
        best = int(np.argmin([round(loss, 9) for loss, _ in tried]))
        whole = problem.fit(np.ones(len(truth), dtype=np.bool_), blank, PULLS[best])
    return Stacked(whole, list(zip(folds, tried[best][1], strict=True)))


@dataclass(frozen=True)
class _Problem:
    """What parameters are fitted on: views ``[N, S, C]``, there ``[N, S]``, wanted ``[N, C]``."""

    kind: str
    views: Floats
    there: Mask
    wanted: Floats

    def fit_folds(self, folds: list[Mask], blank: Stacker, pull: float) -> tuple[float, list[Stacker]]:
        """Fit without each fold in turn; return the loss on the folds held out, and the models."""
        loss, fitted = 0.0, []
        for fold in folds:
            fitted.append(self.fit(~fold, blank, pull))
            part = self.take(fold & self.there.any(axis=1))
            loss += float(part.loss_of(_logits(np.array(fitted[-1].parameters), part.views, part.there)).sum())
        return loss / len(self.wanted), fitted

    def take(self, rows: Mask) -> _Problem:
        """Return some rows."""
        return _Problem(self.kind, self.views[rows], self.there[rows], self.wanted[rows])

    def fit(self, rows: Mask, blank: Stacker, pull: float) -> Stacker:
        """Return the model that fits some rows, pulled towards the blank one."""
        from scipy.optimize import minimize

        part, start = self.take(rows & self.there.any(axis=1)), np.array(blank.parameters)
        strength = pull / max(len(part.wanted), 1)

        def objective(parameters: Floats) -> tuple[float, Floats]:
            loss, gradient = part.slope(parameters)
            away = parameters - start
            return loss + strength / 2 * float(away @ away), gradient + strength * away

        if not len(part.wanted):
            return blank
        options = {"maxiter": MAX_STEPS, "ftol": CONVERGED}
        found = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
        return Stacker(**{**blank.state(), "parameters": found.x.tolist()})

    def slope(self, parameters: Floats) -> tuple[float, Floats]:
        """Return the mean loss and its gradient."""
        logits = _logits(parameters, self.views, self.there)
        residual = (self._answer(logits) - self.wanted) / len(logits)
        there = self.there.astype(np.float64)
        by_stream = np.einsum("nsc,nc->ns", self.views, residual)
        gradients = (
            residual.sum(axis=0),
            by_stream.sum(axis=0),
            by_stream.T @ (1 - there),
            np.einsum("nsc,nc->sc", self.views, residual),
            there.T @ residual,
        )
        return float(self.loss_of(logits).mean()), np.concatenate([part.ravel() for part in gradients])

    def loss_of(self, logits: Floats) -> Floats:
        """Return each row's loss."""
        if self.kind == "number":
            return np.asarray(((logits - self.wanted) ** 2).sum(axis=1) / 2)
        if self.kind == "categories":
            return np.asarray((np.logaddexp(0.0, logits) - self.wanted * logits).sum(axis=1))
        return np.asarray(np.logaddexp.reduce(logits, axis=1) - (self.wanted * logits).sum(axis=1))

    def _answer(self, logits: Floats) -> Floats:
        if self.kind == "number":
            return logits
        return _sigmoid(logits) if self.kind == "categories" else _softmax(logits)


def _blank(kind: str, streams: list[str], truth: NDArray[Any], num_outputs: int) -> Stacker:
    """Return the mean of the streams that are there, when at most one is absent."""
    centre, scale = 0.0, 1.0
    if kind == "number" and len(truth):
        centre, scale = float(truth.mean()), float(truth.std()) or 1.0
    num_streams = len(streams)
    shifts = np.full((num_streams, num_streams), 1 / num_streams / max(num_streams - 1, 1))
    np.fill_diagonal(shifts, 0.0)
    rest = np.zeros(2 * num_streams * num_outputs)
    weights = np.full(num_streams, 1 / num_streams)
    parameters = np.concatenate([np.zeros(num_outputs), weights, shifts.ravel(), rest])
    return Stacker(kind, streams, num_outputs, centre, scale, parameters.tolist())


def _wanted(blank: Stacker, truth: NDArray[Any]) -> Floats:
    """Return what the answer should be, ``[N, C]``."""
    if blank.kind == "number":
        return np.asarray((truth[:, None].astype(np.float64) - blank.centre) / blank.scale)
    if blank.kind == "categories":
        return truth.astype(np.float64)
    return np.eye(blank.num_outputs)[truth.astype(np.int64)]


def _logits(parameters: Floats, views: Floats, there: Mask) -> Floats:
    """Return ``[N, C]``."""
    _, num_streams, num_outputs = views.shape
    sizes = np.cumsum([num_outputs, num_streams, num_streams**2, num_streams * num_outputs])
    bias, weights, shifts, slopes, votes = np.split(parameters, sizes)
    present = there.astype(np.float64)
    used = weights + (1 - present) @ shifts.reshape(num_streams, num_streams).T
    by_class = used[:, :, None] + slopes.reshape(num_streams, num_outputs)
    return np.asarray(bias + (by_class * views).sum(axis=1) + present @ votes.reshape(num_streams, num_outputs))


def _sigmoid(logits: Floats) -> Floats:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)))


def _softmax(logits: Floats) -> Floats:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
