"""Layers that several streams share, each behind its own encoder (torch).

Shape legend: B rows of the batch, T tokens, E encoders, W width.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from torch import nn

from polymodal.nn.attention import Transformer
from polymodal.nn.layers import small_parameter
from polymodal.tokens import ColumnBatch, Tokens

NUM_HEADS = 4
"""Heads of the attention, where they divide the width."""
DROPOUT = 0.1


class SharedLayers(nn.Module):
    """Transformer layers whose weights several streams of different modalities share.

    After Aytar et al. 2017, See, Hear, and Read: Deep Aligned Representations, arXiv 1706.00932: layers of each
    modality, then layers that are common to all. Differs from the source: transformer layers (Vaswani et al. 2017)
    over a stream's tokens, and a learned vector for each encoder, added to its tokens as the segment embedding of
    Devlin et al. 2019, arXiv 1810.04805, is. Tokens of different streams do not meet here: that is for the fusion.
    The detail of an encoder bypasses the layers.

    Attributes:
        name: Name of the group.
        streams: The stream that each encoder is called after.
    """

    def __init__(self, name: str, streams: Sequence[str], width: int, depth: int) -> None:
        """Build the layers.

        Args:
            name: Name of the group.
            streams: The stream that each encoder is called after.
            width: W.
            depth: Number of layers.
        """
        super().__init__()
        self.name = name
        self.streams = tuple(streams)
        self.stream_EW = small_parameter(len(self.streams), width)
        self.layers = Transformer(width, depth, math.gcd(width, NUM_HEADS), DROPOUT)

    @property
    def depth(self) -> int:
        """Number of layers."""
        return len(self.layers.layers)

    def forward(self, tokens: Tokens, stream: str) -> Tokens:
        """Run the layers on the tokens of one encoder.

        Args:
            tokens: Tokens ``[B, T, W]``.
            stream: One of ``streams``.

        Returns:
            As many tokens; those that are not present have no meaning.
        """
        values = tokens.values + self.stream_EW[self.streams.index(stream)]
        return dataclasses.replace(tokens, values=self.layers(values, tokens.present))


class StreamEncoder(nn.Module):
    """An encoder and the shared layers behind it: what makes a stream's tokens."""

    def __init__(self, encoder: nn.Module, shared_layers: SharedLayers, stream: str) -> None:
        """Join modules that belong to a network.

        Args:
            encoder: From ``ColumnBatch`` to ``Tokens``.
            shared_layers: The layers.
            stream: The stream that the encoder is called after there.
        """
        super().__init__()
        self.encoder, self.shared_layers, self.stream = encoder, shared_layers, stream
        self.training = encoder.training

    def forward(self, column: ColumnBatch) -> Tokens:
        """Encode cells.

        Args:
            column: Cells of the batch.

        Returns:
            Tokens of all rows.
        """
        tokens: Tokens = self.shared_layers(self.encoder(column), self.stream)
        return tokens
