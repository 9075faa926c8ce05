"""Decoders: how the cells of a column are made of a recovered sketch, in the column's own units and spelling.

Shape legend: N rows, D numbers of a stream's sketch, K of them of one column.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.data.sketches import MAX_LENGTH, SIDE, field_widths
from polymodal.modalities import Modality, ModalityEntry
from polymodal.modalities.category import Category
from polymodal.modalities.datetime import DateTime
from polymodal.modalities.geo import degrees_of
from polymodal.modalities.image import Image
from polymodal.modalities.number import Number
from polymodal.modalities.series import Series
from polymodal.modalities.tabular import Member, Tabular
from polymodal.modalities.vector import Vector
from polymodal.plugins import AspectTable
from polymodal.targets.image_uri import encode_image
from polymodal.targets.sketch import SketchTarget

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ColumnDecoder:
    """How the cells of one column are made of a stream's recovered sketch.

    Attributes:
        column: Name of the column.
        start: The first number of the sketch that is the column's.
        stop: The first one behind them.
        decode: From ``[N, K]``, in the units of the stream's arrays, to N cells; None: the cell of the most similar
            training row stands for the absent one (retrieval).
        is_label: Whether the numbers say of each label how likely it is.
        measure: From ``[N, K]`` to the number ``[N]`` that a cell says, for errors in the column's own units; None
            where it is no number.
        form: What a cell looks like, for readers.
    """

    column: str
    start: int
    stop: int
    decode: Callable[[Floats], list[Cell]] | None = None
    is_label: bool = False
    measure: Callable[[Floats], Floats] | None = None
    form: str = "the cell of the most similar training row"

    @property
    def places(self) -> slice:
        """The column's numbers among those of the sketch."""
        return slice(self.start, self.stop)


def decoders_of(stream: str, modality: Modality, target: SketchTarget) -> list[ColumnDecoder]:
    """Return a decoder for each column of a stream.

    Args:
        stream: Its name.
        modality: Its fitted modality.
        target: The target that recovers its sketch.

    Returns:
        At least one.
    """
    size = len(target.mean)
    found = DECODINGS[modality.name](stream, modality, target.resolution)
    return found or [ColumnDecoder(column=stream, start=0, stop=size)]


def retrieval_only(_stream: str, _modality: Modality, _resolution: int) -> list[ColumnDecoder]:
    """Return no decoder: what such a modality held cannot be told from its sketch."""
    return []


def _vector(stream: str, modality: Modality, _resolution: int) -> list[ColumnDecoder]:
    assert isinstance(modality, Vector)
    if modality.dim > MAX_LENGTH:
        return []
    mean, std = np.array(modality.mean), np.array(modality.std)

    def decode(values: Floats) -> list[Cell]:
        return [row.tolist() for row in values * std + mean]

    form = f"a list of {modality.dim:,} numbers"
    return [ColumnDecoder(column=stream, start=0, stop=modality.dim, decode=decode, form=form)]


def _image(stream: str, modality: Modality, resolution: int) -> list[ColumnDecoder]:
    assert isinstance(modality, Image)
    shape = (min(modality.height, resolution), min(modality.width, resolution), modality.channels)

    def decode(values: Floats) -> list[Cell]:
        pixels = (values.clip(0, 1) * 255).round().astype(np.uint8)
        return [encode_image(row.reshape(shape)) for row in pixels]

    form = f"a PNG picture of {shape[1]} x {shape[0]} pixels"
    return [ColumnDecoder(column=stream, start=0, stop=int(np.prod(shape)), decode=decode, form=form)]


def _series(stream: str, modality: Modality, resolution: int) -> list[ColumnDecoder]:
    assert isinstance(modality, Series)
    if modality.num_features > SIDE:
        return []
    mean, std = np.array(modality.mean), np.array(modality.std)

    def decode(values: Floats) -> list[Cell]:
        steps = values.reshape(len(values), resolution, modality.num_features)[..., : modality.channels] * std + mean
        rows = steps[..., 0] if modality.channels == 1 else steps.swapaxes(1, 2) if modality.channels_first else steps
        return [row.tolist() for row in rows]

    form = f"{resolution} steps, the means of equal stretches"
    return [ColumnDecoder(column=stream, start=0, stop=resolution * modality.num_features, decode=decode, form=form)]


def _geo(stream: str, _modality: Modality, _resolution: int) -> list[ColumnDecoder]:
    def decode(values: Floats) -> list[Cell]:
        return [row.tolist() for row in degrees_of(values)]

    return [ColumnDecoder(column=stream, start=0, stop=3, decode=decode, form="latitude and longitude in degrees")]


def _tabular(_stream: str, modality: Modality, _resolution: int) -> list[ColumnDecoder]:
    assert isinstance(modality, Tabular)
    ends = np.cumsum([0, *field_widths([field.cardinality for field in modality.own_fields])])
    return [
        _member(name, member, int(ends[modality.places[name].start]), int(ends[modality.places[name].stop]))
        for name, member in modality.members.items()
    ]


def _member(name: str, member: Member, start: int, stop: int) -> ColumnDecoder:
    """Return the decoder of a table column; of a date the first number alone, the time, is read."""
    if isinstance(member, Category):
        decode = partial(_labels, member.values)
        return ColumnDecoder(column=name, start=start, stop=stop, decode=decode, is_label=True, form="a label")
    if isinstance(member, DateTime):

        def days(values: Floats) -> Floats:
            return np.asarray(member.days_of(values[:, 0]), np.float64)

        def spell(values: Floats) -> list[Cell]:
            return [member.spell(day) for day in days(values).tolist()]

        form = "a date (errors in days)"
        return ColumnDecoder(column=name, start=start, stop=start + 1, decode=spell, measure=days, form=form)
    return _number(name, member, start)


def _number(name: str, member: Number, start: int) -> ColumnDecoder:
    def own(values: Floats) -> Floats:
        return np.asarray(member.unscale(values[:, 0]), np.float64)

    def decode(values: Floats) -> list[Cell]:
        return list(own(values).tolist())

    return ColumnDecoder(column=name, start=start, stop=start + 1, decode=decode, measure=own, form="a number")


def _labels(names: Sequence[str], values: Floats) -> list[Cell]:
    return [names[place] for place in values.argmax(axis=1)] if names else [None] * len(values)


Decoding = Callable[[str, Modality, int], list[ColumnDecoder]]
"""From a stream, its fitted modality and the resolution of its sketch to a decoder for each of its columns."""
DECODINGS: AspectTable[Decoding] = AspectTable(
    ModalityEntry,
    "recovery",
    {
        "tabular": _tabular,
        "text": retrieval_only,
        "image": _image,
        "audio": retrieval_only,
        "video": retrieval_only,
        "vector": _vector,
        "series": _series,
        "points": retrieval_only,
        "geo": _geo,
    },
    default=retrieval_only,
)
"""Modality of a stream to how its absent cells are made of a recovered sketch."""
