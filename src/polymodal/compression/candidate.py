"""A model that may be deployed, and how well it answers validation rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polymodal.compression.points import TargetScore, points_lost
from polymodal.compression.rows import CompressionRows
from polymodal.data.cache.cache import ArrayCache
from polymodal.ensemble.ensemble import Ensemble
from polymodal.ensemble.ensemble_weights import MemberRows, fit_ensemble, member_present
from polymodal.model.batches import Examples
from polymodal.model.fit_certainty import fit_certainty
from polymodal.model.fit_ensemble import HeldOutRows, fit_ensembles, held_out_rows
from polymodal.model.inference_network import NO_MASK
from polymodal.model.predict import BASELINE, combine, predict_examples
from polymodal.model.scorer import Scorer, build_scorer
from polymodal.model.trained_model import TrainedModel
from polymodal.targets import StructuredTarget

FOLDS, FEW_FOLDS, MANY_ROWS = 5, 2, 1000
"""Folds of validation rows, and of many of them: the weights hardly depend on half of those."""
PRIOR = f"{BASELINE}prior"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A model, and what its members say of the validation rows.

    Attributes:
        name: Its name.
        method: As of ``Point``.
        description: What was done, in a sentence.
        model: The model with its ensembles; it is calibrated once it is chosen.
        held_out: Target to the validation rows as each of its members answers them; no member was fitted on them.
        train: Training rows, as this model reads them.
        validation: The validation rows, as this model reads them.
        rows: All rows, and the baselines that it may use.
        kept: What ``keep_members`` kept; None: all members.
        bundle: The folder that it was exported to; None: its network is in torch.
        exported_from: The candidate in torch that it was exported from.
    """

    name: str
    method: str
    description: str
    model: TrainedModel
    held_out: Mapping[str, HeldOutRows]
    train: Examples
    validation: Examples
    rows: CompressionRows
    kept: frozenset[str] | None = None
    bundle: Path | None = None
    exported_from: Candidate | None = None


def build_candidate(
    name: str,
    method: str,
    description: str,
    model: TrainedModel,
    rows: CompressionRows,
    validation: Examples,
    cache: ArrayCache,
    train: Examples | None = None,
) -> Candidate:
    """Fit the decision level of a model anew and keep what its members say of the validation rows.

    Args:
        name: Name of the candidate.
        method: As of ``Point``.
        description: What was done, in a sentence.
        model: A model whose network is trained.
        rows: All rows, and the baselines.
        validation: The validation rows, as this model reads them.
        cache: Cache of the baselines' predictions.
        train: Training rows, as this model reads them; None: as the original reads them.

    Returns:
        The candidate.
    """
    if rows.fitted is not None:
        model = dataclasses.replace(model, features=rows.fitted.features, baselines=rows.fitted.baselines)
    model, held_out = held_out_rows(model, validation, cache, rows.fitted)
    return with_ensembles(
        Candidate(
            name=name,
            method=method,
            description=description,
            model=model,
            held_out=held_out,
            train=rows.train if train is None else train,
            validation=validation,
            rows=rows,
        )
    )


def with_ensembles(candidate: Candidate) -> Candidate:
    """Fit the ensembles of a candidate on its held-out rows.

    Args:
        candidate: The candidate.

    Returns:
        The same with its own ensembles, but the calibrations of the original, which take as many bytes.
    """
    return dataclasses.replace(candidate, model=fit_ensembles(candidate.model, candidate.held_out))


def with_calibrations(candidate: Candidate) -> TrainedModel:
    """Calibrate a candidate that is to be deployed.

    Args:
        candidate: The candidate.

    Returns:
        Its model with calibrations of its own, for sets, intervals and abstention.
    """
    return fit_certainty(candidate.model, candidate.held_out, candidate.validation)


def validation_scores(candidate: Candidate, cache: ArrayCache) -> dict[str, TargetScore]:
    """Score a candidate on the validation rows.

    Answers of classes, labels and numbers come from ensembles that were fitted without the row, those of other targets
    from the model itself.

    Args:
        candidate: The candidate.
        cache: Cache of the baselines' predictions.

    Returns:
        Target to its score.
    """
    model = candidate.model
    scores, flat = {}, {name: t for name, t in model.targets.items() if not isinstance(t, StructuredTarget)}
    for name, target in flat.items():
        part = candidate.held_out[name].members[0]
        scorer = Scorer(target, part.truth, np.ones(len(part.rows), np.bool_), model.config.seed)
        scores[name] = _judge(scorer, out_of_fold_answers(candidate.held_out[name], model.config.seed)[0])
    if len(flat) < len(model.targets):
        scores |= example_scores(model, candidate.validation, cache, without=frozenset(flat))
    return {name: scores[name] for name in model.targets if name in scores}


def example_scores(
    model: TrainedModel, examples: Examples, cache: ArrayCache, without: frozenset[str] = frozenset()
) -> dict[str, TargetScore]:
    """Score the answers of a model to rows that it was not fitted on.

    Args:
        model: The model.
        examples: The rows.
        cache: Cache of the baselines' predictions.
        without: Targets that are left out.

    Returns:
        Target to its score; targets that are unknown in all rows, or that judge other columns, are left out.
    """
    (members,) = predict_examples(model, examples, [NO_MASK], cache)
    answers, scores = combine(model, members), {}
    for name, target in model.targets.items():
        if name not in without and examples.known[name].any() and name in _named(model):
            scores[name] = _judge(build_scorer(model, name, target, examples), answers[name])
    return scores


