"""Selection of the gallery's rows, and rendering of their cells in the report."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.metrics.edit_distance import Part
from polymodal.modalities import ModalityEntry
from polymodal.modalities.container import NoSoundError
from polymodal.modalities.media import is_absent_media
from polymodal.plugins import AspectTable
from polymodal.report.drawn_boxes import draw_boxes
from polymodal.report.families import family_title, group_families
from polymodal.report.gallery_sensors import draw_points, draw_series
from polymodal.report.place_map import draw_place
from polymodal.report.small_charts import sparkline, waveform
from polymodal.report.thumbnails import image_uri, read_sound, video_strip_uri
from polymodal.report.wording import format_number, is_number

TEXT_LENGTH = 300
VALUE_LENGTH = 80
OPEN_VALUES = 12
"""A card shows so many table values; the rest where the reader asks for them."""
NOT_DRAWN = Markup("")


@dataclass(frozen=True)
class GalleryCell:
    """One cell of a gallery row.

    Attributes:
        column: Name of the column.
        modality: Its modality; ``tabular`` for a mapping of column names to values; ``boxes`` for ``DrawnBoxes``.
        cell: The raw cell.
    """

    column: str
    modality: str
    cell: Cell


@dataclass(frozen=True)
class GalleryRow:
    """One row of the gallery.

    Attributes:
        row: Row in its table, counted from 1.
        truth: The true value, formatted.
        prediction: The predicted value, formatted.
        probability: Confidence of the prediction, 0 to 1; None for numbers.
        cells: Its input cells.
        comparison: StructuredPrediction and truth drawn side by side, instead of text; empty for kinds that are shown
            as text.
        differences: Word differences of a text from the true one; empty without any.
    """

    row: int
    truth: str
    prediction: str
    probability: float | None
    cells: tuple[GalleryCell, ...]
    comparison: Markup = NOT_DRAWN
    differences: tuple[Part, ...] = ()


Gallery = dict[str, dict[str, list[GalleryRow]]]
"""Target to ``{"right": rows, "wrong": rows}``."""


def select_rows(
    truth: Sequence[Any],
    prediction: Sequence[Any],
    confidence: NDArray[np.floating[Any]] | None,
    correct: NDArray[np.bool_] | None,
    num: int = 8,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Select the rows of the gallery.

    With ``correct``: correct rows alternate between the true classes, most confident first; wrong rows are the most
    confident errors. Without (number targets): rows with small errors over the range of the truth, and those with the
    largest errors.

    Args:
        truth: True value of each row; lists of labels are allowed.
        prediction: Predicted value of each row; read for number targets only.
        confidence: ``[rows]``, confidence of each prediction; None for number targets.
        correct: bool ``[rows]``, True where the prediction is right; None for number targets.
        num: Maximum number of rows of each kind.

    Returns:
        Row indices from 0 of right and of wrong rows, best example first.
    """
    if correct is None:
        return _pick_numbers(np.asarray(truth, dtype=float), np.asarray(prediction, dtype=float), num)
    sure = np.zeros(len(correct)) if confidence is None else np.nan_to_num(np.asarray(confidence, dtype=float))
    order = np.argsort(-sure, kind="stable")
    by_class: dict[str, list[int]] = {}
    for row in order[correct[order]]:
        by_class.setdefault(str(truth[row]), []).append(int(row))
    rounds = zip_longest(*(by_class[label] for label in sorted(by_class)))
    right = [row for step in rounds for row in step if row is not None]
    return np.array(right[:num], dtype=np.int64), order[~correct[order]][:num].astype(np.int64)


