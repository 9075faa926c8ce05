"""The report of a run: one self-contained HTML file with charts, images and audio.

Its one script shows what is under the pointer; without it the browser shows the same, later.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from polymodal.atomic_files import write_text
from polymodal.model.summary import run_notices
from polymodal.progress import format_seconds
from polymodal.report import charts
from polymodal.report.explained_cells import ExplainedTable
from polymodal.report.explanation_sections import STYLE, describe_explanation
from polymodal.report.families import family_title, group_families
from polymodal.report.gallery import Gallery, breakable
from polymodal.report.recovery_section import describe_recovery
from polymodal.report.stress_sections import describe_stress
from polymodal.report.table_section import describe_table_notices
from polymodal.report.target_sections import describe_target
from polymodal.report.wording import (
    format_number,
    format_score,
    format_share,
    is_number,
    member_title,
    metric_title,
)

TEMPLATES = Path(__file__).parent / "templates"
MAX_BROKEN = 50
OPEN_COLUMNS = 25
"""A longer table of columns is shown where the reader asks for it."""
OPEN_NOTICES = 3
MEDIA_BYTES = 2_400_000
"""Maximum size of the gallery's media in bytes; further rows are left out."""
EXPLAINED_BYTES = 1_000_000
"""Maximum size of the explained rows in bytes."""


def write_report(
    report_data: dict[str, Any],
    gallery: Gallery,
    path: Path,
    folder: Path | None = None,
    explained: ExplainedTable | None = None,
    pictures: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write the report of a run.

    Args:
        report_data: The report data of the run, as plain JSON.
        gallery: Rows to show for each target; may be empty.
        path: The HTML file; replaced atomically.
        folder: Folder of the gallery's relative media paths; None shows no files.
        explained: Some evaluated rows with what decided them; None: the report has no such section.
        pictures: Recovered pictures beside true ones, of ``recovered_pictures``.
    """
    described = _describe({**report_data, "notices": run_notices(report_data)}, gallery, folder)
    described["recovery"] = describe_recovery(report_data["evaluation"], pictures)
    described["explained"] = describe_explanation(explained, EXPLAINED_BYTES) if explained else None
    write_text(path, render("report.html", described, STYLE if explained else STYLE[:1]))


def render(template: str, values: Mapping[str, Any], parts: Sequence[str] = STYLE[:1]) -> str:
    """Render a template.

    Args:
        template: File in ``templates/``.
        values: Its variables.
        parts: Names of the style sheets and scripts in ``templates/`` that the page holds.

    Returns:
        One HTML page with inline style.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        seconds=format_seconds,
        number=format_number,
        metric=metric_title,
        member=member_title,
        count=_count,
        breakable=breakable,
    )
    environment.globals.update(share=format_share, score=format_score)
    style, script = (Markup("").join(_read(part + ending) for part in parts) for ending in (".css", ".js"))
    script_hash = "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template(template).render(style=style, script=script, script_hash=script_hash, **values)


def _read(name: str) -> Markup:
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))


def _describe(report_data: dict[str, Any], gallery: Gallery, folder: Path | None) -> dict[str, Any]:
    budget = MEDIA_BYTES // max(len(report_data["targets_info"]), 1)
    targets = [
        describe_target(number, info, report_data, gallery.get(info["name"], {}), folder, budget)
        for number, info in enumerate(report_data["targets_info"], start=1)
    ]
    return {
        "report_data": report_data,
        "targets": targets,
        "learned_targets": bool(report_data["config"].get("target", True)),
        "created": describe_date(report_data["created"]),
        "columns": _describe_columns(report_data["columns"]),
        "table_notices": describe_table_notices(report_data),
        "open_columns": OPEN_COLUMNS,
        "notices": (report_data["notices"][:OPEN_NOTICES], report_data["notices"][OPEN_NOTICES:]),
        "best_epoch": _best_place(report_data),
        "learning": _describe_learning(report_data),
        "stress": describe_stress(report_data.get("stress")),
        "broken": report_data["broken_cells"][:MAX_BROKEN],
        "phases": _describe_phases(report_data["seconds"]),
        "config": describe_config(report_data["config"]),
    }


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "es" if noun.endswith("s") else "s")


def describe_date(text: str) -> str:
    """Format an ISO 8601 time for readers; other texts are returned as they are."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{moment.day} {moment:%B %Y, %H:%M} {moment.tzname() or ''}".strip()


def describe_config(config: Mapping[str, Any]) -> str:
    """Format options as YAML."""
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
    """Describe the columns, those of one family on one line."""
    groups = group_families(columns, lambda column: column["name"], _likeness)
    return [_describe_column_group(group) for group in groups]


def _likeness(column: Mapping[str, Any]) -> tuple[str, str | None, str]:
    return column["modality"], column["stream"], re.sub(r"\d+", "", column["reason"])


def _describe_column_group(group: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    missing, rows = sum(column["missing"] for column in group), sum(column["rows"] for column in group)
    return {
        **group[0],
        "name": family_title([column["name"] for column in group]),
        "number": len(group),
        "missing": missing,
        "rows": rows,
        "broken": sum(column["broken"] for column in group),
        "share": missing / rows if rows else 0,
    }


def _best_place(report_data: Mapping[str, Any]) -> int | None:
    """Return the number of the best epoch, from 1, whatever number earlier versions began with."""
    epochs = [step["epoch"] for step in report_data["history"]]
    return epochs.index(report_data["best_epoch"]) + 1 if report_data.get("best_epoch") in epochs else None


def _describe_learning(report_data: Mapping[str, Any]) -> list[dict[str, Any]]:
    history, best = report_data["history"], _best_place(report_data)
    mark = None if best is None else (best, "best epoch")
    shown = _describe_losses(history, mark)
    for info in report_data["targets_info"]:
        name, metric = info["name"], metric_title(info["primary_metric"])
        title = f"Validation {metric}" + (f" of {name}" if len(report_data["targets_info"]) > 1 else "")
        lines = _score_lines(history, name)
        chart = charts.line_chart(lines, title=title, x_label="epoch", y_label=metric, mark=mark)
        shown.append({"title": title, "chart": chart, "note": ""})
    pretraining = report_data.get("pretraining", {}).items()
    shown += [_describe_pretraining(*pair) for pair in pretraining if pair[1]["history"]]
    return [entry for entry in shown if entry["chart"]]


def _describe_losses(history: Sequence[Mapping[str, Any]], mark: tuple[float, str] | None) -> list[dict[str, Any]]:
    """Draw both losses in one chart where they are the same quantity, else each in its own."""
    validation = charts.Line("validation rows", _series(history, lambda step: step["validation_loss"]))
    training = charts.Line("training rows", _series(history, lambda step: step.get("evaluated_train_loss")))
    minimised = charts.Line("training", _series(history, lambda step: step["train_loss"]))
    if any(is_number(value) for _, value in training.points):
        note = "Both in evaluation mode: no augmentation, dropout or label smoothing."
        drawn = [("Loss on training and validation rows", [training, validation], note)]
    else:
        note = "With augmentation, dropout and the losses of the streams' own heads: not to be compared with the other."
        drawn = [("Validation loss", [validation], ""), ("Loss that training minimised", [minimised], note)]
    return [
        {
            "title": title,
            "chart": charts.line_chart(lines, title=title, x_label="epoch", y_label="loss", mark=mark),
            "note": note,
        }
        for title, lines, note in drawn
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
    return [(epoch, read(step)) for epoch, step in enumerate(history, start=1)]
