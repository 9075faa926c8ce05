"""The modality of a column, and columns that are read from others: the sound of a video, or several columns as one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from polymodal.arrays import Cell
from polymodal.data.schema.detect_modality import detect_modality
from polymodal.data.schema.evidence import EVIDENCE
from polymodal.data.schema.samples import evenly_spaced, present_cells
from polymodal.data.schema.string_evidence import find_form
from polymodal.data.tables.stored_columns import JoinedCells, ReadCells
from polymodal.data.tables.table import Table
from polymodal.errors import warn
from polymodal.modalities import MODALITIES, ColumnGroup
from polymodal.modalities.base import CellReadError
from polymodal.modalities.container import has_audio, has_av
from polymodal.modalities.inline_media import inline_modality
from polymodal.modalities.number_text import NumberForm
from polymodal.modalities.number_words import MISSING_WORDS
from polymodal.modalities.stretch import cell_of_parts, find_stretch, seconds_of_unit

OVERRULED = "as the user says"
SOUND_SAMPLE = 32
INLINE_SAMPLE = 20
STRETCHED = frozenset({"audio", "video"})
"""Modalities of which a row may name a stretch by its start and end."""


@dataclass(frozen=True)
class ColumnSchema:
    """The modality of a column.

    Attributes:
        name: The column's name.
        modality: Its modality.
        reason: The reason, as one clause; for an ignored column, why it is ignored.
        source: The table's column that the cells are read from, where it is another: the sound of a video column
            is a column of its own. Empty otherwise.
        parts: The table's columns whose cells make one cell together, as a tuple in this order; empty otherwise.
        form: How its numbers are written, where that is not plainly; None otherwise.
    """

    name: str
    modality: str
    reason: str
    source: str = ""
    parts: tuple[str, ...] = ()
    form: NumberForm | None = None

    def state(self) -> dict[str, Any]:
        """Return the column as plain JSON, ``parts`` and ``form`` only where there are any."""
        state = asdict(self) | {"parts": list(self.parts)}
        return {name: value for name, value in state.items() if value or name not in ("parts", "form")}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> ColumnSchema:
        """Make a column of what ``state`` returned.

        Args:
            state: Plain JSON.

        Returns:
            The same column.
        """
        form = NumberForm(**state["form"]) if state.get("form") else None
        return cls(**{**state, "parts": tuple(state.get("parts", ())), "form": form})


@dataclass(frozen=True)
class TargetSchema:
    """A column to predict.

    Attributes:
        name: The column's name.
        kind: A name in ``detect_target.TARGET_KINDS``.
        reason: The reason, as one clause.
        form: How its numbers are written, where that is not plainly; None otherwise.
    """

    name: str
    kind: str
    reason: str
    form: NumberForm | None = None

    def state(self) -> dict[str, Any]:
        """Return the target as plain JSON, ``form`` only where there is one."""
        return {name: value for name, value in asdict(self).items() if value or name != "form"}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> TargetSchema:
        """Make a target of what ``state`` returned.

        Args:
            state: Plain JSON.

        Returns:
            The same target.
        """
        return cls(**{**state, "form": NumberForm(**state["form"]) if state.get("form") else None})


def describe_column(table: Table, name: str, overruled: str | None) -> ColumnSchema:
    """Detect the modality of a column, and how its numbers are written.

    Args:
        table: The table.
        name: One of its columns.
        overruled: The modality that the user gave, if any.

    Returns:
        The column.
    """
    found = (overruled, OVERRULED) if overruled else detect_modality(name, table.columns[name], table.folder)
    if found[0] == "categories":
        found = ("text", f"{found[1]}, read as the words of a text")
    _tell_inline(name, table.columns[name])
    return ColumnSchema(name, *found, form=number_form(table, name, found[0]))


def number_form(table: Table, name: str, modality: str) -> NumberForm | None:
    """Decide how the numbers of a column are written; None of other modalities, or where they are written plainly."""
    return find_form(table.columns[name]) if modality == "number" else None


def _tell_inline(name: str, cells: Sequence[Cell]) -> None:
    """Warn of media in base64, which are decoded again whenever they are read."""
    sample = evenly_spaced(present_cells(cells), INLINE_SAMPLE)
    kinds = [kind for cell in sample if isinstance(cell, str) and (kind := inline_modality(cell)) is not None]
    if 2 * len(kinds) > len(sample):
        warn(
            f"The column {name!r} holds {kinds[0]} files in base64, which are a third larger than the files and are "
            "decoded whenever they are read. Paths or bytes are faster."
        )


def sound_column(table: Table, entry: ColumnSchema) -> list[ColumnSchema]:
    """Find the sound of a video column.

    Args:
        table: The table.
        entry: One of its columns.

    Returns:
        The sound as a column; none where no video has any or the table has a column of that name.
    """
    track = MODALITIES[entry.modality].track if entry.modality in MODALITIES else ""
    name = f"{entry.name}.{track}"
    if not track or name in table.columns or not has_av():
        return []
    sample = evenly_spaced(present_cells(table.columns[entry.name]), SOUND_SAMPLE)
    with_sound = sum(has_audio(cell, table.folder) for cell in sample)
    reason = f"{with_sound} of {len(sample)} videos looked at have sound"
    return [ColumnSchema(name, track, reason, source=entry.name)] if with_sound else []


def join_columns(table: Table, found: Sequence[ColumnSchema], apart: Collection[str]) -> list[ColumnSchema]:
    """Find columns that are one column of a modality together.

    Args:
        table: The table.
        found: Its columns; those that are streams of their own are not joined.
        apart: Columns that stay as they are.

    Returns:
        All columns, each joined one behind the last of its parts; the reason of columns that are not joined although
        their names say so tells why.
    """
    entries = list(found)
    plain = {
        entry.name: table.columns[entry.name]
        for entry in found
        if entry.name not in apart and entry.modality in MODALITIES and not MODALITIES[entry.modality].is_stream
    }
    for modality, row in EVIDENCE.items():
        for group in row.groups(plain):
            refusal = group.refusal or _taken_name(table, group)
            if refusal:
                entries = _with_reason(entries, group.columns, refusal)
            else:
                last = max(place for place, entry in enumerate(entries) if entry.name in group.columns)
                entries.insert(last + 1, ColumnSchema(group.name, modality, group.reason, parts=group.columns))
                plain = {name: cells for name, cells in plain.items() if name not in group.columns}
    return entries


def join_stretches(table: Table, found: Sequence[ColumnSchema], apart: Collection[str]) -> list[ColumnSchema]:
    """Find columns that are the start and the end of a stretch of the only column of clips or videos.

    Args:
        table: The table.
        found: Its columns.
        apart: Columns that stay as they are.

    Returns:
        All columns; where there is a stretch, it is a column behind its parts, and so is the sound of it.
    """
    media = [entry for entry in found if entry.modality in STRETCHED and not entry.source and entry.name not in apart]
    if len(media) != 1:
        return list(found)
    numbers = {e.name: table.columns[e.name] for e in found if e.modality == "number" and e.name not in apart}
    group = find_stretch(numbers, media[0].name)
    if group is None or group.name in table.columns:
        return list(found)
    stretched = [entry for entry in found if entry is media[0] or entry.source == media[0].name]
    joined = [
        ColumnSchema(f"{entry.name}.stretch", entry.modality, group.reason, parts=group.columns) for entry in stretched
    ]
    last = max(place for place, entry in enumerate(found) if entry.name in group.columns)
    kept = [entry for entry in found[: last + 1] if not entry.source or entry not in stretched]
    return [*kept, *joined, *(entry for entry in found[last + 1 :] if entry not in stretched)]


def _taken_name(table: Table, group: ColumnGroup) -> str:
    return f"not joined, for there is a column {group.name!r}" if group.name in table.columns else ""


def _with_reason(found: Sequence[ColumnSchema], names: Collection[str], more: str) -> list[ColumnSchema]:
    return [replace(entry, reason=f"{entry.reason}; {more}") if entry.name in names else entry for entry in found]


def with_derived(table: Table, entries: Collection[ColumnSchema], forms: Mapping[str, NumberForm]) -> Table:
    """Return a table with written numbers read, and the columns that are read from others behind the last of those.

    Args:
        table: The table.
        entries: Columns, of which those with a source or parts are added; parts have to be there all.
        forms: Column to how its numbers are written.

    Returns:
        The table; the table itself where there is nothing to do.
    """
    columns: dict[str, Sequence[Cell]] = {}
    derived = [entry for entry in entries if entry.source or entry.parts]
    if not derived and not forms:
        return table
    given = {name: _read(cells, forms.get(name)) for name, cells in table.columns.items()}
    for name, cells in given.items():
        columns.setdefault(name, cells)
        columns |= {entry.name: cells for entry in derived if entry.source == name}
        columns |= {entry.name: _joined(table, entry) for entry in derived if _last_part(table, entry) == name}
    return replace(table, columns=columns)


def _read(cells: Sequence[Cell], form: NumberForm | None) -> Sequence[Cell]:
    return cells if form is None else ReadCells(cells, partial(read_written_number, form))


def read_written_number(form: NumberForm, cell: Cell) -> Cell:
    """Read a cell of a column of written numbers.

    Args:
        form: How they are written.
        cell: Any cell.

    Returns:
        The number of a text; the cell itself where it is no text of a number.
    """
    if not isinstance(cell, str) or cell.strip().lower() in MISSING_WORDS:
        return cell
    try:
        return form.read(cell)
    except CellReadError:
        return cell


def _last_part(table: Table, entry: ColumnSchema) -> str | None:
    """Return the part that stands last in the table; None where one is not there."""
    if not entry.parts or not all(part in table.columns for part in entry.parts):
        return None
    return max(entry.parts, key=list(table.columns).index)


def _joined(table: Table, entry: ColumnSchema) -> Sequence[Cell]:
    cells = JoinedCells([table.columns[part] for part in entry.parts])
    if entry.modality not in STRETCHED:
        return cells
    return ReadCells(cells, partial(cell_of_parts, seconds_of_unit(entry.parts[1])))
