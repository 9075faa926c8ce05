"""The verdict on a target: what decides, whether it beats the simpler models, and by how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from polymodal.metrics import metric_of
from polymodal.metrics.paired import better_by
from polymodal.report.wording import (
    PRIORS,
    format_difference,
    format_score_in_text,
    is_number,
    join_words,
    member_phrase,
    metric_heading,
    metric_title,
)

DECIDES = 0.9
"""A member with at least this share of influence decides; below it, several are blended."""
SIGNIFICANCE = 0.05
FUSION = "fusion"
PRIOR = "baseline:prior"


@dataclass(frozen=True)
class Rival:
    """A simpler model that the final answer is compared with.

    Attributes:
        member: ``fusion``, ``stream:NAME`` or ``baseline:NAME``.
        role: What it stands for: "stream", "baseline", "prior" or "fusion".
        title: Its name in a sentence.
        value: Its primary score.
        lead: By how much the final answer is better; negative where it is worse.
        interval: 95 % interval of ``lead``; None in reports of earlier versions.
        rows: Rows that the final answer alone gets right, minus those that the rival alone does; None where rows are
            not right or wrong.
        outcome: "ahead", "even" or "behind", of the final answer.
    """

    member: str
    role: str
    title: str
    value: float
    lead: float
    interval: Sequence[float] | None
    rows: int | None
    outcome: str


@dataclass(frozen=True)
class Headline:
    """The summary of a target's result.

    Attributes:
        score: The primary score, formatted.
        interval: Its 95% interval, formatted, or None.
        metric: The metric's title, with "lower is better" where that holds.
        sentence: The score and the evaluated rows.
        comparison: Against the best stream, the best baseline, the fusion network and the prior.
        verdict: What decides and whether it wins, in a few words.
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
    bounds = evaluation.get("intervals", {}).get(name, {}).get(metric)
    written = format_score_in_text(metric, evaluation["targets"][name].get(metric))
    interval = " to ".join(format_score_in_text(metric, bound) for bound in bounds) if bounds else None
    decider = find_decider(name, evaluation)
    rivals = find_rivals(info, evaluation, decider)
    verdict, tone = _verdict(decider, rivals, evaluation, name)
    return Headline(
        score=written,
        interval=interval,
        metric=metric_heading(metric),
        sentence=_sentence(name, metric, written, interval, evaluation),
        comparison=f"{_influence(name, evaluation)} {_comparison(metric, rivals, num_known(name, evaluation))}".strip(),
        verdict=verdict,
        tone=tone,
    )


def num_known(target: str, evaluation: Mapping[str, Any]) -> int:
    """Return the number of evaluated rows in which a target's truth is known."""
    return int(evaluation.get("num_known", {}).get(target, evaluation["rows"]))


def find_decider(target: str, evaluation: Mapping[str, Any]) -> str | None:
    """Find the member that decides.

    Args:
        target: Name of the target.
        evaluation: The report data's ``evaluation``.

    Returns:
        The member with nearly all the influence; None where several are blended. Without a decision level it is the
        fusion.
    """
    weights = influence(target, evaluation)
    if not weights:
        return FUSION
    member = max(weights, key=weights.__getitem__)
    return member if weights[member] >= DECIDES else None


def influence(target: str, evaluation: Mapping[str, Any]) -> dict[str, float]:
    """Return each member's share of influence on the final answer.

    Args:
        target: Name of the target.
        evaluation: The report data's ``evaluation``.

    Returns:
        Member to share, summing to one; empty without a decision level.
    """
    weights = (evaluation.get("decision", {}).get(target) or {}).get("weights") or {}
    total = sum(abs(weight) for weight in weights.values())
    return {member: abs(weight) / total for member, weight in weights.items()} if total else {}


def member_scores(target: str, metric: str, evaluation: Mapping[str, Any]) -> dict[str, float]:
    """Collect the scores of the members.

    Args:
        target: Name of the target.
        metric: The metric.
        evaluation: The report data's ``evaluation``.

    Returns:
        Member to score; the priors of earlier versions by their own names.
    """
    groups = {"stream:": evaluation.get("streams", {}), "baseline:": evaluation.get("baselines", {})}
    found = {FUSION: evaluation.get("fusion", {}).get(target) or {}}
    for prefix, section in groups.items():
        found |= {prefix + name: values for name, values in section.get(target, {}).items()}
    return {member: values[metric] for member, values in found.items() if is_number(values.get(metric))}


