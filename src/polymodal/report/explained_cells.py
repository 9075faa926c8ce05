"""The cells of an explained row, each with the heat of its parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from markupsafe import Markup

from polymodal.arrays import Cell
from polymodal.data.tables.table import Table
from polymodal.explain.explanation import CellParts, Explanation, Part, RowExplanation
from polymodal.explain.plain_cells import is_description
from polymodal.modalities.media import is_absent_media
from polymodal.report.gallery import GalleryCell, GalleryRow, format_value, render_cell, render_row
from polymodal.report.heat import Heat, fit_heat, has_weight, name_parts
from polymodal.report.heat_regions import draw_frames, mark_item, read_frames, read_picture
from polymodal.report.heat_sensors import draw_points_heat, draw_series_heat, draw_vector_heat
from polymodal.report.heat_sound import draw_sound
from polymodal.report.heat_words import draw_words, parts_table

METHODS = {
    "occlusion": "occlusion",
    "owen": "Owen values",
    "shapley": "Shapley values",
    "integrated_gradients": "integrated gradients of the network",
}
PART_NOUNS = {
    "words": "words",
    "regions": "region",
    "seconds_bands": "seconds and frequencies",
    "time_channels": "time and channel",
    "points": "points",
    "columns": "column",
    "boxes": "box",
    "dimensions": "numbers",
}


@dataclass(frozen=True)
class ExplainedTable:
    """An explanation with the cells it is about.

    Attributes:
        explanation: The explanation.
        table: The explained table, with the columns that are read from others (``Schema.with_derived``). Relative paths
            in cells of training rows are in its folder too.
        modalities: Column to modality, of columns without parts; others are shown as plain values.
    """

    explanation: Explanation
    table: Table
    modalities: Mapping[str, str] = field(default_factory=dict)

    def cell(self, row: int, column: str) -> Cell:
        """Return a cell; None where the table has no such row or column.

        Args:
            row: Number of the row, from 1.
            column: Name of the column.

        Returns:
            The raw cell.
        """
        cells = self.table.columns.get(column, ())
        return cells[row - 1] if 0 < row <= len(cells) else None

    def modality(self, column: str) -> str:
        """Return the modality of a column; empty where it is not known."""
        return self.modalities.get(column, "")


def render_cells(source: ExplainedTable, row: RowExplanation) -> Markup:
    """Render the cells of a row: those with parts first, the most important stream first, then the others.

    Args:
        source: The explanation and its table.
        row: One of its rows.

    Returns:
        Safe HTML.
    """
    unit = source.explanation.units.get(row.target, "value")
    drawn = [_explained(source, row, cell, fit_heat(row, cell, unit)) for cell in row.cells]
    return Markup("").join([*drawn, _others(source, row)])


def _explained(source: ExplainedTable, row: RowExplanation, cell: CellParts, heat: Heat) -> Markup:
    head = Markup('<p class="cell-head"><b>{}</b>{}</p>').format(
        cell.column or cell.stream, f" in {cell.stream}" if cell.column and cell.column != cell.stream else ""
    )
    raw = source.cell(row.row, cell.column) if cell.column else None
    if cell.column and is_absent_media(raw):
        return Markup('<div class="explained">{}{}</div>').format(head, _chip("missing"))
    body = _drawn(source, row, cell, raw, heat)
    kind = "wide" if cell.kind in WIDE else ""
    note = _scale_note(cell, heat)
    if cell.kind != "columns":  # which are listed already
        note = name_parts(cell, heat) + note + _listed(cell, heat)
    elif not has_weight(cell, heat):
        body = name_parts(cell, heat) + Markup("<details><summary>All columns</summary>{}</details>").format(body)
    return Markup('<div class="explained {} {}">{}{}{}</div>').format(cell.kind, kind, head, body, note)


WIDE = frozenset({"words", "time_channels", "columns"})
"""Kinds whose cells need the whole width."""


def _drawn(source: ExplainedTable, row: RowExplanation, cell: CellParts, raw: Cell, heat: Heat) -> Markup:
    try:
        return DRAWINGS[cell.kind](source, row, cell, raw, heat)
    except Exception:  # decoders raise anything on broken files, and the page is written all the same
        return _chip("unreadable")


def _chip(word: str) -> Markup:
    return Markup('<span class="chip {}">{}</span>').format(word, word)


def _scale_note(cell: CellParts, heat: Heat) -> Markup:
    method = METHODS.get(cell.method, cell.method)
    passes = f", {cell.passes:,} network passes" if cell.passes else ""
    note = f"full colour: {heat.text(heat.limit).removeprefix('+')} either way; {method}{passes}"
    return Markup('<p class="note">{}</p>').format(note)


def _listed(cell: CellParts, heat: Heat) -> Markup:
    table = parts_table(cell.parts, heat, PART_NOUNS.get(cell.kind, "part"))
    many = f"All {len(cell.parts):,} parts" if len(cell.parts) > 1 else "The part"
    return Markup("<details><summary>{}</summary>{}</details>").format(many, table)


def _words(_: ExplainedTable, __: RowExplanation, cell: CellParts, raw: Cell, heat: Heat) -> Markup:
    return draw_words(str(raw), cell.parts, heat)


def _regions(source: ExplainedTable, row: RowExplanation, cell: CellParts, raw: Cell, heat: Heat) -> Markup:
    read = read_frames if is_video(source, cell) else read_picture
    frames = read(raw, cell.parts, source.table.folder, str(cell.column))
    return draw_frames(mark_item(frames, row, raw, source.table.folder), heat)


def is_video(source: ExplainedTable, cell: CellParts) -> bool:
    """Whether regions are those of a video's frames, by the column's modality or because they have seconds.

    Args:
        source: The explanation and its table.
        cell: A cell with regions.

    Returns:
        True for videos.
    """
    return source.modality(str(cell.column)) == "video" or any("seconds" in part.place for part in cell.parts)


def _sound(source: ExplainedTable, _: RowExplanation, cell: CellParts, raw: Cell, heat: Heat) -> Markup:
    return draw_sound(raw, cell.parts, heat, source.table.folder, str(cell.column))


def _series(source: ExplainedTable, _: RowExplanation, cell: CellParts, raw: Cell, heat: Heat) -> Markup:
    return draw_series_heat(raw, cell.parts, heat, source.table.folder)


def _points(source: ExplainedTable, _: RowExplanation, cell: CellParts, raw: Cell, heat: Heat) -> Markup:
    return draw_points_heat(raw, cell.parts, heat, source.table.folder, str(cell.column))


def _vector(source: ExplainedTable, _: RowExplanation, cell: CellParts, raw: Cell, heat: Heat) -> Markup:
    return draw_vector_heat(raw, cell.parts, heat, source.table.folder, str(cell.column))


def _columns(source: ExplainedTable, row: RowExplanation, cell: CellParts, _: Cell, heat: Heat) -> Markup:
    def value(part: Part) -> Markup | str:
        name = part.place.get("column", part.label)
        return format_value(source.cell(row.row, name)) if isinstance(name, str) else f"{len(name)} values"

    return parts_table(cell.parts, heat, "column", value)


DRAWINGS: dict[str, Callable[[ExplainedTable, RowExplanation, CellParts, Cell, Heat], Markup]] = {
    "words": _words,
    "regions": _regions,
    "boxes": _regions,
    "seconds_bands": _sound,
    "time_channels": _series,
    "points": _points,
    "columns": _columns,
    "dimensions": _vector,
}
"""Kind of parts to their drawing."""


def _others(source: ExplainedTable, row: RowExplanation) -> Markup:
    """Render the cells without parts."""
    with_parts = {cell.column for cell in row.cells} | {cell.stream for cell in row.cells if cell.column is None}
    cells = [
        GalleryCell(column, source.modality(column), source.cell(row.row, column))
        for stream, columns in source.explanation.streams.items()
        if stream not in with_parts
        for column in columns
        if column not in with_parts
    ]
    if not cells:
        return Markup("")
    shown = render_row(GalleryRow(row.row, "", "", None, tuple(cells)), source.table.folder)
    return Markup('<div class="explained card-like">{}</div>').format(shown)


def render_training_cells(source: ExplainedTable, cells: Mapping[str, Cell]) -> Markup:
    """Render cells of a training row.

    Args:
        source: The explanation and its table.
        cells: Column to cell.

    Returns:
        Safe HTML.
    """
    shown = tuple(
        GalleryCell(column, "" if is_description(cell) else source.modality(column), cell)
        for column, cell in cells.items()
    )
    if len(shown) == 1:
        return render_cell(shown[0], source.table.folder)
    return render_row(GalleryRow(0, "", "", None, shown), source.table.folder)
