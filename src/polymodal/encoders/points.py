"""Point cloud encoders: from ``[B, frames, points, features]`` to tokens (torch).

The last feature of a point is a mask: 1 for a point, 0 for padding. A frame may have no points.
Shape legend: B rows, T frames, P points of a frame, F input features of a point, C learned features, W width of tokens,
Q queries, K tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from polymodal.encoders.recurrent import Recurrent
from polymodal.encoders.steps import StepTokens
from polymodal.encoders.temporal import (
    EPSILON,
    StatisticsPooling,
    TemporalConvolutions,
    TemporalTransformer,
    levels_to_span,
    prepend_token,
)
from polymodal.nn.layers import Dropout, lengths_in_use, small_parameter, steps_present
from polymodal.tokens import ColumnBatch, Tokens

if TYPE_CHECKING:
    from polymodal.modalities.points import Points


def mask_points(column: ColumnBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Return point clouds with zeros in padding and in absent rows.

    Args:
        column: Values ``[B, T, P, F + 1]``; without lengths, all frames are in use.

    Returns:
        float32 ``[B, T, P, F]``; bool ``[B, T, P]``, True for a point; and int64 lengths ``[B]``, 0 for absent rows.
    """
    lengths = lengths_in_use(column)
    in_use_BT = steps_present(lengths, column.values.shape[1])
    is_point_BTP = (column.values[..., -1] > 0.5) & in_use_BT.unsqueeze(2)
    return torch.where(is_point_BTP.unsqueeze(3), column.values[..., :-1], 0).float(), is_point_BTP, lengths


class PointFeatures(nn.Module):
    """A shared MLP over all points: Qi et al. 2017 (PointNet), arXiv 1612.00593, figure 2.

    Differs from the source: layer norm in place of batch norm; no input transform (T-Net).
    """

    def __init__(self, num_features: int, hidden: int, output_dim: int) -> None:
        """Build the layers.

        Args:
            num_features: F.
            hidden: Width of the hidden layer.
            output_dim: C.
        """
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(num_features, hidden),
            nn.LayerNorm(hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, output_dim),
            nn.LayerNorm(output_dim),
            nn.ReLU(inplace=True),
        )

    def forward(self, points: Tensor, is_point: Tensor) -> Tensor:
        """Compute the features of each point.

        Args:
            points: ``[..., P, F]``.
            is_point: bool ``[..., P]``.

        Returns:
            ``[..., P, C]``, at least 0, and 0 in padding.
        """
        if torch.compiler.is_exporting():  # no shape depends on the number of points
            return torch.where(is_point.unsqueeze(-1), self.layers(points), 0)
        found = self.layers(points[is_point])
        padded = found.new_zeros(*is_point.shape, found.shape[1])
        features: Tensor = padded.index_put((is_point,), found)
        return features


def pool_points(points: Tensor, features: Tensor, is_point: Tensor) -> Tensor:
    """Pool a set of points.

    Args:
        points: ``[..., P, F]``, 0 in padding.
        features: Features of the points, ``[..., P, C]``, at least 0, and 0 in padding.
        is_point: bool ``[..., P]``.

    Returns:
        ``[..., 2 C + 2 F + 1]``: maximum and mean of each feature, mean and standard deviation of the points'
        coordinates and other inputs, and log1p of their number; zeros where there is no point.
    """
    count = is_point.sum(dim=-1, keepdim=True).to(features.dtype)
    share = 1 / count.clamp(min=1)
    centre = points.sum(dim=-2) * share
    square = ((points - centre.unsqueeze(-2)).square() * is_point.unsqueeze(-1)).sum(dim=-2) * share
    spread = (square + EPSILON).sqrt() * (count > 0)
    largest, mean = features.max(dim=-2).values, features.sum(dim=-2) * share
    return torch.cat([largest, mean, centre, spread, count.log1p()], dim=-1)


