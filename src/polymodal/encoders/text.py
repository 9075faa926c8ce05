"""Text encoders trained from scratch: from ``[B, tokens]`` token ids to tokens (torch).

Shape legend: B rows of the batch, T token ids, C filters, K output tokens, W width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor, nn

from polymodal.encoders.ngram_convolution import NgramConvolution, PackedSteps
from polymodal.encoders.recurrent import Recurrent
from polymodal.encoders.word_embedding import WordEmbedding
from polymodal.errors import parameter_error
from polymodal.nn.attention import Transformer
from polymodal.nn.layers import Dropout, pool_steps, sinusoidal_positions, small_parameter, steps_present
from polymodal.tokens import ColumnBatch, Tokens

if TYPE_CHECKING:
    from polymodal.modalities.text import Text

KERNELS = (2, 3, 4, 5)
"""Kernel sizes of the convolutional encoder, in words."""


def pool_and_project(values_BTW: Tensor, lengths: Tensor, max_tokens: int, project: nn.Module) -> Tokens:
    """Average-pool to at most ``max_tokens`` tokens and project them.

    Args:
        values_BTW: ``[B, T, ...]``.
        lengths: int64 ``[B]``.
        max_tokens: Maximum number of tokens per row.
        project: Projection to the width of tokens.

    Returns:
        Tokens ``[B, K, W]``.
    """
    pooled, present = pool_steps(values_BTW, lengths, max_tokens)
    return Tokens(project(pooled), present)


class TextBag(nn.Module):
    """The mean of word vectors, after Joulin et al. 2017 (fastText), arXiv 1607.01759, figure 1."""

    def __init__(self, fitted: Text, width: int, *, frozen: bool = False, dropout: float = 0.2) -> None:
        """Build the projection.

        Args:
            fitted: The fitted modality.
            width: W.
            frozen: Whether the word vectors are frozen; else they are fine-tuned.
            dropout: Dropout probability.
        """
        super().__init__()
        self.embed = WordEmbedding(fitted, width, dropout, frozen)
        self.project = nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width))

    def forward(self, column: ColumnBatch) -> Tokens:
        """Encode texts.

        Args:
            column: Values int32 ``[B, T]`` and lengths.

        Returns:
            One token a row, ``[B, 1, W]``.
        """
        words_BTW, lengths = self.embed(column)
        return pool_and_project(words_BTW, lengths, 1, self.project)


class TextCNN(nn.Module):
    """Convolutions over 2 to 5 words with max-over-time pooling: Kim 2014, arXiv 1408.5882, figure 1.

    Differs from the source: the filters of each size make one token.
    """

    def __init__(
        self, fitted: Text, width: int, *, filters: int = 0, frozen: bool = False, dropout: float = 0.2
    ) -> None:
        """Build the filters.

        Args:
            fitted: The fitted modality.
            width: W.
            filters: C, filters of each size; 0 means three quarters of the width.
            frozen: Whether the word vectors are frozen; else they are fine-tuned.
            dropout: Dropout probability.
        """
        super().__init__()
        filters = filters or 3 * width // 4
        self.embed = WordEmbedding(fitted, width, dropout, frozen)
        self.filters = NgramConvolution(width, filters, KERNELS)
        self.project = nn.Sequential(Dropout(dropout), nn.Linear(filters, width), nn.LayerNorm(width))
        self.kinds = small_parameter(len(KERNELS), width)

    def forward(self, column: ColumnBatch) -> Tokens:
        """Encode texts.

        Args:
            column: Values int32 ``[B, T]`` and lengths.

        Returns:
            A token for each filter size, ``[B, 4, W]``.
        """
        words_BTW, lengths = self.embed(column)
        values_BKW = self.project(self._convolved(words_BTW, lengths)) + self.kinds
        return Tokens(values_BKW, (lengths > 0).unsqueeze(1).expand(values_BKW.shape[:2]))

    def _convolved(self, words_BTW: Tensor, lengths: Tensor) -> Tensor:
        inside_BT = steps_present(lengths, words_BTW.shape[1])
        if torch.compiler.is_exporting():
            return self.filters.convolve_padded(words_BTW, inside_BT)
        convolved: Tensor = self.filters(PackedSteps.pack(words_BTW, inside_BT, lengths))
        return convolved


class TextRecurrent(nn.Module):
    """Bidirectional recurrent layers over word vectors.

    Attributes:
        cell: "lstm" or "gru".
    """

    cell: ClassVar[Literal["lstm", "gru"]]

    def __init__(
        self,
        fitted: Text,
        width: int,
        *,
        depth: int = 1,
        max_tokens: int = 16,
        frozen: bool = False,
        dropout: float = 0.2,
    ) -> None:
        """Build the layers.

        Args:
            fitted: The fitted modality.
            width: W; the state of each direction has half of it.
            depth: Number of layers.
            max_tokens: Maximum number of tokens per row.
            frozen: Whether the word vectors are frozen; else they are fine-tuned.
            dropout: Dropout probability.
        """
        super().__init__()
        self.max_tokens = max_tokens
        self.embed = WordEmbedding(fitted, width, dropout, frozen)
        self.layers = Recurrent(self.cell, width, depth, dropout)
        self.project = nn.Sequential(nn.Linear(self.layers.output_dim, width), nn.LayerNorm(width))

    def forward(self, column: ColumnBatch) -> Tokens:
        """Encode texts.

        Args:
            column: Values int32 ``[B, T]`` and lengths.

        Returns:
            Tokens ``[B, K, W]``.
        """
        words_BTW, lengths = self.embed(column)
        return pool_and_project(self.layers(words_BTW, lengths), lengths, self.max_tokens, self.project)


class TextLSTM(TextRecurrent):
    """Bidirectional LSTM layers over word vectors."""

    cell = "lstm"


class TextGRU(TextRecurrent):
    """Bidirectional GRU layers over word vectors."""

    cell = "gru"


class TextTransformer(nn.Module):
    """Pre-norm transformer layers over word vectors: Vaswani et al. 2017, arXiv 1706.03762."""

    positions: Tensor

    def __init__(
        self,
        fitted: Text,
        width: int,
        *,
        depth: int = 2,
        num_heads: int = 4,
        max_tokens: int = 16,
        positions: str = "learned",
        frozen: bool = False,
        dropout: float = 0.2,
    ) -> None:
        """Build the layers.

        Args:
            fitted: The fitted modality.
            width: W.
            depth: Number of layers.
            num_heads: Attention heads; the width must be a multiple of it.
            max_tokens: Maximum number of tokens per row.
            positions: "learned" or "sinusoidal".
            frozen: Whether the word vectors are frozen; else they are fine-tuned.
            dropout: Dropout probability.

        Raises:
            ConfigError: If ``positions`` has another value.
        """
        super().__init__()
        if positions not in ("learned", "sinusoidal"):
            raise parameter_error("positions", "the text encoder 'transformer'", "learned or sinusoidal", positions)
        self.max_tokens = max_tokens
        self.embed = WordEmbedding(fitted, width, dropout, frozen)
        if positions == "learned":
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
        return pool_and_project(mixed_BTW, lengths, self.max_tokens, self.project)
