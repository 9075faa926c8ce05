"""Which rows without a label to label: uncertain ones, unlike each other.

BADGE (Ash et al. 2020, arXiv 1906.03671, algorithm 1): each row has the gradient that its most probable label would
give the last layer, ``(p − onehot) ⊗ h``; k-means++ (Arthur & Vassilvitskii 2007) draws rows far from those drawn
before, by squared distance, so that the gradients are large and differ. Differs from the source: ``p`` is the final
answer, baselines and all; labels are rounded one by one; for a number ``p − onehot`` is the spread of the members; the
origin, where sure answers lie, counts as drawn already.

Shape legend: N rows, C classes (or labels), W width of the embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.acquisition.acquisition import Labelling
from polymodal.acquisition.answers import DecodedRows, decode_columns, flat_targets, input_cells, row_vectors
from polymodal.acquisition.losses import expected_losses
from polymodal.arrays import Cell
from polymodal.errors import ConfigError, did_you_mean, parameter_error
from polymodal.model.chunks import iterate_chunks
from polymodal.model.inference_network import NO_MASK
from polymodal.model.member_predictions import MemberPredictions
from polymodal.model.predict import combine, predict_members
from polymodal.model.trained_model import TrainedModel
from polymodal.progress import Progress
from polymodal.targets import RowContext, Target
from polymodal.targets.number import NumberTarget

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]

METHOD = "gradients of the likely label, spread by k-means++ (BADGE)"
MAX_CANDIDATES = 50_000
"""Most rows that are compared; of more the most uncertain ones are."""
MAX_SPREAD = 1000
"""Most rows that are chosen for their difference; further ones follow by their uncertainty."""


@dataclass(frozen=True)
class Candidates:
    """Rows without a label.

    Attributes:
        rows: int64 ``[N]``, their numbers in the table, from 1.
        errors: float32 ``[N, C]``: the likely error of the answer, ``p − onehot``.
        vectors: float32 ``[N, W]``, unit vectors of the rows.
        uncertainty: float64 ``[N]``.
        answers: What the model would say, one a row.
    """

    rows: NDArray[np.int64]
    errors: Vectors
    vectors: Vectors
    uncertainty: Floats
    answers: list[Cell]

    def take(self, places: NDArray[np.int64]) -> Candidates:
        """Return some of them, in the given order."""
        return Candidates(
            self.rows[places],
            self.errors[places],
            self.vectors[places],
            self.uncertainty[places],
            [self.answers[place] for place in places],
        )

    def most_uncertain(self, number: int) -> Candidates:
        """Return the most uncertain of them, in the order of the table."""
        order = np.argsort(-self.uncertainty, kind="stable")[:number]
        return self if len(self.rows) <= number else self.take(np.sort(order))


def choose_labels(
    model: TrainedModel,
    source: Any,
    budget: int | None,
    target: str | None,
    progress: Progress,
    *,
    strict: bool = False,
    seed: int = 0,
) -> Labelling:
    """Order the rows of a table whose target is absent by what labelling them would teach.

    Args:
        model: The trained model.
        source: As for ``read_table``; a file is read chunk by chunk. Without the target's column no row has a label.
        budget: Most rows to choose; None: all.
        target: The target; None: the first flat one.
        progress: Reports progress.
        strict: Whether absent columns, broken cells and unseen categories raise.
        seed: Of the draws.

    Returns:
        The rows in the order in which to label them.

    Raises:
        ConfigError: If the budget is below 1, or there is no such target.
        SchemaError: If the table has no input column of the model.
        CellError: If strict and a cell cannot be decoded.
    """
    if budget is not None and budget < 1:
        raise parameter_error("budget", "choose_labels", "None or at least 1", budget)
    name = _check_target(model, target)
    parts: list[Candidates] = []
    num_rows, num_unlabelled, table_name = 0, 0, "table"
    for table, check in iterate_chunks(model, source, progress, "judging rows", strict=strict):
        columns, broken = decode_columns(model, table, check, progress)
        cells = table.columns.get(name, [None] * table.num_rows)
        places = np.flatnonzero([cell is None for cell in cells])
        rows = DecodedRows(columns, input_cells(model, table), table, broken).take(places)
        if len(rows):
            parts = [_joined([*parts, _judge(model, rows, name, num_rows + places + 1)]).most_uncertain(MAX_CANDIDATES)]
        num_rows, num_unlabelled, table_name = num_rows + table.num_rows, num_unlabelled + len(places), table.name
    chosen, notices = _choose(parts, num_unlabelled, budget, seed)
    return Labelling(
        table=table_name,
        rows=num_rows,
        unlabelled=num_unlabelled,
        target=name,
        method=METHOD,
        order=[] if chosen is None else chosen.rows.tolist(),
        uncertainty=[] if chosen is None else chosen.uncertainty.tolist(),
        answers=[] if chosen is None else chosen.answers,
        notices=notices,
    )


def _check_target(model: TrainedModel, target: str | None) -> str:
    flat = flat_targets(model)
    if not flat:
        raise ConfigError(
            "Rows to label are chosen for targets that are classes, labels or numbers, and this model has none."
        )
    if target is not None and target not in flat:
        advice = did_you_mean(target, flat, "Targets that are classes, labels or numbers")
        raise ConfigError(f"The model has no such target {target!r} to choose labels for. {advice}")
    return target or next(iter(flat))


def _judge(model: TrainedModel, rows: DecodedRows, name: str, numbers: NDArray[np.int64]) -> Candidates:
    """Answer rows and say how sure the answers are."""
    needed = {other: frozenset({"fusion"}) for other in model.targets}
    needed |= {other: ensemble.active_members for other, ensemble in model.ensembles.items()}
    context = RowContext(rows.cells, rows.table.folder)
    (members,) = predict_members(model, rows.columns, context, [NO_MASK], needed)
    prediction, target = combine(model, members)[name], flat_targets(model)[name]
    errors, uncertainty = _likely_errors(target, prediction, _spread(members, name, needed[name]))
    return Candidates(
        numbers.astype(np.int64),
        errors.astype(np.float32),
        row_vectors(model, rows),
        uncertainty,
        target.decode(prediction),
    )


def _spread(members: MemberPredictions, name: str, needed: frozenset[str]) -> Floats:
    """Return the standard deviation of the members' answers ``[N]``, where they are numbers."""
    found = [member for member in members.predictions[name] if member in needed]
    values = np.stack([np.asarray(members.predictions[name][member], np.float64) for member in found])
    if values.ndim > 2:
        return np.zeros(values.shape[1])
    absent = ~np.stack([members.present[member] for member in found])
    spread = np.ma.MaskedArray(values, mask=absent).std(axis=0)
    return np.asarray(np.ma.filled(spread, 0.0), np.float64)


