"""The sections of one target in the report: scores, ensemble, errors, calibration, missing streams and gallery."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from polymodal.metrics import metric_of
from polymodal.report import charts
from polymodal.report.certainty_section import describe_certainty
from polymodal.report.error_sections import MAX_MATRIX_CLASSES, describe_errors
from polymodal.report.gallery import GalleryRow, render_row
from polymodal.report.small_charts import whisker, whisker_axis
from polymodal.report.verdict import Rival, find_rivals, influence, write_headline
from polymodal.report.wording import (
    PRIORS,
    clip_to_metric_range,
    format_score,
    format_score_in_text,
    is_number,
    join_words,
    member_title,
    metric_title,
    signed_difference,
)

SHOWN_SHARE = 0.005
"""Members with less influence are named together."""
OPEN_METRICS = 4
"""Further metrics are in a table that the reader opens."""
OPEN_CARDS = 4
"""Cards of right rows that are shown; the rest where the reader asks for them."""
OUTLIER_FACTOR = 4.0
"""A score does not widen the scale if its distance from the final one is above this multiple of the median distance."""


def describe_target(
    number: int,
    info: Mapping[str, Any],
    report_data: Mapping[str, Any],
    rows: Mapping[str, Sequence[GalleryRow]],
    folder: Path | None,
    max_bytes: int,
) -> dict[str, Any]:
    """Describe the sections of one target.

    Args:
        number: Number of the target, from 1.
        info: The target's entry of ``targets_info``.
        report_data: The report data of the run, as plain JSON.
        rows: Gallery rows, ``right`` and ``wrong``.
        folder: Base folder of relative media paths; None: files are not shown.
        max_bytes: Maximum size of the gallery's media in bytes.

    Returns:
        The variables of the template.
    """
    evaluation, name = report_data["evaluation"], info["name"]
    return {
        "anchor": f"target-{number}",
        "info": info,
        "headline": write_headline(info, evaluation),
        "scores": _describe_scores(info, evaluation),
        "pairs": [{"name": pair, "scores": found} for pair, found in evaluation.get("pairs", {}).get(name, {}).items()],
        "decision": _describe_decision(info, evaluation),
        "balance": _describe_balance(info),
        **describe_errors(info, evaluation),
        "certainty": describe_certainty(info, evaluation),
        "missing": _describe_missing(info, evaluation),
        "gallery": _describe_gallery(info["kind"], rows, folder, max_bytes),
    }


def _describe_scores(info: Mapping[str, Any], evaluation: Mapping[str, Any]) -> dict[str, Any]:
    primary = info["primary_metric"]
    rows = list(_score_rows(info, evaluation))
    scale = _score_scale(primary, rows)
    metrics = [primary, *(metric for metric in rows[0]["values"] if metric != primary)]
    for row in rows:
        value, (low, high) = row["values"].get(primary), row["interval"] or (None, None)
        row["chart"] = whisker(value, low, high, scale, row["kind"], _tip(primary, row)) if is_number(value) else ""
    best = {metric: _best_value(metric, rows) for metric in metrics}
    return {
        "rows": rows,
        "metrics": metrics[:OPEN_METRICS],
        "more": metrics[OPEN_METRICS:],
        "best": best,
        "axis": whisker_axis(scale),
        "bounded": any(row["interval"] for row in rows),
        "compared": any(row["lead"] for row in rows),
        "outside": any(not scale[0] <= row["values"].get(primary, scale[0]) <= scale[1] for row in rows),
    }


def _score_rows(info: Mapping[str, Any], evaluation: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    name, primary = info["name"], info["primary_metric"]
    bounds = evaluation.get("member_intervals", {}).get(name, {})
    leads = evaluation.get("comparisons", {}).get(name, {})
    final = evaluation.get("intervals", {}).get(name, {}).get(primary)
    yield _score_row("Final answer", "final", evaluation["targets"][name], final, "")
    streams = evaluation.get("streams", {}).get(name, {})
    if fusion := evaluation.get("fusion", {}).get(name):
        title = "Fusion network" if len(streams) > 1 else "Network"
        yield _score_row(title, "fusion", fusion, bounds.get("fusion"), _lead(primary, leads.get("fusion")))
    streams = streams if list(streams.values()) not in ([evaluation["targets"][name]], [fusion]) else {}  # the network
    for kind, members in (("stream", streams), ("baseline", evaluation.get("baselines", {}).get(name, {}))):
        for member in _best_first(members, primary, info["higher_is_better"]):
            title, key = member if kind == "stream" else member.replace("_", " "), f"{kind}:{member}"
            row = _score_row(title, kind, members[member], bounds.get(key), _lead(primary, leads.get(key)))
            yield row | {"prior": kind == "baseline" and member in PRIORS}


def _score_row(
    title: str, kind: str, values: Mapping[str, float], interval: Sequence[float] | None, lead: Any
) -> dict[str, Any]:
    return {"title": title, "kind": kind, "values": values, "interval": interval, "lead": lead, "prior": False}


def _lead(metric: str, found: Mapping[str, Any] | None) -> dict[str, str] | None:
    """Format by how much the final answer leads a member."""
    if found is None:
        return None
    lead, low, high = (signed_difference(metric, value) for value in (found["lead"], *found["interval"]))
    rows = (
        ""
        if found["wins"] is None
        else f"; {found['wins']} rows right that it has wrong, {found['losses']} the other way"
    )
    p_value = "p < 0.001" if found["p_value"] < 0.001 else f"p = {found['p_value']:.3f}"
    return {"text": lead, "interval": f"{low} to {high}", "tip": f"{found['test']}: {p_value}{rows}"}


def _tip(metric: str, row: Mapping[str, Any]) -> str:
    text = f"{row['title']}: {format_score(metric, row['values'].get(metric))}"
    if row["interval"]:
        text += " (" + " to ".join(format_score(metric, bound) for bound in row["interval"]) + ")"
    return text


def _best_first(members: Mapping[str, Mapping[str, float]], metric: str, higher_is_better: bool) -> list[str]:
    sign = -1 if higher_is_better else 1
    worst = math.inf

    def place(name: str) -> float:
        value = members[name].get(metric)
        return sign * value if value is not None and is_number(value) else worst

    return sorted(members, key=place)


def _score_scale(metric: str, rows: Sequence[Mapping[str, Any]]) -> charts.Point:
    shown = [row for row in rows if not row["prior"] and is_number(row["values"].get(metric))]
    away = [abs(row["values"][metric] - shown[0]["values"][metric]) for row in shown]
    usual = sorted(away)[len(away) // 2] if away else 0.0
    shown = [row for row, distance in zip(shown, away, strict=True) if distance <= OUTLIER_FACTOR * usual or not usual]
    values = [row["values"][metric] for row in shown] + [end for row in shown for end in row["interval"] or ()]
    low, high = charts.padded_range([value for value in values if is_number(value)] or [0.0, 1.0], share=0.08)
    return clip_to_metric_range(metric, low, high)


def _best_value(metric: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the best value of a column, formatted; that of the prior is no merit."""
    values = [row["values"][metric] for row in rows if not row["prior"] and is_number(row["values"].get(metric))]
    best = (max if metric_of(metric).higher_is_better else min)(values, default=None)
    return format_score(metric, best) if len(values) > 1 else ""


