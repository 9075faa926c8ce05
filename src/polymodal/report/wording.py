"""Formatting of numbers and scores, and sentences about results, for the report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from polymodal.metrics import metric_of

THREE_DECIMALS = frozenset({"percent", "share", "nats"})
"""Units of metrics that are written with three decimals."""
PRIORS = frozenset({"prior", "majority", "mean", "median", "constant"})
"""Baselines that do not depend on the inputs."""


def metric_title(metric: str) -> str:
    """Return a metric's name as people write it."""
    return metric_of(metric).title


def metric_heading(metric: str) -> str:
    """Return a metric's title, with "lower is better" where that holds."""
    return metric_title(metric) + ("" if metric_of(metric).higher_is_better else " (lower is better)")


def clip_to_metric_range(metric: str, low: float, high: float) -> tuple[float, float]:
    """Clip the range of an axis to 0 and 1 for metrics between them.

    Args:
        metric: The metric.
        low: Lower end of the range.
        high: Its upper end.

    Returns:
        Both ends.
    """
    return (max(low, 0.0), min(high, 1.0)) if metric_of(metric).zero_to_one and low < 1 else (low, high)


def is_number(value: object) -> bool:
    """Return True for a finite int or float."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def format_number(value: Any) -> str:
    """Format a number with about four significant digits; a dash without one."""
    if not is_number(value):
        return "–"
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}".replace("-", "−")
    return f"{value:.4g}".replace("-", "−")


def format_score(metric: str, value: Any) -> str:
    """Format a score for tables: three decimals, except for metrics with a unit of their own."""
    if not is_number(value):
        return "–"
    if metric_of(metric).unit in THREE_DECIMALS:
        return f"{round(value, 3) + 0.0:.3f}".replace("-", "−")
    return format_number(value)


def format_score_in_text(metric: str, value: Any) -> str:
    """Format a score for sentences: accuracies as percentages."""
    if metric_of(metric).unit == "percent" and is_number(value):
        return f"{100 * value:.1f}%".replace("-", "−")
    return format_score(metric, value)


def format_share(part: float, whole: float) -> str:
    """Format a share as a percentage."""
    if not whole or not part:
        return "0%"
    share = 100 * part / whole
    return "< 0.1%" if share < 0.1 else f"{share:.1f}%" if share < 10 else f"{share:.0f}%"


def join_words(words: Sequence[str]) -> str:
    """Join words with commas and a final "and"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def member_title(member: str) -> str:
    """Return the title of a member of the ensemble (``fusion``, ``stream:NAME``, ``baseline:NAME``)."""
    kind, _, name = member.partition(":")
    if not name:
        return "Fusion network" if kind == "fusion" else kind
    return f"{name} alone" if kind == "stream" else name.replace("_", " ") if kind == "baseline" else member


@dataclass(frozen=True)
class ReferenceModel:
    """A simpler model to which the final one is compared.

    Attributes:
        title: Its name in a sentence, with its score.
        value: Its primary score.
    """

    title: str
    value: float


@dataclass(frozen=True)
class Headline:
    """The summary of a target's result.

    Attributes:
        score: The primary score, formatted.
        interval: Its 95% interval, formatted, or None.
        metric: The metric's title, with "lower is better" where that holds.
        sentence: The score and the evaluated rows.
        comparison: Against the best stream, the best baseline and the prior.
        verdict: Two or three words.
        tone: "good", "even" or "bad".
    """

    score: str
    interval: str | None
    metric: str
    sentence: str
    comparison: str
    verdict: str
    tone: str


def write_headline(info: Mapping[str, Any], evaluation: Mapping[str, Any]) -> Headline:
    """Summarise a target's result in sentences, also if the fusion is worse than simpler models.

    Args:
        info: The target's entry of ``targets_info``.
        evaluation: The report data's ``evaluation``.

    Returns:
        The headline.
    """
    name, metric = info["name"], info["primary_metric"]
    value = evaluation["targets"][name].get(metric)
    bounds = evaluation.get("intervals", {}).get(name, {}).get(metric)
    written = format_score_in_text(metric, value)
    interval = (
        f"{format_score_in_text(metric, bounds[0])} to {format_score_in_text(metric, bounds[1])}" if bounds else None
    )
    rivals = find_reference_models(name, metric, info["higher_is_better"], evaluation)
    verdicts = {kind: _compare(value, bounds, rival, info["higher_is_better"]) for kind, rival in rivals.items()}
    verdict, tone = _verdict(verdicts)
    return Headline(
        score=written,
        interval=interval,
        metric=metric_heading(metric),
        sentence=_sentence(name, metric, written, interval, evaluation),
        comparison=_comparison(rivals, verdicts),
        verdict=verdict,
        tone=tone,
    )


