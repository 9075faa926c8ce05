"""The results of a comparison of runs: one result per run, one row per variant and target."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from polymodal.report.wording import clip_to_metric_range, format_score, signed_difference


@dataclass(frozen=True)
class Variant:
    """A variant of the options.

    Attributes:
        name: Its name in the table.
        overrides: Dotted option names to values, on top of the options that all variants share.
    """

    name: str
    overrides: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TargetResult:
    """The scores of one run on one target.

    Attributes:
        metric: The primary metric.
        higher_is_better: Direction of the metric.
        fused: Its value for the fused prediction; for a vote, the final prediction is the fused one.
        interval: 95 % bootstrap interval of ``fused``, or None.
        final: Its value for the final prediction, of the ensemble.
        streams: Stream to its value for that stream alone; empty where there is one stream only.
        samples: Its values for the fused prediction on bootstrap resamples of the rows, the same resamples for all runs
            with one seed.
        curve: Its value on validation rows after each epoch, of the fused prediction.
    """

    metric: str
    higher_is_better: bool
    fused: float
    interval: list[float] | None
    final: float
    streams: dict[str, float]
    samples: list[float] = field(default_factory=list)
    curve: list[float | None] = field(default_factory=list)


@dataclass(frozen=True)
class RunResult:
    """The results of one run that are kept.

    Attributes:
        fusion: Name of the fusion.
        level: Level of the fusion.
        seed: The run's seed.
        split: The evaluated split: "test" or "validation".
        rows: Number of evaluated rows.
        fusion_parameters: Number of trainable parameters of the fusion.
        parameters: Number of trainable parameters of the network.
        epochs: Passes over the training rows.
        train_seconds: Epochs times the median epoch's seconds: one-off costs of the first run of a process are left
            out.
        predict_ms: Milliseconds to predict one decoded row.
        targets: Target to its scores.
        budget: What it was allowed to use, in words.
        folder: Its run folder, relative to that of the comparison; None where none is written.
    """

    fusion: str
    level: str
    seed: int
    split: str
    rows: int
    fusion_parameters: int
    parameters: int
    epochs: int
    train_seconds: float
    predict_ms: float
    targets: dict[str, TargetResult]
    budget: str = ""
    folder: str | None = None

    def state(self) -> dict[str, Any]:
        """Return the result as plain JSON."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> RunResult:
        """Restore the result.

        Args:
            state: What ``state`` returned.

        Returns:
            An equal result.
        """
        targets = {name: TargetResult(**found) for name, found in state["targets"].items()}
        return cls(**{**state, "targets": targets})


@dataclass(frozen=True)
class ComparisonRow:
    """The results of one variant on one target over all seeds.

    Attributes:
        variant: The variant's name.
        fusion: Name of its fusion.
        level: Level of the fusion.
        target: The target's name.
        metric: The primary metric; all scores are in it.
        score: Mean score of the fused prediction.
        spread: Standard deviation over the seeds; None with one seed.
        interval: 95 % interval: over rows with one seed, of the mean over seeds (Student's t) with several; or None.
        reference: The first variant, to which all others are compared.
        lead: Mean difference to the reference with the same seeds and rows, positive where this variant is better;
            None of the reference itself.
        lead_interval: 95 % interval of ``lead``: over seeds (paired t), with one seed over rows (paired bootstrap).
        final: Mean score of the final prediction, of the ensemble.
        best_stream: The stream with the best mean score alone, or None with one stream only.
        best_stream_score: That score, or None.
        fusion_parameters: Number of trainable parameters of the fusion.
        parameters: Number of trainable parameters of the network.
        train_seconds: Mean seconds of training.
        predict_ms: Mean milliseconds to predict one decoded row.
        seeds: The seeds.
        scores: The fused prediction's score with each seed.
        epochs: Mean number of epochs.
        folders: The run folders, one a seed; empty where none are written.
        curve: The first seed's score on validation rows after each epoch.
    """

    variant: str
    fusion: str
    level: str
    target: str
    metric: str
    score: float
    spread: float | None
    interval: list[float] | None
    reference: str
    lead: float | None
    lead_interval: list[float] | None
    final: float
    best_stream: str | None
    best_stream_score: float | None
    fusion_parameters: int
    parameters: int
    train_seconds: float
    predict_ms: float
    seeds: list[int]
    scores: list[float]
    epochs: float
    folders: list[str]
    curve: list[float | None]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All rows of a comparison.

    Attributes:
        rows: Target by target, the best score first.
        split: The evaluated split: "test" or "validation".
        num_rows: Number of evaluated rows.
        higher_is_better: Target to the direction of its metric.
        notes: Notes on the rows.
        budget: Sentences on what each variant was allowed to use.
        options: Options that all variants share, as plain JSON.
        version: The version of polymodal.
        created: Time of creation, ISO 8601.
        command: The command line, or None.
    """

    rows: list[ComparisonRow]
    split: str
    num_rows: int
    higher_is_better: dict[str, bool]
    notes: list[str]
    budget: str
    options: dict[str, Any]
    version: str
    created: str
    command: str | None

    @property
    def targets(self) -> list[str]:
        """Names of the targets."""
        return list(self.higher_is_better)

    def of(self, target: str) -> list[ComparisonRow]:
        """Return the rows of one target, the best first.

        Args:
            target: The target's name.

        Returns:
            Its rows.
        """
        return [row for row in self.rows if row.target == target]

    def best(self, target: str | None = None) -> ComparisonRow:
        """Return the row with the best score.

        Args:
            target: The target's name; None for the first.

        Returns:
            Its best row.
        """
        return self.of(self.targets[0] if target is None else target)[0]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON."""
        return asdict(self)


