"""The network: encoders, fusion and heads put together (torch).

Shape legend: B rows of the batch, T tokens, W width, S streams.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from polymodal.targets import Target, build_head
from polymodal.tokens import ColumnBatch, Fused, Tokens

Batch = Mapping[str, ColumnBatch]


@dataclass(frozen=True)
class Outputs:
    """What the network makes of a batch.

    Attributes:
        fused: Target to head output ``[B, output_dim]``; empty where the fusion is a vote.
        streams: Target to stream to that stream's own head output ``[B, output_dim]``.
        weights: The fusion's stream weights ``[B, S]``, where it has them.
    """

    fused: dict[str, Tensor]
    streams: dict[str, dict[str, Tensor]]
    weights: Tensor | None


class Network(nn.Module):
    """Encoders, one fusion, a head for each target, and a small head of each stream's own.

    Example:
        >>> from polymodal.targets import Category
        >>> target = Category.fit(["a", "b"])
        >>> network = Network({"x": nn.Identity()}, None, {"y": target}, width=8)
        >>> network.streams
        ('x',)
    """

    def __init__(
        self, encoders: Mapping[str, nn.Module], fusion: nn.Module | None, targets: Mapping[str, Target], width: int
    ) -> None:
        """Put the parts together.

        Args:
            encoders: Stream to encoder.
            fusion: Fusion of those streams, or None where only the decision level joins them.
            targets: Name to fitted target.
            width: Width of all tokens.
        """
        super().__init__()
        self.streams = tuple(encoders)
        self.targets = tuple(targets)
        self.width = width
        self.encoders = nn.ModuleList(encoders.values())
        self.fusion = fusion
        self.heads = nn.ModuleList(build_head(target, width) for target in targets.values())
        self.stream_heads = nn.ModuleList(
            nn.ModuleList(build_head(target, width) for _ in encoders) for target in targets.values()
        )
        self.log_variances = nn.Parameter(torch.zeros(len(self.targets)))

    def forward(self, batch: Batch, hidden: Tensor | None = None) -> Outputs:
        """Run a batch.

        Args:
            batch: Stream to cells.
            hidden: bool ``[B, S]``; True where a stream is hidden from the fusion (not from its
                own head).

        Returns:
            Outputs of all heads.
        """
        tokens = self.encode(batch)
        fused = self.fuse(tokens, hidden)
        return Outputs(
            fused={} if fused is None else self.head_outputs(fused),
            streams=self.stream_outputs(tokens),
            weights=None if fused is None else fused.weights,
        )

    def encode(self, batch: Batch) -> dict[str, Tokens]:
        """Encode every stream's present rows.

        Args:
            batch: Stream to cells.

        Returns:
            Stream to tokens.
        """
        pairs = zip(self.streams, self.encoders, strict=True)
        return {stream: encode_present(encoder, batch[stream], self.width) for stream, encoder in pairs}

    def fuse(self, tokens: Mapping[str, Tokens], hidden: Tensor | None = None) -> Fused | None:
        """Fuse the streams.

        Args:
            tokens: Stream to tokens.
            hidden: bool ``[B, S]``; True where a stream is hidden.

        Returns:
            What the fusion makes of them, or None without a fusion.
        """
        if self.fusion is None:
            return None
        if hidden is not None:
            tokens = {stream: hide(tokens[stream], hidden[:, index]) for index, stream in enumerate(self.streams)}
        fused: Fused = self.fusion(dict(tokens))
        return fused

    def head_outputs(self, fused: Fused) -> dict[str, Tensor]:
        """Run the targets' heads.

        Args:
            fused: The fusion's output.

        Returns:
            Target to ``[B, output_dim]``.
        """
        return {name: head(fused.pooled) for name, head in zip(self.targets, self.heads, strict=True)}

    def stream_outputs(self, tokens: Mapping[str, Tokens]) -> dict[str, dict[str, Tensor]]:
        """Run each stream's own heads on its pooled tokens.

        Args:
            tokens: Stream to tokens.

        Returns:
            Target to stream to ``[B, output_dim]``; meaningless where the stream is absent.
        """
        pooled = [tokens[stream].pooled() for stream in self.streams]
        return {
            target: {stream: head(values) for stream, head, values in zip(self.streams, heads, pooled, strict=True)}
            for target, heads in zip(self.targets, self._heads_by_target(), strict=True)
        }

    def _heads_by_target(self) -> Sequence[nn.ModuleList]:
        return [heads for heads in self.stream_heads if isinstance(heads, nn.ModuleList)]


def hide(tokens: Tokens, hidden: Tensor) -> Tokens:
    """Make the tokens of some rows absent.

    Args:
        tokens: One stream's tokens.
        hidden: bool ``[B]``.

    Returns:
        The same values, fewer of them present.
    """
    return Tokens(tokens.values, tokens.present & ~hidden.unsqueeze(1))


def encode_present(encoder: nn.Module, column: ColumnBatch, width: int) -> Tokens:
    """Run an encoder on the rows that are there; absent rows become zeros that are not present.

    Args:
        encoder: From ``ColumnBatch`` to ``Tokens``.
        column: Cells of the batch.
        width: Width of the tokens.

    Returns:
        Tokens of all rows.
    """
    row_present = column.row_present
    if bool(row_present.all()) and len(column):
        tokens: Tokens = encoder(column)
        return tokens
    rows = row_present.nonzero().squeeze(1)
    if not len(rows):
        return _absent(len(column), 1, width, row_present.device)
    found: Tokens = encoder(column.take(rows))
    empty = _absent(len(column), found.values.shape[1], width, found.values.device)
    return Tokens(
        empty.values.to(found.values.dtype).index_copy(0, rows, found.values),
        empty.present.index_copy(0, rows, found.present),
    )


def _absent(num_rows: int, num_tokens: int, width: int, device: torch.device) -> Tokens:
    return Tokens(
        torch.zeros(num_rows, num_tokens, width, device=device),
        torch.zeros(num_rows, num_tokens, dtype=torch.bool, device=device),
    )
