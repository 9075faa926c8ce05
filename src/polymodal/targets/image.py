"""The target image: a small image in each row.

Shape legend: N rows, B rows of a batch, Y and X height and width, C channels, W width of tokens.
"""

from __future__ import annotations

import base64
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from polymodal.arrays import BrokenCell, Cell, Column
from polymodal.errors import SchemaError
from polymodal.metrics import Measure, measure_rows
from polymodal.metrics.image import ImageRows
from polymodal.modalities.image import Image, ImageSettings
from polymodal.nn.convolution import Conv2d, ConvTranspose2d
from polymodal.nn.layers import GroupNorm, num_groups
from polymodal.targets.image_uri import PNG_URI, decode_image, encode_image, image_errors
from polymodal.targets.numeric import NumericTarget
from polymodal.targets.structured import (
    RowContext,
    StructuredHead,
    StructuredPrediction,
    StructuredPredictions,
    TargetSettings,
    to_structured_predictions,
    values_of,
)
from polymodal.tokens import Fused

MIN_CHANNELS = 16
L1_WEIGHT = 0.1
BASE_SIZE = 4
"""Maximum side of the feature map that the transposed convolutions start from."""


class ImageTargetSettings(TargetSettings):
    """Options of images.

    Attributes:
        size: Maximum of the longer side in pixels; smaller training images give smaller predictions.
        channels: 1 for grey, 3 for colour; None: 1 where every sampled training image is grey.
    """

    size: int = Field(default=32, ge=8, le=64)
    channels: Literal[1, 3] | None = None


class ImageHead(StructuredHead):
    """Transposed convolutions from the fused vector to an image.

    After the generator of Radford et al. 2016, arXiv 1511.06434, figure 1. Differs from the source: group norm in
    place of batch norm, GELU in place of ReLU, and the output is added to the mean training image, which an
    untrained head predicts.
    """

    uses_autocast = True
    mean: Tensor

    def __init__(self, target: ImageTarget, width: int) -> None:
        """Build the layers.

        Args:
            target: The fitted target.
            width: W.
        """
        super().__init__()
        mean_YXC = decode_image(target.mean_picture)
        self.shape = mean_YXC.shape[:2]
        doublings = max(0, math.ceil(math.log2(max(self.shape) / BASE_SIZE)))
        dims = [max(width >> stage, MIN_CHANNELS) for stage in range(doublings + 1)]
        self.num_channels = dims[0]
        self.grid = [math.ceil(side / 2**doublings) for side in self.shape]
        self.begin = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, dims[0] * math.prod(self.grid)), nn.GELU())
        stages = [_upsample_block(*pair) for pair in itertools.pairwise(dims)]
        last = Conv2d(dims[-1], mean_YXC.shape[2], 3, padding=1)
        nn.init.zeros_(last.weight)
        self.paint = nn.Sequential(*stages, last)
        mean_CYX = torch.from_numpy(mean_YXC.astype(np.float32) / 255).permute(2, 0, 1)
        self.register_buffer("mean", mean_CYX.contiguous(), persistent=False)

    def loss(self, fused: Fused, truth: Tensor, smoothing: float) -> Tensor:  # noqa: ARG002
        """Mean squared error of the pixels, black being 0 and white 1, plus a tenth of the mean absolute error.

        The squared error is the metric; the absolute error reduces noise in uniform areas.

        Args:
            fused: Output of the fusion.
            truth: Images uint8 ``[B, Y, X, C]``.
            smoothing: Not used: pixels have no classes.

        Returns:
            Loss ``[B]``.
        """
        error = self._generate(fused) - truth.permute(0, 3, 1, 2).float() / 255
        return error.square().mean(dim=(1, 2, 3)) + L1_WEIGHT * error.abs().mean(dim=(1, 2, 3))

    def predict(self, fused: Fused) -> list[StructuredPrediction]:
        """Generate an image for each row.

        Args:
            fused: Output of the fusion.

        Returns:
            PNG files as ``data:`` URIs.
        """
        pixels_BCYX = (self._generate(fused).float().clamp(0, 1) * 255).round().to(torch.uint8)
        return [
            StructuredPrediction(encode_image(one))
            for one in pixels_BCYX.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        ]

    def _generate(self, fused: Fused) -> Tensor:
        coarse_BCYX = self.begin(fused.pooled).view(len(fused.pooled), self.num_channels, *self.grid)
        residual: Tensor = self.paint(coarse_BCYX)[:, :, : self.shape[0], : self.shape[1]]
        return residual.float() + self.mean


def _upsample_block(num_in: int, num_out: int) -> nn.Sequential:
    return nn.Sequential(
        ConvTranspose2d(num_in, num_out, 4, stride=2, padding=1, bias=False),
        GroupNorm(num_groups(num_out), num_out),
        nn.GELU(),
    )


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
        return ImageHead(self, width)

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
