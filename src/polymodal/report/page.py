"""The report of a run: one self-contained HTML file with charts, pictures and sounds, and no scripts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from polymodal.metrics import metric_of
from polymodal.report import charts
from polymodal.report.gallery import Gallery, GalleryRow, row_html
from polymodal.report.wording import (
    PRIORS,
    ReferenceModel,
    clip_to_metric_range,
    find_reference_models,
    format_number,
    format_score,
    format_score_in_text,
    format_seconds,
    format_share,
    is_number,
    member_title,
    metric_title,
    write_headline,
)

MAX_MATRIX = 20
"""Confusion matrices with more classes become lists."""
MAX_CONFUSIONS = 15
MAX_BROKEN = 50
MAX_POINTS = 1500
FAR = 4.0
"""A score this many times as far from the final one as the median row does not widen the scale."""
MEDIA_BYTES = 2_400_000
"""Gallery rows are left out once their pictures and sounds fill this much."""


def write_report(record: dict[str, Any], gallery: Gallery, path: Path, folder: Path | None = None) -> None:
    """Write the report of a run.

    Args:
        record: What the run recorded, as plain JSON values.
        gallery: Rows to show for each target; may be empty.
        path: The HTML file; replaced atomically.
        folder: Folder of the gallery's relative media paths; None shows no files.
    """
    html = render("report.html", _describe(record, gallery, folder))
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(html, encoding="utf-8")
    temporary.replace(path)


def render(template: str, values: Mapping[str, Any]) -> str:
    """Fill in a page.

    Args:
        template: File in ``templates/``.
        values: What it shows.

    Returns:
        One HTML page with its style in it.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        seconds=format_seconds, number=format_number, metric=metric_title, member=member_title, count=_count
    )
    environment.globals.update(share=format_share, score=format_score)
    style = Markup((Path(__file__).parent / "templates" / "report.css").read_text(encoding="utf-8"))
    return environment.get_template(template).render(style=style, **values)


