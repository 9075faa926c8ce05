"""How good a model is, and why: scores with intervals, beside streams, baselines and gaps."""

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
from polymodal.model.fit_ensemble import ensemble_summary, single_views
from polymodal.model.predict import NOTHING_HIDDEN, Members, View, combine, members_of, prior_prediction
from polymodal.model.trained_model import TrainedModel
from polymodal.nn.allocator import memory_reused
from polymodal.targets import AnyTarget, StructuredTarget, primary_metric_of
from polymodal.targets.base import Prediction
from polymodal.targets.structured import values_of

CURVE_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
CURVE_DRAWS = 5
RESIDUAL_POINTS = 2000


@dataclass(frozen=True)
class Evaluation:
    """What was found on a set of rows.

    Attributes:
        report: Plain JSON, the ``evaluation`` of the report.
        predictions: Target to the final prediction of every row.
    """

    report: dict[str, Any]
    predictions: dict[str, Prediction]


@dataclass(frozen=True)
class _Subject:
    """One target's truth on the rows where it is known, and how to score against it."""

    target: AnyTarget
    truth: Any
    known: NDArray[np.bool_]
    seed: int

    def score(self, prediction: Prediction) -> dict[str, float]:
        chosen = prediction[self.known]
        if isinstance(self.target, StructuredTarget):
            return score_of(self.target.measure(self.truth, values_of(chosen)), len(chosen))
        return score(self.target.kind, self.truth, chosen, self.target.classes or ())

    def intervals(self, prediction: Prediction) -> dict[str, list[float]]:
        chosen = prediction[self.known]
        if isinstance(self.target, StructuredTarget):
            return intervals_of(self.target.measure(self.truth, values_of(chosen)), len(chosen), self.seed)
        return intervals(self.target.kind, self.truth, chosen, self.target.classes or (), self.seed)


@dataclass(frozen=True)
class _Look:
    """What members and the decision say with some streams hidden."""

    members: Members
    finals: dict[str, Prediction]


@memory_reused()
def evaluate_examples(model: TrainedModel, examples: Examples, split: str, cache: ArrayCache) -> Evaluation:
    """Judge a model on rows with truth.

    Args:
        model: The trained model.
        examples: The rows.
        split: What they are: "test" or "validation".
        cache: Where it is kept what baselines say of them.

    Returns:
        Scores of the final decision, the fusion, each stream and baseline; what is left when a
        stream is absent; calibration, confusion or residuals.
    """
    needed = [t.judged_without for t in model.targets.values() if isinstance(t, StructuredTarget)]
    views = list(dict.fromkeys([*single_views(model), *_lone_views(model), *needed]))
    found = members_of(model, examples, views, cache)
    looks = {view: _Look(members, combine(model, members)) for view, members in zip(views, found, strict=True)}
    report: dict[str, Any] = {"split": split, "rows": len(examples), "decision": ensemble_summary(model.ensembles)}
    for name, target in model.targets.items():
        subject = _subject(model, name, target, examples)
        for section, value in _target_sections(model, name, subject, looks).items():
            report.setdefault(section, {})[name] = value
    return Evaluation(report, looks[NOTHING_HIDDEN].finals)


def _lone_views(model: TrainedModel) -> list[View]:
    """A structured target has no streams' own heads: a stream is judged with all others hidden."""
    streams = model.network.streams
    return [frozenset(streams) - {stream} for stream in streams] if any(map(_by_stream, model.targets.values())) else []


def _by_stream(target: AnyTarget) -> bool:
    """Whether a structured target is judged with streams hidden."""
    return isinstance(target, StructuredTarget) and target.by_stream


def _subject(model: TrainedModel, name: str, target: AnyTarget, examples: Examples) -> _Subject:
    known = examples.known[name]
    truth: Any = examples.truth[name][known]
    if isinstance(target, StructuredTarget):
        truth = examples.references(name, target, np.flatnonzero(known))
    return _Subject(target, truth, known, model.config.seed)


