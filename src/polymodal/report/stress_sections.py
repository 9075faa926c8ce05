"""The sections of a stress test, for its own page and for the report of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from polymodal.report import charts
from polymodal.report.small_charts import whisker, whisker_axis
from polymodal.report.wording import (
    format_difference,
    format_number,
    format_score,
    is_number,
    join_words,
    member_phrase,
    member_title,
    metric_title,
    signed_difference,
)
from polymodal.robustness import Absence, Estimate, NoiseCurve, StressReport, TargetStress

FINAL, PRIOR = "final", "baseline:prior"
OPEN_CHARTS = 6
"""Charts of the worst kinds of noise; the others are shown where the reader asks for them."""
MAX_ABSENCES = 63
MAX_LINES = 6
"""Answers that are drawn in a chart: the final one, the network's and the baselines'."""


def describe_stress(found: StressReport | Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Describe a stress test for the templates.

    Args:
        found: The stress test, its state, or None.

    Returns:
        Variables of ``stress_sections.html``; None without a stress test.
    """
    if not found:
        return None
    report = found if isinstance(found, StressReport) else StressReport.from_state(found)
    several = len(report.targets) > 1
    return {
        "report": report,
        "targets": [
            _describe_target(number, name, target, report, several)
            for number, (name, target) in enumerate(report.targets.items(), start=1)
        ],
        "severities": join_words([str(severity) for severity in report.severities]),
        "kinds": [_describe_kind(kind, entry) for kind, entry in report.kinds.items()],
    }


def _describe_kind(kind: str, entry: Mapping[str, Any]) -> dict[str, str]:
    levels = " · ".join(format_number(level) for level in entry["levels"])
    return {"name": kind, "title": f"{entry['title']} ({entry['modality']})", "unit": entry["unit"], "levels": levels}


def _describe_target(
    number: int, name: str, target: TargetStress, report: StressReport, several: bool
) -> dict[str, Any]:
    scale = _scale(target)
    drawn = [_describe_curve(curve, target, report) for curve in target.curves]
    return {
        "anchor": f"stress-{number}",
        "name": name,
        "suffix": f": {name}" if several else "",
        "metric": metric_title(target.metric),
        "lower": not target.higher_is_better,
        "sentences": _sentences(target, report),
        "members": [_describe_member(member, target, scale) for member in target.members],
        "axis": whisker_axis(scale),
        "headings": [member_title(member) for member in _shown_members(target)],
        "worst": [_describe_row(curve, target, report) for curve in target.curves],
        "charts": (drawn[:OPEN_CHARTS], drawn[OPEN_CHARTS:]),
        "missing": [_describe_absence(entry, target) for entry in target.missing[:MAX_ABSENCES]],
    }


def _shown_members(target: TargetStress) -> list[str]:
    return [member for member in target.members if member != PRIOR][:MAX_LINES]


def _scale(target: TargetStress) -> charts.Point:
    bounds = [bound for error in target.mean_error.values() for bound in error.interval or ()]
    return charts.padded_range([0.0, *bounds], share=0.08)


def _describe_member(member: str, target: TargetStress, scale: charts.Point) -> dict[str, Any]:
    error = target.mean_error[member]
    kind = member.partition(":")[0]
    text, interval = _loss(target.metric, error)
    low, high = error.interval or (None, None)
    return {
        "title": member_title(member),
        "kind": kind,
        "prior": member == PRIOR,
        "chart": whisker(error.value, low, high, scale, kind, f"{member_title(member)}: {text}")
        if error.value is not None
        else Markup(""),
        "clean": format_score(target.metric, target.clean[member].value),
        "noisy": format_score(target.metric, target.noisy[member].value),
        "loss": text,
        "interval": interval,
    }


def _loss(metric: str, error: Estimate) -> tuple[str, str]:
    """Write a loss and its interval."""
    if error.value is None:
        return "–", ""
    interval = "" if error.interval is None else " to ".join(signed_difference(metric, b) for b in error.interval)
    return signed_difference(metric, error.value), interval


