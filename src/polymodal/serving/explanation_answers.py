"""Explanations as plain JSON: shares of the streams, and what decided inside each cell."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

from polymodal.arrays import Cell
from polymodal.errors import PolymodalError
from polymodal.explain.explain import explain_table
from polymodal.explain.explanation import CellParts, Part, RowExplanation
from polymodal.explain.training_table import WITHOUT
from polymodal.modalities.base import CellReadError
from polymodal.progress import SilentProgress
from polymodal.report.heat import Heat, fit_heat
from polymodal.report.heat_regions import paint_part, picture_bytes, read_picture
from polymodal.report.heat_sound import paint_sound
from polymodal.serving.questions import Question
from polymodal.serving.request_error import RequestError
from polymodal.serving.served_model import NO_CACHE, ServedModel

PASSES = 50
"""Network passes of an explanation, most of them to look inside cells."""


def explain_row(served: ServedModel, question: Question, target: str | None) -> dict[str, Any]:
    """Explain the answer for one row.

    Args:
        served: The model.
        question: One checked row.
        target: The target whose answer is explained inside the cells; None: the first one.

    Returns:
        ``streams``: target to stream to its Shapley value; ``answers``: target to the explained answer; ``cells``:
        column to its parts; ``notices``.

    Raises:
        RequestError: With 422 if the model refuses the row.
    """
    table = served.table(question.rows)
    try:
        explanation = explain_table(
            served.model.trained,
            table,
            rows=[1],
            targets=None if target is None else [target],
            passes=PASSES,
            cache=NO_CACHE,
            progress=SilentProgress(),
        )
    except PolymodalError as error:
        raise RequestError(422, str(error)) from None
    if not explanation.rows:
        return {"streams": {}, "answers": {}, "cells": {}, "notices": explanation.notices}
    first = explanation.rows[0]
    cells = served.model.trained.schema.with_derived(table).columns
    return {
        "target": first.target,
        "streams": {row.target: row.streams for row in reversed(explanation.rows)},
        "answers": {row.target: _answer(row, explanation.units) for row in reversed(explanation.rows)},
        "cells": {
            cell.column or cell.stream: _cell(cell, first, explanation.units[first.target], cells)
            for cell in first.cells
        },
        "notices": [notice for notice in explanation.notices if not notice.startswith(WITHOUT)],
    }


def _answer(row: RowExplanation, units: Mapping[str, str]) -> dict[str, Any]:
    return {
        "answer": row.answer,
        "explained": row.explained,
        "value": row.value,
        "prior": row.prior,
        "unit": units[row.target],
        "interactions": row.interactions,
        "absent": row.absent,
    }


def _cell(cell: CellParts, row: RowExplanation, unit: str, cells: Mapping[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"kind": cell.kind, "stream": cell.stream, "method": cell.method}
    raw = cells[cell.column][0] if cell.column is not None and cell.column in cells else None
    answer |= FORMS.get(cell.kind, _parts)(cell)
    picture = PICTURES.get(cell.kind)
    if picture is not None and raw is not None:
        try:
            answer |= picture(raw, cell, fit_heat(row, cell, unit))
        except CellReadError:
            return answer  # a film's frames, or a list of numbers: its parts are told
    return answer


def _parts(cell: CellParts) -> dict[str, Any]:
    return {"parts": [{"label": part.label, **part.place, "value": part.value} for part in cell.parts]}


def _words(cell: CellParts) -> dict[str, Any]:
    return {"words": [[part.label, part.value] for part in cell.parts], **_parts(cell)}


def _columns(cell: CellParts) -> dict[str, Any]:
    return {"columns": [[part.place.get("column", part.label), part.value] for part in cell.parts]}


def _seconds(cell: CellParts) -> dict[str, Any]:
    return {"seconds": [[*part.place["seconds"], part.value] for part in cell.parts], **_parts(cell)}


def _paint_picture(raw: Cell, cell: CellParts, heat: Heat) -> dict[str, Any]:
    """Paint the heat alone, transparent where there is none, to lie over the picture."""
    from PIL import Image

    (frame,) = read_picture(raw, cell.parts, None, cell.column or cell.stream)
    layer = Image.new("RGBA", frame.image.size)
    for part in cell.parts:
        paint_part(layer, part, _in_pixels(part, frame.image.size), heat)
    return {"png": _base64(layer), "over": "picture"}


def _in_pixels(part: Part, size: tuple[int, int]) -> list[float]:
    return [edge * length for edge, length in zip(part.place["box"], size * 2, strict=True)]


def _paint_sound(raw: Cell, cell: CellParts, heat: Heat) -> dict[str, Any]:
    return {"png": _base64(paint_sound(raw, cell.parts, heat, None)), "over": "spectrum"}


def _base64(image: Any) -> str:
    return base64.b64encode(picture_bytes(image)).decode()


FORMS: dict[str, Callable[[CellParts], dict[str, Any]]] = {
    "words": _words,
    "columns": _columns,
    "seconds_bands": _seconds,
}
"""Kind of parts to what is told of them besides where they are."""
PICTURES: dict[str, Callable[[Cell, CellParts, Heat], dict[str, Any]]] = {
    "regions": _paint_picture,
    "seconds_bands": _paint_sound,
}
"""Kind of parts to the function that paints them."""
