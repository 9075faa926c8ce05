"""The objectives of ``--reconstruct``: each stream's sketch is recovered from the other cells of its row."""

from __future__ import annotations

from typing import Any

from polymodal.config import RunConfig
from polymodal.data.preprocessor import Preprocessor
from polymodal.data.schema.schema import StreamSchema
from polymodal.errors import ConfigError
from polymodal.modalities import Image, Modality, Series, Tabular
from polymodal.targets import AnyTarget, RowContext, fit_target

RESOLUTION, COARSE_RESOLUTION = 28, 16
"""Greatest height and width of recovered pictures, and number of steps of recovered series."""
MOST_BYTES = 2**28
"""Pictures are recovered at the coarse resolution where their sketches would take more memory."""


def recovery_objectives(preprocessor: Preprocessor, context: RowContext, config: RunConfig) -> dict[str, AnyTarget]:
    """Fit a target for the sketch of each stream.

    Args:
        preprocessor: The fitted modalities.
        context: The streams, their arrays and the training rows.
        config: The run's configuration.

    Returns:
        ``STREAM (recovered)`` to target.

    Raises:
        ConfigError: If there is nothing to recover from, or absent cells are filled in first.
    """
    _check(preprocessor, config)
    return {
        f"{stream.name} (recovered)": fit_target("sketch", [], context, _options(stream, preprocessor, context, config))
        for stream in preprocessor.schema.streams
    }


def _check(preprocessor: Preprocessor, config: RunConfig) -> None:
    streams, modalities = preprocessor.schema.streams, preprocessor.modalities
    if len(streams) == 1 and not (config.target and _num_columns(modalities[streams[0].name]) > 1):
        raise ConfigError(
            "The option --reconstruct recovers cells from other cells, but there is one stream only. It needs two "
            "streams, or a target and a table of several numbers, categories or dates."
        )
    for name, modality in modalities.items():
        if isinstance(modality, Tabular) and modality.imputation is not None:
            raise ConfigError(
                f"The option --reconstruct recovers absent cells, but settings.{name}.impute="
                f"{modality.imputation.method} fills them in first. Leave one of them out."
            )


def _num_columns(modality: Modality) -> int:
    return len(modality.members) if isinstance(modality, Tabular) else 1


def _options(
    stream: StreamSchema, preprocessor: Preprocessor, context: RowContext, config: RunConfig
) -> dict[str, Any]:
    modality = preprocessor.modalities[stream.name]
    options: dict[str, Any] = {"stream": stream.name, "recovered": True, "seed": config.seed}
    options["resolution"] = _resolution(modality, len(context.columns[stream.name]))
    if isinstance(modality, Tabular):
        options["cardinalities"] = [field.cardinality for field in modality.own_fields]
    return options


def _resolution(modality: Modality, num_rows: int) -> int:
    if isinstance(modality, Series):
        return max(1, min(RESOLUTION, modality.median_length))
    if isinstance(modality, Image):
        side = min(modality.height, RESOLUTION) * min(modality.width, RESOLUTION)
        return RESOLUTION if 4 * num_rows * side * modality.channels <= MOST_BYTES else COARSE_RESOLUTION
    return COARSE_RESOLUTION
