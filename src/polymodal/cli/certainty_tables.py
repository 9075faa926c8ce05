"""How sure a model is, on the terminal: promises beside what was kept, without each stream, abstention (rich)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from polymodal.cli.result_tables import open_console, ruled_table
from polymodal.report.certainty_section import describe_certainty

SHOWN_CLASSES = 3


def print_certainty(report_data: Mapping[str, Any]) -> None:
    """Print, for each target, what sets or intervals held beside what was promised.

    Args:
        report_data: The ``targets_info`` and an ``evaluation`` of a model.
    """
    console = open_console()
    for info in report_data["targets_info"]:
        name, found = escape(info["name"]), describe_certainty(info, report_data["evaluation"])
        if found is None:
            continue
        if found["notice"]:
            console.print(f"How sure of {name}: {escape(found['notice'])}")
            continue
        console.print(_promises(f"How sure of {name}: promised and kept", found))
        if found["streams"]:
            console.print(_streams(f"{name} without a stream, {found['shown_level']} promised", found))
        if found["classes"]:
            worst = [f"{row['label']} {row['measured']} of {row['rows']:,}" for row in found["classes"]]
            console.print(escape(f"Held least often at {found['shown_level']}: {', '.join(worst[:SHOWN_CLASSES])}."))
        if found["abstain"]:
            console.print(_abstention(f"{name}: unsure rows unanswered", found["abstain"]["rows"]))


def _filled(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = ruled_table(title)
    table.add_column(headings[0], overflow="fold")
    for heading in headings[1:]:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    return table


def _promises(title: str, found: Mapping[str, Any]) -> Table:
    headings = ("promised", "measured", "expected", found["unit"].replace("mean ", "mean\n"), "verdict")
    rows = [
        (row["promised"], row["measured"], row["expected"] or "–", row["size"], row["verdict"])
        for row in found["promises"]
    ]
    return _filled(title, headings, rows)


def _streams(title: str, found: Mapping[str, Any]) -> Table:
    headings = ["without", "measured", "interval", found["unit"].replace("mean ", "mean\n")]
    keys = ["stream", "measured", "interval", "size"]
    if found["has_scores"]:
        headings, keys = [*headings, "calibration\nerror"], [*keys, "ece"]
    if found["has_confidence"]:
        headings, keys = [*headings, "surer\nin"], [*keys, "rises"]
    return _filled(title, headings, [[row[key] for key in keys] for row in found["streams"]])


def _abstention(title: str, found: Sequence[Mapping[str, Any]]) -> Table:
    rows = [(row["wanted"], row["threshold"], row["answered"], row["measured"], row["interval"]) for row in found]
    return _filled(title, ("wanted", "threshold", "answered", "measured", "interval"), rows)
