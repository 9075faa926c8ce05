"""Knowledge distillation: a trained model's answers to the training rows, as further training targets.

Classes, labels and numbers are learned from the teacher's probabilities and values, beside the truth. Structured
targets are learned from its answers in place of a truth that is not there (Kim and Rush 2016, arXiv 1606.07947, section
3.2, for texts; Sohn et al. 2020, arXiv 2005.04757, for boxes). Differs from Kim and Rush: rows with a truth keep it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.bundle.load_bundle import is_bundle, load_bundle
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.tables.stored_columns import take_cells
from polymodal.data.tables.table import Table
from polymodal.errors import ConfigError
from polymodal.model.batches import Examples, build_examples
from polymodal.model.checkpoint import load_model
from polymodal.model.predict_table import predict_chunks
from polymodal.model.predictions import Predictions, join_predictions
from polymodal.model.trained_model import TrainedModel
from polymodal.progress import Progress
from polymodal.targets import AnyTarget, CategoryTarget, StructuredTarget

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class TeacherAnswers:
    """What a teacher says of the rows that a student learns from.

    Attributes:
        predictions: Flat target to probabilities ``[rows, classes]`` or values ``[rows]``, float32, and, bool
            ``[rows]``, where they are learned from.
        is_answer: Structured target to bool ``[rows]``, True where the truth of the row is the teacher's answer.
        num_alone: How many of the rows, the last ones, have no truth of their own for any target.
    """

    predictions: Mapping[str, tuple[NDArray[np.float32], Mask]] = field(default_factory=dict)
    is_answer: Mapping[str, Mask] = field(default_factory=dict)
    num_alone: int = 0

    @staticmethod
    def of_all_rows(values: Mapping[str, NDArray[np.float32]]) -> TeacherAnswers:
        """Return answers to rows that all have a truth.

        Args:
            values: Flat target to probabilities ``[rows, classes]`` or values ``[rows]``.

        Returns:
            Answers that are learned from in every row.
        """
        return TeacherAnswers({name: (array, np.ones(len(array), np.bool_)) for name, array in values.items()})

    def subset(self, rows: NDArray[np.int64], num_alone: int) -> TeacherAnswers:
        """Return the answers to some rows.

        Args:
            rows: Indices from 0.
            num_alone: How many of them, the last ones, have no truth of their own.

        Returns:
            The answers to those rows.
        """
        predictions = {name: (values[rows], known[rows]) for name, (values, known) in self.predictions.items()}
        return TeacherAnswers(predictions, {name: mask[rows] for name, mask in self.is_answer.items()}, num_alone)


@dataclass(frozen=True)
class TaughtRows:
    """The rows that a student learns from.

    Attributes:
        examples: The training rows, then those that are learned from the teacher alone; structured targets have the
            teacher's answer as truth where they have none.
        answers: The teacher's answers to these rows.
        notices: Sentences for the user.
    """

    examples: Examples
    answers: TeacherAnswers
    notices: list[str]


def ask_teacher(
    teacher: str,
    table: Table,
    train: Examples,
    unlabelled: NDArray[np.int64],
    targets: Mapping[str, AnyTarget],
    cache: ArrayCache,
    progress: Progress,
) -> TaughtRows:
    """Predict the training rows, and those without a target, with a trained model (Hinton et al. 2015, 1503.02531).

    The teacher may have streams that the student lacks.

    Args:
        teacher: A run folder, the model folder in it, or a bundle.
        table: The training table, with every column that the teacher needs.
        train: The training rows.
        unlabelled: int64, rows of the table without any target.
        targets: The student's targets.
        cache: Where decoded arrays are kept.
        progress: Reports progress.

    Returns:
        The rows to learn from; those without any target that the teacher gives no answer to are left out.

    Raises:
        CheckpointError: If there is no such model.
        ConfigError: If it predicts none of the targets, something else by their names, or nothing that is not known.
    """
    folder = Path(teacher)
    model = load_bundle(folder) if is_bundle(folder) else load_model(folder)
    shared = _shared_targets(teacher, model, targets)
    rows = np.concatenate([train.rows, unlabelled])
    predictions = join_predictions(list(predict_chunks(model, table.take(rows), cache, progress)))
    flat = {
        name: _of_classes(predictions.values[name], model.targets[name].classes, targets[name])
        for name, target in shared.items()
        if not isinstance(target, StructuredTarget)
    }
    examples, is_answer = _with_answers(train, rows, targets, shared, predictions)
    answers = TeacherAnswers(flat, is_answer, len(unlabelled))
    taught = _without_silence(TaughtRows(examples, answers, []), len(train))
    if not flat and not any(mask.any() for mask in is_answer.values()):
        raise ConfigError(_nothing_to_learn(teacher, shared, len(unlabelled)))
    notices = [*_notices(teacher, taught, len(unlabelled)), *_not_learned(teacher, model, targets, shared)]
    return replace(taught, notices=notices)


def _shared_targets(teacher: str, model: TrainedModel, targets: Mapping[str, AnyTarget]) -> dict[str, AnyTarget]:
    """Return the student's targets that the teacher predicts too."""
    predicted = {target.name for target in model.schema.targets}
    learned = {name: target for name, target in targets.items() if name in predicted}
    if not learned:
        raise ConfigError(
            f"The teacher {teacher} predicts {', '.join(model.targets)}, none of the classes, labels, numbers or "
            f"structured targets to learn: {', '.join(targets)}. Name another --teacher."
        )
    for name, target in learned.items():
        known = model.targets[name]
        if known.kind != target.kind or set(target.classes or ()) - set(known.classes or ()):
            raise ConfigError(
                f"The teacher {teacher} knows other classes of {name!r} than the training rows: {_few(known)} "
                f"instead of {_few(target)}. Name another --teacher."
            )
    return learned


