"""Transforms of cells to arrays, one module per modality (numpy only, never torch).

Adding a modality: one file with a class that fulfils ``Modality``, and one line in ``MODALITIES``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from polymodal.errors import ConfigError, did_you_mean, parameter_error
from polymodal.modalities.audio import Audio, AudioSettings
from polymodal.modalities.base import CellReadError, ColumnGroup, Cut, Modality
from polymodal.modalities.category import Category, CategorySettings
from polymodal.modalities.datetime import DateTime, DateTimeSettings
from polymodal.modalities.entry import ModalityEntry
from polymodal.modalities.geo import Geo, GeoSettings
from polymodal.modalities.image import Image, ImageSettings
from polymodal.modalities.number import Number, NumberSettings
from polymodal.modalities.points import Points, PointsSettings
from polymodal.modalities.series import Series, SeriesSettings
from polymodal.modalities.tabular import Tabular, TabularField
from polymodal.modalities.tabular_settings import TabularSettings
from polymodal.modalities.text import Text
from polymodal.modalities.text_settings import TextSettings
from polymodal.modalities.vector import Vector, VectorSettings
from polymodal.modalities.video import Video, VideoSettings
from polymodal.plugins import AspectTable

__all__ = [
    "MODALITIES",
    "Audio",
    "AudioSettings",
    "Category",
    "CategorySettings",
    "CellReadError",
    "ColumnGroup",
    "Cut",
    "DateTime",
    "DateTimeSettings",
    "Geo",
    "GeoSettings",
    "Image",
    "ImageSettings",
    "Modality",
    "ModalityEntry",
    "Number",
    "NumberSettings",
    "Points",
    "PointsSettings",
    "Series",
    "SeriesSettings",
    "Tabular",
    "TabularField",
    "TabularSettings",
    "Text",
    "TextSettings",
    "Vector",
    "VectorSettings",
    "Video",
    "VideoSettings",
    "build_settings",
    "column_modalities",
    "stream_modalities",
]

MODALITIES: AspectTable[type[Modality]] = AspectTable(
    ModalityEntry,
    "modality",
    {
        "number": Number,
        "category": Category,
        "datetime": DateTime,
        "tabular": Tabular,
        "text": Text,
        "image": Image,
        "audio": Audio,
        "video": Video,
        "vector": Vector,
        "series": Series,
        "points": Points,
        "geo": Geo,
    },
)
"""The package's own modalities and those of installed packages."""


def column_modalities() -> tuple[str, ...]:
    """Return the names of the modalities that a column can have."""
    return tuple(name for name, modality in MODALITIES.items() if modality.is_column)


def stream_modalities() -> tuple[str, ...]:
    """Return the names of the modalities that encoders read."""
    return tuple(name for name, modality in MODALITIES.items() if modality.is_stream)


def build_settings(modality: str, options: Mapping[str, Any] | None = None) -> BaseModel:
    """Validate a modality's options.

    Args:
        modality: Name of the modality.
        options: Option to value; the others keep their defaults.

    Returns:
        The settings for the modality's ``fit``.

    Raises:
        ConfigError: If the modality or an option is unknown, or a value cannot work.
    """
    if modality not in MODALITIES:
        raise parameter_error("modality", "build_settings", f"one of {', '.join(MODALITIES)}", modality)
    settings = MODALITIES[modality].Settings
    try:
        return settings(**(options or {}))
    except ValidationError as error:
        raise ConfigError(_explain(modality, settings, error)) from None


def _explain(modality: str, settings: type[BaseModel], error: ValidationError) -> str:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"The modality {modality!r} has no option {name!r}. {did_you_mean(name, settings.model_fields)}"
    reason = first["msg"].lower().removeprefix("value error, ")
    return f"The option {name!r} of modality {modality!r} is wrong: {reason}. Got {first['input']!r} instead."
