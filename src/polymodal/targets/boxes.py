"""Labelled boxes in a picture: object detection.

Shape legend: B rows of the batch, N rows of a table, M boxes of a row at most.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from polymodal.arrays import Cell
from polymodal.errors import ConfigError, SchemaError
from polymodal.metrics import Measure, measure_rows
from polymodal.metrics.detection import BoxRows, box_label_scores, box_quality
from polymodal.modalities import CellReadError
from polymodal.modalities.box_cells import LabelledBox, read_boxes
from polymodal.modalities.image_size import image_size
from polymodal.modalities.letterbox import Letterbox
from polymodal.nn.affine import Warp, WarpLimits
from polymodal.targets.box_head import BoxHead
from polymodal.targets.labels import LabelType, label_type, to_label
from polymodal.targets.structured import (
    RowContext,
    StructuredHead,
    StructuredPrediction,
    StructuredPredictions,
    StructuredTarget,
    TargetSettings,
    to_structured_predictions,
)
from polymodal.tokens import PlaceGrid

MOST_PIXELS = 320
"""Longest side of the network's pictures that is asked for."""
FEWEST_PIXELS = 128
SIDE_STEP = 32
SMALL_BOX = 18.0
"""Pixels that the typical box of the smallest label shall be wide and high, in the network's pictures."""
IN_VIEW = 0.3
"""Boxes of which less is left in a moved picture are not looked for."""


