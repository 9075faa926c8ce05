"""The target image: a small image in each row.

Shape legend: N rows, B rows of a batch, Y and X height and width, C channels, W width of tokens.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from polymodal.arrays import BrokenCell, Cell, Column
from polymodal.errors import SchemaError
from polymodal.metrics import Measure, measure_rows
from polymodal.metrics.image import ImageRows
from polymodal.modalities.image import Image, ImageSettings
from polymodal.targets.image_uri import PNG_URI, decode_image, encode_image, image_errors
from polymodal.targets.numeric import NumericTarget
from polymodal.targets.predictions import Outputs, Step
from polymodal.targets.structured import (
    RowContext,
    StructuredPrediction,
    StructuredPredictions,
    TargetSettings,
    to_structured_predictions,
    values_of,
)

if TYPE_CHECKING:
    from torch import nn

    from polymodal.targets.structured_head import StructuredHead


class ImageTargetSettings(TargetSettings):
    """Options of images.

    Attributes:
        size: Maximum of the longer side in pixels; smaller training images give smaller predictions.
        channels: 1 for grey, 3 for colour; None: 1 where every sampled training image is grey.
    """

    size: int = Field(default=32, ge=8, le=64)
    channels: Literal[1, 3] | None = None


@dataclass(frozen=True, kw_only=True)
class ImageTarget(NumericTarget):
    """A column with an image in each row, resized to one small size.

    Predictions are PNG files in the text of a ``data:`` URI, which browsers open and every table format can hold.

    Attributes:
        mean_picture: The mean training image as such a URI; predictions have its size and channels.
    """

    mean_picture: str

    kind: ClassVar[str] = "image"
    primary_metric: ClassVar[str] = "rmse"
    Settings: ClassVar[type[TargetSettings]] = ImageTargetSettings

    @classmethod
    def fit(cls, cells: Sequence[Cell], context: RowContext, settings: ImageTargetSettings) -> Self:
        """Fit size, channels and the mean image.

        Args:
            cells: Cells of the training rows.
            context: Its ``folder`` is the base of relative paths.
            settings: Options.

        Returns:
            The fitted target.

        Raises:
            SchemaError: If all images are equal.
        """
        options = ImageSettings(max_side=settings.size, channels=settings.channels)
        content = _decode_uris(cells)
        modality = Image.fit(content, options, context.folder)
        column, _ = modality.transform(content, context.folder)
        pixels = column.values[column.present]
        if not len(pixels) or (pixels == pixels[0]).all():
            raise SchemaError("An image target needs two different images or more. Found fewer.")
        mean = np.rint(pixels.mean(axis=0, dtype=np.float64)).astype(np.uint8)
        return cls(mean_picture=encode_image(mean))

    def encode(self, cells: Sequence[Cell], context: RowContext) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Decode and resize the images.

        Args:
            cells: Cells of any rows.
            context: Its ``folder`` is the base of relative paths.

        Returns:
            uint8 ``[N, Y, X, C]``, 0 where unknown, and a mask, bool ``[N]``.
        """
        column, _ = self._read(cells, context)
        return column.values, column.present

    def invalid_cells(self, cells: Sequence[Cell], context: RowContext) -> list[tuple[int, str]]:
        """List the cells that hold no readable image.

        Args:
            cells: Cells of any rows.
            context: Its ``folder`` is the base of relative paths.

        Returns:
            Row index and reason.
        """
        return [(cell.row - 1, cell.reason) for cell in self._read(cells, context)[1]]

    def _read(self, cells: Sequence[Cell], context: RowContext) -> tuple[Column, list[BrokenCell]]:
        height, width, channels = decode_image(self.mean_picture).shape
        modality = Image(height=height, width=width, channels=channels, mean=[], std=[])
        return modality.transform(_decode_uris(cells), context.folder)

    def build_head(self, width: int, encoders: Mapping[str, nn.Module]) -> StructuredHead:  # noqa: ARG002
        """Build the layers.

        Args:
            width: W.
            encoders: Not used.

        Returns:
            The head.
        """
        from polymodal.targets.image_head import ImageHead

        return ImageHead(self.read_outputs, width, decode_image(self.mean_picture))

    def read_outputs(self, outputs: Outputs, step: Step | None = None) -> list[StructuredPrediction]:  # noqa: ARG002
        """Encode an image for each row.

        Args:
            outputs: ``pixels`` ``[B, C, Y, X]``, black being 0 and white 1; limited to 0..1.
            step: Not used.

        Returns:
            PNG files as ``data:`` URIs.
        """
        pixels_BCYX = np.rint(outputs["pixels"].clip(0, 1) * 255).astype(np.uint8)
        images = np.ascontiguousarray(pixels_BCYX.transpose(0, 2, 3, 1))
        return [StructuredPrediction(encode_image(one)) for one in images]

    def references(self, cells: Sequence[Cell], context: RowContext) -> list[Cell]:
        """Return the true images, in the size of the predictions.

        Args:
            cells: Cells of rows in which the truth is known.
            context: Its ``folder`` is the base of relative paths.

        Returns:
            PNG files as ``data:`` URIs.
        """
        return [encode_image(pixels) for pixels in self._read(cells, context)[0].values]

    def truth_numbers(self, truth: NDArray[Any]) -> NDArray[np.float64]:
        """Return the pixels, black being 0 and white 1.

        Args:
            truth: Encoded cells uint8 ``[N, Y, X, C]``.

        Returns:
            float64 ``[N, Y * X * C]``.
        """
        return truth.reshape(len(truth), -1) / 255.0

    def prediction_numbers(self, predictions: StructuredPredictions) -> NDArray[np.float64]:
        """Return the pixels of predictions.

        Args:
            predictions: ``[N]``.

        Returns:
            float64 ``[N, Y * X * C]``.
        """
        size = decode_image(self.mean_picture).size
        pixels = [decode_image(value).reshape(-1) for value in values_of(predictions)]
        return np.array(pixels, np.float64).reshape(len(pixels), size) / 255.0

    def from_numbers(self, numbers: NDArray[np.float64]) -> StructuredPredictions:
        """Return images of pixels.

        Args:
            numbers: ``[N, Y * X * C]``; limited to 0..1.

        Returns:
            ``[N]``.
        """
        shape = decode_image(self.mean_picture).shape
        pixels = np.rint(np.clip(numbers, 0.0, 1.0) * 255).astype(np.uint8)
        return to_structured_predictions([StructuredPrediction(encode_image(row.reshape(shape))) for row in pixels])

    def measure(self, truth: Sequence[Cell], predictions: Sequence[Cell]) -> Measure:
        """Compute what rmse, mae and psnr need of each row.

        Args:
            truth: Images.
            predictions: Images.

        Returns:
            A function of row weights ``[R, N]``.
        """
        return measure_rows(self.kind, ImageRows(image_errors(truth, predictions)))

    def row_scores(self, truth: Sequence[Cell], predictions: Sequence[Cell]) -> NDArray[np.float64]:
        """Score each row by the mean absolute error.

        Args:
            truth: Images.
            predictions: Images.

        Returns:
            1 without an error, 0 for black in place of white, ``[N]``.
        """
        return np.asarray(1 - image_errors(truth, predictions)[:, 1])

    @property
    def prior(self) -> StructuredPrediction:
        """The mean training image."""
        return StructuredPrediction(self.mean_picture)


def _decode_uris(cells: Sequence[Cell]) -> list[Cell]:
    """Replace ``data:`` URIs, such as predictions, by the files they hold; other cells are unchanged."""
    return [_decode_uri(cell) if isinstance(cell, str) and cell.startswith(PNG_URI) else cell for cell in cells]


def _decode_uri(uri: str) -> bytes:
    try:
        return base64.b64decode(uri.removeprefix(PNG_URI), validate=True)
    except ValueError:
        return b""
