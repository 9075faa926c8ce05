"""Stacking: a small model of the streams' predictions, fitted on validation rows (numpy).

Stacked generalisation (Wolpert 1992; Ting and Witten 1999, section 2) for streams that may be absent: with z_sc the
prediction of stream s for class c (centred log-probabilities, log-odds of a label, or a standardised number) and p_s =
1 if it is present, else 0, the logits (for numbers: the prediction) are

    b_c + Σ_s p_s ((w_s + Σ_t (1 - p_t) d_st + e_sc) z_sc + v_sc).

w weighs the streams, d moves weight to a stream when another is absent, e and v are a class's own weights and biases.
All are fitted together with an L2 penalty towards the mean of the present streams; its strength is chosen by
cross-validation.

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

PENALTIES = (1.0, 10.0, 100.0)
"""Candidate strengths of the L2 penalty towards the mean, in rows."""
NUM_FOLDS = 5
MIN_PROBABILITY = 1e-6
"""Probabilities are clipped to this distance from 0 and 1."""
MAX_ITERATIONS = 100
TOLERANCE = 2e-9
"""Relative decrease of the loss below which the fit stops."""


@dataclass(frozen=True)
class Stacker:
    """A fitted model over the streams' predictions of one target.

    Attributes:
        kind: "category", "categories" or "number".
        streams: Names of the streams.
        num_outputs: C.
        centre: Mean of a number target; 0 for the other kinds.
        scale: Standard deviation of a number target; 1 for the other kinds.
        parameters: b, w, d, e and v, flattened and concatenated.
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
            present: Stream to bool ``[N]``; values of absent rows are not read.

        Returns:
            float64 ``[N, C]`` or ``[N]``; undefined in rows without any stream.
        """
        present_NS = np.stack([present[name] for name in self.streams], axis=1)
        inputs_NSC = self._to_inputs(np.stack([members[name] for name in self.streams], axis=1), present_NS)
        return self._to_prediction(_logits(np.array(self.parameters), inputs_NSC, present_NS))

    def _to_inputs(self, values: Floats, present_NS: Mask) -> Floats:
        """Return z, ``[N, S, C]``; 0 where a stream is absent."""
        if self.kind == "number":
            inputs_NSC = (values[:, :, None] - self.centre) / self.scale
        elif self.kind == "categories":
            clipped = np.clip(values, MIN_PROBABILITY, 1 - MIN_PROBABILITY)
            inputs_NSC = np.log(clipped) - np.log1p(-clipped)
        else:
            inputs_NSC = np.log(np.clip(values, MIN_PROBABILITY, 1.0))
            inputs_NSC = inputs_NSC - inputs_NSC.mean(axis=2, keepdims=True)
        return np.where(present_NS[:, :, None], inputs_NSC, 0.0)

    def _to_prediction(self, logits: Floats) -> Floats:
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
class CrossFittedStacker:
    """A stacker fitted on all rows, and the stackers of the folds for out-of-fold predictions.

    Attributes:
        full: Fitted on all rows.
        folds: For each fold its rows and the stacker fitted without them.
    """

    full: Stacker
    folds: list[tuple[NDArray[np.int64], Stacker]]

    def predict_out_of_fold(self, members: Mapping[str, Floats], present: Mapping[str, Mask]) -> Floats:
        """Predict each row with the stacker that was not fitted on it.

        Args:
            members: Stream to ``[N, C]`` probabilities or ``[N]`` numbers of all rows.
            present: Stream to bool ``[N]``.

        Returns:
            float64 ``[N, C]`` or ``[N]``.
        """
        predictions = self.full.predict(members, present)
        for rows, stacker in self.folds:
            of_fold = {name: values[rows] for name, values in members.items()}
            predictions[rows] = stacker.predict(of_fold, {name: mask[rows] for name, mask in present.items()})
        return predictions


def fit_stacker(
    kind: str,
    members: Mapping[str, Floats],
    present: Mapping[str, Mask],
    truth: NDArray[Any],
    rows: NDArray[np.int64],
    seed: int,
) -> CrossFittedStacker:
    """Fit a stacker with cross-fitting.

    Args:
        kind: "category", "categories" or "number".
        members: Stream to ``[N, C]`` probabilities or ``[N]`` numbers.
        present: Stream to bool ``[N]``.
        truth: int64 ``[N]``, 0/1 ``[N, C]`` or float64 ``[N]``.
        rows: int64 ``[N]``, index of the row of each prediction; predictions of one row are in the same fold.
        seed: Seed of the folds.

    Returns:
        The stacker, and those of the folds; with fewer than two rows per fold, the mean of the present streams.
    """
    from threadpoolctl import threadpool_limits

    streams = list(members)
    first = members[streams[0]]
    initial = _initial_stacker(kind, streams, truth, 1 if first.ndim == 1 else first.shape[1])
    present_NS = np.stack([present[name] for name in streams], axis=1)
    inputs_NSC = initial._to_inputs(np.stack([members[name] for name in streams], axis=1), present_NS)
    data, distinct_rows = _StackingData(kind, inputs_NSC, present_NS, _encode_target(initial, truth)), np.unique(rows)
    if len(distinct_rows) < 2 * NUM_FOLDS:
        return CrossFittedStacker(initial, [])
    folds = np.array_split(np.random.default_rng(seed).permutation(distinct_rows), NUM_FOLDS)
    with threadpool_limits(1, user_api="blas"):
        results = [data.fit_folds([np.isin(rows, fold) for fold in folds], initial, penalty) for penalty in PENALTIES]
        best = int(np.argmin([round(loss, 9) for loss, _ in results]))
        full = data.fit(np.ones(len(truth), dtype=np.bool_), initial, PENALTIES[best])
    return CrossFittedStacker(full, list(zip(folds, results[best][1], strict=True)))


@dataclass(frozen=True)
class _StackingData:
    """The data that parameters are fitted on."""

    kind: str
    inputs: Floats
    present: Mask
    target: Floats

    def fit_folds(self, folds: list[Mask], initial: Stacker, penalty: float) -> tuple[float, list[Stacker]]:
        """Fit without each fold in turn; return the out-of-fold loss and the stackers."""
        loss, fitted = 0.0, []
        for fold in folds:
            fitted.append(self.fit(~fold, initial, penalty))
            part = self.take(fold & self.present.any(axis=1))
            loss += float(part.row_losses(_logits(np.array(fitted[-1].parameters), part.inputs, part.present)).sum())
        return loss / len(self.target), fitted

    def take(self, rows: Mask) -> _StackingData:
        """Return some rows."""
        return _StackingData(self.kind, self.inputs[rows], self.present[rows], self.target[rows])

    def fit(self, rows: Mask, initial: Stacker, penalty: float) -> Stacker:
        """Return the stacker fitted on some rows, with an L2 penalty towards the initial one."""
        from scipy.optimize import minimize

        part, start = self.take(rows & self.present.any(axis=1)), np.array(initial.parameters)
        l2 = penalty / max(len(part.target), 1)

        def objective(parameters: Floats) -> tuple[float, Floats]:
            loss, gradient = part.loss_and_gradient(parameters)
            difference = parameters - start
            return loss + l2 / 2 * float(difference @ difference), gradient + l2 * difference

        if not len(part.target):
            return initial
        options = {"maxiter": MAX_ITERATIONS, "ftol": TOLERANCE}
        found = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
        return Stacker(**{**initial.state(), "parameters": found.x.tolist()})

    def loss_and_gradient(self, parameters: Floats) -> tuple[float, Floats]:
        """Return the mean loss and its gradient."""
        logits = _logits(parameters, self.inputs, self.present)
        residual = (self._activation(logits) - self.target) / len(logits)
        present_NS = self.present.astype(np.float64)
        by_stream = np.einsum("nsc,nc->ns", self.inputs, residual)
        gradients = (
            residual.sum(axis=0),
            by_stream.sum(axis=0),
            by_stream.T @ (1 - present_NS),
            np.einsum("nsc,nc->sc", self.inputs, residual),
            present_NS.T @ residual,
        )
        return float(self.row_losses(logits).mean()), np.concatenate([part.ravel() for part in gradients])

    def row_losses(self, logits: Floats) -> Floats:
        """Return each row's loss."""
        if self.kind == "number":
            return np.asarray(((logits - self.target) ** 2).sum(axis=1) / 2)
        if self.kind == "categories":
            return np.asarray((np.logaddexp(0.0, logits) - self.target * logits).sum(axis=1))
        return np.asarray(np.logaddexp.reduce(logits, axis=1) - (self.target * logits).sum(axis=1))

    def _activation(self, logits: Floats) -> Floats:
        if self.kind == "number":
            return logits
        return _sigmoid(logits) if self.kind == "categories" else _softmax(logits)