def find_reference_models(
    target: str, metric: str, higher_is_better: bool, evaluation: Mapping[str, Any]
) -> dict[str, ReferenceModel]:
    """Find the best stream, the best baseline and the prior by a target's metric.

    Args:
        target: Name of the target.
        metric: Its primary metric.
        higher_is_better: Direction of the metric.
        evaluation: The report data's ``evaluation``.

    Returns:
        ``stream``, ``baseline`` and ``prior`` to the model, if there is one.
    """
    streams = evaluation.get("streams", {}).get(target, {})
    baselines = evaluation.get("baselines", {}).get(target, {})
    groups = {
        "stream": ("the best single stream ({}, {})", streams if len(streams) > 1 else {}),
        "baseline": ("the best baseline ({}, {})", {k: v for k, v in baselines.items() if k not in PRIORS}),
        "prior": ("the prior ({}, {})", {k: v for k, v in baselines.items() if k in PRIORS}),
    }
    rivals = {}
    for kind, (title, members) in groups.items():
        scores = {name: values[metric] for name, values in members.items() if is_number(values.get(metric))}
        if scores:
            value = (max if higher_is_better else min)(scores.values())
            best = next(name for name in scores if scores[name] == value)
            written = best if kind == "stream" else best.replace("_", " ")
            rivals[kind] = ReferenceModel(title.format(written, format_score_in_text(metric, value)), value)
    return rivals


def _compare(value: Any, bounds: Sequence[float] | None, rival: ReferenceModel, higher_is_better: bool) -> str:
    if not is_number(value) or (bounds is not None and bounds[0] <= rival.value <= bounds[1]):
        return "even"
    if value == rival.value:
        return "even"
    return "ahead" if (value > rival.value) == higher_is_better else "behind"


def _verdict(verdicts: Mapping[str, str]) -> tuple[str, str]:
    if "behind" in verdicts.values():
        loser = next(kind for kind, verdict in verdicts.items() if verdict == "behind")
        return f"Loses to {'a single stream' if loser == 'stream' else f'the {loser}'}", "bad"
    if verdicts.get("prior") == "even":
        return "No better than the prior", "bad"
    if "even" in verdicts.values():
        evens = [kind for kind, verdict in verdicts.items() if verdict == "even"]
        return "On a par with a single stream" if "stream" in evens else "On a par with a baseline", "even"
    if "stream" in verdicts:
        return "Fusion wins", "good"
    return ("Beats the baselines" if verdicts else "Nothing to compare with"), "good" if verdicts else "even"


def _sentence(name: str, metric: str, written: str, interval: str | None, evaluation: Mapping[str, Any]) -> str:
    rows = f"{evaluation['rows']:,} {evaluation['split']} rows"
    if name in evaluation.get("pairs", {}):
        found = "Asked with one stream, the model finds the matching rows by another with a mean average precision of"
        return f"{found} {written} among the {rows}" + (f" (95% interval {interval})." if interval else ".")
    noun = f"{metric_of(metric).article} {metric_title(metric)}"
    reached = (
        f"The model gets “{name}” right in {written} of the {rows}"
        if metric == "accuracy"
        else f"The model predicts “{name}” with {noun} of {written} on the {rows}"
    )
    return reached + (f" (95% interval {interval})." if interval else ".")


def _comparison(rivals: Mapping[str, ReferenceModel], verdicts: Mapping[str, str]) -> str:
    openings = {
        "ahead": "it is better than {}",
        "even": "it cannot be told apart (its interval covers the difference) from {}",
        "behind": "it is worse than {}",
    }
    clauses = []
    for verdict, opening in openings.items():
        members = [rivals[kind] for kind in rivals if verdicts[kind] == verdict]
        if members:
            words = join_words([rival.title for rival in members])
            clauses.append(opening.format(words))
    if not clauses:
        return ""
    text = ", but ".join(clauses)
    return text[0].upper() + text[1:] + "." + _advice(verdicts)


def _advice(verdicts: Mapping[str, str]) -> str:
    if verdicts.get("stream") == "behind":
        return " Fusing the streams does harm here: prefer the single stream."
    if verdicts.get("stream") == "even":
        return " Fusing the streams brings no gain that these rows can prove."
    if verdicts.get("prior") in ("even", "behind"):
        return " Nothing useful was learned from the inputs."
    if verdicts.get("baseline") == "behind":
        return " The simple baseline is the better choice on this data."
    return ""
