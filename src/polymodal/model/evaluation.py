"""Evaluation of a model: scores with intervals, of the model, each stream and baseline, and without each stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.data.cache.cache import ArrayCache
from polymodal.metrics import intervals, intervals_of, score, score_of
from polymodal.metrics.calibration import calibration_bins
from polymodal.metrics.classification import confusion, label_scores
from polymodal.model.batches import Examples
from polymodal.model.fit_ensemble import ensemble_summary, single_stream_masks
from polymodal.model.predict import NO_MASK, MemberPredictions, StreamMask, combine, predict_examples, prior_prediction
from polymodal.model.trained_model import TrainedModel
from polymodal.targets import AnyTarget, StructuredTarget, primary_metric_of
from polymodal.targets.base import Prediction
from polymodal.targets.structured import values_of

CURVE_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
CURVE_DRAWS = 5
RESIDUAL_POINTS = 2000


@dataclass(frozen=True)
class Evaluation:
    """Scores and predictions of a set of rows.

    Attributes:
        report: Plain JSON, the ``evaluation`` of the report data.
        predictions: Target to the final prediction of every row.
    """

    report: dict[str, Any]
    predictions: dict[str, Prediction]


@dataclass(frozen=True)
class _Scorer:
    """Scores predictions of one target on the rows where its truth is known."""

    target: AnyTarget
    truth: Any
    known: NDArray[np.bool_]
    seed: int

    def score(self, prediction: Prediction) -> dict[str, float]:
        known = prediction[self.known]
        if isinstance(self.target, StructuredTarget):
            return score_of(self.target.measure(self.truth, values_of(known)), len(known))
        return score(self.target.kind, self.truth, known, self.target.classes or ())

    def intervals(self, prediction: Prediction) -> dict[str, list[float]]:
        known = prediction[self.known]
        if isinstance(self.target, StructuredTarget):
            return intervals_of(self.target.measure(self.truth, values_of(known)), len(known), self.seed)
        return intervals(self.target.kind, self.truth, known, self.target.classes or (), self.seed)


@dataclass(frozen=True)
class _MaskedPredictions:
    """Predictions of the members and of the ensembles under one stream mask."""

    members: MemberPredictions
    finals: dict[str, Prediction]


def evaluate_examples(model: TrainedModel, examples: Examples, split: str, cache: ArrayCache) -> Evaluation:
    """Evaluate a model on rows with truth.

    Args:
        model: The trained model.
        examples: The rows.
        split: Which split they are: "test" or "validation".
        cache: Cache of the baselines' predictions.

    Returns:
        Scores of the whole model, the fusion, each stream and baseline; scores with each stream
        masked; calibration, confusion or residuals.
    """
    needed = [t.evaluated_without for t in model.targets.values() if isinstance(t, StructuredTarget)]
    masks = list(dict.fromkeys([*single_stream_masks(model), *_all_but_one_masks(model), *needed]))
    members = predict_examples(model, examples, masks, cache)
    masked = {mask: _MaskedPredictions(m, combine(model, m)) for mask, m in zip(masks, members, strict=True)}
    report: dict[str, Any] = {"split": split, "rows": len(examples), "decision": ensemble_summary(model.ensembles)}
    for name, target in model.targets.items():
        scorer = _scorer(model, name, target, examples)
        for section, value in _target_sections(model, name, scorer, masked).items():
            report.setdefault(section, {})[name] = value
    return Evaluation(report, masked[NO_MASK].finals)


def _all_but_one_masks(model: TrainedModel) -> list[StreamMask]:
    """Structured targets have no heads of single streams: a stream is evaluated with all others masked."""
    streams = model.network.streams
    return [frozenset(streams) - {stream} for stream in streams] if any(map(_by_stream, model.targets.values())) else []


def _by_stream(target: AnyTarget) -> bool:
    """Return whether a structured target is evaluated with streams masked."""
    return isinstance(target, StructuredTarget) and target.by_stream


def _scorer(model: TrainedModel, name: str, target: AnyTarget, examples: Examples) -> _Scorer:
    known = examples.known[name]
    truth: Any = examples.truth[name][known]
    if isinstance(target, StructuredTarget):
        truth = examples.references(name, target, np.flatnonzero(known))
    return _Scorer(target, truth, known, model.config.seed)


def _target_sections(
    model: TrainedModel, name: str, scorer: _Scorer, masked: Mapping[StreamMask, _MaskedPredictions]
) -> dict[str, Any]:
    if not scorer.known.any():
        return {"targets": {}, "streams": {}, "baselines": {}, "missing": {}}
    streams = model.network.streams if len(model.network.streams) > 1 else ()
    unmasked, final = masked[NO_MASK].members, masked[NO_MASK].finals[name]
    if isinstance(scorer.target, StructuredTarget) and not scorer.target.by_stream:
        return _unmasked_sections(scorer, scorer.target, masked[scorer.target.evaluated_without].finals[name])
    members = {**unmasked.predictions[name], "baseline:prior": prior_prediction(scorer.target, len(scorer.known))}
    if isinstance(scorer.target, StructuredTarget):
        only = {stream: masked[frozenset(model.network.streams) - {stream}] for stream in model.network.streams}
        members |= {f"stream:{stream}": predictions.finals[name] for stream, predictions in only.items()}
    filled = {member: _or_prior(p, member, unmasked, scorer.target) for member, p in members.items()}
    scores = {member: scorer.score(prediction) for member, prediction in filled.items()}
    without = {stream: masked[frozenset({stream})].finals[name] for stream in streams}
    return {
        "targets": scorer.score(final),
        "intervals": scorer.intervals(final),
        "fusion": scores.get("fusion", {}),
        "streams": _named(scores, "stream:"),
        "baselines": _named(scores, "baseline:"),
        "member_intervals": _member_intervals(scorer, filled),
        "missing": {stream: scorer.score(prediction) for stream, prediction in without.items()},
        "curves": {stream: _curve(scorer, final, prediction) for stream, prediction in without.items()},
        **_chart_data(scorer, final, members.get("fusion")),
    }


def _unmasked_sections(scorer: _Scorer, target: StructuredTarget, final: Prediction) -> dict[str, Any]:
    """Score a target that is not evaluated with streams masked."""
    prior = target.prior_predictions(final)
    return {
        "targets": scorer.score(final),
        "intervals": scorer.intervals(final),
        "streams": {},
        "baselines": {"prior": scorer.score(prior)},
        "member_intervals": _member_intervals(scorer, {"baseline:prior": prior}),
        "missing": {},
        **_chart_data(scorer, final, None),
    }


def _or_prior(prediction: Prediction, member: str, members: MemberPredictions, target: AnyTarget) -> Prediction:
    """Replace a stream's prediction by the prior in rows in which the stream is absent."""
    present = members.present.get(member)
    if present is None or present.all():
        return prediction
    fallback = prior_prediction(target, len(present))
    return np.where(present if prediction.ndim == 1 else present[:, None], prediction, fallback)