def _describe_decision(info: Mapping[str, Any], evaluation: Mapping[str, Any]) -> dict[str, Any] | None:
    shares = influence(info["name"], evaluation)
    if not shares:
        return None
    ordered = sorted(shares.items(), key=lambda pair: -pair[1])
    largest = ordered[0][1] or 1.0
    members = [
        {"title": member_title(member), "kind": member.partition(":")[0], "weight": weight, "share": weight / largest}
        for member, weight in ordered
        if weight >= SHOWN_SHARE
    ]
    without = [member_title(member) for member, weight in ordered if weight < SHOWN_SHARE]
    return {
        "members": members,
        "without": join_words(without) if without else "",
        "note": evaluation["decision"][info["name"]].get("note", ""),
    }


def _describe_balance(info: Mapping[str, Any]) -> dict[str, Any] | None:
    classes, counts = info.get("classes"), info.get("counts")
    if not classes or not counts:
        return None
    pairs = sorted(zip(classes, counts, strict=True), key=lambda pair: -pair[1])
    many = len(pairs) > MAX_MATRIX_CLASSES
    label = "classes, most frequent first"
    chart = charts.count_chart(counts, title="Rows of each class", x_label=label) if many else ""
    return {"pairs": pairs, "most": max(*counts, 1), "total": sum(counts), "chart": chart}


