"""The vectors that unusual rows are found by: embeddings of a row's streams, and what is measured of its cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Column
from polymodal.certainty.unusual import SpaceName
from polymodal.data.profiles.build_profile import MeasuredColumn, measure_table
from polymodal.data.tables.table import Table
from polymodal.modalities import Tabular
from polymodal.model.inference_network import StreamEmbeddings
from polymodal.model.trained_model import TrainedModel

RowVectors = dict[SpaceName, NDArray[np.float64]]


def row_vectors(model: TrainedModel, table: Table, columns: Mapping[str, Column]) -> RowVectors:
    """Compute the vectors of rows.

    Args:
        model: The trained model.
        table: The rows.
        columns: Stream to the same rows' arrays, frozen encoders' outputs included.

    Returns:
        Space to float64 ``[rows, D]``, NaN where the stream is absent.
    """
    measured = measure_table(model.preprocessor, table, columns, media_only=True)
    return vectors_of(model, columns, model.network.embed_streams(columns), measured)


def vectors_of(
    model: TrainedModel,
    columns: Mapping[str, Column],
    embeddings: StreamEmbeddings,
    measured: Sequence[MeasuredColumn],
) -> RowVectors:
    """Put together the vectors of rows that were embedded and measured.

    Args:
        model: The trained model.
        columns: Stream to the rows' arrays.
        embeddings: The rows' embeddings.
        measured: What was measured of their columns; numbers, categories and dates are not looked at.

    Returns:
        As ``row_vectors``.
    """
    found: RowVectors = {}
    for stream, values in embeddings.values.items():
        vectors = np.where(embeddings.present[stream][:, None], values.astype(np.float64), np.nan)
        found[SpaceName(stream, "embedding")] = vectors
        modality = model.preprocessor.modalities[stream]
        if isinstance(modality, Tabular):
            found[SpaceName(stream, "measures")] = _measure_rows(modality, columns[stream])
    for column in measured:
        if column.stream and not isinstance(model.preprocessor.modalities[column.stream], Tabular):
            numbers = [measure.values for measure in column.measures if _is_numeric(measure.values)]
            if numbers:
                vectors = np.array(numbers, np.float64).T
                vectors[~embeddings.present[column.stream]] = np.nan
                found[SpaceName(column.stream, "measures")] = vectors
    return found


def join_vectors(parts: Sequence[RowVectors]) -> RowVectors:
    """Concatenate the vectors of rows; a space that a part lacks, as its stream is absent in it, is NaN there.

    Args:
        parts: At least one.

    Returns:
        All rows.
    """
    widths = {name: values.shape[1] for part in parts for name, values in part.items()}
    lengths = [len(next(iter(part.values()))) for part in parts]
    return {
        name: np.concatenate(
            [part.get(name, np.full((rows, width), np.nan)) for part, rows in zip(parts, lengths, strict=True)]
        )
        for name, width in widths.items()
    }


def _is_numeric(values: Sequence[float | None] | Sequence[str | None]) -> bool:
    return not any(isinstance(value, str) for value in values)


def _measure_rows(modality: Tabular, column: Column) -> NDArray[np.float64]:
    """Measure rows of numbers and categories: unseen categories, and how far numbers are from their means."""
    is_category = np.array([field.kind == "category" for field in modality.own_fields])
    values, present = (part[:, : len(is_category)] for part in (column.values.astype(np.float64), column.present))
    unseen = (present & is_category & (values == 0)).sum(axis=1)
    sizes = np.where(present & ~is_category, np.abs(values), 0.0)
    known = np.maximum((present & ~is_category).sum(axis=1), 1)
    measures = np.stack([unseen, sizes.max(axis=1), np.sqrt((sizes**2).sum(axis=1) / known)], axis=1)
    return np.where(column.row_present[:, None], measures, np.nan)
