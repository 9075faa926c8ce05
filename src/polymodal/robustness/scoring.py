"""Scores of the answers under noise, and errors relative to the clean score, with intervals.

The *corruption error* of a kind of noise in a stream is the clean score minus the mean score over the severities, in
the metric's direction; the *mean corruption error* is the mean over all streams and kinds. This is the relative
corruption error of Hendrycks & Dietterich 2019 (arXiv 1903.12261, section 4), which subtracts the clean error. Differs
from the source: it is not divided by the error of a reference network, as there is none for tables.

Shape legend: R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polymodal.model.evaluation import FINAL, FUSION, PRIOR, or_prior
from polymodal.model.member_predictions import MemberPredictions, prior_prediction
from polymodal.model.predict import BASELINE, combine
from polymodal.model.scorer import Scorer
from polymodal.model.trained_model import TrainedModel
from polymodal.robustness.stress_report import Estimate
from polymodal.targets import SketchTarget
from polymodal.targets.base import Prediction

Floats = NDArray[np.float64]
DECIMALS = 12
"""Differences are rounded so far that equal scores differ by zero."""


@dataclass(frozen=True)
class Score:
    """A score and its values on bootstrap resamples, which are the same ones for all scores of a target.

    Attributes:
        value: NaN where it is undefined.
        samples: float64 ``[R]``.
    """

    value: float
    samples: Floats

    def estimate(self) -> Estimate:
        """Return the score with its 95 % percentile interval."""
        finite = self.samples[np.isfinite(self.samples)]
        if not math.isfinite(self.value):
            return Estimate(value=None)
        bounds = [float(bound) for bound in np.percentile(finite, [2.5, 97.5])] if len(finite) else None
        return Estimate(value=self.value, interval=bounds)


def mean_score(scores: Sequence[Score]) -> Score:
    """Average scores, resample for resample.

    Args:
        scores: Scores of the same rows.

    Returns:
        Their mean; undefined without any.
    """
    if not scores:
        return Score(math.nan, np.zeros(0))
    return Score(
        float(np.mean([score.value for score in scores])), np.mean([score.samples for score in scores], axis=0)
    )


def error_of(clean: Score, noisy: Score, higher_is_better: bool) -> Score:
    """Return by how much a score is worse than the clean one.

    Args:
        clean: Score on the cells as they are.
        noisy: Score, or mean score, on the same rows with noise.
        higher_is_better: Direction of the metric.

    Returns:
        Positive where it is worse; paired resample for resample.
    """
    sign = 1 if higher_is_better else -1
    if not len(noisy.samples):
        return Score(math.nan, noisy.samples)
    lost, samples = sign * (clean.value - noisy.value), sign * (clean.samples - noisy.samples)
    return Score(round(lost, DECIMALS), np.round(samples, DECIMALS))


def score_answers(
    model: TrainedModel, scorers: Mapping[str, Scorer], members: MemberPredictions
) -> dict[str, dict[str, Score]]:
    """Score the final answer, the network's and the baselines'.

    Args:
        model: The model.
        scorers: Target to scorer.
        members: What every member predicts.

    Returns:
        Target to member to score.
    """
    finals = combine(model, members)
    return {
        name: {
            member: Score(*scorer.resample_primary(prediction))
            for member, prediction in _answers(model, name, finals[name], members).items()
        }
        for name, scorer in scorers.items()
    }


def _answers(model: TrainedModel, name: str, final: Prediction, members: MemberPredictions) -> dict[str, Prediction]:
    """Return the final answer, that of the network alone, and the baselines', where there is more than one member."""
    target, found = model.targets[name], members.predictions[name]
    if isinstance(target, SketchTarget) or set(found) <= {FUSION}:
        return {FINAL: final}
    compared = [member for member in found if member == FUSION or member.startswith(BASELINE)]
    answers = {member: or_prior(found[member], member, members, target) for member in compared}
    return {FINAL: final, **answers, PRIOR: prior_prediction(target, len(final))}
