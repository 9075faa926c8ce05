"""The base class of fusions: learned tokens replace absent streams (torch).

Shape legend: B rows of the batch, T tokens, W width, S streams.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from polymodal.nn.layers import Dropout, small_parameter
from polymodal.tokens import Detail, Fused, Tokens


class Fusion(nn.Module, ABC):
    """A module from each stream's tokens to one vector a row.

    A stream without a present token in a row is replaced there by that stream's learned missing
    token, in training and in inference; the values of absent tokens are never read.

    Attributes:
        gives_tokens: Whether to compute ``Fused.tokens``; a network sets it only where one of its heads reads them.
    """

    gives_tokens = True

    def __init__(self, streams: Sequence[str], width: int) -> None:
        """Create the missing tokens.

        Args:
            streams: Names of the streams, in the order of ``Fused.weights``.
            width: W.
        """
        super().__init__()
        self.streams = tuple(streams)
        self.width = width
        self.missing_SW = small_parameter(len(self.streams), width)

    def forward(self, streams: Mapping[str, Tokens]) -> Fused:
        """Fuse the streams.

        Args:
            streams: Stream to tokens ``[B, T, W]``; T may differ between streams.

        Returns:
            Output of the fusion.
        """
        row_present_BS = torch.stack([streams[name].row_present for name in self.streams], dim=1)
        filled = [fill(streams[name], missing) for name, missing in zip(self.streams, self.missing_SW, strict=True)]
        return dataclasses.replace(
            self.fuse(filled, row_present_BS), details=details_of(streams), streams=dict(streams)
        )

    @abstractmethod
    def fuse(self, streams: list[Tokens], row_present_BS: Tensor) -> Fused:
        """Fuse streams that have at least one present token in every row.

        Args:
            streams: Tokens in the order of ``self.streams``; zeros where not present.
            row_present_BS: bool ``[B, S]``; False where the stream is replaced by its missing token.

        Returns:
            Output of the fusion.
        """


def details_of(streams: Mapping[str, Tokens]) -> dict[str, Detail]:
    """Collect the details of the streams that have one.

    Args:
        streams: Stream to tokens.

    Returns:
        Stream to detail.
    """
    return {name: tokens.detail for name, tokens in streams.items() if tokens.detail is not None}


def fill(tokens: Tokens, missing_W: Tensor) -> Tokens:
    """Replace the first token of rows without any by the missing token, and all other absent tokens by zeros.

    Args:
        tokens: One stream's tokens.
        missing_W: That stream's missing token ``[W]``.

    Returns:
        Tokens with at least one present in every row.
    """
    first = torch.arange(tokens.values.shape[1], device=tokens.values.device) == 0
    replaced_BT = ~tokens.row_present.unsqueeze(1) & first
    values = torch.where(tokens.present.unsqueeze(2), tokens.values, 0)
    values = torch.where(replaced_BT.unsqueeze(2), missing_W.to(values.dtype), values)
    return Tokens(values, tokens.present | replaced_BT)


def join(streams: Sequence[Tokens]) -> Tokens:
    """Concatenate the tokens of all streams.

    Args:
        streams: Tokens of each stream.

    Returns:
        Tokens ``[B, sum of T, W]``.
    """
    return Tokens(
        torch.cat([tokens.values for tokens in streams], dim=1),
        torch.cat([tokens.present for tokens in streams], dim=1),
    )


def pool(streams: Sequence[Tokens]) -> Tensor:
    """Return each stream's mean token.

    Args:
        streams: Tokens of each stream.

    Returns:
        ``[B, S, W]``.
    """
    return torch.stack([tokens.pooled() for tokens in streams], dim=1)


def max_pool(streams: Sequence[Tokens]) -> Tensor:
    """Return each stream's maximum over its present tokens.

    Args:
        streams: Tokens of each stream, at least one present in every row.

    Returns:
        ``[B, S, W]``.
    """
    lowest = torch.finfo(streams[0].values.dtype).min
    return torch.stack(
        [torch.where(tokens.present.unsqueeze(2), tokens.values, lowest).amax(dim=1) for tokens in streams], dim=1
    )


def fusion_mlp(num_in: int, width: int, dropout: float) -> nn.Sequential:
    """Build the two-layer MLP that follows a fusion of pooled streams.

    Args:
        num_in: Input width.
        width: Output width.
        dropout: Dropout probability.

    Returns:
        Layer norm, linear, GELU, dropout, linear.
    """
    return nn.Sequential(
        nn.LayerNorm(num_in), nn.Linear(num_in, width), nn.GELU(), Dropout(dropout), nn.Linear(width, width)
    )
