"""The sections of an explanation, for its own page and for the report of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polymodal.explain.explanation import Change, Explanation, RowExplanation, TargetSummary
from polymodal.report.answers import format_answer, format_truth, is_right
from polymodal.report.effect_bars import level_mark, stacked_bar, step_bar, waterfall_scale, waterfall_steps
from polymodal.report.explained_cells import ExplainedTable, render_cells, render_training_cells
from polymodal.report.heat import SHARES, effect_text, largest_effect, scalar_text
from polymodal.report.small_charts import whisker, whisker_axis

STYLE = ("report", "explanation")
"""Style sheets and scripts of pages with an explanation."""
SHOWN_PAIRS = 10
"""Interactions that are shown, the largest first."""
ROW_BYTES, LINE_BYTES = 2000, 200
"""About what a row takes besides its drawings, and a line of it."""
SHOWN_CHANGES = 6
OPEN_INFORMATION = 3
"""Pairs whose information is shown; the rest where the reader asks for it."""
OPEN_STREAMS = 15
"""Streams whose importance is shown, the largest first; the rest where the reader asks for them."""
LEAST_INTERACTION = 0.01
"""Interactions of a row below this share of its largest effect are not named."""


def describe_explanation(source: ExplainedTable, max_bytes: int) -> dict[str, Any]:
    """Describe an explanation for the templates.

    Args:
        source: The explanation and its table.
        max_bytes: Maximum size of all rows in bytes; the first row is always shown.

    Returns:
        The variables of ``explained_summary.html`` and ``explained_rows.html``.
    """
    explanation = source.explanation
    rows = _describe_rows(source, max_bytes)
    return {
        "table": explanation.table,
        "streams": explanation.streams,
        "targets": [_describe_summary(summary, explanation) for summary in explanation.summaries],
        "rows": rows,
        "num_rows": len({row.row for row in explanation.rows}),
        "left_out": len(explanation.rows) - len(rows),
        "notices": explanation.notices,
        "seconds": explanation.seconds,
        "several": len(explanation.summaries) > 1,
    }


def _describe_summary(summary: TargetSummary, explanation: Explanation) -> dict[str, Any]:
    unit = explanation.units.get(summary.target, "value")
    information = [_describe_information(pair) for pair in summary.information]
    return {
        "target": summary.target,
        "rows": summary.rows,
        "unit": unit,
        "importance": _describe_importance(summary, unit),
        "interactions": _describe_interactions(summary, unit),
        "more_pairs": max(len(summary.interactions) - SHOWN_PAIRS, 0),
        "information": (information[:OPEN_INFORMATION], information[OPEN_INFORMATION:]),
        "information_note": summary.information_note,
    }


def _describe_importance(summary: TargetSummary, unit: str) -> dict[str, Any]:
    scale = (0.0, max((entry["high"] for entry in summary.importance.values()), default=0.0) * 1.05 or 1.0)
    ordered = sorted(summary.importance.items(), key=lambda pair: -pair[1]["mean"])
    rows = [
        {
            "stream": stream,
            "chart": whisker(entry["mean"], entry["low"], entry["high"], scale, "final", _interval(entry, unit)),
            "mean": _size(entry["mean"], unit),
            "interval": f"{_size(entry['low'], unit)} to {_size(entry['high'], unit)}",
        }
        for stream, entry in ordered
    ]
    return {"parts": (rows[:OPEN_STREAMS], rows[OPEN_STREAMS:]), "axis": whisker_axis(_in_points(scale, unit))}


def _describe_interactions(summary: TargetSummary, unit: str) -> list[dict[str, Any]]:
    ordered = sorted(summary.interactions.items(), key=lambda pair: -abs(pair[1]["mean"]))[:SHOWN_PAIRS]
    widest = max((max(abs(entry["low"]), abs(entry["high"])) for _, entry in ordered), default=0.0) * 1.05 or 1.0
    return [
        {
            "pair": pair,
            "chart": whisker(
                entry["mean"], entry["low"], entry["high"], (-widest, widest), "fusion", _interval(entry, unit)
            ),
            "mean": _signed(entry["mean"], unit),
            "interval": f"{_signed(entry['low'], unit)} to {_signed(entry['high'], unit)}",
            "meaning": _meaning(entry),
        }
        for pair, entry in ordered
    ]


def _meaning(entry: Mapping[str, float]) -> str:
    if entry["low"] > 0:
        return "more together than alone"
    return "each can stand in for the other" if entry["high"] < 0 else "no difference that the rows show"


def _describe_information(pair: Mapping[str, Any]) -> dict[str, Any]:
    first, second = pair["pair"]
    shares = [
        ("either alone (redundancy)", pair["redundancy"]),
        (f"only {first}", pair["unique"][0]),
        (f"only {second}", pair["unique"][1]),
        ("both together (synergy)", pair["synergy"]),
    ]
    return {
        "pair": f"{first} and {second}",
        "chart": stacked_bar(shares, f"Information in {first} and {second}"),
        "shares": [{"name": name, "bits": f"{max(bits, 0.0):.2f}"} for name, bits in shares],
        "total": f"{pair['total']:.2f}",
    }


def _interval(entry: Mapping[str, float], unit: str) -> str:
    low, high = effect_text(entry["low"], unit), effect_text(entry["high"], unit)
    return f"{effect_text(entry['mean'], unit)}, 95% interval {low} to {high}"


def _signed(value: float, unit: str) -> str:
    return effect_text(value, unit).removesuffix(" points")


def _size(value: float, unit: str) -> str:
    return _signed(value, unit).removeprefix("+")


def _in_points(scale: tuple[float, float], unit: str) -> tuple[float, float]:
    factor = 100 if unit in SHARES else 1
    return scale[0] * factor, scale[1] * factor


def _describe_rows(source: ExplainedTable, max_bytes: int) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = []
    for number, row in enumerate(source.explanation.rows, start=1):
        described = _describe_row(source, row, number)
        max_bytes -= _num_bytes(described)
        if max_bytes < 0 and shown:
            break
        shown.append(described)
    return shown


def _num_bytes(described: Mapping[str, Any]) -> int:
    """Return about how many bytes a row takes in the page."""
    lines = [step["chart"] for step in described["waterfall"]["steps"]]
    changes = [change["cells"] for change in described["changes"]]
    return len(described["cells"]) + sum(len(text) + LINE_BYTES for text in [*lines, *changes]) + ROW_BYTES


def _describe_row(source: ExplainedTable, row: RowExplanation, number: int) -> dict[str, Any]:
    unit = source.explanation.units.get(row.target, "value")
    return {
        "anchor": f"row-{number}",
        "row": row,
        "answer": format_answer(row.answer),
        "truth": None if row.truth is None else format_truth(row.truth, row.answer),
        "right": is_right(row.answer, row.truth) if unit == "probability" else None,
        "is_share": unit in SHARES,
        "value": scalar_text(row.value, unit),
        "prior": scalar_text(row.prior, unit),
        "is_whole": row.explained in {"value", str(row.answer)},
        "sentence": _sentence(row, unit),
        "waterfall": _describe_waterfall(row, unit),
        "interactions": _named_interactions(row, unit),
        "cells": render_cells(source, row),
        "changes": [_describe_change(source, row, change, unit) for change in row.changes[:SHOWN_CHANGES]],
        "more_changes": max(len(row.changes) - SHOWN_CHANGES, 0),
    }


def _sentence(row: RowExplanation, unit: str) -> str:
    """Say in words what the waterfall shows."""
    present = {stream: value for stream, value in row.streams.items() if stream not in row.absent}
    if not present:
        return "Nothing is present in this row: the answer is the prior, what the model says without any input."
    strongest = max(present, key=lambda stream: abs(present[stream]))
    if not present[strongest]:
        return "No stream changes the answer of the prior."
    text = f"“{strongest}” {_verb(present[strongest], unit)} most ({effect_text(present[strongest], unit)})"
    others = [stream for stream, value in present.items() if value * present[strongest] < 0]
    opposed = max(others, key=lambda stream: abs(present[stream]), default="")
    if opposed:
        text += f", “{opposed}” {_verb(present[opposed], unit)} ({effect_text(present[opposed], unit)})"
    return text + "."


def _verb(effect: float, unit: str) -> str:
    if unit in SHARES:
        return "speaks for it" if effect > 0 else "speaks against it"
    return "raises it" if effect > 0 else "lowers it"


def _describe_waterfall(row: RowExplanation, unit: str) -> dict[str, Any]:
    scale = waterfall_scale(row, unit)
    prior, value = (scalar_text(level, unit) for level in (row.prior, row.value))
    steps = [
        {
            "stream": step.stream,
            "is_absent": step.stream in row.absent,
            "chart": step_bar(step.start, step.end, scale, f"{step.stream}: {effect_text(step.effect, unit)}"),
            "effect": effect_text(step.effect, unit),
            "error": _error_text(row.standard_errors.get(step.stream, 0.0), unit),
        }
        for step in waterfall_steps(row)
    ]
    return {
        "prior": {"chart": level_mark(row.prior, scale, f"without any input: {prior}"), "text": prior},
        "steps": steps,
        "value": {"chart": level_mark(row.value, scale, f"this row: {value}"), "text": value},
        "axis": whisker_axis(_in_points(scale, unit)),
    }


def _error_text(error: float, unit: str) -> str:
    return f"± {_size(error, unit)}" if error else ""


def _named_interactions(row: RowExplanation, unit: str) -> list[str]:
    largest = largest_effect(row)
    ordered = sorted(row.interactions.items(), key=lambda pair: -abs(pair[1]))[:3]
    return [f"{pair} {effect_text(value, unit)}" for pair, value in ordered if abs(value) > LEAST_INTERACTION * largest]


def _describe_change(source: ExplainedTable, row: RowExplanation, change: Change, unit: str) -> dict[str, Any]:
    answer = format_answer(change.answer)
    titles = {
        "nearest_row": f"Training row {change.row}, near and answered otherwise",
        "swap": f"With {change.stream} of training row {change.row}",
        "absent": f"Without {change.stream}",
    }
    return {
        "title": titles[change.kind],
        "answer": answer,
        "is_same": answer == format_answer(row.answer),
        "value": "" if scalar_text(change.value, unit) == answer else scalar_text(change.value, unit),
        "cells": render_training_cells(source, change.cells) if change.cells else "",
    }
