"""Series encoders: from ``[B, steps, features]`` to tokens (torch).

Long series are cut into patches first, so that the layers see about a hundred steps.
Shape legend: B rows, T steps, F features of a step, K tokens, W width of tokens.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import Tensor, nn

from polymodal.encoders.recurrent import Recurrent
from polymodal.encoders.steps import StepTokens, clean_steps, stack_steps
from polymodal.encoders.temporal import (
    TemporalConvolutions,
    TimeStatistics,
    TransformerSteps,
    levels_to_span,
    with_first,
)
from polymodal.tokens import ColumnBatch, Tokens

if TYPE_CHECKING:
    from polymodal.modalities.series import Series

STEPS = {"tcn": 128, "gru": 64, "lstm": 64, "transformer": 32}
"""Patches into which a usual series is cut at most, where the size of a patch is left open."""
WORD = 8
"""Steps of a transformer's patch at least, where there are enough: a single sample says too little to attend to."""


class Patches(nn.Module):
    """Neighbouring steps as one: Nie et al. 2023 (PatchTST), arXiv 2211.14730, section 3.1.

    Differs from the source: a patch holds all channels, and patches do not overlap.
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
        """Cut and project.

        Args:
            values_BTF: ``[B, T, F]``, zero in padding.
            lengths: int64 ``[B]``.

        Returns:
            ``[B, ceil(T / patch), W]`` and the new lengths.
        """
        patches_BTF, lengths = stack_steps(values_BTF, lengths, self.patch)
        return self.project(patches_BTF), lengths


class SeriesEncoder(nn.Module):
    """Patches, layers over time, and tokens; one more token for the statistics of the whole series."""

    def __init__(self, *, patches: Patches, layers: nn.Module, tokens: StepTokens, statistics: TimeStatistics) -> None:
        """Take the parts.

        Args:
            patches: From features to steps of the width.
            layers: Over steps, from ``[B, T, W]`` and lengths to as many steps.
            tokens: From steps to tokens.
            statistics: From features to one token.
        """
        super().__init__()
        self.patches = patches
        self.layers = layers
        self.tokens = tokens
        self.statistics = statistics

    def forward(self, column: ColumnBatch) -> Tokens:
        """Encode series.

        Args:
            column: Values float32 ``[B, T, F]`` and lengths.

        Returns:
            Tokens ``[B, 1 + K, W]``; the first one is of the whole series.
        """
        values_BTF, lengths = clean_steps(column)
        steps_BTW, num_patches = self.patches(values_BTF, lengths)
        tokens: Tokens = self.tokens(self.layers(steps_BTW, num_patches), num_patches)
        return with_first(self.statistics(values_BTF, lengths), tokens)


def build_series_tcn(
    fitted: Series,
    width: int,
    *,
    levels: int = 0,
    kernel_size: int = 3,
    patch: int = 0,
    max_tokens: int = 16,
    dropout: float = 0.1,
) -> nn.Module:
    """Build the temporal convolutional encoder.

    Args:
        fitted: The fitted modality.
        width: W.
        levels: Residual blocks; 0: as many as it takes to see a usual series as a whole, 2 to 6.
        kernel_size: Steps that a filter sees; an even number becomes the next odd one.
        patch: Steps of a patch; 0: so many that a usual series has at most 128 patches.
        max_tokens: Most tokens of a series.
        dropout: Share of values set to zero in training.

    Returns:
        The encoder.
    """
    kernel_size += 1 - kernel_size % 2
    patch = patch or _patch(fitted, "tcn")
    levels = levels or levels_to_span(fitted.median_length // patch, kernel_size)
    layers = TemporalConvolutions(width, levels, kernel_size, dropout)
    return _encoder(fitted, width, patch, layers, width, max_tokens, dropout)


def build_series_gru(
    fitted: Series, width: int, *, depth: int = 1, patch: int = 0, max_tokens: int = 16, dropout: float = 0.1
) -> nn.Module:
    """Build the encoder with a GRU in both directions.

    Args:
        fitted: The fitted modality.
        width: W.
        depth: GRU layers.
        patch: Steps of a patch; 0: so many that a usual series has at most 64 patches.
        max_tokens: Most tokens of a series.
        dropout: Share of values set to zero in training.

    Returns:
        The encoder.
    """
    layers = Recurrent("gru", width, depth, dropout)
    return _encoder(fitted, width, patch or _patch(fitted, "gru"), layers, layers.output_dim, max_tokens, dropout)


def build_series_lstm(
    fitted: Series, width: int, *, depth: int = 1, patch: int = 0, max_tokens: int = 16, dropout: float = 0.1
) -> nn.Module:
    """Build the encoder with an LSTM in both directions.

    Args:
        fitted: The fitted modality.
        width: W.
        depth: LSTM layers.
        patch: Steps of a patch; 0: so many that a usual series has at most 64 patches.
        max_tokens: Most tokens of a series.
        dropout: Share of values set to zero in training.

    Returns:
        The encoder.
    """
    layers = Recurrent("lstm", width, depth, dropout)
    return _encoder(fitted, width, patch or _patch(fitted, "lstm"), layers, layers.output_dim, max_tokens, dropout)


def build_series_transformer(
    fitted: Series,
    width: int,
    *,
    depth: int = 2,
    num_heads: int = 4,
    patch: int = 0,
    max_tokens: int = 16,
    dropout: float = 0.1,
) -> nn.Module:
    """Build the transformer over patches.

    Args:
        fitted: The fitted modality.
        width: W.
        depth: Transformer layers.
        num_heads: Heads of each layer.
        patch: Steps of a patch; 0: so many that a usual series has at most 32 patches, and 8 where it is long enough.
        max_tokens: Most tokens of a series.
        dropout: Share of values set to zero in training.

    Returns:
        The encoder.
    """
    layers = TransformerSteps(width, depth, num_heads, dropout)
    return _encoder(fitted, width, patch or _patch(fitted, "transformer"), layers, width, max_tokens, dropout)


def _patch(fitted: Series, encoder: str) -> int:
    least = min(WORD, fitted.median_length // WORD) if encoder == "transformer" else 1
    return max(1, least, math.ceil(fitted.median_length / STEPS[encoder]))


def _encoder(
    fitted: Series, width: int, patch: int, layers: nn.Module, output_dim: int, max_tokens: int, dropout: float
) -> nn.Module:
    return SeriesEncoder(
        patches=Patches(fitted.num_features, patch, width),
        layers=layers,
        tokens=StepTokens(output_dim, width, max_tokens, dropout),
        statistics=TimeStatistics(fitted.num_features, width, dropout),
    )
