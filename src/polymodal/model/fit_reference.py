"""Remembers a bounded sample of a run's rows at its end: what unusual rows and drift are told by."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from polymodal.certainty.reference import Reference
from polymodal.certainty.unusual import MAX_VALUE, UnusualRows
from polymodal.data.profiles.build_profile import MeasuredColumn, ProfileBuilder, measure_table, sample_rows
from polymodal.data.profiles.measures import Measure
from polymodal.data.profiles.profile import Profile
from polymodal.data.tables.table import Table
from polymodal.ensemble.ensemble_weights import member_present
from polymodal.model.batches import Examples
from polymodal.model.fit_ensemble import HeldOutRows
from polymodal.model.inference_network import StreamEmbeddings, join_embeddings
from polymodal.model.row_vectors import RowVectors, join_vectors, vectors_of
from polymodal.model.trained_model import TrainedModel
from polymodal.targets import AnyTarget, StructuredTarget
from polymodal.targets.base import Prediction, Target

MOST_ROWS = 1000
"""Most training rows, and most validation rows, that are remembered."""
MOST_NUMBERS = 2**20
"""Most numbers of their embeddings: 2 MB each."""


@dataclasses.dataclass(frozen=True)
class _Seen:
    """What was found of a sample of rows."""

    profile: Profile
    embeddings: StreamEmbeddings
    vectors: RowVectors


def fit_reference(
    model: TrainedModel, train: Examples, validation: Examples, held_out: Mapping[str, HeldOutRows]
) -> TrainedModel:
    """Remember a sample of the rows.

    Args:
        model: The model with its ensembles.
        train: Training rows.
        validation: Validation rows.
        held_out: Target to what its ensemble was fitted on.

    Returns:
        The model with its reference.
    """
    training, validating = _see(model, train), _see(model, validation)
    embeddings = {
        stream: rounded(values[validating.embeddings.present[stream]])
        for stream, values in validating.embeddings.values.items()
    }
    reference = Reference(
        profile=training.profile.with_fitted_of(validating.profile).thinned(),
        predictions=_held_out_predictions(model, held_out).thinned(),
        embeddings=embeddings,
        unusual=UnusualRows.fit(training.vectors, validating.vectors),
    )
    return dataclasses.replace(model, reference=reference)


def rounded(values: NDArray[np.float32]) -> NDArray[np.float16]:
    """Round embeddings to float16.

    Args:
        values: Embeddings.

    Returns:
        The same within its range.
    """
    return np.clip(values, -MAX_VALUE, MAX_VALUE).astype(np.float16)


def reference_rows(model: TrainedModel) -> int:
    """Return how many rows are remembered of a model: fewer where it has many streams."""
    numbers = max(len(model.network.streams) * model.network.width, 1)
    return min(MOST_ROWS, max(MOST_NUMBERS // numbers, 100))


def _see(model: TrainedModel, examples: Examples) -> _Seen:
    sample = examples.subset(sample_rows(len(examples), reference_rows(model), model.config.seed))
    builder, embeddings, vectors = ProfileBuilder(), [], []
    for chunk in sample.chunks():
        table, columns = Table(chunk.cells_in_use(), chunk.folder, chunk.name), chunk.columns_in_use()
        measured = measure_table(model.preprocessor, table, columns)
        builder.see(measured)
        embeddings.append(model.network.embed_streams(columns))
        vectors.append(vectors_of(model, columns, embeddings[-1], measured))
    profile = builder.build(examples.name, total_rows=len(examples))
    return _Seen(profile, join_embeddings(embeddings), join_vectors(vectors))


def _held_out_predictions(model: TrainedModel, held_out: Mapping[str, HeldOutRows]) -> Profile:
    """Summarise the final answers to validation rows; no member was fitted on them."""
    predictions: dict[str, Prediction] = {}
    for name, found in held_out.items():
        if not isinstance(model.targets[name], StructuredTarget) and name in model.ensembles:
            part = found.members[0]
            present = {member: member_present(member, part.visible) for member in part.members}
            predictions[name] = model.ensembles[name].combine(part.members, present, found.prior, part.visible)
    builder = ProfileBuilder()
    builder.see(measure_predictions(model.targets, predictions))
    return builder.build("validation rows", total_rows=max(map(len, predictions.values()), default=0))


def measure_predictions(
    targets: Mapping[str, AnyTarget], predictions: Mapping[str, Prediction]
) -> list[MeasuredColumn]:
    """Measure what was predicted: labels and how probable they are, or numbers.

    Args:
        targets: Name to target.
        predictions: Target to probabilities ``[rows, classes]`` or numbers ``[rows]``.

    Returns:
        One entry for each flat target.
    """
    found = []
    for name, values in predictions.items():
        target = targets[name]
        if not isinstance(target, StructuredTarget):
            found.append(_measure_prediction(name, target, values))
    return found


def _measure_prediction(name: str, target: Target, values: Prediction) -> MeasuredColumn:
    kind, rows = ("number" if target.kind == "number" else "category"), len(values)
    if kind == "number" or isinstance(target, StructuredTarget):
        measures = [Measure("value", "", np.asarray(values, np.float64).tolist())]
    else:
        labels = [_label(label) for label in target.decode(values)]
        measures = [Measure("value", "", labels), Measure("confidence", "probability", _confidences(target, values))]
    return MeasuredColumn(name, kind, "prediction", "", rows, rows, measures)


def _label(label: object) -> str:
    return " | ".join(sorted(map(str, label))) or "(none)" if isinstance(label, list) else str(label)


def _confidences(target: Target, values: Prediction) -> Sequence[float]:
    """Return the probability of the most probable class, of labels the mean probability of being right."""
    probabilities = np.asarray(values, np.float64)
    if target.kind == "categories":
        return [float(value) for value in np.maximum(probabilities, 1 - probabilities).mean(axis=1)]
    return [float(value) for value in probabilities.max(axis=1)]
