"""Builds the gallery of a run: rows with their true and predicted values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.data.tables.stored_columns import take_cells
from polymodal.metrics.detection import confident_boxes
from polymodal.metrics.edit_distance import Part, word_differences
from polymodal.modalities.media import is_absent_media
from polymodal.model.batches import Examples
from polymodal.model.recovered_sketches import judged_targets
from polymodal.model.trained_model import TrainedModel
from polymodal.report.answers import format_answer
from polymodal.report.drawn_boxes import DrawnBoxes
from polymodal.report.gallery import Gallery, GalleryCell, GalleryRow, select_by_quality, select_rows
from polymodal.report.gallery_comparisons import COMPARISONS, render_comparison
from polymodal.targets import AnyTarget, BoxesTarget, CategoryTarget, EmbeddingTarget, SketchTarget, StructuredTarget
from polymodal.targets.base import Prediction
from polymodal.targets.structured import values_of

GALLERY_ROWS = 8
SHOWN_MATCHES = 3


def build_gallery(model: TrainedModel, examples: Examples, predictions: Mapping[str, Prediction]) -> Gallery:
    """Select correct and wrong rows of every target.

    Args:
        model: The trained model.
        examples: The evaluated rows.
        predictions: Target to predictions.

    Returns:
        Target to rows.
    """
    return {
        name: _target_gallery(model, examples, name, target, predictions[name])
        for name, target in judged_targets(model.targets).items()
    }


def _target_gallery(
    model: TrainedModel, examples: Examples, name: str, target: AnyTarget, prediction: Prediction
) -> dict[str, list[GalleryRow]]:
    labelled = np.flatnonzero(examples.known[name])
    if isinstance(target, SketchTarget):
        return {}
    if isinstance(target, EmbeddingTarget):
        return _retrieval_gallery(model, examples, name, target, prediction, labelled)
    selected, truths = _select(examples, name, target, prediction[labelled], labelled)

    def shown(indices: NDArray[np.int64]) -> list[GalleryRow]:
        return [
            _gallery_row(model, examples, target, truths[index], prediction[labelled[index]], int(labelled[index]))
            for index in indices
        ]

    return {"right": shown(selected[0]), "wrong": shown(selected[1])}


def _select(
    examples: Examples, name: str, target: AnyTarget, predictions: Prediction, labelled: NDArray[np.int64]
) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], Sequence[Cell]]:
    """Return the indices of correct and of wrong rows, and the truth of all rows."""
    if isinstance(target, StructuredTarget):
        references = examples.references(name, target, labelled)
        return select_by_quality(target.row_scores(references, values_of(predictions)), GALLERY_ROWS), references
    truth, cells = examples.truth[name][labelled], take_cells(examples.cells[name], examples.rows[labelled])
    if target.kind == "number":
        return select_rows(truth.tolist(), predictions.tolist(), None, None, GALLERY_ROWS), cells
    if target.kind == "categories":
        labels, correct = target.decode(predictions), ((predictions >= 0.5) == (truth > 0.5)).all(axis=1)
        confidence = np.maximum(predictions, 1 - predictions).min(axis=1)
        return select_rows(labels, labels, confidence, correct, GALLERY_ROWS), cells
    assert isinstance(target, CategoryTarget)
    classes, confidence = target.predicted_classes(predictions), target.label_probabilities(predictions)
    return select_rows(truth.tolist(), classes.tolist(), confidence, classes == truth, GALLERY_ROWS), cells


def _gallery_row(
    model: TrainedModel, examples: Examples, target: AnyTarget, truth: Cell, prediction: Any, index: int
) -> GalleryRow:
    row = int(examples.rows[index])
    columns = model.schema.columns
    is_number = target.kind == "number"
    label, confidence = _label(target, prediction)
    is_drawn = target.kind in COMPARISONS
    return GalleryRow(
        row=row + 1,
        truth=f"{float(truth):.4g}" if is_number else "" if is_drawn else format_answer(truth),
        prediction=f"{label:.4g}" if is_number else "" if is_drawn else format_answer(label),
        probability=confidence,
        cells=_with_boxes(
            [GalleryCell(c.name, c.modality, examples.cells[c.name][row]) for c in columns], target, truth, label
        ),
        comparison=render_comparison(target.kind, truth, label),
        differences=_differences(truth, label) if target.kind == "transcript" else (),
    )


def _with_boxes(cells: list[GalleryCell], target: AnyTarget, truth: Cell, label: Cell) -> tuple[GalleryCell, ...]:
    """Put the true and the found boxes on their image."""
    if not isinstance(target, BoxesTarget):
        return tuple(cells)
    return tuple(
        GalleryCell(cell.column, "boxes", DrawnBoxes(cell.cell, truth, confident_boxes(label), target.names))
        if cell.column == target.column and not is_absent_media(cell.cell)
        else cell
        for cell in cells
    )


def _differences(truth: Cell, label: Cell) -> tuple[Part, ...]:
    parts = word_differences(str(truth), str(label))
    return tuple(parts) if any(kind != "same" for kind, _ in parts) else ()


def _label(target: AnyTarget, prediction: Any) -> tuple[Cell, float | None]:
    """Return one row's decoded prediction and its confidence."""
    if isinstance(target, StructuredTarget):
        return prediction.value, prediction.confidence
    confidence = float(target.label_probabilities(prediction[None])[0]) if isinstance(target, CategoryTarget) else None
    return target.decode(prediction[None])[0], confidence


