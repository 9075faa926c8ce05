"""Reading the token outputs of a pretrained checkpoint (torch).

Shape legend: B rows of the batch, T steps, D width of the checkpoint, W width of tokens, K tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from polymodal.convolution import Conv1d
from polymodal.layers import Dropout, small_parameter, steps_present
from polymodal.tokens import Tokens

FILTER_SIZES = (1, 3, 5)
NUM_QUERIES = 4
NUM_TOKENS = len(FILTER_SIZES) + NUM_QUERIES


class Reader(nn.Module):
    """Filters over neighbouring outputs, their strongest answers, and a few learned averages.

    The filters are those of Kim 2014, arXiv 1408.5882, on contextual vectors in place of word
    vectors; the averages are the attention pooling of Lin et al. 2017, arXiv 1703.03130, eq. 6.
    """

    def __init__(self, dim: int, width: int, dropout: float) -> None:
        """Build the filters and queries.

        Args:
            dim: D.
            width: W.
            dropout: Share of values set to zero in training.
        """
        super().__init__()
        self.project = nn.Sequential(nn.LayerNorm(dim), Dropout(dropout), nn.Linear(dim, width), nn.GELU())
        self.filters = nn.ModuleList(Conv1d(width, width, size, padding=size // 2) for size in FILTER_SIZES)
        self.queries = nn.Linear(width, NUM_QUERIES)
        self.places = small_parameter(NUM_TOKENS, width)

    def forward(self, hidden_BTD: Tensor, lengths: Tensor) -> Tokens:
        """Read the outputs of each row.

        Args:
            hidden_BTD: Outputs, finite everywhere.
            lengths: int64 ``[B]``, steps in use; 0 for absent rows.

        Returns:
            Tokens ``[B, K, W]``.
        """
        inside_BT = steps_present(lengths, hidden_BTD.shape[1])
        steps_BTW = torch.where(inside_BT.unsqueeze(2), self.project(hidden_BTD), 0.0)
        steps_BWT = steps_BTW.transpose(1, 2)
        strongest = [self._strongest(layer(steps_BWT), inside_BT) for layer in self.filters]
        scores_BTQ = self.queries(steps_BTW).masked_fill(~inside_BT.unsqueeze(2), -1e9)
        averages_BQW = scores_BTQ.softmax(dim=1).transpose(1, 2) @ steps_BTW
        values = torch.cat([torch.stack(strongest, dim=1), averages_BQW], dim=1) + self.places
        return Tokens(values, (lengths > 0).unsqueeze(1).expand(-1, NUM_TOKENS))

    def _strongest(self, answers_BWT: Tensor, inside_BT: Tensor) -> Tensor:
        return functional.relu(answers_BWT).masked_fill(~inside_BT.unsqueeze(1), 0.0).amax(dim=2)


class PlaceReader(nn.Module):
    """One token for each output, which knows its place: for pictures and videos, whose outputs stand in a grid."""

    def __init__(self, dim: int, width: int, max_places: int, dropout: float) -> None:
        """Build the projection.

        Args:
            dim: D.
            width: W.
            max_places: Most outputs of a row.
            dropout: Share of values set to zero in training.
        """
        super().__init__()
        self.project = nn.Sequential(nn.LayerNorm(dim), Dropout(dropout), nn.Linear(dim, width), nn.GELU())
        self.norm = nn.LayerNorm(width)
        self.places = small_parameter(max_places, width)

    def forward(self, hidden_BTD: Tensor, lengths: Tensor) -> Tokens:
        """Read the outputs of each row.

        Args:
            hidden_BTD: Outputs, finite everywhere.
            lengths: int64 ``[B]``, outputs in use; 0 for absent rows.

        Returns:
            Tokens ``[B, T, W]``.
        """
        num_places = hidden_BTD.shape[1]
        values_BTW = self.norm(self.project(hidden_BTD)) + self.places[:num_places]
        return Tokens(values_BTW, steps_present(lengths, num_places))
