"""Pooling of members' predictions, and its loss as a function of weights and biases (numpy).

What is pooled is by how much each member departs from the prior, in logarithms of probabilities or in numbers: a member
that is absent says what the prior says, and so does a pool whose weights are zero.

Shape legend: M members, N rows, K classes; labels of a multi-label target are pairs of classes ``[..., L, 2]``, numbers
``[..., D, 1]``. Biases ``[B]``: one a class or a label; none for numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

MIN_PROBABILITY = 1e-6
"""Probabilities are clipped to this value, so that one wrong certainty does not decide the weights."""
SMOOTHING = 1e-3
"""Added to the total weight of a row during fitting, so that gradients at weight zero are bounded."""


def pooling_inputs(kind: str, members: list[Floats], present_MN: Mask, prior: Floats | float) -> Floats:
    """Convert predictions to the values that are pooled: differences to the prior, zero where a member is absent.

    Args:
        kind: "category", "categories" or "number".
        members: Probabilities ``[N, C]``, or numbers ``[N]`` or ``[N, D]``.
        present_MN: bool ``[M, N]``.
        prior: Probabilities ``[C]``, a number, or numbers ``[D]``.

    Returns:
        Log-probabilities ``[M, N, C]``, or ``[M, N, L, 2]`` of labels (wrong, right), or numbers ``[M, N, D, 1]``.
    """
    stacked = np.stack([np.asarray(member, dtype=np.float64) for member in members])
    values = _to_values(kind, stacked) - prior_values(kind, prior)
    return np.where(over_rows(present_MN, values), values, 0.0)


def prior_values(kind: str, prior: Floats | float) -> Floats:
    """Convert the prior to the values to which pooled differences are added, ``[C]``, ``[L, 2]`` or ``[D, 1]``."""
    return np.asarray(_to_values(kind, np.asarray(prior, dtype=np.float64).reshape(1, 1, -1))[0, 0])


def _to_values(kind: str, predictions_MN: Floats) -> Floats:
    if kind == "number":
        return predictions_MN.reshape(*predictions_MN.shape[:2], -1, 1)
    if kind == "categories":
        return np.stack([_log(1.0 - predictions_MN), _log(predictions_MN)], axis=-1)
    return _log(predictions_MN)


def over_rows(of_rows: NDArray[Any], values: Floats) -> NDArray[Any]:
    """Append axes of length one to an array ``[M, N]``, for a product with values ``[M, N, ...]``."""
    return of_rows.reshape(of_rows.shape + (1,) * (values.ndim - 2))


def pool_members(values: Floats, present_MN: Mask, weights: Floats, fallback: Floats) -> Floats:
    """Return ``Σ_m w_m values_m`` over the present members of each row, their weights summing to the total.

    Rows where no member with a weight is present use the fallback weights of the present members.

    Args:
        values: Output of ``pooling_inputs``, ``[M, N, ...]``.
        present_MN: bool ``[M, N]``.
        weights: float64 ``[M]``.
        fallback: float64 ``[M]``.

    Returns:
        float64 ``[N, ...]``.
    """
    used = _rescale(present_MN, weights)
    used = np.where(used.any(axis=0), used, _rescale(present_MN, fallback))
    return np.asarray((over_rows(used, values) * values).sum(axis=0))


def _rescale(present_MN: Mask, weights: Floats) -> Floats:
    available = present_MN * weights[:, None]
    sums = available.sum(axis=0)
    return np.asarray(available * (weights.sum() / np.where(sums > 0, sums, 1.0)))


def add_bias(kind: str, pooled: Floats, bias: Floats) -> Floats:
    """Add the bias of each class or label to pooled values; numbers have none."""
    if kind == "number" or not len(bias):
        return pooled
    return pooled + (np.stack([np.zeros_like(bias), bias], axis=-1) if kind == "categories" else bias)


def to_prediction(kind: str, pooled: Floats) -> Floats:
    """Convert pooled values to probabilities, or to numbers ``[N, D]``."""
    if kind == "number":
        return pooled[..., 0].copy()
    probabilities = np.exp(log_softmax(pooled))
    return probabilities[..., 1].copy() if kind == "categories" else probabilities


def log_softmax(values: Floats) -> Floats:
    """Compute the log-softmax over the last axis.

    Args:
        values: float64 ``[..., K]``.

    Returns:
        float64 ``[..., K]``.
    """
    shifted = values - values.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def _least_error(values_MND: Floats, present_MN: Mask, truth_ND: Floats) -> float:
    """Return the root mean squared error of the best member over all known numbers; 1 where it would be 0."""
    errors = np.where(present_MN[..., None] & np.isfinite(truth_ND), values_MND - truth_ND, np.nan)
    counts = np.isfinite(errors).sum(axis=(1, 2))
    means = np.where(counts > 0, np.nansum(errors**2, axis=(1, 2)) / np.maximum(counts, 1), np.inf)
    least = float(means.min(initial=np.inf))
    return least**0.5 if 0 < least < np.inf else 1.0


def _log(probabilities: Floats) -> Floats:
    return np.log(np.clip(probabilities, MIN_PROBABILITY, 1.0))


@dataclass(frozen=True)
class PoolingData:
    """What weights and biases are fitted on.

    Attributes:
        kind: "category", "categories" or "number".
        values: Output of ``pooling_inputs``, ``[M, N, ...]``.
        prior: Output of ``prior_values``.
        present: bool ``[M, N]``.
        truth: int64 ``[N]`` or ``[N, L]``, or float64 ``[N, D]``; NaN is not counted.
        unit: The root mean squared error of the best member over all numbers: an estimate of the noise, so that the
            loss is a Gaussian log-likelihood. It is one for all numbers, as it is in the metric.
    """

    kind: str
    values: Floats
    prior: Floats
    present: Mask
    truth: NDArray[Any]
    unit: float

    @classmethod
    def of(
        cls, kind: str, members: list[Floats], present_MN: Mask, truth: NDArray[np.generic], prior: Floats | float
    ) -> PoolingData:
        """Prepare predictions.

        Args:
            kind: "category", "categories" or "number".
            members: Probabilities ``[N, C]``, or numbers ``[N]`` or ``[N, D]``.
            present_MN: bool ``[M, N]``.
            truth: int64 ``[N]``, 0/1 ``[N, L]``, or float64 ``[N]`` or ``[N, D]``.
            prior: Probabilities ``[C]``, a number, or numbers ``[D]``.

        Returns:
            The data.
        """
        values, offset = pooling_inputs(kind, members, present_MN, prior), prior_values(kind, prior)
        if kind != "number":
            return cls(kind, values, offset, present_MN, truth.astype(np.int64), 1.0)
        numbers = truth.astype(np.float64).reshape(len(truth), -1)
        unit = _least_error((values + offset)[..., 0], present_MN, numbers)
        return cls(kind, values, offset, present_MN, numbers, unit)

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.present.shape[1])

    @property
    def num_biases(self) -> int:
        """B."""
        if self.kind == "number":
            return 0
        return int(self.values.shape[2 if self.kind == "categories" else -1])

    def take(self, rows: NDArray[Any]) -> PoolingData:
        """Return the data of some rows."""
        return replace(self, values=self.values[:, rows], present=self.present[:, rows], truth=self.truth[rows])

    def members(self, indices: NDArray[np.int64] | list[int]) -> PoolingData:
        """Return the data of some members."""
        return replace(self, values=self.values[indices], present=self.present[indices])

    def with_any_member(self) -> PoolingData:
        """Return the data of the rows with a present member."""
        some = np.flatnonzero(self.present.any(axis=0))
        return self if len(some) == len(self) else self.take(some)

    def scaled(self, factors: Floats) -> PoolingData:
        """Multiply the values of each member by a factor ``[M]``."""
        return replace(self, values=self.values * over_rows(factors[:, None], self.values))

    def spread(self) -> Floats:
        """Return by how much each member departs from the prior on average, ``[M]``.

        Of probabilities: the standard deviation over the classes of its log-ratios to the prior; of numbers: the
        distance in units of the noise.
        """
        is_number = self.kind == "number"
        spread = np.abs(self.values[..., 0]) / self.unit if is_number else self.values.std(axis=-1)
        spread = spread if spread.ndim == 2 else spread.mean(axis=2)
        return np.asarray((spread * self.present).sum(axis=1) / np.maximum(self.present.sum(axis=1), 1))

    def row_losses(self, weights: Floats, bias: Floats, fallback: Floats) -> Floats:
        """Return the loss of each row ``[N]``, combined as in prediction."""
        pooled = pool_members(self.values, self.present, weights, fallback)
        return self._losses(add_bias(self.kind, self.prior + pooled, bias))[0]

    def loss_and_gradient(self, weights: Floats, bias: Floats) -> tuple[float, Floats, Floats]:
        """Return the mean loss and its gradients ``[M]`` and ``[B]``; every row must have a present member."""
        present_MN, by_row = self.present.astype(np.float64), (-1, *(1,) * (self.values.ndim - 2))
        # einsum, not matmul: the arrays are too small for the threads of a matrix library to be worth their start.
        available = np.einsum("m,mn->n", weights, present_MN) + SMOOTHING
        summed = np.einsum("m,m...->...", weights, self.values)
        factor = (weights.sum() + SMOOTHING) / available
        losses, residual = self._losses(add_bias(self.kind, self.prior + factor.reshape(by_row) * summed, bias))
        residual = residual / len(self)
        change = 1.0 / available - (factor / available) * present_MN
        by_factor = (residual * summed).reshape(len(self), -1).sum(axis=1)
        by_value = (residual * factor.reshape(by_row)).ravel()
        gradient = np.einsum("mi,i->m", self.values.reshape(len(weights), -1), by_value)
        return (
            float(losses.mean()),
            gradient + np.einsum("mn,n->m", change, by_factor),
            self._bias_gradient(residual),
        )

    def _bias_gradient(self, residual: Floats) -> Floats:
        if self.kind == "number":
            return np.zeros(0)
        return np.asarray(residual[..., 1].sum(axis=0) if self.kind == "categories" else residual.sum(axis=0))

    def _losses(self, pooled: Floats) -> tuple[Floats, Floats]:
        """Return the loss of each row and its gradient by the pooled values: sums over labels, means over numbers."""
        if self.kind == "number":
            error = np.nan_to_num((pooled[..., 0] - self.truth) / self.unit)
            return (error**2).mean(axis=1) / 2, (error / self.unit / error.shape[1])[..., None]
        logs, truth = log_softmax(pooled), self.truth[..., None]
        right = np.take_along_axis(logs, truth, axis=-1)
        residual = np.exp(logs)
        np.put_along_axis(residual, truth, np.exp(right) - 1.0, axis=-1)
        return -right.reshape(len(self), -1).sum(axis=1), residual
