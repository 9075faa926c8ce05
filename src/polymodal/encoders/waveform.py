"""The audio encoder of raw samples: from ``[B, samples, channels]`` to tokens (torch).

Padding is zeroed before every layer that mixes time steps, so that it does not affect the output.
Shape legend: B rows, T samples, C channels of a map, S audio channels (1 or 2), K tokens, W width of tokens.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import nn
from torch.nn import functional

from polymodal.encoders.audio import MaskedConvolution
from polymodal.encoders.segments import SegmentEncoder
from polymodal.encoders.steps import StepTokens, frames_per_step, mask_steps
from polymodal.nn.convolution import Conv1d
from polymodal.tokens import ColumnBatch, Tokens

if TYPE_CHECKING:
    from polymodal.modalities.audio import Audio


class WaveformCNN(SegmentEncoder):
    """One-dimensional convolutions over samples, after Dai et al. 2017 (M5), arXiv 1610.00087.

    Differs from the source: strides in place of pooling, group norm in place of batch norm.
    """

    STRIDES = (16, 4, 4, 4)

    def __init__(
        self,
        fitted: Audio,
        width: int,
        *,
        channels: int = 32,
        max_tokens: int = 16,
        dropout: float = 0.1,
        detail: bool = False,
    ) -> None:
        """Build the stages.

        Args:
            fitted: The fitted modality.
            width: W.
            channels: C of the first stage; the next have 2, 4 and 4 times as many.
            max_tokens: Maximum number of tokens per clip.
            dropout: Dropout probability of the tokens.
            detail: Whether to return every time step as ``Tokens.detail``.
        """
        super().__init__(fitted, width)
        before_last = math.prod(self.STRIDES[:-1]) / fitted.sample_rate_hz
        strides = (*self.STRIDES[:-1], frames_per_step(before_last) if detail else self.STRIDES[-1])
        self.step_frames = math.prod(strides) if detail else 0
        dims = [fitted.channels, channels, 2 * channels, 4 * channels, 4 * channels]
        self.stages = nn.ModuleList(
            MaskedConvolution(Conv1d(num_in, num_out, 3 * stride, stride, padding=stride, bias=False))
            for num_in, num_out, stride in zip(dims, dims[1:], strides, strict=False)
        )
        self.tokens = StepTokens(dims[-1], width, max_tokens, dropout, detail)

    def encode(self, column: ColumnBatch) -> Tokens:
        """Encode clips, or segments of clips.

        Args:
            column: Values float16 ``[B, samples, S]`` and lengths.

        Returns:
            Tokens ``[B, K, W]``.
        """
        values_BTS, lengths = mask_steps(column)
        map_BCT = functional.pad(values_BTS.transpose(1, 2), (0, -values_BTS.shape[1] % 1024))
        for stage in self.stages:
            map_BCT, lengths = stage(map_BCT, lengths)
        tokens: Tokens = self.tokens(map_BCT.transpose(1, 2), lengths)
        return tokens


def waveform_mismatch(fitted: Audio) -> str | None:
    """Describe audio that encoders of samples cannot encode.

    Args:
        fitted: The fitted modality.

    Returns:
        None for samples.
    """
    return None if fitted.is_waveform else f"audio with the features {fitted.features!r}"
