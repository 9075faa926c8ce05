"""No fusion: the streams are not mixed, for objectives between streams (torch)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from polymodal.fusion.base import details_of, join
from polymodal.tokens import Fused, Tokens


class NoFusion(nn.Module):
    """Concatenates the tokens of the streams, without parameters; pooled is the mean of the present streams' means."""

    def __init__(self, streams: Sequence[str]) -> None:
        """Store the names of the streams.

        Args:
            streams: Names of the streams.
        """
        super().__init__()
        self.streams = tuple(streams)

    def forward(self, streams: Mapping[str, Tokens]) -> Fused:
        """Concatenate the tokens of the streams.

        Args:
            streams: Stream to tokens ``[B, T, W]``.

        Returns:
            Pooled ``[B, W]``, all tokens, and the tokens of each stream.
        """
        present_BS1 = torch.stack([streams[name].row_present for name in self.streams], dim=1).unsqueeze(2)
        pooled_BSW = torch.stack([streams[name].pooled() for name in self.streams], dim=1)
        total_BW = torch.where(present_BS1, pooled_BSW, 0.0).sum(dim=1)
        pooled_BW = total_BW / present_BS1.sum(dim=1).clamp(min=1)
        joined = join([streams[name] for name in self.streams])
        return Fused(pooled_BW, joined, details=details_of(streams), streams=dict(streams))
