"""What the members of the ensembles predict for some rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polymodal.targets import AnyTarget, StructuredTarget
from polymodal.targets.base import Prediction
from polymodal.targets.structured import to_structured_predictions


@dataclass(frozen=True)
class MemberPredictions:
    """What every member of the ensembles predicts for some rows under one stream mask.

    Attributes:
        predictions: Target to member to probabilities ``[rows, classes]``, values ``[rows]`` or,
            of a structured target, ``StructuredPrediction`` objects ``[rows]``.
        present: Member to bool ``[rows]``; False where none of its inputs is present.
        visible: Stream to bool ``[rows]``; True where it is present and not masked.
        weights: The fusion's stream weights, float ``[rows, streams]``, where it has them.
    """

    predictions: dict[str, dict[str, Prediction]]
    present: dict[str, NDArray[np.bool_]]
    visible: dict[str, NDArray[np.bool_]]
    weights: NDArray[np.float32] | None


def concatenate_members(chunks: Sequence[MemberPredictions]) -> MemberPredictions:
    """Concatenate what was predicted for consecutive rows.

    Args:
        chunks: At least one, with the same members.

    Returns:
        All rows.
    """
    first = chunks[0]
    if len(chunks) == 1:
        return first
    weights = None if first.weights is None else np.concatenate([c.weights for c in chunks if c.weights is not None])
    predictions = {
        name: {member: np.concatenate([chunk.predictions[name][member] for chunk in chunks]) for member in of_target}
        for name, of_target in first.predictions.items()
    }
    present = {member: np.concatenate([chunk.present[member] for chunk in chunks]) for member in first.present}
    visible = {stream: np.concatenate([chunk.visible[stream] for chunk in chunks]) for stream in first.visible}
    return MemberPredictions(predictions, present, visible, weights)


def prior_prediction(target: AnyTarget, num_rows: int) -> Prediction:
    """Return the prediction for rows in which every stream is absent.

    Args:
        target: The fitted target.
        num_rows: Rows to repeat it for.

    Returns:
        ``[rows, classes]``, ``[rows]``, or structured predictions ``[rows]``.
    """
    if isinstance(target, StructuredTarget):
        return to_structured_predictions([target.prior] * num_rows)
    prior = target.prior
    return np.tile(prior, (num_rows, 1)) if target.classes is not None else np.repeat(prior, num_rows)
