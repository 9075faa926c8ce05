"""The network: encoders, fusion and heads put together (torch).

Shape legend: B rows of the batch, T tokens, W width, S streams.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from polymodal.fusion import EvidentialFusion
from polymodal.targets import Target, build_head
from polymodal.tokens import ColumnBatch, Fused, Tokens

Batch = Mapping[str, ColumnBatch]


@dataclass(frozen=True)
class Outputs:
    """What the network makes of a batch.

    Attributes:
        fused: Target to head output ``[B, output_dim]``; empty without a fusion inside the network.
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
            encoders: Stream to encoder; streams may share one.
            fusion: Fusion of those streams' tokens or answers, or None where only the decision level joins them.
            targets: Name to fitted target.
            width: Width of all tokens.
        """
        super().__init__()
        self.streams = tuple(encoders)
        self.targets = tuple(targets)
        self.width = width
        own = list(dict.fromkeys(encoders.values()))
        self.own_encoders = nn.ModuleList(own)
        self.encoder_places = [own.index(encoder) for encoder in encoders.values()]
        self.fusion = fusion
        self.heads = nn.ModuleList(build_head(target, width) for target in targets.values())
        self.stream_heads = nn.ModuleList(
            nn.ModuleList(build_head(target, width) for _ in encoders) for target in targets.values()
        )
        self.log_variances = nn.Parameter(torch.zeros(len(self.targets)))

    @property
    def encoders(self) -> list[nn.Module]:
        """The encoder of each stream, in the streams' order; a shared one stands there more than once."""
        return [self.own_encoders[place] for place in self.encoder_places]

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
        streams = self.stream_outputs(tokens)
        fused, weights = self.fused_outputs(tokens, streams, hidden)
        return Outputs(fused=fused, streams=streams, weights=weights)

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
            What the fusion makes of them, or None without a fusion of tokens.
        """
        if self.fusion is None or isinstance(self.fusion, EvidentialFusion):
            return None
        if hidden is not None:
            tokens = {stream: hide(tokens[stream], hidden[:, index]) for index, stream in enumerate(self.streams)}
        fused: Fused = self.fusion(dict(tokens))
        return fused

    def fused_outputs(
        self, tokens: Mapping[str, Tokens], streams: Mapping[str, Mapping[str, Tensor]], hidden: Tensor | None = None
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        """Fuse the streams' tokens, or their answers, and answer every target.

        Args:
            tokens: Stream to tokens.
            streams: What ``stream_outputs`` made of them.
            hidden: bool ``[B, S]``; True where a stream is hidden.

        Returns:
            Target to ``[B, output_dim]``, empty without a fusion; and the fusion's stream weights, if it has them.
        """
        if isinstance(self.fusion, EvidentialFusion):
            present = torch.stack([tokens[stream].row_present for stream in self.streams], dim=1)
            present = present if hidden is None else present & ~hidden
            return {name: self.fusion(list(found.values()), present) for name, found in streams.items()}, None
        fused = self.fuse(tokens, hidden)
        return ({}, None) if fused is None else (self.head_outputs(fused), fused.weights)

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
        outputs = {
            target: {stream: head(values) for stream, head, values in zip(self.streams, heads, pooled, strict=True)}
            for target, heads in zip(self.targets, self._heads_by_target(), strict=True)
        }
        if not isinstance(self.fusion, EvidentialFusion):
            return outputs
        opinions = self.fusion.opinions
        return {name: {stream: opinions(output) for stream, output in found.items()} for name, found in outputs.items()}

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
