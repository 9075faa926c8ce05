"""The folder of an explanation: its page, its JSON and figures for papers.

::

    why/
      explanation.html    one file, opens without a network
      explanation.json    Explanation.to_json
      figures/
        importance-TARGET.svg           mean size of each stream's effect
        row-0001-TARGET-streams.svg     from the prior to the answer
        row-0001-TARGET-COLUMN.png      a picture, a video's frames or a sound's spectrum with heat

Charts are SVG, so that they stay sharp; what is made of pixels is PNG.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from polymodal.arrays import Cell
from polymodal.atomic_files import atomic_folder, check_replaceable
from polymodal.explain.explanation import CellParts, Explanation, RowExplanation
from polymodal.modalities.media import is_absent_media
from polymodal.progress import Progress
from polymodal.report.explained_cells import ExplainedTable, is_video
from polymodal.report.explanation_charts import importance_svg, waterfall_svg
from polymodal.report.explanation_page import explanation_html
from polymodal.report.heat import Heat, fit_heat
from polymodal.report.heat_regions import mark_item, paint_frames, picture_bytes, read_frames, read_picture
from polymodal.report.heat_sound import paint_sound

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

PAGE, DATA, FIGURES = "explanation.html", "explanation.json", "figures"
FIGURE_ROWS = 50
"""Explanations that get figures of their own."""
NAME_LENGTH = 40


def check_explanation_folder(folder: Path) -> None:
    """Check that a folder can be written, before any work is done.

    Args:
        folder: The folder; a new one, an empty one or that of an earlier explanation.

    Raises:
        ConfigError: If it is a file or holds something else.
    """
    check_replaceable(folder, DATA, "an explanation")


def write_explanation_folder(source: ExplainedTable, folder: Path, progress: Progress) -> None:
    """Write the page, the JSON and the figures of an explanation.

    Args:
        source: The explanation and its table.
        folder: The folder; an earlier explanation there is replaced.
        progress: Reports progress, and what is left out.

    Raises:
        ConfigError: If the folder holds something else.
        OSError: If it cannot be written: disk full, no permission.
    """
    check_explanation_folder(folder)
    explanation = source.explanation
    with progress.phase("writing the page", None), atomic_folder(folder, (PAGE, DATA, FIGURES)) as temporary:
        (temporary / PAGE).write_text(explanation_html(source), encoding="utf-8")
        (temporary / DATA).write_text(json.dumps(explanation.to_json(), indent=1, ensure_ascii=False), encoding="utf-8")
        (temporary / FIGURES).mkdir()
        for name, content in _figures(source):
            (temporary / FIGURES / name).write_bytes(content)
    if len(explanation.rows) > FIGURE_ROWS:
        progress.log(f"The first {FIGURE_ROWS} of {len(explanation.rows):,} explanations have figures.")


def _figures(source: ExplainedTable) -> Iterator[tuple[str, bytes]]:
    explanation = source.explanation
    for summary in explanation.summaries:
        chart = importance_svg(summary, explanation.units.get(summary.target, "value"))
        yield f"importance-{_slug(summary.target)}.svg", chart.encode()
    names = _row_names(explanation)
    for name, row in zip(names, explanation.rows[:FIGURE_ROWS], strict=False):
        unit = explanation.units.get(row.target, "value")
        yield f"{name}-streams.svg", waterfall_svg(row, unit).encode()
        for cell in row.cells:
            image = _paint(source, row, cell, fit_heat(row, cell, unit))
            if image is not None:
                yield f"{name}-{_slug(str(cell.column))}.png", picture_bytes(image)


def _row_names(explanation: Explanation) -> list[str]:
    """Name the figures of each explanation; several of one row and target are numbered."""
    counts: dict[str, int] = {}
    names = []
    for row in explanation.rows:
        name = f"row-{row.row:04d}-{_slug(row.target)}"
        counts[name] = counts.get(name, 0) + 1
        names.append(name if counts[name] == 1 else f"{name}-{counts[name]}")
    return names


def _slug(name: str) -> str:
    """Make a name a part of a file's name on any system."""
    return re.sub(r"[^\w-]+", "-", name)[:NAME_LENGTH].strip("-") or "unnamed"


def _paint(source: ExplainedTable, row: RowExplanation, cell: CellParts, heat: Heat) -> PILImage | None:
    raw = source.cell(row.row, cell.column) if cell.column else None
    paint = PAINTINGS.get(cell.kind)
    if paint is None or is_absent_media(raw):
        return None
    try:
        return paint(source, row, cell, raw, heat)
    except Exception:  # decoders raise anything on broken files, which the page calls unreadable
        return None


def _paint_regions(source: ExplainedTable, row: RowExplanation, cell: CellParts, raw: Cell, heat: Heat) -> PILImage:
    read = read_frames if is_video(source, cell) else read_picture
    frames = read(raw, cell.parts, source.table.folder, str(cell.column))
    return paint_frames(mark_item(frames, row, raw, source.table.folder), heat)


def _paint_sound(source: ExplainedTable, _: RowExplanation, cell: CellParts, raw: Cell, heat: Heat) -> PILImage:
    return paint_sound(raw, cell.parts, heat, source.table.folder)


PAINTINGS: dict[str, Callable[[ExplainedTable, RowExplanation, CellParts, Cell, Heat], PILImage]] = {
    "regions": _paint_regions,
    "boxes": _paint_regions,
    "seconds_bands": _paint_sound,
}
"""Kind of parts to its picture; the others are words, numbers and lines, which the page shows."""
