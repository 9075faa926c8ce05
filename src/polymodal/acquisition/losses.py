"""Losses of final answers, known and expected: log loss in nats, squared error in variances of the training target.

Shape legend: N rows, K fillings of a row, C classes (or labels).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.targets import Target
from polymodal.targets.number import NumberTarget

Floats = NDArray[np.float64]

MIN_PROBABILITY = 1e-6
"""Probabilities are clipped to this value, as in the pooling of members."""


def losses(target: Target, prediction: Floats, truth: NDArray[Any]) -> Floats:
    """Compute the loss of each row.

    Args:
        target: A flat target.
        prediction: Probabilities ``[N, C]`` or numbers ``[N]``.
        truth: As the target encodes cells.

    Returns:
        float64 ``[N]``: log loss in nats, of labels their sum; of a number the squared error in units of its variance
        in training.
    """
    if isinstance(target, NumberTarget):
        return np.asarray(((prediction - truth) / target.std) ** 2)
    if target.kind == "category":
        return -_log(np.take_along_axis(prediction, truth.astype(np.int64)[:, None], axis=1)[:, 0])
    said = np.where(truth.astype(np.bool_), prediction, 1.0 - prediction)
    return np.asarray(-_log(said).sum(axis=-1))


def expected_losses(target: Target, prediction: Floats) -> Floats:
    """Compute the loss that is expected of an answer if its own probabilities hold: the entropy.

    Args:
        target: A flat target.
        prediction: Probabilities ``[..., C]`` or numbers ``[...]``.

    Returns:
        float64 ``[...]``, in nats; zeros for numbers, whose answer does not say how far it may be off.
    """
    if isinstance(target, NumberTarget):
        return np.zeros_like(prediction)
    entropies = -prediction * _log(prediction)
    if target.kind != "category":
        entropies = entropies - (1.0 - prediction) * _log(1.0 - prediction)
    return np.asarray(entropies.sum(axis=-1))


def variance_of_answers(target: NumberTarget, answers: Floats, weights: Floats) -> Floats:
    """Compute by how much the squared error falls on average when one of several answers comes to be known as right.

    By the law of total variance this is the variance of the answers.

    Args:
        target: The target.
        answers: The answer with each filling ``[N, K]``.
        weights: Weight of each filling ``[N, K]``; they sum to one in a row.

    Returns:
        float64 ``[N]``, in units of the target's variance in training.
    """
    mean = (weights * answers).sum(axis=1, keepdims=True)
    return np.asarray((weights * (answers - mean) ** 2).sum(axis=1) / target.std**2)


def _log(probabilities: Floats) -> Floats:
    return np.asarray(np.log(np.clip(probabilities, MIN_PROBABILITY, 1.0)))
