"""Finds how a new table differs from the one that a model was trained on."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Column
from polymodal.certainty.reference import Reference
from polymodal.certainty.unusual import UnusualRows
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.profiles.build_profile import ProfileBuilder, measure_table, sample_rows
from polymodal.data.profiles.profile import Profile
from polymodal.data.tables.table import Table
from polymodal.drift.compare_profiles import compare_profiles, histogram
from polymodal.drift.comparison import Chart, Comparison, Drift
from polymodal.drift.two_samples import MIN_CLASSIFIED, compare_shares, compare_vectors, holm
from polymodal.errors import ConfigError, TableError, list_names, parameter_error
from polymodal.modalities import Category, Tabular
from polymodal.model.batches import shapes_of
from polymodal.model.chunks import iterate_chunks
from polymodal.model.fit_reference import measure_predictions, rounded
from polymodal.model.inference_network import NO_MASK, StreamEmbeddings, join_embeddings
from polymodal.model.predict import combine, predict_members
from polymodal.model.row_vectors import RowVectors, join_vectors, vectors_of
from polymodal.model.trained_model import TrainedModel
from polymodal.progress import Progress
from polymodal.targets import CategoryTarget, RowContext

MOST_ROWS = 2000
"""Most rows of a new table that are compared, unless asked otherwise."""
ALPHA, MIN_EFFECT = 0.05, 0.05
UNUSUAL_LEVEL = 0.05
EXAMPLES = 8
BINS = 20


@dataclass(frozen=True)
class _Seen:
    """What was found of the rows of a table."""

    rows: NDArray[np.int64]
    profile: Profile
    predictions: Profile
    embeddings: StreamEmbeddings
    vectors: RowVectors


def find_drift(
    model: TrainedModel,
    table: Table,
    cache: ArrayCache,
    progress: Progress,
    *,
    alpha: float = ALPHA,
    min_effect: float = MIN_EFFECT,
    rows: int = MOST_ROWS,
    training: Table | None = None,
) -> Drift:
    """Compare a new table with the training rows: each column, each stream's embeddings, and the predictions.

    Args:
        model: The trained model.
        table: The new rows.
        cache: Cache of decoded arrays.
        progress: Reports progress.
        alpha: Most probable share of tables like the training one in which anything is called drifted.
        min_effect: Smaller effects are no drift, from 0 to 1.
        rows: Most rows that are compared, drawn at random.
        training: The training table, for models that remember nothing of it; columns are then compared with its rows.

    Returns:
        All comparisons, the worst first.

    Raises:
        ConfigError: If an option has a wrong value, or the model remembers nothing and no training table is given.
        SchemaError: If the table has no input column of the model.
        TableError: If it has no rows.
    """
    started_s = time.perf_counter()
    _check_options(alpha, min_effect, rows)
    reference = _check_reference(model, training)
    for given in (table, *([] if training is None else [training])):
        if not given.num_rows:
            raise TableError(f"{given.name} has no rows to compare. Expected at least one row.")
    seen = _see(model, table, rows, cache, progress, reference)
    profile, notices = _reference_profile(model, reference, training, rows, cache, progress)
    with progress.phase("testing", None):
        found = [
            *compare_profiles(profile, seen.profile, _known_labels(model)),
            *(_compare_remembered(reference, seen, notices, model.config.seed) if reference else []),
        ]
        found = _judge(found, alpha, min_effect)
    return Drift(
        table=table.name,
        rows=table.num_rows,
        compared_rows=len(seen.rows),
        reference=profile.table,
        reference_rows=profile.rows,
        alpha=alpha,
        min_effect=min_effect,
        comparisons=found,
        notices=[*_sampling_notices(table, seen, profile), *notices],
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=time.perf_counter() - started_s,
    )


def _check_options(alpha: float, min_effect: float, rows: int) -> None:
    if not 0 < alpha < 1:
        raise parameter_error("alpha", "drift", "above 0 and below 1", alpha)
    if not 0 <= min_effect < 1:
        raise parameter_error("min_effect", "drift", "at least 0 and below 1", min_effect)
    if rows < 1:
        raise parameter_error("rows", "drift", "at least 1", rows)


def _check_reference(model: TrainedModel, training: Table | None) -> Reference | None:
    if model.reference is None and training is None:
        raise ConfigError(
            "This model was saved by an earlier version and remembers nothing of its training rows to compare with. "
            "Give the training table with --training (in Python: training=), or train the model again."
        )
    return model.reference


def _reference_profile(
    model: TrainedModel,
    reference: Reference | None,
    training: Table | None,
    rows: int,
    cache: ArrayCache,
    progress: Progress,
) -> tuple[Profile, list[str]]:
    """Return the profile to compare with, and what cannot be compared."""
    if training is None:
        assert reference is not None
        return reference.profile, []
    profile = _see(model, training, rows, cache, progress, None).profile.without_fitted()
    if reference is not None:
        return profile, []
    return profile, [
        "The model remembers no validation rows: embeddings, predictions and how well texts fit the vocabulary are not "
        "compared. Training rows would differ from any new rows in these, as the model has learned from them."
    ]


def _see(
    model: TrainedModel, table: Table, most: int, cache: ArrayCache, progress: Progress, reference: Reference | None
) -> _Seen:
    """Look at a sample of a table's rows; predict and embed them only where that can be compared."""
    rows = sample_rows(table.num_rows, most, model.config.seed)
    builder, predicted, embeddings, vectors = ProfileBuilder(), ProfileBuilder(), [], []
    name = table.name if len(rows) == table.num_rows else f"a sample of {table.name}"
    sample = dataclasses.replace(table.take(rows), name=name)
    for chunk, check in iterate_chunks(model, sample, progress, f"comparing {table.name}"):
        columns, _ = check.transform(chunk, cache)
        measured = measure_table(model.preprocessor, chunk, columns)
        builder.see(measured)
        if reference is not None:
            columns = model.network.precompute(columns, cache, progress)
            embeddings.append(model.network.embed_streams(columns))
            vectors.append(vectors_of(model, columns, embeddings[-1], measured))
            _predict(model, chunk, columns, reference, predicted)
    profile, predictions = (part.build(table.name, table.num_rows) for part in (builder, predicted))
    nothing = StreamEmbeddings({}, {})
    return _Seen(
        rows,
        profile,
        predictions,
        join_embeddings(embeddings) if embeddings else nothing,
        join_vectors(vectors) if vectors else {},
    )