def _describe_missing(info: Mapping[str, Any], evaluation: Mapping[str, Any]) -> dict[str, Any] | None:
    name, metric = info["name"], info["primary_metric"]
    absent, curves = (evaluation.get(part, {}).get(name, {}) for part in ("missing", "curves"))
    if not absent and not curves:
        return None
    full = evaluation["targets"][name].get(metric)
    prior = next((rival for rival in find_rivals(info, evaluation) if rival.role == "prior"), None)
    rows = [{"stream": s, "values": values, "loss": _loss(metric, full, values)} for s, values in absent.items()]
    others = [other for other in next(iter(absent.values()), {}) if other != metric]
    return {
        "chart": _missing_chart(name, metric, curves, prior),
        "note": f"Answering without any input: {format_score_in_text(metric, prior.value)}." if prior else "",
        "rows": rows,
        "metrics": [metric, *others[:2]],
        "full": evaluation["targets"][name],
    }


def _missing_chart(
    name: str, metric: str, curves: Mapping[str, Sequence[Sequence[float]]], prior: Rival | None
) -> Markup:
    scores = [score for points in curves.values() for _, score in points if is_number(score)]
    spread = max(scores, default=0.0) - min(scores, default=0.0)
    near = prior is not None and any(abs(prior.value - score) <= spread for score in scores)
    return charts.line_chart(
        [charts.Line(stream, [(share, score) for share, score in points]) for stream, points in curves.items()],
        title=f"{metric_title(metric)} of {name} by the share of a stream's cells removed",
        x_label="share of the stream's cells removed",
        y_label=metric_title(metric),
        reference=(prior.value, "prior") if prior is not None and near else None,
        percent=True,
    )


def _loss(metric: str, full: Any, values: Mapping[str, Any]) -> str:
    value = values.get(metric)
    if not is_number(full) or value is None or not is_number(value):
        return "–"
    change = value - full
    return ("+" if change > 0 else "") + format_score_in_text(metric, change).replace("%", " points")


def _describe_gallery(
    kind: str, rows: Mapping[str, Sequence[GalleryRow]], folder: Path | None, max_bytes: int
) -> list[dict[str, Any]]:
    titles = {"right": "Right", "wrong": "Most confident mistakes"}
    if kind not in {"category", "categories"}:
        titles = {"right": "Close", "wrong": "Largest misses"}
    groups = []
    for group in ("right", "wrong"):
        shown = _render_rows(rows.get(group, ()), folder, max_bytes // 2)
        if shown:
            left_out = len(rows[group]) - len(shown)
            parts = (shown[:OPEN_CARDS], shown[OPEN_CARDS:]) if group == "right" else (shown, [])
            groups.append({"title": titles[group], "group": group, "parts": parts, "left_out": left_out})
    return groups


def _render_rows(rows: Sequence[GalleryRow], folder: Path | None, max_bytes: int) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = []
    for row in rows:
        body = render_row(row, folder)
        max_bytes -= len(body) + len(row.comparison)
        if max_bytes < 0 and shown:
            break
        shown.append({"row": row, "body": body})
    return shown