def find_rivals(info: Mapping[str, Any], evaluation: Mapping[str, Any], decider: str | None = None) -> list[Rival]:
    """Compare the final answer with the best stream, the best baseline, the fusion network and the prior.

    Args:
        info: The target's entry of ``targets_info``.
        evaluation: The report data's ``evaluation``.
        decider: The member that decides; it is no rival of itself.

    Returns:
        At most one of each role.
    """
    name, metric = info["name"], info["primary_metric"]
    scores = member_scores(name, metric, evaluation)
    if len(evaluation.get("streams", {}).get(name, {})) < 2:
        scores = {member: value for member, value in scores.items() if not member.startswith("stream:")}
    best = max if metric_of(metric).higher_is_better else min
    rivals = []
    for role in ("stream", "baseline", "fusion", "prior"):
        members = [member for member in scores if _role(member) == role and member != decider]
        if members:
            member = best(members, key=scores.__getitem__)
            rivals.append(_rival(info, evaluation, member, role, scores[member]))
    return rivals


def _role(member: str) -> str:
    kind, _, name = member.partition(":")
    return "prior" if kind == "baseline" and name in PRIORS else kind


def _rival(info: Mapping[str, Any], evaluation: Mapping[str, Any], member: str, role: str, value: float) -> Rival:
    name, metric = info["name"], info["primary_metric"]
    final = evaluation["targets"][name].get(metric)
    found = evaluation.get("comparisons", {}).get(name, {}).get(member)
    title = f"{member_phrase(member)} ({format_score_in_text(metric, value)})"
    if found is None:
        bounds = evaluation.get("intervals", {}).get(name, {}).get(metric)
        lead = better_by(metric, final, value) if is_number(final) else 0.0
        unclear = not lead or (bounds is not None and bounds[0] <= value <= bounds[1])
        return Rival(member, role, title, value, lead, None, None, _outcome(lead, not unclear))
    rows = None if found["wins"] is None else found["wins"] - found["losses"]
    outcome = _outcome(found["lead"], found["p_value"] < SIGNIFICANCE)
    return Rival(member, role, title, value, found["lead"], found["interval"], rows, outcome)


def _outcome(lead: float, is_significant: bool) -> str:
    return "even" if not is_significant else "ahead" if lead > 0 else "behind"


def decider_phrase(decider: str | None, target: str, evaluation: Mapping[str, Any]) -> str:
    """Name what decides, as it begins a sentence.

    Args:
        decider: The member that decides, or None for a blend.
        target: Name of the target.
        evaluation: The report data's ``evaluation``.

    Returns:
        Such as "The blend", "The linear baseline" or "The fusion"; "The network" where there is a single stream, and
        "The model" without a target.
    """
    if decider is None:
        return "The blend"
    if decider == FUSION:
        if target in evaluation.get("pairs", {}):
            return "The model"
        return "The fusion" if len(evaluation.get("streams", {}).get(target, {})) > 1 else "The network"
    return _capitalised(member_phrase(decider))


def _verdict(
    decider: str | None, rivals: Sequence[Rival], evaluation: Mapping[str, Any], target: str
) -> tuple[str, str]:
    subject = decider_phrase(decider, target, evaluation)
    if not rivals:
        return f"{subject} decides: nothing to compare with", "even"
    prior = next((rival for rival in rivals if rival.role == "prior"), None)
    if decider == PRIOR or (prior is not None and prior.outcome != "ahead"):
        return "No better than the prior", "bad"
    behind = [rival for rival in rivals if rival.outcome == "behind"]
    level = [rival for rival in rivals if rival.outcome == "even" and rival.role != "fusion"]
    is_simple = decider not in (None, FUSION)
    if is_simple:
        end = f" and loses to {member_phrase(behind[0].member)}" if behind else ""
        return f"{subject} decides{end}", "bad" if behind else "even"
    if behind:
        return f"{subject} loses to {member_phrase(_strongest(behind).member)}", "bad"
    if not any(rival.role in ("stream", "baseline") for rival in rivals):
        return f"{subject} beats the prior", "good"
    if level:
        return f"{subject} is level with {member_phrase(_strongest(level).member)}", "even"
    return f"{subject} wins", "good"


def _strongest(rivals: Sequence[Rival]) -> Rival:
    return min(rivals, key=lambda rival: rival.lead)


