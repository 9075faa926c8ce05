"""What ``inspect`` says of how sure each column's modality is, and the option that overrules it."""

from __future__ import annotations

import shlex
from typing import Any

from polymodal.data.schema.columns import OVERRULED, ColumnSchema
from polymodal.data.schema.confidence import LIKELY, Confidence, modality_confidence
from polymodal.data.schema.detect_modality import detect_modality
from polymodal.data.schema.detect_target import TARGET_KINDS
from polymodal.data.schema.samples import present_cells
from polymodal.data.schema.schema import FOR_SPLIT, LEFT_OUT, PART_OF
from polymodal.data.tables.table import Table
from polymodal.modalities import column_modalities

MODALITY_OF_KIND = {"caption": "text", "transcript": "text", "categories": "category"}
KIND_OF_MODALITY = {"text": "caption"}


def certainty_of(table: Table, entry: ColumnSchema, role: str) -> dict[str, Any]:
    """Say how sure a column's modality is.

    Args:
        table: The table, as it was read.
        entry: One of its columns, or one that is read from others; of a target, its kind.
        role: ``input``, ``target`` or ``ignored``.

    Returns:
        Plain JSON: ``certainty``, ``confidence``, ``second_guess`` and ``overrule``.
    """
    found = _confidence(table, entry, role)
    return {
        "certainty": found.level,
        "confidence": round(found.share, 3),
        "second_guess": found.second or None,
        "overrule": _overrule(entry, role, found.second),
    }


def _confidence(table: Table, entry: ColumnSchema, role: str) -> Confidence:
    if entry.parts:  # the names of the columns and their cells say so, against cells that are numbers
        return Confidence(LIKELY, "number")
    if entry.source:  # read from the headers of the files
        return Confidence(1.0)
    cells = present_cells(table.columns[entry.name])
    if role == "target":
        found = modality_confidence(entry.name, MODALITY_OF_KIND.get(entry.modality, entry.modality), cells)
        second = KIND_OF_MODALITY.get(found.second, found.second)
        return Confidence(found.share, second if second in TARGET_KINDS and second != entry.modality else "")
    if entry.reason == OVERRULED:
        detected = detect_modality(entry.name, cells, table.folder)[0]
        return Confidence(1.0, detected if detected != entry.modality else "")
    found = modality_confidence(entry.name, entry.modality, cells)
    return found if found.second in column_modalities() else Confidence(found.share)


def _overrule(entry: ColumnSchema, role: str, second: str) -> str | None:
    if entry.parts:
        return _modality_option(entry.parts[0], "number")
    if role == "ignored" or entry.reason.startswith(PART_OF):  # naming it takes it in, or keeps it apart
        is_asked = entry.reason in (LEFT_OUT, FOR_SPLIT) or entry.modality not in column_modalities()
        return None if is_asked else _modality_option(entry.name, entry.modality)
    if second:
        return _modality_option(entry.name, second)
    return f"--drop {shlex.quote(entry.name)}" if role == "input" else None


def _modality_option(name: str, modality: str) -> str:
    return f"--modality {shlex.quote(f'{name}={modality}')}"
