"""Scores of predictions of one target, on the rows where its truth is known, with intervals and comparisons."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.metrics import metric_of, resample, resample_measure, score, score_of
from polymodal.metrics.bootstrap import NUM_RESAMPLES, Samples, intervals_from, percentile_intervals
from polymodal.metrics.paired import PairedDifference, better_by, compare_predictions, compare_samples
from polymodal.metrics.scores import ROWS, measure_rows
from polymodal.metrics.weighted import Floats
from polymodal.model.batches import Examples
from polymodal.model.trained_model import TrainedModel
from polymodal.targets import AnyTarget, StructuredTarget, label_weights_of, primary_metric_of
from polymodal.targets.base import Prediction
from polymodal.targets.structured import values_of


@dataclass(frozen=True)
class Scored:
    """A prediction with its scores.

    Attributes:
        prediction: Of the rows where the truth is known.
        scores: Metric to value.
        intervals: Metric to ``[low, high]``, 95 %.
        samples: Metric to its values on bootstrap resamples; the same resamples for all predictions of a scorer.
    """

    prediction: Prediction
    scores: dict[str, float]
    intervals: dict[str, list[float]]
    samples: Samples


@dataclass(frozen=True)
class Scorer:
    """Scores predictions of one target on the rows where its truth is known.

    Attributes:
        target: The fitted target.
        truth: Encoded truth of those rows, or references of a structured target.
        known: bool ``[rows]``, True where the truth is known.
        seed: Seed of the resamples.
    """

    target: AnyTarget
    truth: Any
    known: NDArray[np.bool_]
    seed: int

    @cached_property
    def primary(self) -> str:
        """The target's primary metric."""
        return primary_metric_of(self.target)

    @property
    def label_weights(self) -> list[float] | None:
        """How labels are chosen, of every prediction: the final one and each member's."""
        return label_weights_of(self.target)

    @property
    def is_higher_better(self) -> bool:
        """Direction of the primary metric."""
        return metric_of(self.primary).higher_is_better

    def score(self, prediction: Prediction) -> dict[str, float]:
        """Score a prediction of all rows.

        Args:
            prediction: Prediction of every row.

        Returns:
            Metric to value.
        """
        return self._score(prediction[self.known])

    def judge(self, prediction: Prediction) -> Scored:
        """Score a prediction of all rows, with intervals.

        Args:
            prediction: Prediction of every row.

        Returns:
            Its scores.
        """
        return self._judge(prediction[self.known])

    def resample_primary(self, prediction: Prediction, num_resamples: int = NUM_RESAMPLES) -> tuple[float, Floats]:
        """Score a prediction of all rows by the primary metric alone.

        Args:
            prediction: Prediction of every row.
            num_resamples: Number of bootstrap resamples.

        Returns:
            The score, NaN where it is undefined on these rows; and its values on the resamples ``[R]``, which are the
            same ones for all predictions of a scorer.
        """
        known, num_rows = prediction[self.known], int(self.known.sum())
        if isinstance(self.target, StructuredTarget):
            measure = self.target.measure(self.truth, values_of(known))
        else:
            kind, classes = self.target.kind, self.target.classes or ()
            measure = measure_rows(kind, ROWS[kind](self.truth, known, classes, self.label_weights), [self.primary])
        whole = measure(np.ones((1, num_rows)))
        samples = resample_measure(measure, num_rows, self.seed, num_resamples)
        return float(whole[self.primary][0]), samples[self.primary]

    def compare(self, first: Scored, second: Scored) -> PairedDifference | None:
        """Compare two predictions by the primary metric, on the same rows.

        Args:
            first: Scores of a prediction.
            second: Scores of another one.

        Returns:
            The difference; None where one of them has no score.
        """
        metric = self.primary
        if metric not in first.scores or metric not in second.scores:
            return None
        if not isinstance(self.target, StructuredTarget):
            pair = first.prediction, second.prediction
            classes = self.target.classes or ()
            found = compare_predictions(self.target.kind, metric, self.truth, pair, classes, self.label_weights)
            if found is not None:
                return found
        if metric not in first.samples or metric not in second.samples:
            return None
        lead = better_by(metric, first.scores[metric], second.scores[metric])
        return compare_samples(lead, first.samples[metric], second.samples[metric], self.is_higher_better)

    def judge_rows(self, scored: Scored, rows: NDArray[np.int64]) -> Scored:
        """Score some of the rows of a prediction.

        Args:
            scored: The prediction.
            rows: Indices into the rows where the truth is known.

        Returns:
            The scores on those rows.
        """
        truth = [self.truth[row] for row in rows] if isinstance(self.truth, list) else self.truth[rows]
        part = Scorer(self.target, truth, np.ones(len(rows), dtype=np.bool_), self.seed)
        return part.judge(scored.prediction[rows])

    def _score(self, known: Prediction) -> dict[str, float]:
        if isinstance(self.target, StructuredTarget):
            return score_of(self.target.measure(self.truth, values_of(known)), len(known))
        return score(self.target.kind, self.truth, known, self.target.classes or (), self.label_weights)

    def _judge(self, known: Prediction) -> Scored:
        scores = self._score(known)
        if isinstance(self.target, StructuredTarget):
            samples = resample_measure(self.target.measure(self.truth, values_of(known)), len(known), self.seed)
            return Scored(known, scores, percentile_intervals(samples, len(known)), samples)
        kind, classes, weights = self.target.kind, self.target.classes or (), self.label_weights
        samples = resample(kind, self.truth, known, classes, self.seed, label_weights=weights)
        return Scored(known, scores, intervals_from(kind, self.truth, known, classes, samples, weights), samples)


def build_scorer(model: TrainedModel, name: str, target: AnyTarget, examples: Examples) -> Scorer:
    """Build the scorer of a target.

    Args:
        model: The model.
        name: The target's name.
        target: The fitted target.
        examples: The rows.

    Returns:
        The scorer.
    """
    known = examples.known[name]
    truth: Any = examples.truth[name][known]
    if isinstance(target, StructuredTarget):
        truth = examples.references(name, target, np.flatnonzero(known))
    return Scorer(target, truth, known, model.config.seed)
