"""Encoding of long clips segment by segment, and pooling of the segments (torch).

Shape legend: B rows, T steps, S steps of a segment, N segments of a row, F features of a step, K tokens, P steps of a
segment's detail, W width of tokens.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from polymodal.nn.layers import lengths_in_use
from polymodal.tokens import ColumnBatch, Detail, Tokens

if TYPE_CHECKING:
    from polymodal.modalities.audio import Audio

ABSENT = -1e9
"""Logit of a segment without a token."""


class SegmentEncoder(nn.Module):
    """Base of audio encoders: a clip longer than a segment is encoded segment by segment.

    The tokens of the segments are pooled (``pool_segments``), their details follow each other. Where a training clip
    is longer than a segment, attention says how much each counts, else their lengths alone. A shorter clip is encoded
    as it is.

    Attributes:
        segment_steps: S; 0 where clips are never split.
        attention: Scores of segments; None where no training clip is longer than one.
    """

    def __init__(self, fitted: Audio, width: int) -> None:
        """Build the attention.

        Args:
            fitted: The fitted modality.
            width: W.
        """
        super().__init__()
        self.segment_steps = fitted.segment_steps
        self.attention = SegmentAttention(width) if fitted.num_segments > 1 else None

    @abstractmethod
    def encode(self, column: ColumnBatch) -> Tokens:
        """Encode clips, or segments of clips.

        Args:
            column: Values float16 ``[B, T, F]`` and lengths.

        Returns:
            Tokens ``[B, K, W]``.
        """

    def forward(self, column: ColumnBatch) -> Tokens:
        """Encode clips.

        Args:
            column: Values float16 ``[B, T, F]`` and lengths.

        Returns:
            Tokens ``[B, K, W]``.
        """
        if not is_split(column, self.segment_steps) or (self.training and self.attention is None):
            return self.encode(column)  # augmentation makes clips a little longer
        segments, lengths_BN = split_segments(column, self.segment_steps)
        tokens = self._encode_present(segments)
        values_BNKW = tokens.values.reshape(*lengths_BN.shape, *tokens.values.shape[1:])
        present_BNK = tokens.present.reshape(*lengths_BN.shape, -1)
        scores_BN = None if self.attention is None else self.attention(values_BNKW, present_BNK)
        pooled = pool_segments(values_BNKW, present_BNK, lengths_BN, scores_BN)
        detail = None if tokens.detail is None else _joined(tokens.detail, column.values.shape[0])
        return replace(pooled, detail=detail)

    def _encode_present(self, segments: ColumnBatch) -> Tokens:
        """Encode the segments that are there; those behind the ends of clips get tokens that are not present."""
        if torch.compiler.is_exporting() or bool(segments.present.all()):
            return self.encode(segments)
        rows = segments.present.nonzero().squeeze(1)
        tokens = self.encode(segments.take(rows))
        detail = tokens.detail
        if detail is not None:
            detail = Detail(_put(detail.values, rows, len(segments)), _put(detail.present, rows, len(segments)))
        return Tokens(_put(tokens.values, rows, len(segments)), _put(tokens.present, rows, len(segments)), detail)


class SegmentAttention(nn.Module):
    """Gated attention over the segments of a clip: Ilse et al. 2018, arXiv 1802.04712, equation 9.

    Differs from the source: a segment is the mean of its tokens; all scores begin at 0.
    """

    def __init__(self, width: int) -> None:
        """Build the layers.

        Args:
            width: W.
        """
        super().__init__()
        self.content, self.gate = (nn.Linear(width, max(width // 2, 1)) for _ in range(2))
        self.score = nn.Linear(max(width // 2, 1), 1)
        nn.init.zeros_(self.score.weight)
        nn.init.zeros_(self.score.bias)

    def forward(self, values_BNKW: Tensor, present_BNK: Tensor) -> Tensor:
        """Score segments.

        Args:
            values_BNKW: Tokens.
            present_BNK: bool; which are in use.

        Returns:
            float32 ``[B, N]``.
        """
        kept = present_BNK.unsqueeze(3)
        mean_BNW = torch.where(kept, values_BNKW, 0).sum(dim=2) / kept.sum(dim=2).clamp(min=1)
        hidden = self.content(mean_BNW).tanh() * self.gate(mean_BNW).sigmoid()
        scores: Tensor = self.score(hidden).squeeze(2).float()
        return scores


def is_split(column: ColumnBatch, segment_steps: int) -> bool:
    """Return whether clips of a batch are longer than a segment; a graph is for clips of any length.

    Args:
        column: Clips ``[B, T, F]``.
        segment_steps: S; 0: clips are never split.

    Returns:
        Whether ``split_segments`` is needed.
    """
    return bool(segment_steps) and (torch.compiler.is_exporting() or column.values.shape[1] > segment_steps)


def split_segments(column: ColumnBatch, segment_steps: int) -> tuple[ColumnBatch, Tensor]:
    """Split clips into segments that follow each other; of short clips in a graph, the segment is as short.

    Args:
        column: Clips ``[B, T, F]``.
        segment_steps: S.

    Returns:
        The segments of the first clip, then those of the next one, ``[B * N, S, F]``, and their lengths ``[B, N]``,
        0 behind the end of a clip.
    """
    num_rows, num_steps = column.values.shape[:2]
    size = torch.sym_min(num_steps, segment_steps)  # type: ignore[no-untyped-call]
    num_segments = (num_steps + size - 1) // size
    padded_BTF = functional.pad(column.values, (0, 0, 0, num_segments * size - num_steps))
    values = padded_BTF.reshape(num_rows * num_segments, size, padded_BTF.shape[2])
    starts_N = torch.arange(num_segments, device=column.values.device) * size
    lengths_BN = (lengths_in_use(column).unsqueeze(1) - starts_N).clamp(min=0, max=size)
    lengths = lengths_BN.flatten()
    return ColumnBatch(values, lengths > 0, lengths), lengths_BN


def pool_segments(values_BNKW: Tensor, present_BNK: Tensor, lengths_BN: Tensor, scores_BN: Tensor | None) -> Tokens:
    """Average the tokens of segments: each weighs as its length and, if there are any, the exponential of its score.

    Args:
        values_BNKW: Tokens.
        present_BNK: bool; which are in use.
        lengths_BN: Steps in use.
        scores_BN: Scores; None: all are 0.

    Returns:
        Tokens ``[B, K, W]``; a token is present where it is in any segment.
    """
    logits_BN = lengths_BN.clamp(min=1).float().log()
    logits_BN = logits_BN if scores_BN is None else logits_BN + scores_BN
    weights_BNK = logits_BN.unsqueeze(2).masked_fill(~present_BNK, ABSENT).softmax(dim=1)
    return Tokens((weights_BNK.unsqueeze(3) * values_BNKW).sum(dim=1), present_BNK.any(dim=1))


def _joined(detail: Detail, num_rows: int) -> Detail:
    """Put the details of the segments of a clip one after the other."""
    values = detail.values.reshape(num_rows, -1, detail.values.shape[2])
    return Detail(values, detail.present.reshape(num_rows, -1))


def _put(values: Tensor, rows: Tensor, size: int) -> Tensor:
    """Put rows at their places among zeros."""
    return values.new_zeros(size, *values.shape[1:]).index_copy(0, rows, values)