def _retrieval_gallery(
    model: TrainedModel,
    examples: Examples,
    name: str,
    target: EmbeddingTarget,
    prediction: Prediction,
    labelled: NDArray[np.int64],
) -> dict[str, list[GalleryRow]]:
    """Show queries of the first stream with their top matches in the second."""
    vectors, streams = values_of(prediction[labelled]), model.network.streams[:2]
    labels = examples.references(name, target, labelled)
    paired = np.array(
        [index for index, row in enumerate(vectors) if all(name in row for name in streams)], dtype=np.int64
    )
    if not len(paired):
        return {"right": [], "wrong": []}
    queries, candidates = (np.stack([vectors[index][name] for index in paired]) for name in streams)
    best = np.argsort(-queries @ candidates.T, axis=1)[:, :SHOWN_MATCHES]
    shown_labels = [labels[index] for index in paired]
    quality = np.array([np.mean([shown_labels[m] == shown_labels[q] for m in row]) for q, row in enumerate(best)])

    def shown(queries: NDArray[np.int64]) -> list[GalleryRow]:
        return [
            _retrieval_row(model, examples, shown_labels, labelled[paired], int(query), best[query])
            for query in queries
        ]

    right, wrong = select_by_quality(quality, GALLERY_ROWS)
    return {"right": shown(right), "wrong": shown(wrong)}


def _retrieval_row(
    model: TrainedModel,
    examples: Examples,
    labels: list[Cell],
    indices: NDArray[np.int64],
    query: int,
    matches: NDArray[np.int64],
) -> GalleryRow:
    rows = examples.rows[indices]
    query_stream, candidate_stream = model.schema.streams[:2]
    cells = _stream_cells(model, examples, query_stream.columns, int(rows[query]), "")
    for number, match in enumerate(matches, start=1):
        cells += _stream_cells(model, examples, candidate_stream.columns, int(rows[match]), f", match {number}")
    return GalleryRow(
        row=int(rows[query]) + 1,
        truth=str(labels[query]),
        prediction=", ".join(str(labels[match]) for match in matches),
        probability=None,
        cells=tuple(cells),
    )


def _stream_cells(
    model: TrainedModel, examples: Examples, columns: tuple[str, ...], row: int, suffix: str
) -> list[GalleryCell]:
    modalities = {column.name: column.modality for column in model.schema.columns}
    return [GalleryCell(name + suffix, modalities[name], examples.cells[name][row]) for name in columns]