def _likely_errors(target: Target, prediction: Floats, spread: Floats) -> tuple[Floats, Floats]:
    """Return ``p − onehot`` of the likely label ``[N, C]``, and the uncertainty ``[N]``."""
    if isinstance(target, NumberTarget):
        return spread[:, None] / target.std, spread / target.std
    if target.kind == "category":
        likely = np.eye(prediction.shape[1])[prediction.argmax(axis=1)]
        return prediction - likely, expected_losses(target, prediction)
    return prediction - (prediction >= 0.5), expected_losses(target, prediction)


def _joined(parts: Sequence[Candidates]) -> Candidates:
    if len(parts) == 1:
        return parts[0]
    return Candidates(
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.errors for part in parts]),
        np.concatenate([part.vectors for part in parts]),
        np.concatenate([part.uncertainty for part in parts]),
        [answer for part in parts for answer in part.answers],
    )


def _choose(
    parts: Sequence[Candidates], num_unlabelled: int, budget: int | None, seed: int
) -> tuple[Candidates | None, list[str]]:
    if not parts:
        return None, []
    (candidates,), notices = parts, []
    if num_unlabelled > len(candidates.rows):
        notices.append(f"Of {num_unlabelled:,} rows the {len(candidates.rows):,} most uncertain ones were compared.")
    number = min(len(candidates.rows), num_unlabelled if budget is None else budget)
    first = spread_rows(candidates.errors, candidates.vectors, min(number, MAX_SPREAD), seed)
    rest = np.setdiff1d(np.argsort(-candidates.uncertainty, kind="stable"), first, assume_unique=True)
    if number > len(first):
        notices.append(
            f"The first {len(first):,} rows are chosen for how they differ too; the others follow by their uncertainty."
        )
    return candidates.take(np.concatenate([first, rest[: number - len(first)]])), notices


def spread_rows(errors: Vectors, vectors: Vectors, number: int, seed: int) -> NDArray[np.int64]:
    """Draw rows by k-means++ on the products of their errors and vectors.

    The products ``[N, C × W]`` are never made: ``<e_i ⊗ h_i, e_j ⊗ h_j> = <e_i, e_j> <h_i, h_j>``.

    Args:
        errors: ``[N, C]``.
        vectors: ``[N, W]``.
        number: How many to draw; fewer where the others are like those that were drawn.
        seed: Of the draws.

    Returns:
        int64, places of the rows in the order in which they were drawn, the one with the largest product first.
    """
    random = np.random.default_rng(seed)
    norms = (errors.astype(np.float64) ** 2).sum(axis=1) * (vectors.astype(np.float64) ** 2).sum(axis=1)
    chosen, distances = [int(norms.argmax())], norms.copy()
    while len(chosen) < number:
        last = chosen[-1]
        inner = (errors @ errors[last]).astype(np.float64) * (vectors @ vectors[last])
        distances = np.minimum(distances, np.maximum(norms + norms[last] - 2 * inner, 0.0))
        distances[chosen] = 0.0
        total = distances.sum()
        if total <= 1e-12:
            break
        chosen.append(int(random.choice(len(norms), p=distances / total)))
    return np.array(chosen, np.int64)
