"""Series encoders: from ``[B, steps, features]`` to tokens (torch).

Long series are split into patches first, so that the layers run on about a hundred steps.
Shape legend: B rows, T steps, F features of a step, K tokens, W width of tokens.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from torch import Tensor, nn

from polymodal.encoders.recurrent import Recurrent
from polymodal.encoders.steps import StepTokens, mask_steps, stack_steps
from polymodal.encoders.temporal import (
    StatisticsPooling,
    TemporalConvolutions,
    TemporalTransformer,
    levels_to_span,
    prepend_token,
)
from polymodal.tokens import ColumnBatch, Tokens

if TYPE_CHECKING:
    from polymodal.modalities.series import Series


class Patches(nn.Module):
    """Projection of non-overlapping patches: Nie et al. 2023 (PatchTST), arXiv 2211.14730, section 3.1.

    Differs from the source: a patch has all channels, and patches do not overlap.
    """

    def __init__(self, num_features: int, patch: int, width: int) -> None:
        """Build the projection.

        Args:
            num_features: F.
            patch: Steps of a patch.
            width: W.
        """
        super().__init__()
        self.patch = patch
        self.project = nn.Sequential(nn.Linear(patch * num_features, width), nn.LayerNorm(width), nn.GELU())

    def forward(self, values_BTF: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Split and project.

        Args:
            values_BTF: ``[B, T, F]``, zero in padding.
            lengths: int64 ``[B]``.

        Returns:
            ``[B, ceil(T / patch), W]`` and the new lengths.
        """
        patches_BTF, lengths = stack_steps(values_BTF, lengths, self.patch)
        return self.project(patches_BTF), lengths


class SeriesEncoder(nn.Module):
    """Patches, layers over time, and tokens; one more token by statistics pooling of the whole series."""

    def __init__(
        self,
        fitted: Series,
        width: int,
        *,
        patch: int,
        layers: nn.Module,
        output_dim: int,
        max_tokens: int,
        dropout: float,
    ) -> None:
        """Combine the layers between patches and tokens.

        Args:
            fitted: The fitted modality.
            width: W.
            patch: Steps of a patch.
            layers: Over patches, from ``[B, T, W]`` and lengths to as many steps.
            output_dim: Output width of the layers.
            max_tokens: Maximum number of tokens per series.
            dropout: Dropout probability.
        """
        super().__init__()
        self.patches = Patches(fitted.num_features, patch, width)
        self.layers = layers
        self.tokens = StepTokens(output_dim, width, max_tokens, dropout)
        self.statistics = StatisticsPooling(fitted.num_features, width, dropout)

    def forward(self, column: ColumnBatch) -> Tokens:
        """Encode series.

        Args:
            column: Values float32 ``[B, T, F]`` and lengths.

        Returns:
            Tokens ``[B, 1 + K, W]``; the first one is of the whole series.
        """
        values_BTF, lengths = mask_steps(column)
        steps_BTW, num_patches = self.patches(values_BTF, lengths)
        tokens: Tokens = self.tokens(self.layers(steps_BTW, num_patches), num_patches)
        return prepend_token(self.statistics(values_BTF, lengths), tokens)


class SeriesTCN(SeriesEncoder):
    """Dilated convolutions over patches."""

    def __init__(
        self,
        fitted: Series,
        width: int,
        *,
        levels: int = 0,
        kernel_size: int = 3,
        patch: int = 0,
        max_tokens: int = 16,
        dropout: float = 0.1,
    ) -> None:
        """Build the layers.

        Args:
            fitted: The fitted modality.
            width: W.
            levels: Residual blocks; 0: 2 to 6, so that the receptive field covers a median series.
            kernel_size: Kernel size in steps; an even number is rounded up.
            patch: Steps of a patch; 0: chosen so that a median series has at most 128 patches.
            max_tokens: Maximum number of tokens per series.
            dropout: Dropout probability.
        """
        kernel_size += 1 - kernel_size % 2
        patch = patch or patch_length(fitted, max_patches=128)
        levels = levels or levels_to_span(fitted.median_length // patch, kernel_size)
        layers = TemporalConvolutions(width, levels, kernel_size, dropout)
        super().__init__(
            fitted, width, patch=patch, layers=layers, output_dim=width, max_tokens=max_tokens, dropout=dropout
        )


class SeriesRecurrent(SeriesEncoder):
    """Recurrent layers over patches in both directions.

    Attributes:
        cell: "lstm" or "gru".
    """

    cell: ClassVar[Literal["lstm", "gru"]]

    def __init__(
        self,
        fitted: Series,
        width: int,
        *,
        depth: int = 1,
        patch: int = 0,
        max_tokens: int = 16,
        dropout: float = 0.1,
    ) -> None:
        """Build the layers.

        Args:
            fitted: The fitted modality.
            width: W.
            depth: Recurrent layers.
            patch: Steps of a patch; 0: chosen so that a median series has at most 64 patches.
            max_tokens: Maximum number of tokens per series.
            dropout: Dropout probability.
        """
        layers = Recurrent(self.cell, width, depth, dropout)
        super().__init__(
            fitted,
            width,
            patch=patch or patch_length(fitted, max_patches=64),
            layers=layers,
            output_dim=layers.output_dim,
            max_tokens=max_tokens,
            dropout=dropout,
        )


class SeriesGRU(SeriesRecurrent):
    """GRU layers over patches in both directions."""

    cell = "gru"


class SeriesLSTM(SeriesRecurrent):
    """LSTM layers over patches in both directions."""

    cell = "lstm"


class SeriesTransformer(SeriesEncoder):
    """A transformer over patches."""

    def __init__(
        self,
        fitted: Series,
        width: int,
        *,
        depth: int = 2,
        num_heads: int = 4,
        patch: int = 0,
        max_tokens: int = 16,
        dropout: float = 0.1,
    ) -> None:
        """Build the layers.

        Args:
            fitted: The fitted modality.
            width: W.
            depth: Transformer layers.
            num_heads: Attention heads.
            patch: Steps of a patch; 0: chosen so that a median series has at most 32 patches, at least 8 where it is
                long enough, because a single step holds little information for attention.
            max_tokens: Maximum number of tokens per series.
            dropout: Dropout probability.
        """
        layers = TemporalTransformer(width, depth, num_heads, dropout)
        patch = patch or patch_length(fitted, max_patches=32, min_steps=8)
        super().__init__(
            fitted, width, patch=patch, layers=layers, output_dim=width, max_tokens=max_tokens, dropout=dropout
        )


def patch_length(fitted: Series, max_patches: int, min_steps: int = 1) -> int:
    """Choose the steps of a patch.

    Args:
        fitted: The fitted modality.
        max_patches: Maximum number of patches of a median series.
        min_steps: Minimum number of steps of a patch, where a median series has at least its square.

    Returns:
        1 or more.
    """
    least = min(min_steps, fitted.median_length // min_steps)
    return max(1, least, math.ceil(fitted.median_length / max_patches))
