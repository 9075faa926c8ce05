"""Pretrained video encoders: VideoMAE (torch).

Shape legend: B rows of the batch, F frames, T time steps, Y and X height and width, C channels,
K outputs, D width of an output, W width of tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from polymodal.arrays import Column
from polymodal.encoders.backbone import load_config
from polymodal.encoders.checkpoint_adapter import CheckpointAdapter, row_chunks
from polymodal.encoders.checkpoint_settings import ImagePreprocessing, image_preprocessing
from polymodal.encoders.pooling import GridProjection
from polymodal.encoders.pretrained import Pretrained
from polymodal.encoders.pretrained_image import normalise
from polymodal.errors import parameter_error
from polymodal.nn.layers import lengths_in_use, pooling_matrix
from polymodal.tokens import ColumnBatch

GRID = 2
"""Maximum number of outputs along each side of a time step."""
BATCH_VIDEOS = 4


class FittedVideo(Protocol):
    """The attributes of the fitted video modality that are used.

    Attributes:
        channels: 1 or 3.
    """

    @property
    def channels(self) -> int: ...  # noqa: D102


@dataclass(frozen=True, kw_only=True)
class VideoCheckpointAdapter(CheckpointAdapter):
    """Checkpoints of a fixed number of frames, split into tubelets: Tong et al. 2022, arXiv 2203.12602.

    Frames are sampled uniformly; of shorter videos some are repeated. The outputs of the tubelets are average-pooled to
    a grid of 2 by 2 and ``times`` time steps.

    Attributes:
        config: Its configuration.
        preprocessing: Its preprocessing of frames.
        times: Maximum number of time steps that are kept.
    """

    config: Any
    preprocessing: ImagePreprocessing
    times: int

    modality: ClassVar[str] = "video"

    @property
    def dim(self) -> int:
        """Width of an output: D."""
        return int(self.config.hidden_size)

    def run(self, backbone: Any, column: ColumnBatch) -> tuple[Tensor, Tensor]:
        """Run the checkpoint.

        Args:
            backbone: The checkpoint.
            column: uint8 or float ``[B, F, Y, X, C]`` in 0..255, with lengths.

        Returns:
            Outputs ``[B, K, D]``, time step by time step, and int64 ``[B]``, K for each.
        """
        frames_BFYXC = sample_frames(column.values, lengths_in_use(column), int(self.config.num_frames))
        pixels = self._resized(normalise(frames_BFYXC, self.preprocessing).permute(0, 1, 4, 2, 3))
        hidden_BTD = backbone(pixel_values=pixels.to(backbone.dtype)).last_hidden_state.float()
        outputs_BKD = self._on_grid(hidden_BTD)
        return outputs_BKD, torch.full((column.values.shape[0],), outputs_BKD.shape[1], device=outputs_BKD.device)

    @property
    def _side(self) -> tuple[int, int]:
        height, width = np.broadcast_to(self.config.image_size, 2)
        return int(height), int(width)

    def _resized(self, pixels_BFCYX: Tensor) -> Tensor:
        if pixels_BFCYX.shape[3:] == self._side:
            return pixels_BFCYX
        flat = pixels_BFCYX.flatten(0, 1)
        scaled = functional.interpolate(flat, self._side, mode="bilinear", antialias=True)
        return scaled.reshape(*pixels_BFCYX.shape[:3], *self._side)

    def _on_grid(self, hidden_BTD: Tensor) -> Tensor:
        patch_Y, patch_X = np.broadcast_to(self.config.patch_size, 2)
        rows, columns = self._side[0] // int(patch_Y), self._side[1] // int(patch_X)
        map_BDTYX = hidden_BTD.transpose(1, 2).reshape(hidden_BTD.shape[0], hidden_BTD.shape[2], -1, rows, columns)
        shape = (min(self.times, map_BDTYX.shape[2]), min(GRID, rows), min(GRID, columns))
        return _average_pool(map_BDTYX, shape).flatten(2).transpose(1, 2)

    def max_outputs(self, column: Column) -> int:  # noqa: ARG002
        """Return the number of outputs of the grid.

        Args:
            column: Videos.

        Returns:
            Maximum number of outputs per row.
        """
        return self.times * GRID**2

    def batches(self, column: Column) -> Iterator[NDArray[np.int64]]:
        """Split the videos into batches.

        Args:
            column: Videos.

        Returns:
            Row indices of each batch.
        """
        return row_chunks(column, BATCH_VIDEOS)


def _average_pool(map_BDTYX: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Average-pool times, rows and columns to a shape; in exported graphs, which lack the operator, as products."""
    if not torch.compiler.is_exporting():
        return functional.adaptive_avg_pool3d(map_BDTYX, shape)
    for axis, size in enumerate(shape, start=2):
        weights = pooling_matrix(map_BDTYX.shape[axis], size).to(map_BDTYX.device)
        map_BDTYX = (map_BDTYX.movedim(axis, -1) @ weights.T).movedim(-1, axis)
    return map_BDTYX


def sample_frames(frames_BFYXC: Tensor, lengths: Tensor, num_frames: int) -> Tensor:
    """Sample a number of frames of every video uniformly, from the first to the last one.

    Args:
        frames_BFYXC: ``[B, F, Y, X, C]``.
        lengths: int64 ``[B]``, frames in use, at least 1.
        num_frames: Frames of the output.

    Returns:
        ``[B, num_frames, Y, X, C]``.
    """
    step = torch.linspace(0, 1, num_frames, device=lengths.device)
    place_BF = (step * (lengths.clamp(min=1) - 1).unsqueeze(1)).round().long()
    return frames_BFYXC[torch.arange(lengths.shape[0], device=lengths.device).unsqueeze(1), place_BF]


class PretrainedVideo(Pretrained):
    """A pretrained video checkpoint and its pooler."""

    def __init__(
        self,
        fitted: FittedVideo,
        width: int,
        *,
        checkpoint: str = "",
        tuning: str = "frozen",
        rank: int = 0,
        max_tokens: int = 32,
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
            max_tokens: Maximum number of outputs kept per video: four for each time step.
            backbone_rate: Learning rate of the adapters or of the top layer of the checkpoint, as a factor of that of
                the other layers; 0 means 0.5, or 0.05.
            dropout: Dropout probability.

        Raises:
            ConfigError: If the checkpoint cannot be loaded, or does not support the videos of the modality.
        """
        config = load_config(checkpoint, "video")
        if fitted.channels != 3:
            raise parameter_error("channels", f"videos for the checkpoint {checkpoint!r}", "3", fitted.channels)
        preprocessing = image_preprocessing(checkpoint, "video_processor")
        times = max(1, max_tokens // GRID**2)
        adapter = VideoCheckpointAdapter(checkpoint=checkpoint, config=config, preprocessing=preprocessing, times=times)
        most = times * GRID**2
        pooler = GridProjection(adapter.dim, width, most, dropout)
        super().__init__(adapter, pooler, tuning=tuning, rank=rank, max_tokens=most, backbone_rate=backbone_rate)