def _describe(record: dict[str, Any], gallery: Gallery, folder: Path | None) -> dict[str, Any]:
    budget = MEDIA_BYTES // max(len(record["targets_info"]), 1)
    targets = [
        _describe_target(number, info, record, gallery.get(info["name"], {}), folder, budget)
        for number, info in enumerate(record["targets_info"], start=1)
    ]
    return {
        "record": record,
        "targets": targets,
        "learned_targets": bool(record["config"].get("target", True)),
        "created": describe_date(record["created"]),
        "columns": _describe_columns(record["columns"]),
        "learning": _describe_learning(record),
        "broken": record["broken_cells"][:MAX_BROKEN],
        "phases": _describe_phases(record["seconds"]),
        "config": describe_config(record["config"]),
    }


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def describe_date(text: str) -> str:
    """Write a moment in ISO 8601 for people; other texts stay as they are."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{moment.day} {moment:%B %Y, %H:%M} {moment.tzname() or ''}".strip()


def describe_config(config: Mapping[str, Any]) -> str:
    """Write options as YAML."""
    import yaml

    return str(yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)).strip() if config else ""


def _describe_phases(seconds: Mapping[str, float]) -> list[dict[str, Any]]:
    total = seconds.get("total") or sum(seconds.values()) or 1.0
    return [
        {"name": name.replace("_", " "), "seconds": value, "share": value / total}
        for name, value in seconds.items()
        if name != "total"
    ]


def _describe_columns(columns: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{**column, "share": column["missing"] / column["rows"] if column["rows"] else 0} for column in columns]


def _describe_learning(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    history = record["history"]
    mark = (record["best_epoch"], "best epoch") if is_number(record.get("best_epoch")) else None
    losses = [
        charts.Line("training loss", _series(history, lambda step: step["train_loss"])),
        charts.Line("validation loss", _series(history, lambda step: step["validation_loss"])),
    ]
    drawn = [("Loss", charts.line_chart(losses, title="Loss by epoch", x_label="epoch", y_label="loss", mark=mark))]
    for info in record["targets_info"]:
        name, metric = info["name"], metric_title(info["primary_metric"])
        title = f"Validation {metric}" + (f" of {name}" if len(record["targets_info"]) > 1 else "")
        lines = _score_lines(history, name)
        drawn += [(title, charts.line_chart(lines, title=title, x_label="epoch", y_label=metric, mark=mark))]
    shown = [{"title": title, "chart": chart, "note": ""} for title, chart in drawn if chart]
    return shown + [
        _describe_pretraining(*pair) for pair in record.get("pretraining", {}).items() if pair[1]["history"]
    ]


def _describe_pretraining(stream: str, found: Mapping[str, Any]) -> dict[str, Any]:
    lines = [
        charts.Line("training pictures", _series(found["history"], lambda step: step["train_error"])),
        charts.Line("validation pictures", _series(found["history"], lambda step: step["validation_error"])),
    ]
    title = f"Reconstruction error of {stream}"
    chart = charts.line_chart(lines, title=title, x_label="epoch before the targets were learned", y_label="error")
    note = (
        f"Learned from {_count(found['pictures'], 'picture')}, {found['unlabelled']:,} of them without a target. "
        "Mean squared error of the pixels as a share of their variance: at 1, nothing is restored."
    )
    return {"title": title, "chart": chart, "note": note}


def _score_lines(history: Sequence[Mapping[str, Any]], target: str) -> list[charts.Line]:
    streams = dict.fromkeys(stream for step in history for stream in step["stream_scores"].get(target, {}))
    fused = charts.Line("fused", _series(history, lambda step: step["validation_score"].get(target)))
    alone = [
        charts.Line(name, _series(history, lambda step, name=name: step["stream_scores"].get(target, {}).get(name)))
        for name in streams
    ]
    return [fused, *(alone if len(alone) > 1 else [])]


def _series(history: Sequence[Mapping[str, Any]], read: Any) -> list[charts.Point]:
    return [(step["epoch"], read(step)) for step in history]


def _describe_target(
    number: int,
    info: Mapping[str, Any],
    record: Mapping[str, Any],
    rows: Mapping[str, Sequence[GalleryRow]],
    folder: Path | None,
    budget: int,
) -> dict[str, Any]:
    evaluation, name = record["evaluation"], info["name"]
    return {
        "anchor": f"target-{number}",
        "info": info,
        "headline": write_headline(info, evaluation),
        "scores": _describe_scores(info, evaluation),
        "pairs": [{"name": pair, "scores": found} for pair, found in evaluation.get("pairs", {}).get(name, {}).items()],
        "decision": _describe_decision(info, evaluation),
        "balance": _describe_balance(info),
        "confusion": _describe_confusion(name, evaluation),
        "residuals": _describe_residuals(name, evaluation),
        "per_label": _describe_labels(info["kind"], evaluation.get("per_label", {}).get(name, [])),
        "calibration": _describe_calibration(name, evaluation),
        "missing": _describe_missing(info, evaluation),
        "gallery": _describe_gallery(info["kind"], rows, folder, budget),
    }


def _describe_labels(kind: str, entries: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Say which columns the table of labels has; the last one is drawn as a bar."""
    if not entries:
        return None
    metrics = [name for name in entries[0] if name not in {"label", "support"}]
    return {"entries": entries, "metrics": metrics, "support": "true boxes" if kind == "boxes" else "rows"}


def _describe_scores(info: Mapping[str, Any], evaluation: Mapping[str, Any]) -> dict[str, Any]:
    primary = info["primary_metric"]
    rows = list(_score_rows(info, evaluation))
    scale = _score_scale(primary, rows)
    metrics = [primary, *(metric for metric in rows[0]["values"] if metric != primary)]
    for row in rows:
        value, (low, high) = row["values"].get(primary), row["interval"] or (None, None)
        row["chart"] = charts.whisker(value, low, high, scale, row["kind"]) if is_number(value) else ""
    best = {metric: _best_value(metric, rows) for metric in metrics}
    return {
        "rows": rows,
        "metrics": metrics,
        "best": best,
        "axis": charts.whisker_axis(scale),
        "bounded": any(row["interval"] for row in rows),
        "outside": any(not scale[0] <= row["values"].get(primary, scale[0]) <= scale[1] for row in rows),
    }