def summarise(
    variant: str, results: Sequence[RunResult], reference: str = "", first: Sequence[RunResult] = ()
) -> list[ComparisonRow]:
    """Aggregate the runs of one variant.

    Args:
        variant: The variant's name.
        results: Its runs, one a seed.
        reference: Name of the variant to compare it with.
        first: The runs of that variant, with the same seeds.

    Returns:
        One row per target that every run evaluated.
    """
    judged = [target for target in results[0].targets if all(target in result.targets for result in results)]
    rows = []
    for target in judged:
        row = _row(variant, target, results, reference or variant)
        if first and variant != reference and all(target in result.targets for result in first):
            pairs = [(b.targets[target], a.targets[target]) for b, a in zip(results, first, strict=True)]
            lead, interval = _paired_lead(pairs)
            row = replace(row, lead=lead, lead_interval=interval)
        rows.append(row)
    return rows


def _paired_lead(pairs: Sequence[tuple[TargetResult, TargetResult]]) -> tuple[float, list[float] | None]:
    """Return the mean difference over the seeds with its interval; where seeds agree exactly, that over rows."""
    sign = 1 if pairs[0][0].higher_is_better else -1
    leads = [sign * (own.fused - other.fused) for own, other in pairs]
    if len(leads) > 1 and len(set(leads)) > 1:
        return statistics.fmean(leads), mean_interval(leads)
    if not all(len(own.samples) == len(other.samples) > 0 for own, other in pairs):
        return statistics.fmean(leads), None
    samples = np.mean([sign * (np.array(own.samples) - np.array(other.samples)) for own, other in pairs], axis=0)
    return statistics.fmean(leads), [float(bound) for bound in np.nanpercentile(samples, [2.5, 97.5])]


def mean_interval(values: Sequence[float]) -> list[float]:
    """Compute the 95 % interval of a mean (Student 1908).

    Args:
        values: At least two.

    Returns:
        ``[low, high]``.
    """
    from scipy.stats import t

    mean, error = statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values))
    margin = float(t.ppf(0.975, len(values) - 1)) * error
    return [mean - margin, mean + margin]


def describe_budgets(results: Mapping[str, Sequence[RunResult]]) -> str:
    """Say what each variant was allowed to use, and whether that was the same for all.

    Args:
        results: Variant to its runs.

    Returns:
        A sentence or two.
    """
    texts = {variant: runs[0].budget for variant, runs in results.items() if runs[0].budget}
    if not texts:
        return ""
    common = max(texts.values(), key=list(texts.values()).count)
    others = [f"{variant} ({text})" for variant, text in texts.items() if text != common]
    start = f"Budget of each variant: one configuration, not tuned; {common}."
    return start + (f" Another budget: {'; '.join(others)}." if others else " It is the same for all.")


def sorted_rows(rows: Sequence[ComparisonRow], higher_is_better: Mapping[str, bool]) -> list[ComparisonRow]:
    """Sort rows by target, the best score first.

    Args:
        rows: Rows of any targets.
        higher_is_better: Target to the direction of its metric; its order is kept.

    Returns:
        The rows.
    """
    order = list(higher_is_better)

    def place(row: ComparisonRow) -> tuple[int, float]:
        return order.index(row.target), -row.score if higher_is_better[row.target] else row.score

    return sorted(rows, key=place)


def margin_text(row: ComparisonRow) -> str:
    """Format the 95 % interval of a score.

    Args:
        row: A row of a comparison.

    Returns:
        The text; a dash where it is not known.
    """
    if row.interval is None:
        return "–"
    return " to ".join(format_score(row.metric, bound) for bound in row.interval)


def difference_text(row: ComparisonRow) -> str:
    """Format the lead over the first variant.

    Args:
        row: A row of a comparison.

    Returns:
        The text; a dash for the first variant itself.
    """
    return "–" if row.lead is None else signed_difference(row.metric, row.lead)


def difference_interval_text(row: ComparisonRow) -> str:
    """Format the 95 % interval of the lead over the first variant.

    Args:
        row: A row of a comparison.

    Returns:
        The text; empty where it is not known.
    """
    return "" if row.lead_interval is None else " to ".join(signed_difference(row.metric, b) for b in row.lead_interval)


def _row(variant: str, target: str, results: Sequence[RunResult], reference: str) -> ComparisonRow:
    found, first = [result.targets[target] for result in results], results[0]
    scores = [result.fused for result in found]
    spread = statistics.stdev(scores) if len(scores) > 1 else None
    score = statistics.fmean(scores)
    stream, stream_score = _best_stream(found)
    return ComparisonRow(
        variant=variant,
        fusion=first.fusion,
        level=first.level,
        target=target,
        metric=found[0].metric,
        score=score,
        spread=spread,
        interval=found[0].interval
        if spread is None
        else list(clip_to_metric_range(found[0].metric, *mean_interval(scores))),
        reference=reference,
        lead=None,
        lead_interval=None,
        final=statistics.fmean(result.final for result in found),
        best_stream=stream,
        best_stream_score=stream_score,
        fusion_parameters=first.fusion_parameters,
        parameters=first.parameters,
        train_seconds=statistics.fmean(result.train_seconds for result in results),
        predict_ms=statistics.fmean(result.predict_ms for result in results),
        seeds=[result.seed for result in results],
        scores=scores,
        epochs=statistics.fmean(result.epochs for result in results),
        folders=[result.folder for result in results if result.folder is not None],
        curve=found[0].curve,
    )


def _best_stream(found: Sequence[TargetResult]) -> tuple[str | None, float | None]:
    everywhere = [name for name in found[0].streams if all(name in result.streams for result in found)]
    means = {name: statistics.fmean(result.streams[name] for result in found) for name in everywhere}
    if not means:
        return None, None
    best = (max if found[0].higher_is_better else min)(means, key=means.__getitem__)
    return best, means[best]