def fused_scores(model: TrainedModel, examples: Examples, cache: ArrayCache) -> dict[str, TargetScore]:
    """Score what the fused network says of rows, without any other member.

    Args:
        model: The model.
        examples: The rows.
        cache: Cache of the baselines' predictions.

    Returns:
        Target to its score; empty where the network does not fuse streams.
    """
    (members,) = predict_examples(model, examples, [NO_MASK], cache)
    return {
        name: _judge(build_scorer(model, name, target, examples), members.predictions[name]["fusion"])
        for name, target in model.targets.items()
        if name in _named(model) and examples.known[name].any() and "fusion" in members.predictions[name]
    }


def _named(model: TrainedModel) -> frozenset[str]:
    return frozenset(target.name for target in model.schema.targets)


def _judge(scorer: Scorer, prediction: NDArray[np.float64]) -> TargetScore:
    judged, metric = scorer.judge(prediction), scorer.primary
    return TargetScore(
        metric=metric, value=float(judged.scores.get(metric, np.nan)), interval=judged.intervals.get(metric)
    )


def out_of_fold_answers(held_out: HeldOutRows, seed: int) -> list[NDArray[np.float64]]:
    """Predict validation rows by ensembles that were each fitted without them.

    Args:
        held_out: What the members say of the rows.
        seed: Fixes the folds.

    Returns:
        Predictions of the rows as they are, and with each stream masked, as in ``held_out.members``.
    """
    parts, num_rows = held_out.members, len(held_out.members[0].rows)
    num_folds = min(FOLDS if num_rows < MANY_ROWS else FEW_FOLDS, num_rows)
    dealt = np.random.default_rng([seed, 2]).permutation(num_rows) % num_folds
    folds = [dealt[np.searchsorted(parts[0].rows, part.rows)] for part in parts]
    answers = [np.zeros(next(iter(part.members.values())).shape) for part in parts]
    for fold in range(num_folds):
        rest = [part.take(of_part != fold) for part, of_part in zip(parts, folds, strict=True)]
        ensemble = fit_ensemble(held_out.kind, rest, held_out.prior, seed, held_out.baselines)
        for part, of_part, answer in zip(parts, folds, answers, strict=True):
            if (of_part == fold).any():
                answer[of_part == fold] = _combine(ensemble, part.take(of_part == fold), held_out.prior)
    return answers


def _combine(ensemble: Ensemble, part: MemberRows, prior: NDArray[np.float64]) -> NDArray[np.float64]:
    present = {member: member_present(member, part.visible) for member in part.members}
    return ensemble.combine(part.members, present, prior, part.visible)


def idle_streams(candidate: Candidate, most: float) -> list[str]:
    """Find streams without which the validation rows are answered as well.

    Args:
        candidate: The candidate.
        most: Points of the primary metric that the answers may lose without the stream.

    Returns:
        Streams, the least useful first; none where a target has no heads of streams.
    """
    model, streams = candidate.model, candidate.model.network.streams
    if len(streams) < 2 or set(candidate.held_out) != set(model.targets):
        return []
    lost = dict.fromkeys(streams, -np.inf)
    for name, held_out in candidate.held_out.items():
        answers = out_of_fold_answers(held_out, model.config.seed)
        for place, stream in enumerate(streams, start=1):
            part = held_out.members[place]
            scorer = Scorer(model.targets[name], part.truth, np.ones(len(part.rows), np.bool_), model.config.seed)
            same = np.searchsorted(held_out.members[0].rows, part.rows)
            before, after = (scorer.score(found)[scorer.primary] for found in (answers[0][same], answers[place]))
            lost[stream] = max(lost[stream], points_lost(scorer.primary, before, after))
    return sorted((stream for stream in streams if lost[stream] <= most), key=lambda stream: lost[stream])


def keep_members(candidate: Candidate, kept: frozenset[str], name: str, description: str) -> Candidate:
    """Return a candidate whose ensemble has some of its members only.

    Args:
        candidate: A candidate with all of them.
        kept: Names of baselines, and ``network`` for the network and its streams' heads.
        name: Name of the new candidate.
        description: What was done, in a sentence.

    Returns:
        The candidate with a decision level of its own; what only the others read is dropped.
    """
    model = candidate.model
    baselines = {
        target: [b for b in found if b.name == "prior" or b.name in kept] for target, found in model.baselines.items()
    }
    needs_features = any(b.name != "prior" for found in baselines.values() for b in found)
    held_out = {target: _keep_rows(found, kept) for target, found in candidate.held_out.items()}
    smaller = dataclasses.replace(
        model,
        baselines=baselines if needs_features else {},
        features=model.features if needs_features else None,
    )
    return with_ensembles(
        dataclasses.replace(candidate, name=name, description=description, model=smaller, held_out=held_out, kept=kept)
    )


def _keep_rows(held_out: HeldOutRows, kept: frozenset[str]) -> HeldOutRows:
    baselines = held_out.baselines and _keep(held_out.baselines, kept)
    return dataclasses.replace(
        held_out,
        members=[_keep(part, kept) for part in held_out.members],
        further=[_keep(part, kept) for part in held_out.further],
        baselines=baselines if baselines is not None and baselines.members else None,
    )


def _keep(part: MemberRows, kept: frozenset[str]) -> MemberRows:
    members = {name: values for name, values in part.members.items() if _is_kept(name, kept)}
    return dataclasses.replace(part, members=members)


def _is_kept(member: str, kept: frozenset[str]) -> bool:
    if member == PRIOR:
        return True
    return member.removeprefix(BASELINE) in kept if member.startswith(BASELINE) else "network" in kept