def select_by_quality(quality: NDArray[np.float64], num: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Select the best and the worst rows.

    Args:
        quality: 0 (all wrong) to 1 (all right), ``[rows]``.
        num: Maximum number of rows of each kind.

    Returns:
        Row indices from 0 of the best and of the worst, which are not completely correct; the best and worst ones
        first.
    """
    order = np.argsort(-quality, kind="stable")
    wrong = order[::-1][: min(num, len(order) // 2 or 1)]
    wrong = wrong[quality[wrong] < 1]
    best = np.setdiff1d(order, wrong)
    return best[np.argsort(-quality[best], kind="stable")][:num].astype(np.int64), wrong.astype(np.int64)


def _pick_numbers(
    truth: NDArray[np.float64], prediction: NDArray[np.float64], num: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    known = np.flatnonzero(np.isfinite(truth) & np.isfinite(prediction))
    miss = np.abs(prediction - truth)
    wrong = known[np.argsort(-miss[known], kind="stable")][: min(num, len(known) // 2)]
    rest = np.setdiff1d(known, wrong)
    stretches = np.array_split(rest[np.argsort(truth[rest], kind="stable")], max(min(num, len(rest)), 1))
    right = [stretch[np.argmin(miss[stretch])] for stretch in stretches if len(stretch)]
    return np.array(right, dtype=np.int64), wrong.astype(np.int64)


def render_cell(cell: GalleryCell, folder: Path | None) -> Markup:
    """Render one cell: thumbnail, player, text, line, or values.

    Args:
        cell: The cell.
        folder: Base folder of relative media paths; None: paths are not opened.

    Returns:
        Safe HTML; a label "missing" or "unreadable" if there is nothing to show.
    """
    rendering = _rendering(cell)
    if rendering.is_absent(cell.cell):
        return _chip("missing", cell.column)
    try:
        return rendering.render(cell, folder)
    except NoSoundError:
        return _chip("no sound", cell.column)
    except Exception:  # decoders raise anything on broken files, and the report is written all the same
        return _chip("unreadable", cell.column)


def render_row(row: GalleryRow, folder: Path | None) -> Markup:
    """Render a row's cells: media first, then all table values together.

    Args:
        row: The row.
        folder: Base folder of relative media paths.

    Returns:
        Safe HTML.
    """
    media = [render_cell(cell, folder) for cell in row.cells if _rendering(cell).is_figure]
    values: dict[str, Cell] = {}
    for cell in row.cells:
        if not _rendering(cell).is_figure:
            values.update(cell.cell if isinstance(cell.cell, Mapping) else {cell.column: cell.cell})
    return Markup("").join([*media, _values(GalleryCell("", "tabular", values), folder)] if values else media)


def _rendering(cell: GalleryCell) -> Rendering:
    return TARGET_RENDERERS.get(cell.modality) or RENDERERS.get(cell.modality, PLAIN)


def _chip(word: str, column: str) -> Markup:
    return Markup('<p class="cell"><span class="column">{}</span> <span class="chip {}">{}</span></p>').format(
        column, word, word
    )


def _figure(column: str, body: Markup) -> Markup:
    return Markup('<div class="cell"><span class="column">{}</span>{}</div>').format(column, body)


def _image(cell: GalleryCell, folder: Path | None) -> Markup:
    uri, width, height = image_uri(cell.cell, folder)
    kind = "tiny" if max(width, height) < 64 else ""
    image = '<img class="{}" src="{}" width="{}" height="{}" alt="{}" loading="lazy">'
    return _figure(cell.column, Markup(image).format(kind, uri, width, height, f"Picture in column {cell.column}"))


def _boxes(cell: GalleryCell, folder: Path | None) -> Markup:
    return _figure(cell.column, draw_boxes(cell.cell, f"Picture in column {cell.column} with boxes", folder))


def _audio(cell: GalleryCell, folder: Path | None) -> Markup:
    clip = read_sound(cell.cell, folder)
    length = f"{'the first ' if clip.is_cut else ''}{clip.duration_s:.1f} s"
    label = f"Sound in column {cell.column}, {length}"
    player = Markup('<audio controls preload="none" src="{}" aria-label="{}"></audio>').format(clip.uri, label)
    note = Markup('<span class="note">{}</span>').format(length)
    return _figure(cell.column, waveform(clip.peaks.tolist(), title=f"Loudness of {label}") + player + note)


def _video(cell: GalleryCell, folder: Path | None) -> Markup:
    uri, width, height, num_frames = video_strip_uri(cell.cell, folder)
    kind = "strip" if height < 64 else ""
    image = '<img class="{}" src="{}" width="{}" height="{}" alt="{}" loading="lazy">'
    what = f"{num_frames} frames of the video in column {cell.column}"
    return _figure(cell.column, Markup(image).format(kind, uri, width, height, what))


def _text(cell: GalleryCell, _: Path | None) -> Markup:
    text = " ".join(str(cell.cell).split())
    shown = text if len(text) <= TEXT_LENGTH else text[:TEXT_LENGTH].rsplit(" ", 1)[0][:TEXT_LENGTH] + " …"
    return _figure(cell.column, Markup('<blockquote dir="auto">{}</blockquote>').format(shown))


def _vector(cell: GalleryCell, folder: Path | None) -> Markup:
    from polymodal.modalities.vector import read_vector

    numbers = read_vector(cell.cell, folder)
    step = -(-numbers.size // 240)
    drawing = sparkline(numbers[::step].tolist(), title=f"{numbers.size} numbers in column {cell.column}")
    return _figure(cell.column, drawing + Markup('<span class="note">{} numbers</span>').format(numbers.size))


def _series(cell: GalleryCell, folder: Path | None) -> Markup:
    return _figure(cell.column, draw_series(cell.cell, folder, cell.column))


def _points(cell: GalleryCell, folder: Path | None) -> Markup:
    return _figure(cell.column, draw_points(cell.cell, folder, cell.column))


def _plain(cell: GalleryCell, folder: Path | None) -> Markup:
    return _values(GalleryCell("", "", {cell.column: cell.cell}), folder)


def _values(cell: GalleryCell, _: Path | None) -> Markup:
    """Render table values: families of numbers as a line each, many others where the reader asks for them."""
    groups = group_families(list(cell.cell.items()), lambda item: item[0], lambda item: _as_number(item[1]) is not None)
    families = [group for group in groups if len(group) > 1 and _as_number(group[0][1]) is not None]
    items = [item for group in groups if group not in families for item in group]
    shown, rest = items[:OPEN_VALUES], items[OPEN_VALUES:]
    more = "<details><summary>{} more values</summary>{}</details>"
    parts = [_family(group) for group in families] + [_list(shown)]
    return Markup("").join([*parts, Markup(more).format(len(rest), _list(rest))] if rest else parts)


def _as_number(value: Cell) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if is_number(number) else None


def _family(group: Sequence[tuple[str, Cell]]) -> Markup:
    title = family_title([name for name, _ in group])
    drawing = sparkline([_as_number(value) or 0.0 for _, value in group], title=f"{len(group)} numbers in {title}")
    return _figure(title, drawing + Markup('<span class="note">{} numbers</span>').format(len(group)))


def _list(items: Sequence[tuple[str, Cell]]) -> Markup:
    rows = [Markup("<dt>{}</dt><dd>{}</dd>").format(breakable(name), format_value(value)) for name, value in items]
    return Markup('<dl class="values">{}</dl>').format(Markup("").join(rows)) if rows else Markup("")


def breakable(text: str) -> Markup:
    """Let a name be broken after underscores and slashes, where a line is too short for it.

    Args:
        text: Any text.

    Returns:
        Safe HTML.
    """
    return Markup(re.sub(r"([_/])", r"\1<wbr>", str(escape(text))))


def format_value(value: Cell) -> Markup | str:
    """Format a table value for readers: shortened, "missing" where it is absent.

    Args:
        value: The raw cell.

    Returns:
        Text, or safe HTML.
    """
    if is_absent_media(value):
        return Markup('<span class="chip missing">missing</span>')
    text = format_number(value) if isinstance(value, float) else str(value)
    return text if len(text) <= VALUE_LENGTH else text[:VALUE_LENGTH] + "…"


class Rendering(NamedTuple):
    """The rendering of cells of one modality.

    Attributes:
        render: Renders a cell, given the base folder of relative paths (None: paths are not opened), as safe HTML.
        is_figure: Whether each cell is a figure of its own; other cells of a row are shown together as values.
        is_absent: Returns whether a raw cell is absent.
    """

    render: Callable[[GalleryCell, Path | None], Markup]
    is_figure: bool = True
    is_absent: Callable[[Cell], bool] = is_absent_media


PLAIN = Rendering(_plain, is_figure=False)
RENDERERS: AspectTable[Rendering] = AspectTable(
    ModalityEntry,
    "rendering",
    {
        "number": PLAIN,
        "category": PLAIN,
        "datetime": PLAIN,
        "tabular": Rendering(_values, is_figure=False),
        "text": Rendering(_text),
        "image": Rendering(_image),
        "audio": Rendering(_audio),
        "video": Rendering(_video),
        "vector": Rendering(_vector),
        "series": Rendering(_series),
        "points": Rendering(_points),
        "geo": Rendering(lambda cell, _: _figure(cell.column, draw_place(cell.cell, cell.column))),
    },
    default=PLAIN,
)
"""Modality to its rendering."""
TARGET_RENDERERS: dict[str, Rendering] = {"boxes": Rendering(_boxes)}
"""Kind of target that is drawn into an input cell, to its rendering."""