class FrameSequence(nn.Module):
    """PointNet for each frame, layers over time, and tokens; one more token by statistics pooling."""

    def __init__(
        self,
        fitted: Points,
        width: int,
        *,
        layers: nn.Module,
        output_dim: int,
        channels: int,
        hidden: int,
        max_tokens: int,
        dropout: float,
    ) -> None:
        """Combine the layers between frames and tokens.

        Args:
            fitted: The fitted modality.
            width: W.
            layers: Over frames, from ``[B, T, W]`` and lengths to as many steps.
            output_dim: Output width of the layers.
            channels: Learned features of each point.
            hidden: Width of the hidden layer of the point MLP.
            max_tokens: Maximum number of tokens per row.
            dropout: Dropout probability.
        """
        super().__init__()
        num_values = fitted.num_features - 1
        dim = 2 * channels + 2 * num_values + 1
        self.points = PointFeatures(num_values, hidden, channels)
        self.project = nn.Sequential(nn.Linear(dim, width), nn.LayerNorm(width), nn.GELU(), Dropout(dropout))
        self.layers = layers
        self.tokens = StepTokens(output_dim, width, max_tokens, dropout)
        self.statistics = StatisticsPooling(dim, width, dropout)

    def forward(self, column: ColumnBatch) -> Tokens:
        """Encode sequences of point clouds.

        Args:
            column: Values float32 ``[B, T, P, F + 1]`` and lengths.

        Returns:
            Tokens ``[B, 1 + K, W]``; the first one is of the whole row.
        """
        points_BTPF, is_point_BTP, lengths = mask_points(column)
        frames_BTD = pool_points(points_BTPF, self.points(points_BTPF, is_point_BTP), is_point_BTP)
        tokens: Tokens = self.tokens(self.layers(self.project(frames_BTD), lengths), lengths)
        return prepend_token(self.statistics(frames_BTD, lengths), tokens)


class PointsGRU(FrameSequence):
    """A GRU over frames in both directions."""

    def __init__(
        self,
        fitted: Points,
        width: int,
        *,
        depth: int = 1,
        channels: int = 128,
        hidden: int = 64,
        max_tokens: int = 16,
        dropout: float = 0.1,
    ) -> None:
        """Build the layers.

        Args:
            fitted: The fitted modality.
            width: W.
            depth: GRU layers.
            channels: Learned features of each point.
            hidden: Width of the hidden layer of the point MLP.
            max_tokens: Maximum number of tokens per row.
            dropout: Dropout probability.
        """
        layers = Recurrent("gru", width, depth, dropout)
        super().__init__(
            fitted,
            width,
            layers=layers,
            output_dim=layers.output_dim,
            channels=channels,
            hidden=hidden,
            max_tokens=max_tokens,
            dropout=dropout,
        )


class PointsTCN(FrameSequence):
    """Dilated convolutions over frames."""

    def __init__(
        self,
        fitted: Points,
        width: int,
        *,
        levels: int = 0,
        kernel_size: int = 3,
        channels: int = 128,
        hidden: int = 64,
        max_tokens: int = 16,
        dropout: float = 0.1,
    ) -> None:
        """Build the layers.

        Args:
            fitted: The fitted modality.
            width: W.
            levels: Residual blocks; 0: 2 to 6, so that the receptive field covers a median sequence.
            kernel_size: Kernel size in frames; an even number is rounded up.
            channels: Learned features of each point.
            hidden: Width of the hidden layer of the point MLP.
            max_tokens: Maximum number of tokens per row.
            dropout: Dropout probability.
        """
        kernel_size += 1 - kernel_size % 2
        levels = levels or levels_to_span(fitted.num_frames, kernel_size)
        layers = TemporalConvolutions(width, levels, kernel_size, dropout)
        super().__init__(
            fitted,
            width,
            layers=layers,
            output_dim=width,
            channels=channels,
            hidden=hidden,
            max_tokens=max_tokens,
            dropout=dropout,
        )