def _predict(
    model: TrainedModel, table: Table, columns: Mapping[str, Column], reference: Reference, builder: ProfileBuilder
) -> None:
    names = set(reference.predictions.columns)
    if not names:
        return
    given = model.schema.with_derived(table).columns
    cells = {name: given.get(name, [None] * table.num_rows) for name in model.preprocessor.column_names}
    fusion = frozenset({"fusion"})
    needed = {n: model.ensembles[n].active_members if n in model.ensembles else fusion for n in model.targets}
    context = RowContext(cells, table.folder, shapes=shapes_of(columns))
    (members,) = predict_members(model, columns, context, [NO_MASK], needed)
    combined = {name: values for name, values in combine(model, members).items() if name in names}
    builder.see(measure_predictions(model.targets, combined))


def _known_labels(model: TrainedModel) -> dict[str, frozenset[str]]:
    known = {
        name: frozenset(member.values)
        for modality in model.preprocessor.modalities.values()
        if isinstance(modality, Tabular)
        for name, member in modality.members.items()
        if isinstance(member, Category)
    }
    targets = {name: frozenset(t.classes or ()) for name, t in model.targets.items() if isinstance(t, CategoryTarget)}
    return known | targets


def _compare_remembered(reference: Reference, seen: _Seen, notices: list[str], seed: int) -> Iterable[Comparison]:
    """Compare what only a reference of validation rows can tell: predictions, embeddings, unusual rows."""
    yield from compare_profiles(reference.predictions, seen.predictions, {})
    few = []
    for stream, remembered in reference.embeddings.items():
        rows = np.flatnonzero(seen.embeddings.present[stream])
        new = rounded(seen.embeddings.values[stream][rows]).astype(np.float64)
        found = compare_vectors(remembered.astype(np.float64), new, seed)
        if found is None:
            few.append(repr(stream))
            continue
        order = rows[found.new_rows[np.argsort(-found.new_scores, kind="stable")]][:EXAMPLES]
        yield Comparison(
            stream,
            "stream",
            "embedding",
            "embedding",
            found.result.test,
            found.result.effect,
            found.result.p_value,
            f"new rows are told from validation rows with AUC {found.auc:.2f}",
            histogram(np.sort(found.reference_scores), np.sort(found.new_scores), "likeness to new rows"),
            example_rows=[int(row) + 1 for row in seen.rows[order]],
        )
    if few:
        notices.append(
            f"The embeddings of {list_names(few)} are not compared: at least {MIN_CLASSIFIED} validation rows and "
            f"{MIN_CLASSIFIED} new rows must have them."
        )
    if seen.vectors:
        yield _compare_unusual(reference.unusual, seen)


def _compare_unusual(unusual: UnusualRows, seen: _Seen) -> Comparison:
    p_values = unusual.p_values(seen.vectors)
    held_out = unusual.held_out_p_values()
    before, after = ((int((p <= UNUSUAL_LEVEL).sum()), max(len(p), 1)) for p in (held_out, p_values))
    result, order = compare_shares(before, after), np.argsort(p_values, kind="stable")[:EXAMPLES]
    edges = np.linspace(0, 1, BINS + 1)
    shares = [[float(s) for s in np.histogram(p, edges)[0] / max(len(p), 1)] for p in (held_out, p_values)]
    return Comparison(
        "rows",
        "rows",
        "",
        "unusual",
        result.test,
        result.effect if after[0] / after[1] > before[0] / before[1] else 0.0,
        result.p_value,
        f"unusual at {UNUSUAL_LEVEL:.0%}: {before[0] / before[1]:.0%} → {after[0] / after[1]:.0%} of the rows",
        Chart("numbers", "p-value", edges.tolist(), [], *shares),
        example_rows=[int(row) + 1 for row in seen.rows[order] if len(seen.rows)],
    )


def _judge(found: list[Comparison], alpha: float, min_effect: float) -> list[Comparison]:
    """Correct the p-values for their number, and put the worst first."""
    adjusted = holm([comparison.p_value for comparison in found])
    judged = [
        dataclasses.replace(one, adjusted_p_value=p, is_drifted=p <= alpha and one.effect >= min_effect)
        for one, p in zip(found, adjusted, strict=True)
    ]
    return sorted(judged, key=lambda one: (not one.is_drifted, -one.effect if one.is_drifted else one.p_value))


def _sampling_notices(table: Table, seen: _Seen, profile: Profile) -> list[str]:
    notices = []
    if len(seen.rows) < table.num_rows:
        notices.append(f"New rows: {len(seen.rows):,} of the {table.num_rows:,} of {table.name} were drawn at random.")
    if profile.rows < profile.total_rows:
        notices.append(f"Training rows: {profile.rows:,} of the {profile.total_rows:,} were drawn at random.")
    return notices