def _named(scores: Mapping[str, dict[str, float]], prefix: str) -> dict[str, dict[str, float]]:
    return {member.removeprefix(prefix): of_member for member, of_member in scores.items() if member.startswith(prefix)}


def _member_intervals(scorer: _Scorer, predictions: Mapping[str, Prediction]) -> dict[str, list[float]]:
    primary = primary_metric_of(scorer.target)
    intervals = {member: scorer.intervals(prediction).get(primary) for member, prediction in predictions.items()}
    return {member: bounds for member, bounds in intervals.items() if bounds is not None}


def _curve(scorer: _Scorer, full: Prediction, without: Prediction) -> list[list[float]]:
    """Return the score over the share of a stream's cells that is masked at random."""
    primary = primary_metric_of(scorer.target)
    random = np.random.default_rng(scorer.seed)
    points = []
    for share in CURVE_SHARES:
        scores = []
        for _ in range(1 if share in (0.0, 1.0) else CURVE_DRAWS):
            removed = random.random(len(full)) < share
            mixed = np.where(removed if full.ndim == 1 else removed[:, None], without, full)
            scores.append(scorer.score(mixed).get(primary))
        values = [value for value in scores if value is not None]
        if values:
            points.append([share, float(np.mean(values))])
    return points


def _chart_data(scorer: _Scorer, final: Prediction, fusion: Prediction | None) -> dict[str, Any]:
    """Return the data of the report's charts: confusion and calibration, labels, or residuals."""
    kind, truth, predicted = scorer.target.kind, scorer.truth, final[scorer.known]
    if isinstance(scorer.target, StructuredTarget):
        return scorer.target.report_sections(truth, values_of(predicted))
    if kind == "number":
        step = max(len(truth) // RESIDUAL_POINTS, 1)
        return {"residuals": {"truth": truth[::step].tolist(), "prediction": predicted[::step].tolist()}}
    before = scorer.score(final if fusion is None else fusion).get("ece")
    calibration = {
        "bins": calibration_bins(kind, truth, predicted),
        "ece_before": before,
        "ece_after": scorer.score(final).get("ece"),
    }
    if kind == "categories":
        classes = scorer.target.classes or []
        return {"calibration": calibration, "per_label": label_scores(truth, predicted, classes)}
    counts = confusion(truth, predicted).tolist()
    return {"calibration": calibration, "confusion": {"labels": scorer.target.classes, "counts": counts}}
