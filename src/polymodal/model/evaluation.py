"""Evaluation of a model: scores with intervals, of the model, each stream and baseline, and without each stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.data.cache.cache import ArrayCache
from polymodal.model.batches import Examples
from polymodal.model.certainty_report import Answered, certainty_section
from polymodal.model.chart_data import chart_data, residuals_by_column, slice_scores
from polymodal.model.fit_certainty import row_strata
from polymodal.model.fit_ensemble import ensemble_summary, single_stream_masks
from polymodal.model.inference_network import NO_MASK, StreamMask
from polymodal.model.judge_recovery import judge_recovery
from polymodal.model.member_predictions import MemberPredictions, prior_prediction
from polymodal.model.predict import combine, predict_examples
from polymodal.model.recovered_sketches import judged_targets
from polymodal.model.scorer import Scored, Scorer, build_scorer
from polymodal.model.trained_model import TrainedModel
from polymodal.targets import AnyTarget, StructuredTarget
from polymodal.targets.base import Prediction
from polymodal.targets.numeric import NumericTarget

CURVE_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
CURVE_DRAWS = 5
FINAL = "final"
FUSION = "fusion"
PRIOR = "baseline:prior"
SAMPLED = (FINAL, FUSION)
NO_SAMPLES = np.zeros(0)


@dataclass(frozen=True)
class Evaluation:
    """Scores and predictions of a set of rows.

    Attributes:
        report: Plain JSON, the ``evaluation`` of the report data.
        predictions: Target to the final prediction of every row.
        samples: Target to the primary metric on bootstrap resamples, of the final prediction and the fusion network's;
            of runs with one seed on the same rows they are paired.
    """

    report: dict[str, Any]
    predictions: dict[str, Prediction]
    samples: dict[str, dict[str, list[float]]]


@dataclass(frozen=True)
class _MaskedPredictions:
    """Predictions of the members and of the ensembles under one stream mask."""

    members: MemberPredictions
    finals: dict[str, Prediction]


def evaluate_examples(
    model: TrainedModel,
    examples: Examples,
    split: str,
    cache: ArrayCache,
    slices: Mapping[str, Sequence[Cell]] | None = None,
) -> Evaluation:
    """Evaluate a model on rows with truth.

    Args:
        model: The model.
        examples: The rows.
        split: "test" or "validation".
        cache: Cache of the baselines' predictions.
        slices: Column to its cells in these rows; the rows of each value are scored by themselves.

    Returns:
        Scores of the whole model, the fusion, each stream and baseline; scores with each stream
        masked; calibration, confusion or residuals; how well hidden cells are recovered.
    """
    masks = list(dict.fromkeys([*single_stream_masks(model), *_all_but_one_masks(model)]))
    members = predict_examples(model, examples, masks, cache)
    masked = {mask: _MaskedPredictions(m, combine(model, m)) for mask, m in zip(masks, members, strict=True)}
    report: dict[str, Any] = {"split": split, "rows": len(examples), "decision": ensemble_summary(model.ensembles)}
    samples: dict[str, dict[str, list[float]]] = {}
    values = row_strata(model, examples)
    for name, target in judged_targets(model.targets).items():
        scorer = build_scorer(model, name, target, examples)
        sections, scored = _target_sections(model, name, scorer, masked, examples.rows)
        if scored and target.kind == "number":
            sections["residuals_by"] = residuals_by_column(model, examples, scorer, scored[FINAL])
        if scored:
            answered = {mask: Answered(found.members, found.finals[name]) for mask, found in masked.items()}
            without = {s: answered[frozenset({s})] for s in model.network.streams if frozenset({s}) in answered}
            sections["certainty"] = certainty_section(model, name, scorer, answered[NO_MASK], without, values)
        if scored and slices:
            sections["slices"] = slice_scores(scorer, scored[FINAL], slices)
        for section, value in sections.items():
            report.setdefault(section, {})[name] = value
        samples[name] = {m: scored[m].samples.get(scorer.primary, NO_SAMPLES).tolist() for m in scored if m in SAMPLED}
    if model.recovery is not None:
        report["recovery"] = judge_recovery(model, examples)
    return Evaluation(report, masked[NO_MASK].finals, samples)


def _all_but_one_masks(model: TrainedModel) -> list[StreamMask]:
    """Structured targets have no heads of single streams: a stream is evaluated with all others masked."""
    streams = model.network.streams
    return [frozenset(streams) - {stream} for stream in streams] if any(map(_is_masked, model.targets.values())) else []


def _is_masked(target: AnyTarget) -> bool:
    """Return whether a structured target is evaluated with streams masked; numeric ones have such members already."""
    return isinstance(target, StructuredTarget) and target.by_stream and not isinstance(target, NumericTarget)


def _target_sections(
    model: TrainedModel,
    name: str,
    scorer: Scorer,
    masked: Mapping[StreamMask, _MaskedPredictions],
    rows: NDArray[np.int64],
) -> tuple[dict[str, Any], dict[str, Scored]]:
    """Score a target; return its sections, and the predictions that were scored: ``FINAL`` and each member."""
    if not scorer.known.any():
        return {"targets": {}, "streams": {}, "baselines": {}, "missing": {}}, {}
    if isinstance(scorer.target, StructuredTarget) and not scorer.target.by_stream:
        final = masked[NO_MASK].finals[name]
        judged = {FINAL: final, "baseline:prior": scorer.target.prior_predictions(final)}
        scored = {member: scorer.judge(prediction) for member, prediction in judged.items()}
        return {"missing": {}, **_score_sections(scorer, scored, rows[scorer.known])}, scored
    streams = model.network.streams if len(model.network.streams) > 1 else ()
    members = _member_predictions(model, name, scorer, masked)
    scored = {member: scorer.judge(prediction) for member, prediction in members.items()}
    without = {stream: masked[frozenset({stream})].finals[name] for stream in streams}
    return {
        **_score_sections(scorer, scored, rows[scorer.known]),
        "missing": {stream: scorer.score(prediction) for stream, prediction in without.items()},
        "curves": {stream: _curve(scorer, members[FINAL], prediction) for stream, prediction in without.items()},
    }, scored


def _member_predictions(
    model: TrainedModel, name: str, scorer: Scorer, masked: Mapping[StreamMask, _MaskedPredictions]
) -> dict[str, Prediction]:
    """Return the final prediction and each member's, which is the prior where its stream is absent."""
    unmasked, target = masked[NO_MASK].members, scorer.target
    members = {**unmasked.predictions[name], PRIOR: prior_prediction(target, len(scorer.known))}
    filled = {member: or_prior(p, member, unmasked, target) for member, p in members.items()}
    if isinstance(target, StructuredTarget):
        filled = _streams_alone(model, name, masked) | filled
    return {FINAL: masked[NO_MASK].finals[name], **filled}