def _score_rows(info: Mapping[str, Any], evaluation: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    name, primary = info["name"], info["primary_metric"]
    bounds = evaluation.get("member_intervals", {}).get(name, {})
    final = evaluation.get("intervals", {}).get(name, {}).get(primary)
    yield _score_row("Final model", "final", evaluation["targets"][name], final)
    if fusion := evaluation.get("fusion", {}).get(name):
        yield _score_row("Fusion network", "fusion", fusion, bounds.get("fusion"))
    for kind, group in (("stream", "streams"), ("baseline", "baselines")):
        members = evaluation.get(group, {}).get(name, {})
        for member in _best_first(members, primary, info["higher_is_better"]):
            title = member if kind == "stream" else member.replace("_", " ")
            row = _score_row(title, kind, members[member], bounds.get(f"{kind}:{member}"))
            yield row | {"prior": kind == "baseline" and member in PRIORS}


def _score_row(title: str, kind: str, values: Mapping[str, float], interval: Sequence[float] | None) -> dict[str, Any]:
    return {"title": title, "kind": kind, "values": values, "interval": interval, "prior": False}


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
    shown = [row for row, distance in zip(shown, away, strict=True) if distance <= FAR * usual or not usual]
    values = [row["values"][metric] for row in shown] + [end for row in shown for end in row["interval"] or ()]
    low, high = charts.padded_range([value for value in values if is_number(value)] or [0.0, 1.0], share=0.08)
    return clip_to_metric_range(metric, low, high)


def _best_value(metric: str, rows: Sequence[Mapping[str, Any]]) -> str:
    values = [row["values"][metric] for row in rows if is_number(row["values"].get(metric))]
    best = (max if metric_of(metric).higher_is_better else min)(values, default=None)
    return format_score(metric, best) if len(values) > 1 else ""


def _describe_decision(info: Mapping[str, Any], evaluation: Mapping[str, Any]) -> dict[str, Any] | None:
    decision = evaluation.get("decision", {}).get(info["name"])
    if not decision or not decision.get("weights"):
        return None
    ordered = sorted(decision["weights"].items(), key=lambda pair: -abs(pair[1]))
    largest = max(abs(weight) for _, weight in ordered) or 1.0
    members = [
        {"title": member_title(member), "kind": member.partition(":")[0], "weight": weight, "share": weight / largest}
        for member, weight in ordered
    ]
    single = sum(abs(weight) > 0.005 for _, weight in ordered) == 1
    return {"members": members, "note": decision.get("note", ""), "single": single, "only": _only(ordered[0][0])}


def _only(member: str) -> str:
    kind, _, name = member.partition(":")
    return f"the {kind} “{name}”" if name else "the fusion network"


def _describe_balance(info: Mapping[str, Any]) -> dict[str, Any] | None:
    classes, counts = info.get("classes"), info.get("counts")
    if not classes or not counts:
        return None
    pairs = sorted(zip(classes, counts, strict=True), key=lambda pair: -pair[1])
    many = len(pairs) > MAX_MATRIX
    label = "classes, most frequent first"
    chart = charts.count_chart(counts, title="Rows of each class", x_label=label) if many else ""
    return {"pairs": pairs, "most": max(*counts, 1), "total": sum(counts), "chart": chart}


def _describe_confusion(name: str, evaluation: Mapping[str, Any]) -> dict[str, Any] | None:
    confusion = evaluation.get("confusion", {}).get(name)
    if not confusion or not confusion["labels"]:
        return None
    labels, counts = confusion["labels"], confusion["counts"]
    totals = [sum(row) for row in counts]
    pairs = [
        {"truth": labels[i], "prediction": labels[j], "count": count, "of": totals[i]}
        for i, row in enumerate(counts)
        for j, count in enumerate(row)
        if i != j and count
    ]
    weakest = sorted((counts[i][i] / total, total, labels[i]) for i, total in enumerate(totals) if total)
    return {
        "labels": labels,
        "matrix": list(zip(labels, counts, totals, strict=True)) if len(labels) <= MAX_MATRIX else None,
        "top": sorted(pairs, key=lambda pair: -pair["count"])[:MAX_CONFUSIONS],
        "weakest": weakest[:10],
        "errors": sum(pair["count"] for pair in pairs),
        "rows": sum(totals),
        "upright": max(len(label) for label in labels) > 3,
    }


def _describe_residuals(name: str, evaluation: Mapping[str, Any]) -> dict[str, Any] | None:
    residuals = evaluation.get("residuals", {}).get(name)
    if not residuals:
        return None
    both = zip(residuals["truth"], residuals["prediction"], strict=True)
    points = [(truth, prediction) for truth, prediction in both if is_number(truth) and is_number(prediction)]
    if not points:
        return None
    shown = points[:: -(-len(points) // MAX_POINTS)]
    errors = sorted(prediction - truth for truth, prediction in points)
    return {
        "scatter": charts.scatter_chart(
            shown, title=f"Prediction against truth of {name}", x_label="truth", y_label="prediction"
        ),
        "histogram": charts.histogram(errors, title=f"Residuals of {name}", x_label="prediction − truth"),
        "shown": len(shown),
        "rows": len(points),
        "median": format_number(errors[len(errors) // 2]),
        "middle": format_number(sorted(abs(error) for error in errors)[len(errors) // 2]),
    }


def _describe_calibration(name: str, evaluation: Mapping[str, Any]) -> dict[str, Any] | None:
    calibration = evaluation.get("calibration", {}).get(name)
    if not calibration or not any(entry["count"] for entry in calibration["bins"]):
        return None
    before, after = calibration.get("ece_before"), calibration.get("ece_after")
    return {
        "chart": charts.calibration_chart(calibration["bins"], title=f"Calibration of {name}"),
        "before": format_score("ece", before),
        "after": format_score("ece", after),
        "gap": f"{100 * after:.1f}" if is_number(after) else "–",
        "better": is_number(before) and is_number(after) and after <= before,
    }


def _describe_missing(info: Mapping[str, Any], evaluation: Mapping[str, Any]) -> dict[str, Any] | None:
    name, metric = info["name"], info["primary_metric"]
    absent, curves = (evaluation.get(part, {}).get(name, {}) for part in ("missing", "curves"))
    if not absent and not curves:
        return None
    full = evaluation["targets"][name].get(metric)
    prior = find_reference_models(name, metric, info["higher_is_better"], evaluation).get("prior")
    rows = [{"stream": s, "values": values, "loss": _loss(metric, full, values)} for s, values in absent.items()]
    others = [other for other in next(iter(absent.values()), {}) if other != metric]
    return {
        "chart": _missing_chart(name, metric, curves, prior),
        "note": f"Answering without any input: {format_score_in_text(metric, prior.value)}." if prior else "",
        "rows": rows,
        "metrics": [metric, *others],
        "full": evaluation["targets"][name],
    }


def _missing_chart(
    name: str, metric: str, curves: Mapping[str, Sequence[Sequence[float]]], prior: ReferenceModel | None
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
    kind: str, rows: Mapping[str, Sequence[GalleryRow]], folder: Path | None, budget: int
) -> list[dict[str, Any]]:
    titles = {"right": "Right", "wrong": "Most confident mistakes"}
    if kind not in {"category", "categories"}:
        titles = {"right": "Close", "wrong": "Largest misses"}
    groups = []
    for group in ("right", "wrong"):
        shown = _render_rows(rows.get(group, ()), folder, budget // 2)
        if shown:
            left_out = len(rows[group]) - len(shown)
            groups.append({"title": titles[group], "group": group, "rows": shown, "left_out": left_out})
    return groups


def _render_rows(rows: Sequence[GalleryRow], folder: Path | None, budget: int) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = []
    for row in rows:
        body = row_html(row, folder)
        budget -= len(body) + len(row.comparison)
        if budget < 0 and shown:
            break
        shown.append({"row": row, "body": body})
    return shown