def _describe_row(curve: NoiseCurve, target: TargetStress, report: StressReport) -> dict[str, Any]:
    text, interval = _loss(target.metric, curve.error[FINAL])
    return {
        "stream": curve.stream,
        "title": report.kinds[curve.kind]["title"],
        "kind": curve.kind,
        "loss": text,
        "interval": interval,
        "cells": [_heat(score, target.clean[FINAL].value, target) for score in curve.scores[FINAL]],
        "others": [_loss(target.metric, curve.error[member])[0] for member in _shown_members(target)[1:]],
    }


def _heat(score: float | None, clean: float | None, target: TargetStress) -> dict[str, Any]:
    """Describe a cell of a heat table: the share of what the clean score has over the prior that is lost."""
    prior = target.clean[PRIOR].value if PRIOR in target.clean else None
    share = 0.0
    if score is not None and clean is not None:
        loss = (clean - score) * (1 if target.higher_is_better else -1)
        lead = abs(clean - prior) if prior is not None else abs(clean)
        share = min(max(loss / lead, 0.0), 1.0) if lead else 0.0
    return {"text": format_score(target.metric, score), "share": round(100 * share), "strong": share > 0.55}


def _describe_curve(curve: NoiseCurve, target: TargetStress, report: StressReport) -> dict[str, Any]:
    entry = report.kinds[curve.kind]
    title = f"{entry['title']} in {curve.stream}"
    metric = metric_title(target.metric)
    lines = [
        charts.Line(member_title(member), _points(target.clean[member].value, report.severities, curve.scores[member]))
        for member in _shown_members(target)
    ]
    prior = target.clean[PRIOR].value if PRIOR in target.clean else None
    reference = None if prior is None else (prior, "prior")
    chart = charts.line_chart(lines, title=title, x_label="severity", y_label=metric, reference=reference)
    levels = ", ".join(format_number(level) for level in entry["levels"])
    return {"title": title, "chart": chart, "note": f"Levels {levels}: {entry['unit']}."}


def _points(clean: float | None, severities: Sequence[int], scores: Sequence[float | None]) -> list[charts.Point]:
    """Return the points of a curve, which begins at the clean score."""
    pairs = [(0, clean), *zip(severities, scores, strict=True)]
    return [(float(severity), score) for severity, score in pairs if score is not None]


def _describe_absence(entry: Absence, target: TargetStress) -> dict[str, Any]:
    text, interval = _loss(target.metric, entry.error[FINAL])
    return {
        "absent": ", ".join(entry.absent),
        "loss": text,
        "interval": interval,
        "cells": [_heat(entry.scores[m], target.clean[m].value, target) for m in _shown_members(target)],
    }


def _sentences(target: TargetStress, report: StressReport) -> list[str]:
    """Say what is lost on average, where most, and which answer loses less."""
    error = target.mean_error[FINAL]
    if error.value is None or not target.curves:
        return []
    worst = target.curves[0]
    lost = format_difference(target.metric, error.value)
    sentences = [
        f"On average over {len(target.curves)} kinds of noise in a stream, the final answer loses {lost} of "
        f"{metric_title(target.metric)}: from {format_score(target.metric, target.clean[FINAL].value)} to "
        f"{format_score(target.metric, target.noisy[FINAL].value)}."
    ]
    if is_number(worst.error[FINAL].value):
        sentences.append(
            f"Most by {report.kinds[worst.kind]['title']} in “{worst.stream}”: "
            f"{format_difference(target.metric, worst.error[FINAL].value or 0.0)}."
        )
    return [*sentences, *_firmer_answer(target)]


def _firmer_answer(target: TargetStress) -> list[str]:
    """Name the answer that scores better under noise than the final one, if there is any."""
    sign = 1 if target.higher_is_better else -1
    scores = {m: sign * found.value for m, found in target.noisy.items() if found.value is not None and m != PRIOR}
    best = max(scores, key=lambda member: scores[member], default=FINAL)
    if best == FINAL or scores[best] <= scores.get(FINAL, 0.0):
        return []
    score = format_score(target.metric, target.noisy[best].value)
    return [f"Under noise {member_phrase(best)} alone is better: {score}."]