def _initial_stacker(kind: str, streams: list[str], truth: NDArray[Any], num_outputs: int) -> Stacker:
    """Return the stacker that averages the present streams (exactly, if at most one is absent)."""
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


def _encode_target(initial: Stacker, truth: NDArray[Any]) -> Floats:
    """Return the target of the outputs, ``[N, C]``."""
    if initial.kind == "number":
        return np.asarray((truth[:, None].astype(np.float64) - initial.centre) / initial.scale)
    if initial.kind == "categories":
        return truth.astype(np.float64)
    return np.eye(initial.num_outputs)[truth.astype(np.int64)]


def _logits(parameters: Floats, inputs_NSC: Floats, present_NS: Mask) -> Floats:
    """Return ``[N, C]``."""
    _, num_streams, num_outputs = inputs_NSC.shape
    sizes = np.cumsum([num_outputs, num_streams, num_streams**2, num_streams * num_outputs])
    bias, weights, shifts, slopes, votes = np.split(parameters, sizes)
    present = present_NS.astype(np.float64)
    used = weights + (1 - present) @ shifts.reshape(num_streams, num_streams).T
    by_class = used[:, :, None] + slopes.reshape(num_streams, num_outputs)
    return np.asarray(bias + (by_class * inputs_NSC).sum(axis=1) + present @ votes.reshape(num_streams, num_outputs))


def _sigmoid(logits: Floats) -> Floats:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)))


def _softmax(logits: Floats) -> Floats:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
