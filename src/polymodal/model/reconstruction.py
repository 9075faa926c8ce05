"""What absent cells may have held: a stream's recovered sketch in the column's own units."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell, Column
from polymodal.data.sketches import MAX_LENGTH, SIDE
from polymodal.modalities import Modality, ModalityEntry
from polymodal.modalities.geo import degrees_of
from polymodal.modalities.image import Image
from polymodal.modalities.number import Number
from polymodal.modalities.tabular import Tabular
from polymodal.modalities.vector import Vector
from polymodal.plugins import AspectTable
from polymodal.targets.sketch import SketchTarget
from polymodal.targets.structured import StructuredPredictions

PREFIX = "recovered:"


def recovered_columns(
    targets: Mapping[str, Any],
    answers: Mapping[str, StructuredPredictions],
    modalities: Mapping[str, Modality],
    columns: Mapping[str, Column],
) -> dict[str, list[Cell]]:
    """Lay out what was recovered, for the cells that are absent alone.

    Args:
        targets: Name to fitted target.
        answers: Target to answers.
        modalities: Stream to fitted modality.
        columns: Stream to arrays.

    Returns:
        ``recovered:COLUMN`` to cells: a number, a list of numbers, or a picture as a PNG data URI; None where the
        cell is there. Streams of which only the sketch can be recovered are left out.
    """
    found: dict[str, list[Cell]] = {}
    for name, target in targets.items():
        if isinstance(target, SketchTarget) and target.recovered:
            stream = target.stream
            values = np.stack([target.unstandardised(answer.value) for answer in answers[name]])
            found |= RECOVERIES[modalities[stream].name](stream, modalities[stream], values, columns[stream])
    return {f"{PREFIX}{name}": cells for name, cells in found.items()}


def sketch_only(
    _stream: str, _modality: Modality, _values: NDArray[np.float64], _column: Column
) -> dict[str, list[Cell]]:
    """Return no cells: what such a modality held cannot be told from its sketch."""
    return {}


def _vector(stream: str, modality: Modality, values: NDArray[np.float64], column: Column) -> dict[str, list[Cell]]:
    assert isinstance(modality, Vector)
    if modality.dim > MAX_LENGTH:
        return {}
    own = values * np.array(modality.std) + np.array(modality.mean)
    return {stream: _where_absent(column.row_present, [row.tolist() for row in own])}


def _image(stream: str, modality: Modality, values: NDArray[np.float64], column: Column) -> dict[str, list[Cell]]:
    assert isinstance(modality, Image)
    shape = (min(modality.height, SIDE), min(modality.width, SIDE), modality.channels)
    return {stream: _where_absent(column.row_present, [_png(row.reshape(shape)) for row in values])}


def _numbers(_stream: str, modality: Modality, values: NDArray[np.float64], column: Column) -> dict[str, list[Cell]]:
    assert isinstance(modality, Tabular)
    found: dict[str, list[Cell]] = {}
    for place, entry in enumerate(modality.own_fields):
        member = modality.members.get(entry.name)
        if isinstance(member, Number):
            own = values[:, place] * member.std + member.mean
            found[entry.name] = _where_absent(column.present[:, place], own.tolist())
    return found


def _places(stream: str, _modality: Modality, values: NDArray[np.float64], column: Column) -> dict[str, list[Cell]]:
    return {stream: _where_absent(column.row_present, degrees_of(values).tolist())}


def _where_absent(present: NDArray[np.bool_], cells: list[Cell]) -> list[Cell]:
    return [None if there else cell for there, cell in zip(present, cells, strict=True)]


def _png(pixels: NDArray[np.float64]) -> str:
    from PIL import Image as Pillow

    whole = (pixels.clip(0, 1) * 255).round().astype(np.uint8)
    file = io.BytesIO()
    Pillow.fromarray(whole[..., 0] if whole.shape[2] == 1 else whole).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


Recovery = Callable[[str, Modality, NDArray[np.float64], Column], dict[str, list[Cell]]]
"""From a stream, its fitted modality, recovered sketches ``[rows, values]`` and its arrays to columns of cells."""
RECOVERIES: AspectTable[Recovery] = AspectTable(
    ModalityEntry,
    "recovery",
    {
        "tabular": _numbers,
        "text": sketch_only,
        "image": _image,
        "audio": sketch_only,
        "video": sketch_only,
        "vector": _vector,
        "series": sketch_only,
        "points": sketch_only,
        "geo": _places,
    },
    default=sketch_only,
)
"""Modality of a stream to how its absent cells are made of a recovered sketch."""