class BoxesSettings(TargetSettings):
    """Options of boxes.

    Attributes:
        image: The stream whose pictures hold the boxes; None takes the first image stream.
        max_boxes: Most boxes of an answer.
        score_threshold: Boxes with a lower score are left out.
        overlap_threshold: Of two boxes of a label that overlap more, the less sure one is left out.
        flip_x: Whether training pictures may be mirrored left to right.
        flip_y: Whether training pictures may be mirrored top to bottom.
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
        label_type: Plain type in which labels are given back.
        stream: The stream whose pictures hold the boxes.
        column: Its column.
        boxes_per_row: Mean number of boxes of a training row.
        max_side: Longest side that pictures should have so that small boxes can be found, in pixels.
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
    details: ClassVar[frozenset[str]] = frozenset({"image"})
    primary_metric: ClassVar[str] = "map_50"
    training: ClassVar[Mapping[str, Any]] = {"batch_size": 8, "learning_rate": 2e-3}
    Settings: ClassVar[type[TargetSettings]] = BoxesSettings

    @classmethod
    def fit(cls, cells: Sequence[Cell], source: RowContext, settings: BoxesSettings) -> Self:
        """Learn the labels, how many boxes there are and how small they get.

        Args:
            cells: Cells of the training rows.
            source: The other columns of the same rows, and the streams.
            settings: The options.

        Returns:
            The fitted target.

        Raises:
            SchemaError: If there is no box or no picture to find them in.
        """
        stream, column = _choose_stream(source, settings)
        rows = [_read(cell, None) for cell in cells]
        known = [boxes for boxes in rows if isinstance(boxes, list)]
        boxes = [box for row in known for box in row]
        if not boxes:
            raise SchemaError("A boxes target needs at least one labelled box in the training rows. Found none.")
        counts = Counter(box.label for box in boxes)
        pictures = source.cells.get(column, [])
        return cls(
            names=sorted(counts),
            counts=[counts[name] for name in sorted(counts)],
            label_type=label_type([box.raw for box in boxes]),
            stream=stream,
            column=column,
            boxes_per_row=len(boxes) / len(known),
            max_side=_choose_side(rows, [image_size(cell, source.folder) for cell in pictures]),
            settings=settings,
        )

    def stream_settings(self, stream: str, modality: str) -> Mapping[str, Any]:  # noqa: ARG002
        """Want pictures large enough for the smallest label.

        Args:
            stream: The stream's name.
            modality: Its modality.

        Returns:
            The longer side of the stream that holds the boxes.
        """
        return {"max_side": self.max_side} if stream == self.stream else {}

    @property
    def warp_limits(self) -> Mapping[str, WarpLimits]:
        """The pictures are moved together with the boxes."""
        return {self.stream: WarpLimits(flip_x=self.settings.flip_x, flip_y=self.settings.flip_y)}

    def reads_detail(self, stream: str, modality: str) -> bool:
        """Tell whether a stream is the one that holds the boxes.

        Args:
            stream: The stream's name.
            modality: Its modality.

        Returns:
            True for one stream of pictures.
        """
        return modality in self.details and stream == self.stream

    def encode(self, cells: Sequence[Cell], source: RowContext) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Carry the boxes into the network's pictures; labels unknown from training are left out.

        Args:
            cells: Cells of any rows.
            source: The other columns of the same rows, and the shape of the stream's decoded pictures.

        Returns:
            float32 ``[N, M, 5]``, the boxes in pixels of those pictures and the number of their label, -1 where there
            is none; and bool ``[N]``. Where a picture cannot be read, its boxes are known but not looked for.
        """
        rows = self._rows(cells, source)
        known = np.array([isinstance(boxes, list) for boxes in rows], dtype=np.bool_).reshape(-1)
        found = [self._place(boxes, place) for boxes, place in zip(rows, self._letterboxes(cells, source), strict=True)]
        truth = np.zeros((len(cells), max(map(len, found), default=0), 5), dtype=np.float32)
        truth[:, :, 4] = -1
        for row, boxes in enumerate(found):
            truth[row, : len(boxes)] = boxes
        return truth, known

    def _place(self, boxes: list[LabelledBox] | str | None, place: Letterbox | None) -> NDArray[np.float64]:
        if not isinstance(boxes, list) or place is None:
            return np.zeros((0, 5))
        number = {name: index for index, name in enumerate(self.names)}
        kept = [box for box in boxes if box.label in number]
        corners = place.to_padded(np.array([box.box for box in kept], dtype=np.float64).reshape(-1, 4))
        return np.concatenate([corners, np.array([[number[box.label]] for box in kept]).reshape(-1, 1)], axis=1)

    def _sizes(self, rows: int, source: RowContext) -> list[tuple[int, int] | None]:
        pictures = source.cells.get(self.column, [None] * rows)
        return [image_size(cell, source.folder) for cell in pictures]

    def _letterboxes(self, cells: Sequence[Any], source: RowContext) -> list[Letterbox | None]:
        """Say how each row's picture lies in the network's; None where either is not known."""
        shape = source.shapes.get(self.stream)
        if shape is None:
            return [None] * len(cells)
        frame = (shape[0], shape[1])
        return [None if size is None else Letterbox.fit(size, frame) for size in self._sizes(len(cells), source)]

    def _rows(self, cells: Sequence[Cell], source: RowContext) -> list[list[LabelledBox] | str | None]:
        """Return each row's boxes, or why there are none, or None where the cell is absent."""
        return [_read(cell, size) for cell, size in zip(cells, self._sizes(len(cells), source), strict=True)]

    def problems(self, cells: Sequence[Cell], source: RowContext) -> list[tuple[int, str]]:
        """Name the cells that hold no such boxes.

        Args:
            cells: Cells of any rows.
            source: The other columns of the same rows.

        Returns:
            Row from 0 and reason.
        """
        return [(row, found) for row, found in enumerate(self._rows(cells, source)) if isinstance(found, str)]

    def warp_truth(self, stream: str, truth: Tensor, warp: Warp) -> Tensor:
        """Move the boxes of a training batch along with the pictures.

        Args:
            stream: The stream that was moved.
            truth: ``[B, M, 5]``.
            warp: How it was moved.

        Returns:
            The same shape; boxes that are out of view lose their label.
        """
        if stream != self.stream:
            return truth
        boxes, share = warp.apply_to_boxes(truth[..., :4])
        label = torch.where(share >= IN_VIEW, truth[..., 4], -1.0)
        return torch.cat([boxes, label.unsqueeze(2)], dim=2)

    def build_head(self, width: int, encoders: Mapping[str, nn.Module]) -> StructuredHead:
        """Build the head on the places of the stream's encoder.

        Args:
            width: W.
            encoders: Stream to its encoder.

        Returns:
            The head.

        Raises:
            ConfigError: If the stream's encoder gives no fine places.
        """
        places = getattr(encoders.get(self.stream), "places", None)
        if not isinstance(places, PlaceGrid):
            raise ConfigError(
                f"Boxes are found at the fine places of pictures, which the stream {self.stream!r} does not give. "
                "Choose the image encoder cnn or resnet."
            )
        return BoxHead(
            self.stream,
            places,
            self.names,
            width,
            boxes_per_row=self.boxes_per_row,
            max_boxes=self.settings.max_boxes,
            score_threshold=self.settings.score_threshold,
            overlap_threshold=self.settings.overlap_threshold,
        )

    def references(self, cells: Sequence[Cell], source: RowContext) -> list[Cell]:
        """Read the boxes.

        Args:
            cells: Cells of rows in which the truth is known.
            source: The other columns of the same rows.

        Returns:
            Lists of ``{"label", "box"}``, boxes cut at the picture's border.
        """
        return [
            [{"label": self._label(box), "box": list(box.box)} for box in boxes] if isinstance(boxes, list) else []
            for boxes in self._rows(cells, source)
        ]

    def _label(self, box: LabelledBox) -> Cell:
        return to_label(box.label, self.label_type) if box.label in self.names else box.raw

    def finish(self, found: Sequence[StructuredPrediction], source: RowContext) -> StructuredPredictions:
        """Bring boxes into pixels of the rows' own pictures.

        Args:
            found: What the head says.
            source: The other columns of the same rows, and the shape of the stream's decoded pictures.

        Returns:
            ``[N]``; an answer's confidence is the mean score of its boxes.
        """
        places = self._letterboxes(found, source)
        return to_structured_predictions(
            [self._finish(answer, place) for answer, place in zip(found, places, strict=True)]
        )

    def _finish(self, answer: StructuredPrediction, place: Letterbox | None) -> StructuredPrediction:
        if place is None:
            return StructuredPrediction([])
        height, width = place.original_size
        said = place.to_original(np.array([box["box"] for box in answer.value], dtype=np.float64).reshape(-1, 4))
        corners = np.clip(said, 0, [width, height, width, height]).round(2)
        boxes = [
            {"label": to_label(box["label"], self.label_type), "box": corner.tolist(), "score": box["score"]}
            for box, corner in zip(answer.value, corners, strict=True)
            if (corner[2:] > corner[:2]).all()
        ]
        return StructuredPrediction(boxes, answer.confidence)

    def measure(self, truth: Sequence[Cell], found: Sequence[Cell]) -> Measure:
        """Prepare average precision.

        Args:
            truth: Lists of boxes.
            found: Lists of boxes with scores.

        Returns:
            A function of row weights ``[R, N]``.
        """
        return measure_rows(self.kind, BoxRows(truth, found))

    def quality(self, truth: Sequence[Cell], found: Sequence[Cell]) -> NDArray[np.float64]:
        """Grade rows by the F1 of the boxes that it is sure of.

        Args:
            truth: Lists of boxes.
            found: Lists of boxes with scores.

        Returns:
            0 to 1, ``[N]``.
        """
        return box_quality(truth, found)

    def per_label(self, truth: Sequence[Cell], found: Sequence[Cell]) -> list[dict[str, Any]]:
        """Compute each label's average precision.

        Args:
            truth: Lists of boxes.
            found: Lists of boxes with scores.

        Returns:
            One entry a label with true boxes: ``label``, ``support``, ``ap``, ``ap_50``.
        """
        return box_label_scores(truth, found)

    @property
    def prior(self) -> StructuredPrediction:
        """No box."""
        return StructuredPrediction([])


