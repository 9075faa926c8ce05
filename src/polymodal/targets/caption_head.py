"""The head of the target caption: an autoregressive transformer decoder over the fused tokens (torch).

Shape legend: B rows of the batch, K beams of a row, T steps of the text, W width, V ids.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from polymodal.nn.attention import KeyValue
from polymodal.nn.layers import small_parameter
from polymodal.targets.beam_search import beam_search
from polymodal.targets.caption_tokenizer import END, PADDING, CaptionTokenizer
from polymodal.targets.decoder import Decoder
from polymodal.targets.structured import StructuredHead, StructuredPrediction
from polymodal.tokens import Fused


class CaptionHead(StructuredHead):
    """A decoder with cross-attention to the fused tokens, whose first input is the fused vector.

    After Vaswani et al. 2017, arXiv 1706.03762. Differs from the source: the fused vector takes the place of the
    start token, positions are learned, and the embeddings are tied to the output layer (Press and Wolf 2017, arXiv
    1608.05859).
    """

    reads_tokens = True

    def __init__(
        self,
        tokenizer: CaptionTokenizer,
        width: int,
        *,
        depth: int,
        num_heads: int,
        dropout: float,
        max_length: int,
        beam_width: int,
        length_penalty: float,
    ) -> None:
        """Build the layers.

        Args:
            tokenizer: The fitted tokenizer.
            width: W.
            depth: Decoder layers.
            num_heads: Attention heads; the width must be a multiple of it.
            dropout: Dropout probability.
            max_length: Maximum number of ids of a text, including the end.
            beam_width: Hypotheses kept at each step; 1 is greedy decoding.
            length_penalty: See ``beam_search``.
        """
        super().__init__()
        self.tokenizer, self.max_length = tokenizer, max_length
        self.beam_width, self.length_penalty = beam_width, length_penalty
        self.begin = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.embedding_VW = small_parameter(tokenizer.num_ids, width)
        self.positions_TW = small_parameter(max_length, width)
        self.bias_V = nn.Parameter(torch.zeros(tokenizer.num_ids))
        self.decoder = Decoder(width, depth, num_heads, dropout)

    def loss(self, fused: Fused, truth: Tensor, smoothing: float) -> Tensor:
        """Mean cross-entropy of the ids with teacher forcing.

        Args:
            fused: Output of the fusion.
            truth: int64 ``[B, max_length]``, padded with 0.
            smoothing: Label-smoothing factor.

        Returns:
            Loss ``[B]``; 0 where no text is known.
        """
        is_id = truth != PADDING
        length = max(int(is_id.any(dim=0).sum()), 1)
        truth, is_id = truth[:, :length], is_id[:, :length]
        steps_BTW = torch.cat([self.begin(fused.pooled).unsqueeze(1), self.embedded(truth[:, :-1])], dim=1)
        hidden_BTW, _ = self.decoder(
            steps_BTW + self.positions_TW[:length], self.decoder.project_memory(fused.read_tokens()), causal=True
        )
        losses_BT = functional.cross_entropy(
            self.logits(hidden_BTW).transpose(1, 2), truth, reduction="none", label_smoothing=smoothing
        )
        return (losses_BT * is_id).sum(dim=1) / is_id.sum(dim=1).clamp(min=1)

    def predict(self, fused: Fused) -> list[StructuredPrediction]:
        """Decode a text for each row.

        Args:
            fused: Output of the fusion.

        Returns:
            Texts; the confidence is the geometric mean of the ids' probabilities.
        """
        ids, log_mean = beam_search(
            _CachedDecoding(self, fused),
            len(fused.pooled),
            self.beam_width,
            self.max_length,
            END,
            PADDING,
            self.length_penalty,
        )
        confidences = log_mean.exp().clamp(max=1.0).tolist()
        return [
            StructuredPrediction(self.tokenizer.decode(row), confidence)
            for row, confidence in zip(ids.tolist(), confidences, strict=True)
        ]

    def embedded(self, ids: Tensor) -> Tensor:
        """Return the embeddings of ids, ``[..., W]``."""
        return functional.embedding(ids, self.embedding_VW) * math.sqrt(self.embedding_VW.shape[1])

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits of the next id, ``[..., V]``, from the decoder's output ``[..., W]``."""
        return functional.linear(hidden, self.embedding_VW, self.bias_V)


class _CachedDecoding:
    """The state of decoding a batch: keys and values of the steps so far, of each beam."""

    def __init__(self, head: CaptionHead, fused: Fused) -> None:
        self.head = head
        self.first_BW = head.begin(fused.pooled).repeat_interleave(head.beam_width, dim=0)
        self.memory = head.decoder.project_memory(fused.read_tokens()).repeat_rows(head.beam_width)
        self.past: list[KeyValue] | None = None
        self.num_steps = 0

    def __call__(self, last: Tensor | None, origin: Tensor | None) -> Tensor:
        """Return log-probabilities of the next id; see ``beam_search.NextLogProbabilities``."""
        step_BW = self.first_BW if last is None else self.head.embedded(last)
        if self.past is not None and origin is not None and self.head.beam_width > 1:
            self.past = [(keys[origin], values[origin]) for keys, values in self.past]
        step_BW = step_BW + self.head.positions_TW[self.num_steps]
        hidden_B1W, self.past = self.head.decoder(step_BW.unsqueeze(1), self.memory, self.past)
        self.num_steps += 1
        return functional.log_softmax(self.head.logits(hidden_B1W[:, 0]).float(), dim=1)
