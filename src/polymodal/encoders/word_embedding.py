"""Embedding of token ids, from scratch or initialised with pretrained word vectors (torch).

Shape legend: B rows of the batch, T token ids, D dimension of a word vector, W width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polymodal.errors import parameter_error
from polymodal.nn.layers import Dropout, lengths_in_use, steps_present
from polymodal.tokens import ColumnBatch

if TYPE_CHECKING:
    from polymodal.modalities.text import Text

START_STD = 0.1
"""Standard deviation of the initial outputs, with word vectors and without."""


class WordEmbedding(nn.Module):
    """Embedding of token ids; padding and absent rows give zeros.

    Word vectors initialise the embedding table, and a linear layer projects them to the width. The fitted modality of a
    loaded model has no word vectors: the table is loaded from the state dict like all other weights.
    """

    def __init__(self, fitted: Text, width: int, dropout: float, frozen: bool = False) -> None:
        """Build the embedding.

        Args:
            fitted: The fitted modality.
            width: W.
            dropout: Dropout probability.
            frozen: Whether word vectors are frozen.

        Raises:
            ConfigError: If ``frozen`` and the text has no word vectors.
        """
        super().__init__()
        if frozen and not fitted.vector_dim:
            expected = "false where the text has no word vectors (its setting 'vectors' names them)"
            raise parameter_error("frozen", "a text encoder", expected, frozen)
        self.table = nn.Embedding(fitted.num_ids, fitted.vector_dim or width)
        nn.init.normal_(self.table.weight, std=START_STD)
        self.project = _project(fitted, width) if fitted.vector_dim else nn.Identity()
        if fitted.vectors is not None:
            self.table.weight.data.copy_(torch.from_numpy(fitted.vectors))
        self.table.weight.requires_grad_(not frozen)
        self.dropout = Dropout(dropout)

    def forward(self, column: ColumnBatch) -> tuple[Tensor, Tensor]:
        """Embed token ids.

        Args:
            column: Values int32 ``[B, T]`` and lengths.

        Returns:
            float32 ``[B, T, W]`` and the int64 lengths ``[B]``, 0 for absent rows.
        """
        lengths = lengths_in_use(column)
        keep_BT = steps_present(lengths, column.values.shape[1])
        ids_BT = torch.where(keep_BT, column.values, 0).long()
        words_BTW = self.dropout(self.project(self.table(ids_BT)))
        return torch.where(keep_BT.unsqueeze(2), words_BTW, 0), lengths


def _project(fitted: Text, width: int) -> nn.Linear:
    project = nn.Linear(fitted.vector_dim, width, bias=False)
    length = 1.0 if fitted.vectors is None else _length(fitted.vectors)
    nn.init.normal_(project.weight, std=START_STD / length)
    return project


def _length(vectors_VD: NDArray[np.float32]) -> float:
    """Return the root mean square of the vectors' lengths, 1 where all are zero."""
    return float(np.sqrt((vectors_VD.astype(np.float64) ** 2).sum(axis=1).mean())) or 1.0
