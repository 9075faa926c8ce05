"""Trainable layers from the outputs of a pretrained checkpoint to tokens (torch).

Shape legend: B rows of the batch, T steps, N steps in use of all rows, D width of the checkpoint, W width of tokens,
K tokens.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from polymodal.encoders.ngram_convolution import NgramConvolution, PackedSteps
from polymodal.nn.layers import Dropout, small_parameter, steps_present
from polymodal.tokens import Tokens

FILTER_SIZES = (2, 4)
NUM_QUERIES = 4
NUM_TOKENS = len(FILTER_SIZES) + NUM_QUERIES
STEP_DROPOUT = 0.15
"""Probability of dropping a step in training."""
MIN_STEPS_FOR_DROPOUT = 24
"""Steps are dropped in training only in rows of at least so many steps."""


class SequencePooler(nn.Module):
    """Convolution with max-over-time pooling, and attention pooling with a few learned queries.

    The convolution is that of Kim 2014, arXiv 1408.5882, on contextual vectors in place of word vectors; the attention
    pooling is that of Lin et al. 2017, arXiv 1703.03130, equation 6. In training, some steps of long rows are dropped.
    """

    def __init__(self, dim: int, width: int, dropout: float) -> None:
        """Build the filters and queries.

        Args:
            dim: D.
            width: W.
            dropout: Dropout probability.
        """
        super().__init__()
        self.project, self.dropout = nn.Linear(dim, width), dropout
        self.filters = NgramConvolution(width, width, FILTER_SIZES)
        self.queries = nn.Linear(width, NUM_QUERIES)
        self.places = small_parameter(NUM_TOKENS, width)

    def forward(self, hidden_BTD: Tensor, lengths: Tensor) -> Tokens:
        """Convert the outputs of each row to tokens.

        Args:
            hidden_BTD: Normalised outputs of any floating-point dtype; ignored beyond the lengths.
            lengths: int64 ``[B]``, steps in use; 0 for absent rows.

        Returns:
            Tokens ``[B, K, W]``.
        """
        inside_BT = steps_present(lengths, hidden_BTD.shape[1])
        if self.training:
            inside_BT = inside_BT & _sample_kept_steps(lengths, hidden_BTD.shape[1])
        pool = self._pool_padded if torch.compiler.is_exporting() else self._pool_packed
        values = torch.cat(pool(hidden_BTD, inside_BT, lengths), dim=1) + self.places
        return Tokens(values, (lengths > 0).unsqueeze(1).expand(-1, NUM_TOKENS))

    def _pool_packed(self, hidden_BTD: Tensor, inside_BT: Tensor, lengths: Tensor) -> list[Tensor]:
        """Return the filters' maxima and the attention pooling of each row, from the steps in use alone."""
        hidden = PackedSteps.pack(hidden_BTD, inside_BT, lengths)
        steps = replace(hidden, values=self._projected(hidden.values))
        num_steps = inside_BT.shape[1]
        scores_BTQ = replace(steps, values=self.queries(steps.values).float()).to_padded(num_steps)
        return [self.filters(steps), _attention_pooling(scores_BTQ, steps.to_padded(num_steps), inside_BT)]

    def _pool_padded(self, hidden_BTD: Tensor, inside_BT: Tensor, lengths: Tensor) -> list[Tensor]:  # noqa: ARG002
        """Return the same from all steps, for exported graphs: no shape depends on the lengths."""
        values_BTW = torch.where(inside_BT.unsqueeze(2), self._projected(hidden_BTD), 0)
        averages_BQW = _attention_pooling(self.queries(values_BTW), values_BTW, inside_BT)
        return [self.filters.convolve_padded(values_BTW, inside_BT), averages_BQW]

    def _projected(self, values_ND: Tensor) -> Tensor:
        """Return ``[..., W]``; dropout is applied to the D input features, the same for all outputs."""
        weight_WD, device = self.project.weight, self.project.weight.device
        if self.training:
            weight_WD = weight_WD * functional.dropout(torch.ones(weight_WD.shape[1], device=device), self.dropout)
        if not torch.is_autocast_enabled(device.type):
            values_ND = values_ND.float()
        return functional.gelu(functional.linear(values_ND, weight_WD, self.project.bias))


def _attention_pooling(scores_BTQ: Tensor, values_BTW: Tensor, inside_BT: Tensor) -> Tensor:
    """Return the attention pooling of each row: ``[B, queries, W]``."""
    weights_BTQ = scores_BTQ.masked_fill(~inside_BT.unsqueeze(2), -1e9).softmax(dim=1)
    return weights_BTQ.transpose(1, 2) @ values_BTW


def _sample_kept_steps(lengths: Tensor, num_steps: int) -> Tensor:
    """Sample which steps are kept: bool ``[B, T]``; the first one always is, and all of short rows."""
    drawn = torch.rand(len(lengths), num_steps, device=lengths.device) >= STEP_DROPOUT
    drawn[:, 0] = True
    return drawn | (lengths < MIN_STEPS_FOR_DROPOUT).unsqueeze(1)


class GridProjection(nn.Module):
    """One token for each output, with learned positions: for images and videos, whose outputs form a grid."""

    def __init__(self, dim: int, width: int, max_positions: int, dropout: float) -> None:
        """Build the projection.

        Args:
            dim: D.
            width: W.
            max_positions: Maximum number of outputs per row.
            dropout: Dropout probability.
        """
        super().__init__()
        self.project = nn.Sequential(Dropout(dropout), nn.Linear(dim, width), nn.GELU())
        self.norm = nn.LayerNorm(width)
        self.places = small_parameter(max_positions, width)

    def forward(self, hidden_BTD: Tensor, lengths: Tensor) -> Tokens:
        """Convert the outputs of each row to tokens.

        Args:
            hidden_BTD: Normalised outputs of any floating-point dtype; ignored beyond the lengths.
            lengths: int64 ``[B]``, outputs in use; 0 for absent rows.

        Returns:
            Tokens ``[B, T, W]``.
        """
        num_positions = hidden_BTD.shape[1]
        present_BT = steps_present(lengths, num_positions)
        hidden_BTD = torch.where(present_BT.unsqueeze(2), hidden_BTD, 0).float()
        values_BTW = self.norm(self.project(hidden_BTD)) + self.places[:num_positions]
        return Tokens(values_BTW, present_BT)