def _read(cell: Cell, size: tuple[int, int] | None) -> list[LabelledBox] | str | None:
    """Return a cell's boxes, or why there are none, or None for an absent cell."""
    try:
        return read_boxes(cell, size)
    except CellReadError as error:
        return str(error)


def _choose_stream(source: RowContext, settings: BoxesSettings) -> tuple[str, str]:
    pictures = {stream.name: stream.columns[0] for stream in source.streams if stream.modality in BoxesTarget.details}
    if not pictures:
        raise SchemaError("Boxes are found in pictures, and no input column holds any. Add one, or drop this target.")
    if settings.image is not None and settings.image not in pictures:
        raise SchemaError(
            f"The setting image={settings.image} names no stream of pictures. There are: {', '.join(pictures)}."
        )
    stream = settings.image or next(iter(pictures))
    return stream, pictures[stream]


def _choose_side(rows: Sequence[list[LabelledBox] | str | None], sizes: Sequence[tuple[int, int] | None]) -> int:
    """Choose pictures so large that the typical box of the smallest label is 16 pixels wide, within bounds."""
    sides: dict[str, list[float]] = {}
    for boxes, size in zip(rows, sizes, strict=True):
        if not isinstance(boxes, list) or size is None:
            continue
        for box in boxes:
            left, top, right, bottom = box.box
            sides.setdefault(box.label, []).append(((right - left) * (bottom - top)) ** 0.5 / max(size))
    if not sides:
        return FEWEST_PIXELS
    smallest = min(float(np.median(found)) for found in sides.values())
    wanted = int(-(-SMALL_BOX / max(smallest, 1e-6) // SIDE_STEP) * SIDE_STEP)
    return min(max(wanted, FEWEST_PIXELS), MOST_PIXELS)