def _target_sections(model: TrainedModel, name: str, subject: _Subject, looks: Mapping[View, _Look]) -> dict[str, Any]:
    if not subject.known.any():
        return {"targets": {}, "streams": {}, "baselines": {}, "missing": {}}
    streams = model.network.streams if len(model.network.streams) > 1 else ()
    plain, final = looks[NOTHING_HIDDEN].members, looks[NOTHING_HIDDEN].finals[name]
    if isinstance(subject.target, StructuredTarget) and not subject.target.by_stream:
        return _plain_sections(subject, subject.target, looks[subject.target.judged_without].finals[name])
    members = {**plain.predictions[name], "baseline:prior": prior_prediction(subject.target, len(subject.known))}
    if isinstance(subject.target, StructuredTarget):
        alone = {stream: looks[frozenset(model.network.streams) - {stream}] for stream in model.network.streams}
        members |= {f"stream:{stream}": look.finals[name] for stream, look in alone.items()}
    said = {member: _where_present(found, member, plain, subject.target) for member, found in members.items()}
    scores = {member: subject.score(found) for member, found in said.items()}
    without = {stream: looks[frozenset({stream})].finals[name] for stream in streams}
    return {
        "targets": subject.score(final),
        "intervals": subject.intervals(final),
        "fusion": scores.get("fusion", {}),
        "streams": _named(scores, "stream:"),
        "baselines": _named(scores, "baseline:"),
        "member_intervals": _member_intervals(subject, said),
        "missing": {stream: subject.score(found) for stream, found in without.items()},
        "curves": {stream: _curve(subject, final, found) for stream, found in without.items()},
        **_pictures(subject, final, members.get("fusion")),
    }


def _plain_sections(subject: _Subject, target: StructuredTarget, final: Prediction) -> dict[str, Any]:
    """Score a target that is not judged with streams hidden."""
    prior = target.uninformed(final)
    return {
        "targets": subject.score(final),
        "intervals": subject.intervals(final),
        "streams": {},
        "baselines": {"prior": subject.score(prior)},
        "member_intervals": _member_intervals(subject, {"baseline:prior": prior}),
        "missing": {},
        **_pictures(subject, final, None),
    }


def _where_present(prediction: Prediction, member: str, view: Members, target: AnyTarget) -> Prediction:
    """A stream's own head says the prior in rows in which the stream is absent."""
    present = view.present.get(member)
    if present is None or present.all():
        return prediction
    fallback = prior_prediction(target, len(present))
    return np.where(present if prediction.ndim == 1 else present[:, None], prediction, fallback)


def _named(scores: Mapping[str, dict[str, float]], prefix: str) -> dict[str, dict[str, float]]:
    return {member.removeprefix(prefix): found for member, found in scores.items() if member.startswith(prefix)}


def _member_intervals(subject: _Subject, said: Mapping[str, Prediction]) -> dict[str, list[float]]:
    primary = primary_metric_of(subject.target)
    found = {member: subject.intervals(prediction).get(primary) for member, prediction in said.items()}
    return {member: bounds for member, bounds in found.items() if bounds is not None}


def _curve(subject: _Subject, full: Prediction, without: Prediction) -> list[list[float]]:
    """Score against the share of a stream's cells removed: each row is taken with or without it at random."""
    primary = primary_metric_of(subject.target)
    random = np.random.default_rng(subject.seed)
    points = []
    for share in CURVE_SHARES:
        found = []
        for _ in range(1 if share in (0.0, 1.0) else CURVE_DRAWS):
            removed = random.random(len(full)) < share
            mixed = np.where(removed if full.ndim == 1 else removed[:, None], without, full)
            found.append(subject.score(mixed).get(primary))
        values = [value for value in found if value is not None]
        if values:
            points.append([share, float(np.mean(values))])
    return points


def _pictures(subject: _Subject, final: Prediction, fusion: Prediction | None) -> dict[str, Any]:
    """Return what the report draws: confusion and calibration, labels, or residuals."""
    kind, truth, chosen = subject.target.kind, subject.truth, final[subject.known]
    if isinstance(subject.target, StructuredTarget):
        return subject.target.sections(truth, values_of(chosen))
    if kind == "number":
        step = max(len(truth) // RESIDUAL_POINTS, 1)
        return {"residuals": {"truth": truth[::step].tolist(), "prediction": chosen[::step].tolist()}}
    before = subject.score(final if fusion is None else fusion).get("ece")
    calibration = {
        "bins": calibration_bins(kind, truth, chosen),
        "ece_before": before,
        "ece_after": subject.score(final).get("ece"),
    }
    if kind == "categories":
        return {"calibration": calibration, "per_label": label_scores(truth, chosen, subject.target.classes or [])}
    counts = confusion(truth, chosen).tolist()
    return {"calibration": calibration, "confusion": {"labels": subject.target.classes, "counts": counts}}