def _sentence(name: str, metric: str, written: str, interval: str | None, evaluation: Mapping[str, Any]) -> str:
    rows = f"{num_known(name, evaluation):,} {evaluation['split']} rows"
    end = f" (95% interval {interval})." if interval else "."
    if name in evaluation.get("pairs", {}):
        found = "Asked with one stream, the model finds the matching rows by another with a mean average precision of"
        return f"{found} {written} among the {rows}{end}"
    if metric == "accuracy":
        return f"The model gets “{name}” right in {written} of the {rows}{end}"
    noun = f"{metric_of(metric).article} {metric_title(metric)}"
    return f"The model predicts “{name}” with {noun} of {written} on the {rows}{end}"


def _influence(name: str, evaluation: Mapping[str, Any]) -> str:
    """Say who decides, and how little the fusion network does where that is so."""
    weights = influence(name, evaluation)
    if not weights:
        return ""
    ordered = sorted(weights, key=lambda member: -weights[member])
    parts = [f"{member_phrase(member)} ({weights[member]:.0%})" for member in ordered if weights[member] >= 0.05]
    if len(parts) == 1:
        text = f"The answer is that of {member_phrase(ordered[0])}"
    else:
        text = f"The answer blends {join_words(parts)}"
    if FUSION in weights and weights[FUSION] < 0.05:
        return text + "; the fusion network has next to no influence."
    return text + "."


def _comparison(metric: str, rivals: Sequence[Rival], num_rows: int) -> str:
    sentences = []
    for outcome, opening in (("ahead", "It is better than"), ("behind", "It is worse than")):
        found = [rival.title + _lead_text(metric, rival) for rival in rivals if rival.outcome == outcome]
        sentences += [f"{opening} {join_words(found)}."] if found else []
    apart = [rival.title for rival in rivals if rival.outcome == "even" and not rival.interval]
    if apart:  # a report of an earlier version
        sentences.append(f"It cannot be told apart (its interval covers the difference) from {join_words(apart)}.")
    even = [rival for rival in rivals if rival.outcome == "even" and rival.interval]
    return " ".join([*sentences, *_even_sentences(metric, even, num_rows), *_advice(rivals)])


def _even_sentences(metric: str, rivals: Sequence[Rival], num_rows: int) -> list[str]:
    """Say that leads and deficits are within chance."""
    clauses = []
    for word in ("leads", "trails", "equals"):
        found = [_even_text(metric, rival, num_rows) for rival in rivals if _relation(rival) == word]
        clauses += [f"{word} {join_words(found)}"] if found else []
    return [f"It {', and '.join(clauses)}: no difference that this test can show."] if clauses else []


def _relation(rival: Rival) -> str:
    return "leads" if rival.lead > 0 else "trails" if rival.lead < 0 else "equals"


def _even_text(metric: str, rival: Rival, num_rows: int) -> str:
    if rival.rows is None:
        return rival.title + _lead_text(metric, rival)
    count = abs(rival.rows)
    return rival.title + (f" by {count:,} row{'s' * (count != 1)} of {num_rows:,}" if count else "")


def _lead_text(metric: str, rival: Rival) -> str:
    """Say how large a difference is; that to the prior says little."""
    if rival.interval is None or (rival.role == "prior" and rival.outcome == "ahead"):
        return ""
    bounds = sorted(bound if rival.lead >= 0 else -bound for bound in rival.interval)
    low, high = (format_difference(metric, bound) for bound in bounds)
    low = low.removesuffix(" points")
    return f" by {format_difference(metric, abs(rival.lead))} (95% interval {low} to {high})"


def _advice(rivals: Sequence[Rival]) -> list[str]:
    better = [rival for rival in rivals if rival.role != "prior" and (rival.lead < 0 or rival.outcome == "behind")]
    if any(rival.role == "prior" and rival.outcome != "ahead" for rival in rivals):
        return ["Nothing useful was learned from the inputs."]
    if better:
        member = member_phrase(_strongest(better).member)
        is_proven = any(rival.outcome == "behind" for rival in better)
        proof = "" if is_proven else ", if not by a margin that these rows can prove"
        return [f"{_capitalised(member)} alone is better than the final answer here{proof}."]
    equal = [rival for rival in rivals if rival.role != "prior" and rival.lead == 0]
    return [f"{_capitalised(member_phrase(equal[0].member))} alone does as well as the final answer."] if equal else []


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
