"""Pretrained image encoders: ViT, DINOv2, CLIP, SigLIP, ConvNeXt, ResNet (torch).

Shape legend: B rows of the batch, C channels, Y and X height and width, K outputs, D width of an
output, W width of tokens.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from polymodal.arrays import Column
from polymodal.encoders.backbone import load_config
from polymodal.encoders.checkpoint_adapter import CheckpointAdapter, row_chunks
from polymodal.encoders.checkpoint_settings import (
    ImagePreprocessing,
    image_preprocessing,
)
from polymodal.encoders.pooling import GridProjection
from polymodal.encoders.pretrained import Pretrained
from polymodal.errors import parameter_error
from polymodal.tokens import ColumnBatch

if TYPE_CHECKING:
    from polymodal.modalities.image import Image

BATCH_IMAGES = 32


@dataclass(frozen=True, kw_only=True)
class ImageCheckpointAdapter(CheckpointAdapter):
    """Checkpoints of images.

    The outputs of the patches are average-pooled to a square grid; the class token, if there is one, comes first.

    Attributes:
        config: Its configuration; of CLIP and SigLIP that of the vision encoder.
        preprocessing: Its image preprocessing.
        grid: Maximum number of outputs along each side.
    """

    config: Any
    preprocessing: ImagePreprocessing
    grid: int

    modality: ClassVar[str] = "image"

    @property
    def dim(self) -> int:
        """Width of an output: D."""
        sizes = getattr(self.config, "hidden_sizes", None)
        return int(sizes[-1] if sizes else self.config.hidden_size)

    def run(self, backbone: Any, column: ColumnBatch) -> tuple[Tensor, Tensor]:
        """Run the checkpoint.

        Args:
            backbone: The checkpoint.
            column: uint8 or float ``[B, Y, X, C]`` in 0..255.

        Returns:
            Outputs ``[B, K, D]`` and int64 ``[B]``, K for each.
        """
        pixels_BCYX = normalise(column.values, self.preprocessing).permute(0, 3, 1, 2)
        options = self._options(backbone, pixels_BCYX.shape[2], pixels_BCYX.shape[3])
        hidden = backbone(pixel_values=pixels_BCYX.to(backbone.dtype), **options).last_hidden_state
        outputs_BKD = self._on_grid(hidden.float(), pixels_BCYX.shape[2], pixels_BCYX.shape[3])
        return outputs_BKD, torch.full((column.values.shape[0],), outputs_BKD.shape[1], device=outputs_BKD.device)

    def _options(self, backbone: Any, height: int, width: int) -> dict[str, bool]:
        """Interpolate the positions of images of another size than in pretraining, where the model has this option."""
        own = getattr(self.config, "image_size", None)
        is_own = own is None or tuple(np.broadcast_to(own, 2)) == (height, width)
        is_asked = "interpolate_pos_encoding" in inspect.signature(backbone.forward).parameters
        return {"interpolate_pos_encoding": True} if is_asked and not is_own else {}

    def _on_grid(self, hidden: Tensor, height: int, width: int) -> Tensor:
        if hidden.ndim == 4:  # the feature map of a convolutional network
            return _average_pool(hidden, self.grid)
        patch_Y, patch_X = np.broadcast_to(self.config.patch_size, 2)
        rows, columns = height // int(patch_Y), width // int(patch_X)
        num_special = hidden.shape[1] - rows * columns
        map_BDYX = hidden[:, num_special:].transpose(1, 2).reshape(hidden.shape[0], -1, rows, columns)
        return torch.cat([hidden[:, : min(num_special, 1)], _average_pool(map_BDYX, self.grid)], dim=1)

    def max_outputs(self, column: Column) -> int:  # noqa: ARG002
        """Return the number of outputs: those of the grid and the class token.

        Args:
            column: Images.

        Returns:
            Maximum number of outputs per row.
        """
        return self.grid**2 + 1

    def batches(self, column: Column) -> Iterator[NDArray[np.int64]]:
        """Split the images into batches.

        Args:
            column: Images.

        Returns:
            Row indices of each batch.
        """
        return row_chunks(column, BATCH_IMAGES)


def normalise(pixels: Tensor, preprocessing: ImagePreprocessing) -> Tensor:
    """Standardise pixels with the checkpoint's mean and standard deviation.

    Args:
        pixels: uint8 or float ``[..., C]`` in 0..255.
        preprocessing: Gives mean and standard deviation.

    Returns:
        float32 of the same shape.
    """
    mean = torch.tensor(preprocessing.mean, device=pixels.device)
    std = torch.tensor(preprocessing.std, device=pixels.device)
    return (pixels.float() * preprocessing.scale - mean) / std


def _average_pool(map_BDYX: Tensor, grid: int) -> Tensor:
    shape = (min(grid, map_BDYX.shape[2]), min(grid, map_BDYX.shape[3]))
    return functional.adaptive_avg_pool2d(map_BDYX, shape).flatten(2).transpose(1, 2)


class PretrainedImage(Pretrained):
    """A pretrained image checkpoint and its pooler."""

    def __init__(
        self,
        fitted: Image,
        width: int,
        *,
        checkpoint: str = "",
        tuning: str = "frozen",
        rank: int = 0,
        max_tokens: int = 16,
        backbone_rate: float = 0.0,
        dropout: float = 0.1,
    ) -> None:
        """Load the checkpoint's configuration and build the pooler.

        Args:
            fitted: The fitted modality; three channels.
            width: W.
            checkpoint: Folder or hub name of the checkpoint.
            tuning: ``frozen``, ``lora`` (low-rank adapters) or ``full`` (fine-tuned whole).
            rank: Rank of the adapters; 0 means 8.
            max_tokens: Maximum number of outputs of the square grid that is kept per image; the class token is added.
            backbone_rate: Learning rate of the adapters or of the top layer of the checkpoint, as a factor of that of
                the other layers; 0 means 0.5, or 0.05.
            dropout: Dropout probability.

        Raises:
            ConfigError: If the checkpoint cannot be loaded, or does not support the images of the modality.
        """
        config = load_config(checkpoint, "image")
        if fitted.channels != 3:
            raise parameter_error("channels", f"images for the checkpoint {checkpoint!r}", "3", fitted.channels)
        _check_size(fitted, config, checkpoint)
        grid = math.isqrt(max_tokens)
        preprocessing = image_preprocessing(checkpoint)
        adapter = ImageCheckpointAdapter(checkpoint=checkpoint, config=config, preprocessing=preprocessing, grid=grid)
        pooler = GridProjection(adapter.dim, width, grid**2 + 1, dropout)
        super().__init__(adapter, pooler, tuning=tuning, rank=rank, max_tokens=grid**2 + 1, backbone_rate=backbone_rate)


def _check_size(fitted: Image, config: Any, checkpoint: str) -> None:
    least = int(np.max(getattr(config, "patch_size", 4)))
    if min(fitted.height, fitted.width) < least:
        owner = f"images for the checkpoint {checkpoint!r}"
        raise parameter_error("size", owner, f"at least one patch of {least} pixels", min(fitted.height, fitted.width))
