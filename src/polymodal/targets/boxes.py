"""The target boxes: object detection in an image.

Shape legend: B rows of the batch, N rows of a table, M maximum number of boxes of a row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from polymodal.arrays import Cell
from polymodal.errors import ConfigError, SchemaError
from polymodal.metrics import Measure, measure_rows
from polymodal.metrics.detection import BoxRows, box_label_scores, box_quality, confident_boxes
from polymodal.modalities import CellReadError
from polymodal.modalities.box_cells import LabelledBox, read_boxes
from polymodal.modalities.image_size import image_size
from polymodal.modalities.letterbox import Letterbox
from polymodal.targets.box_decoding import decode_boxes
from polymodal.targets.box_image_side import choose_image_side, tell_boxes_outside
from polymodal.targets.box_stream import IMAGES, choose_box_stream
from polymodal.targets.labels import LabelType, label_type, to_label
from polymodal.targets.predictions import Outputs, Step
from polymodal.targets.structured import (
    RowContext,
    StructuredPrediction,
    StructuredPredictions,
    StructuredTarget,
    TargetSettings,
    to_structured_predictions,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

    from polymodal.nn.affine import Warp, WarpLimits
    from polymodal.targets.structured_head import StructuredHead

MIN_VISIBLE = 0.3
"""Boxes of which a smaller fraction is inside of the transformed image are ignored."""


class BoxesSettings(TargetSettings):
    """Options of boxes.

    Attributes:
        image: The stream whose images hold the boxes; None takes the first image stream.
        max_boxes: Maximum number of boxes per row.
        score_threshold: Minimum score of a box.
        overlap_threshold: Threshold of the intersection over union in non-maximum suppression.
        flip_x: Whether training images may be flipped horizontally.
        flip_y: Whether training images may be flipped vertically.
    """

    image: str | None = None
    max_boxes: int = Field(default=100, ge=1, le=1000)
    score_threshold: float = Field(default=0.1, ge=0, lt=1)
    overlap_threshold: float = Field(default=0.5, gt=0, le=1)
    flip_x: bool = True
    flip_y: bool = False


@dataclass(frozen=True, kw_only=True)
class BoxesTarget(StructuredTarget):
    """A column with any number of labelled boxes in each row.

    Attributes:
        names: The labels as text, sorted.
        counts: Training boxes of each label.
        label_type: Python type of predicted labels.
        stream: The stream whose images hold the boxes.
        column: Its column.
        boxes_per_row: Mean number of boxes of a training row.
        max_side: Image size at which the smallest boxes can be detected, in pixels of the longer side.
        settings: The options.
    """

    names: list[str]
    counts: list[int]
    label_type: LabelType
    stream: str
    column: str
    boxes_per_row: float
    max_side: int
    settings: BoxesSettings

    kind: ClassVar[str] = "boxes"
    has_confidence: ClassVar[bool] = True
    gives_records: ClassVar[bool] = True
    details: ClassVar[frozenset[str]] = IMAGES
    primary_metric: ClassVar[str] = "map_50"
    training: ClassVar[Mapping[str, Any]] = {"batch_size": 8, "learning_rate": 2e-3}
    Settings: ClassVar[type[TargetSettings]] = BoxesSettings

    @classmethod
    def fit(cls, cells: Sequence[Cell], context: RowContext, settings: BoxesSettings) -> Self:
        """Fit the labels, the mean number of boxes and the image size.

        Args:
            cells: Cells of the training rows.
            context: The other columns of the same rows, and the streams.
            settings: The options.

        Returns:
            The fitted target.

        Raises:
            SchemaError: If there is no box or no image stream.
        """
        stream, column = choose_box_stream(context, settings.image)
        rows = [_read(cell, None) for cell in cells]
        known = [boxes for boxes in rows if isinstance(boxes, list)]
        boxes = [box for row in known for box in row]
        if not boxes:
            raise SchemaError("A boxes target needs at least one labelled box in the training rows. Found none.")
        counts = Counter(box.label for box in boxes)
        sizes = [image_size(cell, context.folder) for cell in context.cells.get(column, [])]
        tell_boxes_outside(rows, sizes)
        return cls(
            names=sorted(counts),
            counts=[counts[name] for name in sorted(counts)],
            label_type=label_type([box.raw for box in boxes]),
            stream=stream,
            column=column,
            boxes_per_row=len(boxes) / len(known),
            max_side=choose_image_side(rows, sizes),
            settings=settings,
        )

    def stream_settings(self, stream: str, modality: str) -> Mapping[str, Any]:  # noqa: ARG002
        """Return an image size that is large enough for the smallest label.

        Args:
            stream: The stream's name.
            modality: Its modality.

        Returns:
            The longer side of the images of the stream that holds the boxes.
        """
        return {"max_side": self.max_side} if stream == self.stream else {}

    @property
    def warp_limits(self) -> Mapping[str, WarpLimits]:
        """Images and boxes are transformed together."""
        from polymodal.nn.affine import WarpLimits

        return {self.stream: WarpLimits(flip_x=self.settings.flip_x, flip_y=self.settings.flip_y)}

    def reads_detail(self, stream: str, modality: str) -> bool:
        """Return whether a stream is the one that holds the boxes.

        Args:
            stream: The stream's name.
            modality: Its modality.

        Returns:
            True for one image stream.
        """
        return modality in self.details and stream == self.stream

    def encode(self, cells: Sequence[Cell], context: RowContext) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Convert boxes to pixels of the resized images; boxes with labels unknown from training are dropped.

        Args:
            cells: Cells of any rows.
            context: The other columns of the same rows, and the shape of the stream's decoded images.

        Returns:
            float32 ``[N, M, 5]``, the boxes in pixels of those images and the index of their label, -1 for padding;
            and bool ``[N]``. Where an image cannot be read, the truth is known but has no boxes.
        """
        rows = self._rows(cells, context)
        known = np.array([isinstance(boxes, list) for boxes in rows], dtype=np.bool_).reshape(-1)
        found = [
            self._to_network_pixels(boxes, place)
            for boxes, place in zip(rows, self._letterboxes(cells, context), strict=True)
        ]
        truth = np.zeros((len(cells), max(map(len, found), default=0), 5), dtype=np.float32)
        truth[:, :, 4] = -1
        for row, boxes in enumerate(found):
            truth[row, : len(boxes)] = boxes
        return truth, known

    def _to_network_pixels(self, boxes: list[LabelledBox] | str | None, place: Letterbox | None) -> NDArray[np.float64]:
        if not isinstance(boxes, list) or place is None:
            return np.zeros((0, 5))
        number = {name: index for index, name in enumerate(self.names)}
        kept = [box for box in boxes if box.label in number]
        corners = place.to_padded(np.array([box.box for box in kept], dtype=np.float64).reshape(-1, 4))
        return np.concatenate([corners, np.array([[number[box.label]] for box in kept]).reshape(-1, 1)], axis=1)

    def _sizes(self, rows: int, context: RowContext) -> list[tuple[int, int] | None]:
        images = context.cells.get(self.column, [None] * rows)
        return [image_size(cell, context.folder) for cell in images]

    def _letterboxes(self, cells: Sequence[Any], context: RowContext) -> list[Letterbox | None]:
        """Return the letterbox of each row's image; None where its size or the network's is not known."""
        shape = context.shapes.get(self.stream)
        if shape is None:
            return [None] * len(cells)
        frame = (shape[0], shape[1])
        return [None if size is None else Letterbox.fit(size, frame) for size in self._sizes(len(cells), context)]

    def _rows(self, cells: Sequence[Cell], context: RowContext) -> list[list[LabelledBox] | str | None]:
        """Return the boxes of each row, a reason why they cannot be read, or None where the cell is absent."""
        return [_read(cell, size) for cell, size in zip(cells, self._sizes(len(cells), context), strict=True)]

    def invalid_cells(self, cells: Sequence[Cell], context: RowContext) -> list[tuple[int, str]]:
        """List the cells that hold no valid boxes.

        Args:
            cells: Cells of any rows.
            context: The other columns of the same rows.

        Returns:
            Row index and reason.
        """
        return [(row, found) for row, found in enumerate(self._rows(cells, context)) if isinstance(found, str)]

    def warp_truth(self, stream: str, truth: Tensor, warp: Warp) -> Tensor:
        """Apply the affine transformation of the images to the boxes.

        Args:
            stream: The transformed stream.
            truth: ``[B, M, 5]``.
            warp: The transformation.

        Returns:
            The same shape; boxes outside of the transformed image get the label -1.
        """
        if stream != self.stream:
            return truth
        import torch

        boxes, visible = warp.apply_to_boxes(truth[..., :4])
        label = torch.where(visible >= MIN_VISIBLE, truth[..., 4], -1.0)
        return torch.cat([boxes, label.unsqueeze(2)], dim=2)

    def build_head(self, width: int, encoders: Mapping[str, nn.Module]) -> StructuredHead:
        """Build the head for the detail grid of the stream's encoder.

        Args:
            width: W.
            encoders: Stream to its encoder.

        Returns:
            The head.

        Raises:
            ConfigError: If the stream's encoder has no detail grid.
        """
        from polymodal.targets.box_head import BoxHead
        from polymodal.tokens import DetailGrid

        grid = getattr(encoders.get(self.stream), "detail_grid", None)
        if not isinstance(grid, DetailGrid):
            raise ConfigError(
                f"Boxes are detected in a detail feature map, which the encoder of {self.stream!r} does not give. "
                "Choose the image encoder cnn or resnet."
            )
        return BoxHead(self.read_outputs, self.stream, grid, len(self.names), width, boxes_per_row=self.boxes_per_row)

    def read_outputs(self, outputs: Outputs, step: Step | None = None) -> list[StructuredPrediction]:  # noqa: ARG002
        """Decode boxes.

        Args:
            outputs: ``scores`` ``[B, P, L]``, ``boxes`` ``[B, P, 4]`` in pixels of the stream's images, and
                ``present``, bool ``[B]``, True where there is an image.
            step: Not used.

        Returns:
            Lists of label, box in pixels of the stream's images, and score; the most confident first.
        """
        limits = self.settings.model_dump(include={"max_boxes", "score_threshold", "overlap_threshold"})
        rows = zip(outputs["present"], outputs["scores"], outputs["boxes"], strict=True)
        return [
            decode_boxes(scores_PL, boxes_P4, self.names, **limits) if is_present else StructuredPrediction([])
            for is_present, scores_PL, boxes_P4 in rows
        ]

    def references(self, cells: Sequence[Cell], context: RowContext) -> list[Cell]:
        """Return the true boxes.

        Args:
            cells: Cells of rows in which the truth is known.
            context: The other columns of the same rows.

        Returns:
            Lists of ``{"label", "box"}``, boxes clipped to the image.
        """
        return [
            [{"label": self._label(box), "box": list(box.box)} for box in boxes] if isinstance(boxes, list) else []
            for boxes in self._rows(cells, context)
        ]

    def _label(self, box: LabelledBox) -> Cell:
        return to_label(box.label, self.label_type) if box.label in self.names else box.raw

    def postprocess(self, predictions: Sequence[StructuredPrediction], context: RowContext) -> StructuredPredictions:
        """Convert boxes to pixels of the original images.

        Args:
            predictions: Output of the head's ``predict``.
            context: The other columns of the same rows, and the shape of the stream's decoded images.

        Returns:
            ``[N]``; the confidence is the mean score of the confident boxes.
        """
        letterboxes = self._letterboxes(predictions, context)
        return to_structured_predictions(
            [self._postprocess(one, letterbox) for one, letterbox in zip(predictions, letterboxes, strict=True)]
        )

    def _postprocess(self, prediction: StructuredPrediction, letterbox: Letterbox | None) -> StructuredPrediction:
        if letterbox is None:
            return StructuredPrediction([])
        height, width = letterbox.original_size
        boxes = letterbox.to_original(
            np.array([box["box"] for box in prediction.value], dtype=np.float64).reshape(-1, 4)
        )
        corners = np.clip(boxes, 0, [width, height, width, height]).round(2)
        kept = [
            {"label": to_label(box["label"], self.label_type), "box": corner.tolist(), "score": box["score"]}
            for box, corner in zip(prediction.value, corners, strict=True)
            if (corner[2:] > corner[:2]).all()
        ]
        return StructuredPrediction(kept, prediction.confidence)

    def learned_answer(self, answer: Cell) -> Cell:
        """Return the boxes that a teacher is confident of, without their scores.

        Args:
            answer: A list of boxes with scores.

        Returns:
            A list of boxes; None without a confident one, as the picture may hold boxes that the teacher missed.
        """
        sure = confident_boxes(answer if isinstance(answer, list) else [])
        return [{"label": box["label"], "box": box["box"]} for box in sure] or None

    def measure(self, truth: Sequence[Cell], predictions: Sequence[Cell]) -> Measure:
        """Match the boxes for average precision.

        Args:
            truth: Lists of boxes.
            predictions: Lists of boxes with scores.

        Returns:
            A function of row weights ``[R, N]``.
        """
        return measure_rows(self.kind, BoxRows(truth, predictions))

    def row_scores(self, truth: Sequence[Cell], predictions: Sequence[Cell]) -> NDArray[np.float64]:
        """Score rows by the F1 of the confident boxes.

        Args:
            truth: Lists of boxes.
            predictions: Lists of boxes with scores.

        Returns:
            0 to 1, ``[N]``.
        """
        return box_quality(truth, predictions)

    def per_label(self, truth: Sequence[Cell], predictions: Sequence[Cell]) -> list[dict[str, Any]]:
        """Compute each label's average precision.

        Args:
            truth: Lists of boxes.
            predictions: Lists of boxes with scores.

        Returns:
            One entry a label with true boxes: ``label``, ``support``, ``ap``, ``ap_50``.
        """
        return box_label_scores(truth, predictions)

    @property
    def prior(self) -> StructuredPrediction:
        """No box."""
        return StructuredPrediction([])


def _read(cell: Cell, size: tuple[int, int] | None) -> list[LabelledBox] | str | None:
    """Return a cell's boxes, a reason why they cannot be read, or None for an absent cell."""
    try:
        return read_boxes(cell, size)
    except CellReadError as error:
        return str(error)
