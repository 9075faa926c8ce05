"""Estimator over nearest rows: absent streams are filled from training rows that are near in what is present.

``p(stream | present) = Σ_class p(class | present) p(stream | class, present)``: each class gets training rows in
proportion to its probability, the nearest of that class in the embedding of the present streams. The mean reduction of
the expected loss over such fillings is the information that the stream gives about the target, as in EDDI (Ma et al.
2019, arXiv 1809.11142, equation 3). Differs from the source: fillings are cells of real rows, not samples of a
generative model, and the result is scaled to what streams were worth on held-out rows (``calibration``).

Shape legend: N rows, K fillings of a row, D training rows, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polymodal.acquisition.answers import Answers, DecodedRows, Rows, answer, flat_targets, row_vectors, stream_owners
from polymodal.acquisition.calibration import Calibration
from polymodal.acquisition.losses import expected_losses, variance_of_answers
from polymodal.model.batches import bytes_of_row
from polymodal.model.trained_model import TrainedModel
from polymodal.targets import CategoryTarget
from polymodal.targets.number import NumberTarget

Floats = NDArray[np.float64]

FILLINGS = 8
"""Training rows that fill each row's absent streams (K)."""
MIN_CLASS_PROBABILITY = 0.005
"""Less probable classes get no filling of their own."""
FILLED_BYTES = 2**27
"""Most bytes of filled rows that are held at once."""


@dataclass(frozen=True)
class Fillings:
    """Which training rows fill the absent streams of some rows.

    Attributes:
        rows: int64 ``[N, K]``, places among the training rows.
        weights: float64 ``[N, K]``, one in sum; zero where fewer rows are needed.
    """

    rows: Rows
    weights: Floats


