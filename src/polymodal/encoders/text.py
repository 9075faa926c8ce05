"""Text encoders trained from scratch: from ``[B, tokens]`` token ids to tokens (torch).

Shape legend: B rows of the batch, T token ids, C filters, K tokens that come out, W width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from polymodal.encoders.recurrent import Recurrent
from polymodal.errors import parameter_error
from polymodal.layers import (
    Transformer,
    lengths_in_use,
    pool_steps,
    sinusoidal_positions,
    small_parameter,
    steps_present,
)
from polymodal.tokens import ColumnBatch, Tokens

if TYPE_CHECKING:
    from polymodal.modalities.text import Text

KERNELS = (2, 3, 4, 5)
"""Words that a filter of the convolutional encoder sees."""


class WordEmbedding(nn.Module):
    """Token ids to vectors; padding and absent rows give zeros."""

    def __init__(self, fitted: Text, width: int, dropout: float) -> None:
        """Build the table.

        Args:
            fitted: The fitted modality.
            width: W.
            dropout: Share of values set to zero in training.
        """
        super().__init__()
        self.table = nn.Embedding(fitted.num_ids, width)
        nn.init.normal_(self.table.weight, std=0.1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, column: ColumnBatch) -> tuple[Tensor, Tensor]:
        """Look the ids up.

        Args:
            column: Values int32 ``[B, T]`` and lengths.

        Returns:
            float32 ``[B, T, W]`` and the int64 lengths ``[B]``, 0 for absent rows.
        """
        lengths = lengths_in_use(column)
        keep_BT = steps_present(lengths, column.values.shape[1])
        ids_BT = torch.where(keep_BT, column.values, 0).long()
        return torch.where(keep_BT.unsqueeze(2), self.dropout(self.table(ids_BT)), 0), lengths


def some_tokens(values_BTW: Tensor, lengths: Tensor, max_tokens: int, project: nn.Module) -> Tokens:
    """Shorten to at most ``max_tokens`` tokens and project them.

    Args:
        values_BTW: ``[B, T, ...]``.
        lengths: int64 ``[B]``.
        max_tokens: Most tokens of a row.
        project: To the width of tokens.

    Returns:
        Tokens ``[B, K, W]``.
    """
    pooled, present = pool_steps(values_BTW, lengths, max_tokens)
    return Tokens(project(pooled), present)


class TextBag(nn.Module):
    """The mean of word vectors, after Joulin et al. 2017 (fastText), arXiv 1607.01759, figure 1."""

    def __init__(self, fitted: Text, width: int, dropout: float) -> None:
        """Build the table.

        Args:
            fitted: The fitted modality.
            width: W.
            dropout: Share of values set to zero in training.
        """
        super().__init__()
        self.embed = WordEmbedding(fitted, width, dropout)
        self.project = nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width))

    def forward(self, column: ColumnBatch) -> Tokens:
        """Encode texts.

        Args:
            column: Values int32 ``[B, T]`` and lengths.

        Returns:
            One token a row, ``[B, 1, W]``.
        """
        words_BTW, lengths = self.embed(column)
        return some_tokens(words_BTW, lengths, 1, self.project)


class TextCNN(nn.Module):
    """Filters over 2 to 5 words, each one's strongest answer: Kim 2014, arXiv 1408.5882, figure 1.

    Differs from the source: the filters of each size make one token.
    """

    def __init__(self, fitted: Text, width: int, filters: int, dropout: float) -> None:
        """Build the filters.

        Args:
            fitted: The fitted modality.
            width: W, also of the word vectors.
            filters: C, filters of each size.
            dropout: Share of values set to zero in training.
        """
        super().__init__()
        self.embed = WordEmbedding(fitted, width, dropout)
        self.convolutions = nn.ModuleList(nn.Conv1d(width, filters, kernel) for kernel in KERNELS)
        self.project = nn.Sequential(nn.Dropout(dropout), nn.Linear(filters, width), nn.LayerNorm(width))
        self.kinds = small_parameter(len(KERNELS), width)

    def forward(self, column: ColumnBatch) -> Tokens:
        """Encode texts.

        Args:
            column: Values int32 ``[B, T]`` and lengths.

        Returns:
            A token for each filter size, ``[B, 4, W]``.
        """
        words_BTW, lengths = self.embed(column)
        words_BWT = words_BTW.transpose(1, 2)
        strongest = [
            _strongest(convolution, words_BWT, lengths, kernel)
            for convolution, kernel in zip(self.convolutions, KERNELS, strict=True)
        ]
        values_BKW = self.project(torch.stack(strongest, dim=1)) + self.kinds
        return Tokens(values_BKW, (lengths > 0).unsqueeze(1).expand(values_BKW.shape[:2]))


def _strongest(convolution: nn.Module, words_BWT: Tensor, lengths: Tensor, kernel: int) -> Tensor:
    padded = functional.pad(words_BWT, ((kernel - 1) // 2, kernel // 2))
    answers_BCT = torch.relu(convolution(padded))
    keep = steps_present(lengths, answers_BCT.shape[2]).unsqueeze(1)
    return torch.where(keep, answers_BCT, 0).amax(dim=2)


class TextRecurrent(nn.Module):
    """Bidirectional LSTM or GRU layers over word vectors."""

    def __init__(
        self, cell: Literal["lstm", "gru"], fitted: Text, width: int, depth: int, max_tokens: int, dropout: float
    ) -> None:
        """Build the layers.

        Args:
            cell: Which kind.
            fitted: The fitted modality.
            width: W, also of the word vectors; each direction has half of it.
            depth: Number of layers.
            max_tokens: Most tokens of a row.
            dropout: Share of values set to zero in training.
        """
        super().__init__()
        self.max_tokens = max_tokens
        self.embed = WordEmbedding(fitted, width, dropout)
        self.layers = Recurrent(cell, width, depth, dropout)
        self.project = nn.Sequential(nn.Linear(self.layers.output_dim, width), nn.LayerNorm(width))

    def forward(self, column: ColumnBatch) -> Tokens:
        """Encode texts.

        Args:
            column: Values int32 ``[B, T]`` and lengths.

        Returns:
            Tokens ``[B, K, W]``.
        """
        words_BTW, lengths = self.embed(column)
        return some_tokens(self.layers(words_BTW, lengths), lengths, self.max_tokens, self.project)


class TextTransformer(nn.Module):
    """Pre-norm transformer layers over word vectors: Vaswani et al. 2017, arXiv 1706.03762."""

    positions: Tensor

    def __init__(
        self,
        fitted: Text,
        width: int,
        depth: int,
        num_heads: int,
        max_tokens: int,
        learned_positions: bool,
        dropout: float,
    ) -> None:
        """Build the layers.

        Args:
            fitted: The fitted modality.
            width: W, also of the word vectors.
            depth: Number of layers.
            num_heads: Heads of each layer; divides the width.
            max_tokens: Most tokens of a row.
            learned_positions: Whether positions are learned; else they are sines and cosines.
            dropout: Share of values set to zero in training.
        """
        super().__init__()
        self.max_tokens = max_tokens
        self.embed = WordEmbedding(fitted, width, dropout)
        if learned_positions:
            self.positions = small_parameter(fitted.max_length, width)
        else:
            fixed = sinusoidal_positions(fitted.max_length, width)
            self.register_buffer("positions", 0.1 * fixed, persistent=False)
        self.layers = Transformer(width, depth, num_heads, dropout)
        self.project = nn.Linear(width, width)

    def forward(self, column: ColumnBatch) -> Tokens:
        """Encode texts.

        Args:
            column: Values int32 ``[B, T]`` and lengths.

        Returns:
            Tokens ``[B, K, W]``.
        """
        words_BTW, lengths = self.embed(column)
        num_steps = words_BTW.shape[1]
        mixed_BTW = self.layers(words_BTW + self.positions[:num_steps], steps_present(lengths, num_steps))
        return some_tokens(mixed_BTW, lengths, self.max_tokens, self.project)


def build_text_bag(fitted: Text, width: int, *, dropout: float = 0.2) -> nn.Module:
    """Build the encoder by mean word vectors.

    Args:
        fitted: The fitted modality.
        width: W.
        dropout: Share of values set to zero in training.

    Returns:
        The encoder.
    """
    return TextBag(fitted, width, dropout)


def build_text_cnn(fitted: Text, width: int, *, filters: int = 0, dropout: float = 0.2) -> nn.Module:
    """Build the convolutional encoder.

    Args:
        fitted: The fitted modality.
        width: W.
        filters: Filters of each size; 0 means three quarters of the width.
        dropout: Share of values set to zero in training.

    Returns:
        The encoder.
    """
    return TextCNN(fitted, width, filters or 3 * width // 4, dropout)


def build_text_lstm(
    fitted: Text, width: int, *, depth: int = 1, max_tokens: int = 16, dropout: float = 0.2
) -> nn.Module:
    """Build the LSTM encoder.

    Args:
        fitted: The fitted modality.
        width: W.
        depth: Number of layers.
        max_tokens: Most tokens of a row.
        dropout: Share of values set to zero in training.

    Returns:
        The encoder.
    """
    return TextRecurrent("lstm", fitted, width, depth, max_tokens, dropout)


def build_text_gru(
    fitted: Text, width: int, *, depth: int = 1, max_tokens: int = 16, dropout: float = 0.2
) -> nn.Module:
    """Build the GRU encoder.

    Args:
        fitted: The fitted modality.
        width: W.
        depth: Number of layers.
        max_tokens: Most tokens of a row.
        dropout: Share of values set to zero in training.

    Returns:
        The encoder.
    """
    return TextRecurrent("gru", fitted, width, depth, max_tokens, dropout)


def build_text_transformer(
    fitted: Text,
    width: int,
    *,
    depth: int = 2,
    num_heads: int = 4,
    max_tokens: int = 16,
    positions: str = "learned",
    dropout: float = 0.2,
) -> nn.Module:
    """Build the transformer encoder.

    Args:
        fitted: The fitted modality.
        width: W.
        depth: Number of layers.
        num_heads: Heads of each layer; divides the width.
        max_tokens: Most tokens of a row.
        positions: "learned" or "sinusoidal".
        dropout: Share of values set to zero in training.

    Returns:
        The encoder.

    Raises:
        ConfigError: If positions is something else.
    """
    if positions not in ("learned", "sinusoidal"):
        raise parameter_error("positions", "the text encoder 'transformer'", "learned or sinusoidal", positions)
    return TextTransformer(fitted, width, depth, num_heads, max_tokens, positions == "learned", dropout)
