"""What a column to predict can be, one file each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from polymodal.arrays import Cell
from polymodal.errors import ConfigError, parameter_error
from polymodal.plugins import TARGET_GROUP, PartTable
from polymodal.targets.base import Target, build_head, primary_metric_of
from polymodal.targets.boxes import BoxesTarget
from polymodal.targets.caption import CaptionTarget
from polymodal.targets.categories import CategoriesTarget
from polymodal.targets.category import CategoryTarget
from polymodal.targets.embedding import EmbeddingTarget
from polymodal.targets.image import ImageTarget
from polymodal.targets.number import NumberTarget
from polymodal.targets.series import SeriesTarget
from polymodal.targets.sketch import SketchTarget
from polymodal.targets.structured import (
    RowContext,
    StructuredHead,
    StructuredPrediction,
    StructuredTarget,
    TargetSettings,
)
from polymodal.targets.transcript import TranscriptTarget
from polymodal.targets.vector import VectorTarget

AnyTarget = Target | StructuredTarget


class TargetEntry(NamedTuple):
    """A row of the table of targets.

    Attributes:
        target: The class.
        summary: One line.
        paper: Where it comes from.
    """

    target: type[Target] | type[StructuredTarget]
    summary: str
    paper: str


def fit_target(kind: str, cells: Sequence[Cell], context: RowContext, options: Mapping[str, Any]) -> AnyTarget:
    """Fit a target by its kind.

    Args:
        kind: Name in ``TARGETS`` or ``OBJECTIVES``.
        cells: Cells of the training rows.
        context: The other columns of the same rows.
        options: Settings of the kind.

    Returns:
        The fitted target.

    Raises:
        ConfigError: If an option is unknown or a value cannot work.
        SchemaError: If there is nothing to learn.
    """
    target = target_class(kind)
    if issubclass(target, StructuredTarget):
        return target.fit(cells, context, build_target_settings(kind, target.Settings, options))
    build_target_settings(kind, TargetSettings, options)
    return target.fit(cells)


def target_class(kind: str) -> type[Target] | type[StructuredTarget]:
    """Return the class of a kind of target.

    Args:
        kind: Name in ``TARGETS`` or ``OBJECTIVES``.

    Returns:
        The class.
    """
    return OBJECTIVES[kind].target if kind in OBJECTIVES else TARGETS[kind].target


def build_target_settings(kind: str, settings: type[TargetSettings], options: Mapping[str, Any]) -> TargetSettings:
    """Check a target's options.

    Args:
        kind: Name in ``TARGETS``.
        settings: The kind's options.
        options: What the user gave.

    Returns:
        Checked settings.

    Raises:
        ConfigError: If an option is unknown or a value cannot work.
    """
    try:
        return settings(**options)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = ", ".join(settings.model_fields) or "none"
            raise ConfigError(f"The target kind {kind!r} has no option {name!r}. There are: {known}.") from None
        raise parameter_error(name, f"the target kind {kind!r}", first["msg"].lower(), first["input"]) from None


TARGETS = PartTable(
    TARGET_GROUP,
    TargetEntry,
    {
        "category": TargetEntry(
            CategoryTarget, "one class a row: softmax, cross-entropy", "Szegedy et al. 2016 (smoothing)"
        ),
        "categories": TargetEntry(
            CategoriesTarget, "any number of labels a row: a sigmoid each", "Zhang and Zhou 2014 (survey)"
        ),
        "number": TargetEntry(
            NumberTarget, "one number a row: squared error of the standardised value", "least squares"
        ),
        "boxes": TargetEntry(
            BoxesTarget, "labelled boxes in a picture: one map of fine places", "Tian et al. 2019 (FCOS)"
        ),
        "vector": TargetEntry(
            VectorTarget, "numbers of a fixed count: squared error, each standardised", "least squares"
        ),
        "caption": TargetEntry(CaptionTarget, "a text in each row, written piece by piece", "Vaswani et al. 2017"),
        "series": TargetEntry(
            SeriesTarget, "numbers of several steps: a forecast, a signal", "Carion et al. 2020 (queries)"
        ),
        "image": TargetEntry(ImageTarget, "a small picture, painted by transposed convolutions", "Radford et al. 2016"),
        "transcript": TargetEntry(
            TranscriptTarget, "words spoken in a sound: CTC over its steps", "Graves et al. 2006"
        ),
    },
)

OBJECTIVES: dict[str, TargetEntry] = {
    "embedding": TargetEntry(EmbeddingTarget, "streams of a row close in one space: sigmoid loss", "Zhai et al. 2023"),
    "sketch": TargetEntry(SketchTarget, "what a stream roughly holds, from others or itself", "Vincent et al. 2008"),
}
"""What is learned about the streams themselves, where no column is named to predict or beside one."""

__all__ = [
    "OBJECTIVES",
    "TARGETS",
    "AnyTarget",
    "BoxesTarget",
    "CaptionTarget",
    "CategoriesTarget",
    "CategoryTarget",
    "EmbeddingTarget",
    "ImageTarget",
    "NumberTarget",
    "RowContext",
    "SeriesTarget",
    "SketchTarget",
    "StructuredHead",
    "StructuredPrediction",
    "StructuredTarget",
    "Target",
    "TargetEntry",
    "TargetSettings",
    "TranscriptTarget",
    "VectorTarget",
    "build_head",
    "build_target_settings",
    "fit_target",
    "primary_metric_of",
    "target_class",
]
