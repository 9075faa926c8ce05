"""The input columns of a served model: what each holds, and an example of its cells."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from polymodal.data.preprocessor import Preprocessor
from polymodal.modalities import MODALITIES, Modality, Tabular
from polymodal.modalities.category import Category
from polymodal.modalities.datetime import DateTime
from polymodal.modalities.number import Number
from polymodal.modalities.number_text import NumberForm

SHOWN_VALUES = 50
MEDIA_TYPES = {
    "image": ("image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp", "image/tiff"),
    "audio": ("audio/wav", "audio/flac", "audio/ogg", "audio/mpeg"),
    "video": ("video/mp4", "video/webm", "video/x-matroska", "video/quicktime"),
    "vector": ("application/octet-stream", "text/csv", "application/vnd.apache.parquet"),
    "series": ("text/csv", "application/octet-stream", "application/vnd.apache.parquet"),
    "points": ("application/octet-stream", "text/csv", "application/vnd.apache.parquet"),
}
"""Modality to media types of its files; ``application/octet-stream`` stands for formats without one."""
EXAMPLE_S, EXAMPLE_RATE_HZ = 0.25, 8000


@dataclass(frozen=True, kw_only=True)
class InputColumn:
    """A column that a client may send.

    Attributes:
        name: Its name.
        stream: The encoder's input that it is part of.
        kind: Its modality.
        modality: The fitted modality, of a plain column its own; None of a number that is a part of a cell.
        values: Categories, the most frequent first; empty for other kinds.
        range: Smallest and largest training value of a number or (as ISO text) a date.
        example: A cell that the model takes, as JSON; None where none can be made up.
        form: How its numbers are written, where that is not plainly.
    """

    name: str
    stream: str
    kind: str
    modality: Modality | None = None
    values: tuple[str, ...] = ()
    range: tuple[Any, Any] | None = None
    example: Any = None
    form: NumberForm | None = None

    @property
    def is_file(self) -> bool:
        """Whether its cells are files, which clients send as bytes."""
        return MODALITIES[self.kind].is_file

    @property
    def is_json(self) -> bool:
        """Whether its cells may be lists of numbers as text."""
        return MODALITIES[self.kind].is_json

    def to_json(self, max_bytes: int) -> dict[str, Any]:
        """Describe the column for clients.

        Args:
            max_bytes: Most bytes of a file.

        Returns:
            An entry of ``/schema``.
        """
        entry: dict[str, Any] = {
            "column": self.name,
            "stream": self.stream,
            "kind": self.kind,
            "description": MODALITIES[self.kind].summary,
        }
        if self.values:
            entry |= {"values": list(self.values[:SHOWN_VALUES]), "num_values": len(self.values)}
        if self.range is not None:
            entry["range"] = list(self.range)
        if self.is_file:
            entry |= {"media_types": list(MEDIA_TYPES.get(self.kind, ())), "max_bytes": max_bytes}
        if self.example is not None:
            entry["example"] = self.example
        return entry


def input_columns(preprocessor: Preprocessor) -> dict[str, InputColumn]:
    """List the columns that clients send.

    Args:
        preprocessor: The model's fitted modalities.

    Returns:
        Name to column, in the schema's order: of a column that is read from others, those.
    """
    found: dict[str, InputColumn] = {}
    for entry in preprocessor.schema.columns:
        stream = preprocessor.schema.stream_of(entry.name)
        modality = preprocessor.modalities[stream]
        own = modality.members[entry.name] if isinstance(modality, Tabular) else modality
        if entry.source:
            continue  # the sound of a film is sent with the film
        if entry.parts:
            found |= _parts(entry.parts, stream, entry.modality, own)
            continue
        found[entry.name] = replace(_describe(entry.name, stream, entry.modality, own), form=entry.form)
    for entry in preprocessor.schema.columns:
        if entry.source and entry.source not in found:  # the film itself is no input, its sound is
            stream = preprocessor.schema.stream_of(entry.name)
            found[entry.source] = _describe(entry.source, stream, "video", preprocessor.modalities[stream])
    return found


def _parts(parts: tuple[str, ...], stream: str, kind: str, modality: Modality) -> dict[str, InputColumn]:
    """Describe columns whose cells make one cell: a clip with its start and end, or a latitude and a longitude."""
    found = {part: InputColumn(name=part, stream=stream, kind="number", example=0.0) for part in parts}
    if MODALITIES[kind].is_file:
        found[parts[0]] = _describe(parts[0], stream, kind, modality)
        found[parts[-1]] = InputColumn(name=parts[-1], stream=stream, kind="number", example=1.0)
    return found


def _describe(name: str, stream: str, kind: str, modality: Modality) -> InputColumn:
    values: tuple[str, ...] = ()
    bounds: tuple[Any, Any] | None = None
    example = EXAMPLES.get(kind, _no_example)(modality)
    if isinstance(modality, Category):
        values = tuple(modality.values)
    elif isinstance(modality, Number):
        bounds = _number_range(modality)
    elif isinstance(modality, DateTime):
        bounds = _date_range(modality)
    return InputColumn(
        name=name,
        stream=stream,
        kind=kind,
        modality=modality,
        values=values,
        range=bounds,
        example=example,
    )


def _no_example(modality: Modality) -> None:  # noqa: ARG001
    return None


def _number(modality: Any, edge: float) -> float:
    """Return the number that is standardised to a value."""
    spread = math.sinh(edge) if modality.tails == "asinh" else edge
    return float(f"{modality.mean + modality.std * spread:.6g}")


def _number_range(modality: Number) -> tuple[float, float] | None:
    edges = modality.quantiles
    return (_number(modality, edges[0]), _number(modality, edges[-1])) if edges else None


def _date(modality: DateTime, edge: float) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=modality.mean + modality.std * edge)
    return moment.replace(tzinfo=None).isoformat(timespec="seconds").removesuffix("T00:00:00")


def _date_range(modality: DateTime) -> tuple[str, str] | None:
    edges = modality.quantiles
    return (_date(modality, edges[0]), _date(modality, edges[-1])) if edges else None


def _middle(edges: list[float]) -> float:
    return edges[len(edges) // 2] if edges else 0.0


def _data_url(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def _example_image(modality: Any) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.new("L" if modality.channels == 1 else "RGB", (modality.width, modality.height)).save(file, "PNG")
    return _data_url("image/png", file.getvalue())


def _example_audio(modality: Any) -> str:  # noqa: ARG001
    import soundfile

    file = io.BytesIO()
    samples = np.sin(np.arange(int(EXAMPLE_S * EXAMPLE_RATE_HZ)) * (2 * math.pi * 440 / EXAMPLE_RATE_HZ)) / 2
    soundfile.write(file, samples, EXAMPLE_RATE_HZ, format="WAV")
    return _data_url("audio/wav", file.getvalue())


EXAMPLES: dict[str, Any] = {
    "number": lambda modality: _number(modality, _middle(modality.quantiles)),
    "category": lambda modality: modality.values[0] if modality.values else None,
    "datetime": lambda modality: _date(modality, _middle(modality.quantiles)),
    "text": lambda modality: "a few words",  # noqa: ARG005
    "vector": lambda modality: [float(f"{value:.4g}") for value in modality.mean],
    "series": lambda modality: [[float(f"{value:.4g}") for value in modality.mean]] * min(modality.median_length, 8),
    "points": lambda modality: [[float(f"{value:.4g}") for value in modality.mean]] * 2,
    "geo": lambda modality: [0.0, 0.0],  # noqa: ARG005
    "image": _example_image,
    "audio": _example_audio,
}
"""Modality to the function that makes an example of its fitted state."""