class NeighbourEstimator:
    """Estimates what absent streams are worth by filling them from near training rows."""

    def __init__(
        self, model: TrainedModel, training: DecodedRows, held_out: DecodedRows | None, number: int = FILLINGS
    ) -> None:
        """Store the rows; nothing is computed yet.

        Args:
            model: The trained model.
            training: Rows to fill from.
            held_out: Rows with known targets that the gains are scaled by; None leaves them as they are.
            number: K.
        """
        self.model = model
        self.training = training
        self.number = number
        self.calibration = None if held_out is None else Calibration(model, held_out)
        self._vectors: dict[frozenset[str], NDArray[np.float32]] = {}
        self._labels = _labels(model, training)

    def start(self, rows: DecodedRows, absent: frozenset[str]) -> NeighbourGroup:
        """Prepare rows that lack the same streams.

        Args:
            rows: The rows.
            absent: The streams they lack.

        Returns:
            What tells the gains of these rows.
        """
        return NeighbourGroup(self, rows, absent)

    def vectors_without(self, absent: frozenset[str]) -> NDArray[np.float32]:
        """Return the training rows' vectors with streams hidden ``[D, W]``; those of the last patterns are kept."""
        if absent not in self._vectors:
            if len(self._vectors) >= 8:
                self._vectors.pop(next(iter(self._vectors)))
            self._vectors[absent] = row_vectors(self.model, self.training, absent)
        return self._vectors[absent]

    def raw_gains(
        self,
        rows: DecodedRows,
        now: Answers,
        similarity: NDArray[np.float32],
        streams: frozenset[str],
        *,
        with_baselines: bool = True,
    ) -> Floats:
        """Estimate the reduction of the loss by the model's own probabilities.

        Args:
            rows: The rows.
            now: Their present answers.
            similarity: To each training row ``[N, D]``.
            streams: The streams to get.
            with_baselines: Whether the baselines answer too.

        Returns:
            float64 ``[N]``, not scaled.
        """
        presence = self.training.presence
        usable = np.all([presence[stream] for stream in streams], axis=0)
        if not usable.any():
            return np.zeros(len(rows))
        fillings = self._choose(now, similarity, usable)
        step = max(1, FILLED_BYTES // (bytes_of_row(rows.columns) * fillings.rows.shape[1]))
        parts = [np.arange(start, min(start + step, len(rows))) for start in range(0, len(rows), step)]
        filled = [self._reductions(rows, now, fillings, streams, part, with_baselines) for part in parts]
        return np.concatenate(filled)

    def _choose(self, now: Answers, similarity: NDArray[np.float32], usable: NDArray[np.bool_]) -> Fillings:
        if self._labels is None:
            return nearest_fillings(similarity, usable, self.number)
        name, labels = self._labels
        return class_fillings(similarity, usable & (labels >= 0), self.number, now[name], labels)

    def _reductions(
        self,
        rows: DecodedRows,
        now: Answers,
        fillings: Fillings,
        streams: frozenset[str],
        places: Rows,
        with_baselines: bool,
    ) -> Floats:
        chosen, weights = fillings.rows[places], fillings.weights[places]
        owners = stream_owners(self.model)
        filled = rows.filled(np.repeat(places, chosen.shape[1]), self.training, chosen.ravel(), streams, owners)
        (found,) = answer(self.model, filled, with_baselines=with_baselines)
        total = np.zeros(len(places))
        for name, target in flat_targets(self.model).items():
            answers = found[name].reshape(*chosen.shape, *found[name].shape[1:])
            if isinstance(target, NumberTarget):
                total += variance_of_answers(target, answers, weights)
            else:
                after = (weights * expected_losses(target, answers)).sum(axis=1)
                total += expected_losses(target, now[name][places]) - after
        return total


class NeighbourGroup:
    """Rows that lack the same streams, and their nearest training rows."""

    def __init__(self, estimator: NeighbourEstimator, rows: DecodedRows, absent: frozenset[str]) -> None:
        """Answer the rows and compare them with the training rows."""
        self._estimator, self._rows, self._absent = estimator, rows, absent
        (self._now,) = answer(estimator.model, rows)
        self._similarity = row_vectors(estimator.model, rows) @ estimator.vectors_without(absent).T

    def gains(self, places: Rows, streams: frozenset[str]) -> Floats:
        """Estimate by how much the loss falls when streams are got together.

        Args:
            places: Some of the rows.
            streams: The streams.

        Returns:
            float64 ``[len(places)]``, not below 0.
        """
        now = {name: values[places] for name, values in self._now.items()}
        raw = self._estimator.raw_gains(self._rows.take(places), now, self._similarity[places], streams)
        return np.maximum(raw, 0.0) * self._scale(streams)

    def _scale(self, streams: frozenset[str]) -> float:
        calibration, estimator = self._estimator.calibration, self._estimator
        if calibration is None:
            return 1.0

        def estimate(rows: DecodedRows, now: Answers, got: frozenset[str]) -> Floats:
            similarity = row_vectors(estimator.model, rows) @ estimator.vectors_without(self._absent).T
            return estimator.raw_gains(rows, now, similarity, got, with_baselines=False)

        return calibration.scale(self._absent, streams, estimate)


def _labels(model: TrainedModel, training: DecodedRows) -> tuple[str, NDArray[np.int64]] | None:
    """Return the only target's name and the class of each training row, -1 where unknown; None for other targets."""
    targets = flat_targets(model)
    name, target = next(iter(targets.items()))
    if len(targets) > 1 or not isinstance(target, CategoryTarget) or name not in training.cells:
        return None
    truth, known = target.encode(training.cells[name])
    return (name, np.where(known, truth, -1)) if known.any() else None


def nearest_fillings(similarity: NDArray[np.float32], usable: NDArray[np.bool_], number: int) -> Fillings:
    """Choose the nearest training rows, all with the same weight: for targets that are no single class.

    Args:
        similarity: Of each row to each training row ``[N, D]``.
        usable: bool ``[D]``, True where the training row has the streams to fill.
        number: K at most.

    Returns:
        The fillings; K is smaller where fewer training rows are usable.
    """
    known = np.flatnonzero(usable)
    number = min(number, len(known))
    order = np.argsort(-similarity[:, known], axis=1, kind="stable")[:, :number]
    return Fillings(known[order], np.full(order.shape, 1.0 / max(number, 1)))


def class_fillings(
    similarity: NDArray[np.float32],
    usable: NDArray[np.bool_],
    number: int,
    probabilities: Floats,
    labels: NDArray[np.int64],
) -> Fillings:
    """Choose training rows class by class, in proportion to the probability of each.

    Args:
        similarity: Of each row to each training row ``[N, D]``.
        usable: bool ``[D]``, True where the training row has the streams to fill and a known class.
        number: K.
        probabilities: The present answer of each row ``[N, C]``.
        labels: Class of each training row ``[D]``.

    Returns:
        The fillings.
    """
    if not usable.any():
        return nearest_fillings(similarity, np.ones_like(usable), number)
    rows, weights = np.zeros((len(similarity), number), np.int64), np.zeros((len(similarity), number))
    of_class = [np.flatnonzero(usable & (labels == index)) for index in range(probabilities.shape[1])]
    has_rows = np.array([len(found) > 0 for found in of_class])
    for place, (near, given) in enumerate(zip(similarity, probabilities, strict=True)):
        start = 0
        for index, count in class_counts(np.where(has_rows, given, 0.0), number):
            known = of_class[index]
            best = known[np.argsort(-near[known], kind="stable")[:count]]
            rows[place, start : start + len(best)] = best
            weights[place, start : start + len(best)] = given[index] / len(best)
            start += len(best)
    return Fillings(rows, weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-12))


def class_counts(probabilities: Floats, number: int) -> list[tuple[int, int]]:
    """Share a number of fillings out among the classes.

    Args:
        probabilities: Of each class ``[C]``; zero where it can have none.
        number: K.

    Returns:
        Class and its number of fillings, at least one each, K or fewer in all; the most probable class first.
    """
    order = np.argsort(-probabilities, kind="stable")
    likely = [int(index) for index in order[:number] if probabilities[index] >= MIN_CLASS_PROBABILITY]
    likely = likely or [int(order[0])]
    shares = probabilities[likely] / max(float(probabilities[likely].sum()), 1e-12)
    counts = 1 + np.floor(shares * (number - len(likely))).astype(np.int64)
    return list(zip(likely, counts.tolist(), strict=True))