def _few(target: AnyTarget) -> str:
    if target.classes is None:
        return f"{target.kind}s" if target.kind == "number" else target.kind
    return ", ".join(target.classes[:5]) + (", ..." if len(target.classes) > 5 else "")


def _of_classes(values: NDArray[Any], known: list[str] | None, target: AnyTarget) -> tuple[NDArray[np.float32], Mask]:
    """Return predictions for the student's classes, and the rows that are of one of them by what the teacher says."""
    if known is None or target.classes is None or known == target.classes:
        return values.astype(np.float32), np.ones(len(values), np.bool_)
    columns = [known.index(name) for name in target.classes]
    shares = values[:, columns]
    if not isinstance(target, CategoryTarget):
        return shares.astype(np.float32), np.ones(len(values), np.bool_)
    is_known = np.isin(values.argmax(axis=1), columns)
    return (shares / shares.sum(axis=1, keepdims=True).clip(min=1e-12)).astype(np.float32), is_known


def _with_answers(
    train: Examples,
    rows: NDArray[np.int64],
    targets: Mapping[str, AnyTarget],
    shared: Mapping[str, AnyTarget],
    predictions: Predictions,
) -> tuple[Examples, dict[str, Mask]]:
    """Encode all rows, with the teacher's answers in the empty cells of structured targets."""
    cells, given = dict(train.cells), {}
    for name, target in shared.items():
        if isinstance(target, StructuredTarget):
            own = take_cells(train.cells[name], rows)
            learned = [target.learned_answer(answer) for answer in predictions.labels[name]]
            given[name] = np.array([a is None and b is not None for a, b in zip(own, learned, strict=True)])
            cells[name] = _filled(train.cells[name], rows[given[name]], learned, np.flatnonzero(given[name]))
    both = build_examples(train.columns, cells, targets, rows, train.name, train.folder)
    return both, {name: mask & both.known[name] for name, mask in given.items()}


def _filled(cells: Any, rows: NDArray[np.int64], answers: list[Cell], places: NDArray[np.int64]) -> list[Cell]:
    filled = list(cells)
    for row, place in zip(rows.tolist(), places.tolist(), strict=True):
        filled[row] = answers[place]
    return filled


def _without_silence(taught: TaughtRows, num_train: int) -> TaughtRows:
    """Leave out the rows without a truth that the teacher says nothing of either."""
    masks = [known for _, known in taught.answers.predictions.values()] + list(taught.answers.is_answer.values())
    is_used = np.any(masks, axis=0)
    is_used[:num_train] = True
    kept = np.flatnonzero(is_used)
    return TaughtRows(taught.examples.subset(kept), taught.answers.subset(kept, len(kept) - num_train), [])


def _nothing_to_learn(teacher: str, shared: Mapping[str, AnyTarget], num_unlabelled: int) -> str:
    names = ", ".join(map(repr, shared))
    if num_unlabelled:
        return f"The teacher {teacher} gives no answer for {names} that can be learned from. Name another --teacher."
    return (
        f"There is nothing to learn from the teacher {teacher}: structured targets ({names}) are learned from its "
        "answers in rows where they are empty, and no row is. Add such rows by --unlabelled, or leave out --teacher."
    )


def _notices(teacher: str, taught: TaughtRows, num_unlabelled: int) -> list[str]:
    """Tell how many rows are learned from the teacher alone."""
    answers, num_rows, found = taught.answers, len(taught.examples), []
    if answers.num_alone:
        found.append(
            f"{answers.num_alone:,} of the {num_rows:,} rows that the network learns from have no target: they are "
            f"learned from the answers of the teacher {teacher} alone. Baselines, ensemble, validation and test use "
            "none of them."
        )
    if left := num_unlabelled - answers.num_alone:
        found.append(f"The teacher {teacher} gave {left:,} rows without a target no answer that can be learned from.")
    for name, mask in answers.is_answer.items():
        if own := int(mask[: num_rows - answers.num_alone].sum()):
            found.append(f"The teacher {teacher} also answers {name!r} in {own:,} rows where it alone is empty.")
    return found


def _not_learned(
    teacher: str, model: TrainedModel, targets: Mapping[str, AnyTarget], shared: Mapping[str, AnyTarget]
) -> list[str]:
    """Tell which targets the teacher does not predict, and which of its classes the student does not have."""
    others = [name for name in targets if name not in shared]
    found = [f"The teacher {teacher} says nothing of {', '.join(map(repr, others))}."] if others else []
    for name, target in shared.items():
        more = [one for one in model.targets[name].classes or () if one not in (target.classes or ())]
        if more:
            shown = ", ".join(more[:5]) + (", ..." if len(more) > 5 else "")
            found.append(
                f"The teacher {teacher} knows classes of {name!r} that no training row has ({shown}): they are not "
                "learned."
            )
    return found