class PointsTransformer(FrameSequence):
    """A transformer over frames."""

    def __init__(
        self,
        fitted: Points,
        width: int,
        *,
        depth: int = 2,
        num_heads: int = 4,
        channels: int = 128,
        hidden: int = 64,
        max_tokens: int = 16,
        dropout: float = 0.1,
    ) -> None:
        """Build the layers.

        Args:
            fitted: The fitted modality.
            width: W.
            depth: Transformer layers.
            num_heads: Attention heads.
            channels: Learned features of each point.
            hidden: Width of the hidden layer of the point MLP.
            max_tokens: Maximum number of tokens per row.
            dropout: Dropout probability.
        """
        layers = TemporalTransformer(width, depth, num_heads, dropout)
        super().__init__(
            fitted,
            width,
            layers=layers,
            output_dim=width,
            channels=channels,
            hidden=hidden,
            max_tokens=max_tokens,
            dropout=dropout,
        )


class PointSet(nn.Module):
    """PointNet over all points of a row: maximum, mean and attention pooling with a few learned queries.

    The first two are Qi et al. 2017, arXiv 1612.00593, equation 1 and section 5.2; the attention pooling is that of
    Lin et al. 2017, arXiv 1703.03130, equation 6.

    Differs from the source: points of a sequence have their time as a feature.
    """

    def __init__(
        self, fitted: Points, width: int, *, channels: int = 128, num_queries: int = 6, hidden: int = 64
    ) -> None:
        """Build the queries and the projection.

        Args:
            fitted: The fitted modality.
            width: W.
            channels: C, learned features of each point.
            num_queries: Q, queries of attention pooling; each gives a token, as do the maximum and the mean.
            hidden: Width of the hidden layer of the point MLP.
        """
        super().__init__()
        self.num_frames = fitted.num_frames
        self.points = PointFeatures(fitted.num_features - 1 + (fitted.num_frames > 1), hidden, channels)
        self.queries = nn.Linear(channels, num_queries)
        self.project = nn.Sequential(nn.Linear(channels, width), nn.LayerNorm(width))
        self.places = small_parameter(2 + num_queries, width)

    def forward(self, column: ColumnBatch) -> Tokens:
        """Encode point clouds.

        Args:
            column: Values float32 ``[B, T, P, F + 1]`` and lengths.

        Returns:
            Tokens ``[B, 2 + Q, W]``.
        """
        points_BTPF, is_point_BTP, lengths = mask_points(column)
        points, is_point = self._with_time(points_BTPF).flatten(1, 2), is_point_BTP.flatten(1, 2)
        features = self.points(points, is_point)
        mean = features.sum(dim=1) / is_point.sum(dim=1, keepdim=True).clamp(min=1)
        scores = self.queries(features).masked_fill(~is_point.unsqueeze(2), -1e9)
        averages_BQC = scores.softmax(dim=1).transpose(1, 2) @ features
        pooled_BKC = torch.cat([features.max(dim=1, keepdim=True).values, mean.unsqueeze(1), averages_BQC], dim=1)
        values_BKW = self.project(pooled_BKC) + self.places
        return Tokens(values_BKW, (lengths > 0).unsqueeze(1).expand(values_BKW.shape[:2]))

    def _with_time(self, points_BTPF: Tensor) -> Tensor:
        """Append the time of its frame to each point, -1 to 1 over a median row, where there are several frames."""
        if self.num_frames == 1:
            return points_BTPF
        time_T = torch.arange(points_BTPF.shape[1], device=points_BTPF.device) * 2 / (self.num_frames - 1) - 1
        time = time_T.view(-1, 1, 1).expand(*points_BTPF.shape[:3], 1)
        return torch.cat([points_BTPF, time.to(points_BTPF.dtype)], dim=3)


def is_sequence(fitted: Points) -> bool:
    """Return whether rows are sequences of point clouds.

    Args:
        fitted: The fitted modality.

    Returns:
        False for single point clouds.
    """
    return fitted.num_frames != 1
