"""The stress test: a model's scores with noise in one stream at a time, and with streams absent."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from polymodal.corruptions import CORRUPTIONS
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.tables.table import Table
from polymodal.metrics import metric_of
from polymodal.model.batches import Examples
from polymodal.model.evaluate_table import check_has_targets, examples_with_truth
from polymodal.model.evaluation import FINAL
from polymodal.model.inference_network import NO_MASK, StreamMask
from polymodal.model.predict import NO_CACHE, predict_examples
from polymodal.model.scorer import Scorer, build_scorer
from polymodal.model.trained_model import TrainedModel
from polymodal.progress import Progress
from polymodal.robustness.conditions import (
    Noise,
    StressOptions,
    check_options,
    choose_masks,
    choose_noises,
    corrupted_examples,
    sample_rows,
)
from polymodal.robustness.scoring import Score, error_of, mean_score, score_answers
from polymodal.robustness.stress_report import Absence, Estimate, NoiseCurve, StressReport, TargetStress
from polymodal.targets import StructuredTarget

Scores = dict[str, dict[str, Score]]
"""Target to member to score."""


@dataclass(frozen=True, kw_only=True)
class StressScores:
    """Scores of a stress test with their values on bootstrap resamples: those of two models can be compared in pairs.

    Attributes:
        rows: Rows that were used.
        scorers: Target to scorer.
        noises: Kinds of noise in streams.
        masks: Combinations of absent streams.
        clean: Scores on the cells as they are.
        noisy: For each of ``noises`` the scores at each severity.
        masked: Scores with each of ``masks`` absent.
        notices: Sentences for the user.
    """

    rows: int
    scorers: dict[str, Scorer]
    noises: list[Noise]
    masks: list[StreamMask]
    clean: Scores
    noisy: list[list[Scores]]
    masked: list[Scores]
    notices: list[str]


def stress_table(trained: TrainedModel, table: Table, options: StressOptions, progress: Progress) -> StressReport:
    """Score a model with noise in one stream at a time, and with every combination of absent streams.

    A corrupted cell is a cell: it takes the same path as a clean one, so that baselines meet it as well.

    Args:
        trained: The model.
        table: Rows with the target columns.
        options: What is tried.
        progress: Reports every kind and severity.

    Returns:
        The scores.

    Raises:
        SchemaError: If the table lacks every target column or known value.
        ConfigError: If a kind, a stream or a severity does not exist, or none of the kinds is for the streams.
    """
    started, severities = time.perf_counter(), options.sorted_severities
    found = measure_stress(trained, table, options, progress)
    targets = {name: _target_stress(name, found) for name in found.scorers}
    return StressReport(
        table=table.name,
        rows=found.rows,
        table_rows=table.num_rows,
        severities=severities,
        kinds={kind: _describe_kind(kind, severities) for kind in dict.fromkeys(noise.kind for noise in found.noises)},
        streams={stream.name: stream.modality for stream in trained.schema.streams},
        targets=targets,
        notices=[*found.notices, *_undefined(targets)],
        seed=options.seed,
        seconds=time.perf_counter() - started,
    )


def measure_stress(trained: TrainedModel, table: Table, options: StressOptions, progress: Progress) -> StressScores:
    """Score a model under every condition of a stress test.

    Args:
        trained: The model.
        table: As for ``stress_table``.
        options: As for ``stress_table``.
        progress: As for ``stress_table``.

    Returns:
        The scores.

    Raises:
        SchemaError: As for ``stress_table``.
        ConfigError: As for ``stress_table``.
    """
    check_options(trained, options)
    check_has_targets(table, trained)
    drawn, notices = sample_rows(trained, table, options)
    examples, _ = examples_with_truth(trained, table.take(drawn), False, ArrayCache.default(), progress)
    rows, examples = drawn[examples.rows], _compact(examples)
    noises, left_out = choose_noises(trained, examples, options)
    masks, told = choose_masks(trained)
    scorers = {
        name: build_scorer(trained, name, target, examples)
        for name, target in trained.targets.items()
        if examples.known[name].any()
    }
    derived, noisy = trained.schema.with_derived(table), []
    with progress.phase("stress test", len(noises) * len(options.sorted_severities) + 1) as phase:
        clean, *masked = _scores(trained, scorers, examples, [NO_MASK, *masks])
        phase.advance(note="absent streams")
        for noise in noises:
            curve: list[Scores] = []
            for severity in options.sorted_severities:
                corrupted = corrupted_examples(trained, derived, rows, examples, noise, severity, options.seed)
                curve += _scores(trained, scorers, corrupted, [NO_MASK])
                phase.advance(note=f"{noise.kind} in {noise.stream.name}")
            noisy.append(curve)
    return StressScores(
        rows=len(examples),
        scorers=scorers,
        noises=noises,
        masks=masks,
        clean=clean,
        noisy=noisy,
        masked=masked,
        notices=[*notices, *left_out, *told],
    )


def _compact(examples: Examples) -> Examples:
    """Return the rows in use as a table of their own."""
    return dataclasses.replace(
        examples, columns=examples.columns_in_use(), cells=examples.cells_in_use(), rows=np.arange(len(examples))
    )


def _scores(
    trained: TrainedModel, scorers: Mapping[str, Scorer], examples: Examples, masks: Sequence[StreamMask]
) -> list[Scores]:
    return [
        score_answers(trained, scorers, members) for members in predict_examples(trained, examples, masks, NO_CACHE)
    ]


def _by_stream(scorer: Scorer) -> bool:
    """Whether a target can be predicted with streams absent; objectives that recover streams cannot."""
    return not isinstance(scorer.target, StructuredTarget) or scorer.target.by_stream


def _describe_kind(kind: str, severities: Sequence[int]) -> dict[str, Any]:
    corruption = CORRUPTIONS[kind]
    return {
        "modality": corruption.modality,
        "title": corruption.title,
        "unit": corruption.unit,
        "levels": [corruption.levels[severity - 1] for severity in severities],
    }


def _target_stress(name: str, found: StressScores) -> TargetStress:
    scorer, clean = found.scorers[name], found.clean[name]
    metric = metric_of(scorer.primary)

    def errors(scores: Mapping[str, Score]) -> dict[str, Estimate]:
        return {m: error_of(clean[m], scores[m], metric.higher_is_better).estimate() for m in clean}

    curves = [[scores[name] for scores in curve] for curve in found.noisy]
    means = [{m: mean_score([scores[m] for scores in curve]) for m in clean} for curve in curves]
    noisy = {m: mean_score([mean[m] for mean in means]) for m in clean}
    drawn = [
        NoiseCurve(
            stream=noise.stream.name,
            kind=noise.kind,
            scores={m: [_plain(scores[m]) for scores in curve] for m in clean},
            error=errors(mean),
        )
        for noise, curve, mean in zip(found.noises, curves, means, strict=True)
    ]
    pairs = zip(found.masks, found.masked, strict=True) if _by_stream(scorer) else ()
    absences = [
        Absence(absent=sorted(mask), scores={m: _plain(of[name][m]) for m in clean}, error=errors(of[name]))
        for mask, of in pairs
    ]
    return TargetStress(
        metric=scorer.primary,
        higher_is_better=metric.higher_is_better,
        rows=int(scorer.known.sum()),
        members=list(clean),
        clean={member: score.estimate() for member, score in clean.items()},
        noisy={member: score.estimate() for member, score in noisy.items()},
        mean_error=errors(noisy),
        curves=sorted(drawn, key=_worst_first),
        missing=sorted(absences, key=_worst_first),
    )


def _plain(score: Score) -> float | None:
    return score.value if math.isfinite(score.value) else None


def _worst_first(entry: NoiseCurve | Absence) -> float:
    value = entry.error[FINAL].value
    return math.inf if value is None else -value


def _undefined(targets: Mapping[str, TargetStress]) -> list[str]:
    return [
        f"The metric {found.metric} of {name!r} is undefined on these {found.rows:,} rows: there is no score."
        for name, found in targets.items()
        if found.clean[FINAL].value is None
    ]