def _streams_alone(
    model: TrainedModel, name: str, masked: Mapping[StreamMask, _MaskedPredictions]
) -> dict[str, Prediction]:
    """Return what the network predicts for a structured target with all streams but one masked."""
    masks = {stream: frozenset(model.network.streams) - {stream} for stream in model.network.streams}
    found = {f"stream:{stream}": masked[mask].members for stream, mask in masks.items() if mask in masked}
    return {s: or_prior(m.predictions[name][FUSION], FUSION, m, model.targets[name]) for s, m in found.items()}


def _score_sections(scorer: Scorer, scored: Mapping[str, Scored], rows: NDArray[np.int64]) -> dict[str, Any]:
    """Return the scores of the final prediction and of each member, and how far the final one leads each."""
    final, members = scored[FINAL], {member: found for member, found in scored.items() if member != FINAL}
    scores = {member: found.scores for member, found in members.items()}
    leads = {member: scorer.compare(final, found) for member, found in members.items()}
    primary = scorer.primary
    return {
        "num_known": int(scorer.known.sum()),
        "targets": final.scores,
        "intervals": final.intervals,
        "fusion": scores.get(FUSION, {}),
        "streams": _named(scores, "stream:"),
        "baselines": _named(scores, "baseline:"),
        "member_intervals": {m: found.intervals[primary] for m, found in members.items() if primary in found.intervals},
        "comparisons": {member: lead.state() for member, lead in leads.items() if lead is not None},
        **chart_data(scorer, final, scored.get(FUSION), rows),
    }


def or_prior(prediction: Prediction, member: str, members: MemberPredictions, target: AnyTarget) -> Prediction:
    """Replace a member's prediction by the prior in rows in which none of its streams is present.

    Args:
        prediction: The member's prediction of every row.
        member: ``fusion``, ``stream:NAME`` or ``baseline:NAME``.
        members: Says where it is present.
        target: The fitted target.

    Returns:
        The prediction; the same array where the member is present in every row.
    """
    present = members.present.get(member)
    if present is None or present.all():
        return prediction
    fallback = prior_prediction(target, len(present))
    return np.where(present if prediction.ndim == 1 else present[:, None], prediction, fallback)


def _named(scores: Mapping[str, dict[str, float]], prefix: str) -> dict[str, dict[str, float]]:
    return {member.removeprefix(prefix): of_member for member, of_member in scores.items() if member.startswith(prefix)}


def _curve(scorer: Scorer, full: Prediction, without: Prediction) -> list[list[float]]:
    """Return the score over the share of a stream's cells that is masked at random."""
    primary = scorer.primary
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
