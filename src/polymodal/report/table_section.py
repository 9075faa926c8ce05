"""The section of the report that tells what was done with the table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polymodal.data.notes.notice import NOTICE_KINDS
from polymodal.data.notes.table_notices import HEADING

OPEN_SENTENCES = 4
"""Further sentences of one kind are shown where the reader asks for them."""


def describe_table_notices(report_data: Mapping[str, Any]) -> dict[str, Any] | None:
    """Group the notices about the tables by kind.

    Args:
        report_data: The report data of a run; without ``table_notices`` where an earlier version wrote it.

    Returns:
        The ``heading`` and ``groups``, each with ``title`` and the ``open`` and ``folded`` sentences; None without any.
    """
    of_kind: dict[str, list[str]] = {}
    for notice in report_data.get("table_notices", []):
        of_kind.setdefault(notice["kind"], []).append(notice["sentence"])
    groups = [
        {
            "title": NOTICE_KINDS.get(kind, kind.replace("_", " ")),
            "open": sentences[:OPEN_SENTENCES],
            "folded": sentences[OPEN_SENTENCES:],
        }
        for kind, sentences in of_kind.items()
    ]
    return {"heading": HEADING, "groups": groups} if groups else None
