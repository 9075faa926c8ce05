"""The network: encoders, a fusion and heads as one ``nn.Module``.

Shape legend: B rows of the batch, T tokens, W width, S streams.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from polymodal.encoders.shared_layers import SharedLayers, StreamEncoder
from polymodal.fusion import EvidentialFusion, Fusion
from polymodal.fusion.no_fusion import NoFusion
from polymodal.model.network_inference import NetworkInference
from polymodal.model.present_rows import encode_present, mask_rows
from polymodal.nn.precision import autocast_disabled
from polymodal.targets import AnyTarget, StructuredHead, StructuredTarget, build_head
from polymodal.targets.structured import StructuredPrediction
from polymodal.tokens import ColumnBatch, Fused, Tokens

Batch = Mapping[str, ColumnBatch]
Truth = Mapping[str, tuple[Tensor, Tensor]]
"""Target to encoded cells and, bool ``[B]``, a mask of those that are known."""


@dataclass(frozen=True)
class Mixup:
    """Coefficients of mixup: each row of a batch is mixed with a partner.

    Attributes:
        partner: int64 ``[B]``, the row each is mixed with.
        weight: Weight of the row itself, 0.5 to 1.
    """

    partner: Tensor
    weight: float


@dataclass(frozen=True)
class NetworkOutput:
    """Outputs of the network for a batch.

    Attributes:
        fused: Flat target to head output ``[B, output_dim]``; empty without a fusion inside the network.
        streams: Flat target to stream to the output of that stream's own head ``[B, output_dim]``.
        fusion_output: Output of the fusion, which structured targets predict from; None without a fusion of tokens.
        losses: Structured target to loss ``[B]``; empty if the truth was not given.
        fewer: As ``fused``, with more streams masked; empty if this was not asked for.
    """

    fused: dict[str, Tensor]
    streams: dict[str, dict[str, Tensor]]
    fusion_output: Fused | None
    losses: dict[str, Tensor]
    fewer: dict[str, Tensor] = field(default_factory=dict)


class Network(NetworkInference):
    """Encoders, layers that they share, one fusion, a head for each target, and auxiliary heads for each stream.

    Example:
        >>> from polymodal.targets import CategoryTarget
        >>> target = CategoryTarget.fit(["a", "b"])
        >>> network = Network({"x": nn.Identity()}, None, {"y": target}, width=8)
        >>> network.streams
        ('x',)
    """

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        fusion: nn.Module | None,
        targets: Mapping[str, AnyTarget],
        width: int,
        shared_layers: Sequence[SharedLayers] = (),
    ) -> None:
        """Assemble the modules.

        Args:
            encoders: Stream to encoder; streams may share one.
            fusion: Fusion of the streams' tokens or predictions; None where only the ensemble
                combines them.
            targets: Name to fitted target.
            width: Width of all tokens.
            shared_layers: Layers that follow the encoders of several streams, called after the first stream of each.
        """
        super().__init__()
        self.streams = tuple(encoders)
        flat = {name: target for name, target in targets.items() if not isinstance(target, StructuredTarget)}
        structured = {name: target for name, target in targets.items() if isinstance(target, StructuredTarget)}
        self.targets = tuple(flat)
        self.structured = tuple(structured)
        self.width = width
        self.pruned: dict[str, int] = {}  # what ``nn.pruning.prune`` left of the network as it was built
        unique = list(dict.fromkeys(encoders.values()))
        self.own_encoders = nn.ModuleList(unique)
        self.encoder_indices = [unique.index(encoder) for encoder in encoders.values()]
        self.shared_layers = nn.ModuleList(shared_layers)
        self.fusion = fusion
        self.heads = nn.ModuleList(build_head(target, width) for target in flat.values())
        self.stream_heads = nn.ModuleList(
            nn.ModuleList(build_head(target, width) for _ in encoders) for target in flat.values()
        )
        self.structured_heads = nn.ModuleList(target.build_head(width, encoders) for target in structured.values())
        if isinstance(fusion, Fusion):
            fusion.gives_tokens = any(head.reads_tokens for _, head in self.named_structured_heads())
        self.log_variances = nn.Parameter(torch.zeros(len(targets)))

    @property
    def encoders(self) -> list[nn.Module]:
        """The encoder of each stream, in the streams' order; a shared one is repeated."""
        return [self.own_encoders[index] for index in self.encoder_indices]

    def stream_encoder(self, number: int) -> nn.Module:
        """Return what makes tokens of cells: an encoder, and the layers behind it that others share.

        Args:
            number: Number of the encoder in ``own_encoders``.

        Returns:
            From ``ColumnBatch`` to ``Tokens``.
        """
        encoder, first = self.own_encoders[number], self.first_stream(number)
        layers = next((layers for layers in self.layer_groups if first in layers.streams), None)
        return encoder if layers is None else StreamEncoder(encoder, layers, first)

    def first_stream(self, number: int) -> str:
        """Return the stream that an encoder is called after: the first of those that share it.

        Args:
            number: Number of the encoder in ``own_encoders``.

        Returns:
            Its name.
        """
        return self.streams[self.encoder_indices.index(number)]

    @property
    def layer_groups(self) -> list[SharedLayers]:
        """The layers that streams share, one entry a group."""
        return [layers for layers in self.shared_layers if isinstance(layers, SharedLayers)]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.log_variances.device

    def forward(
        self,
        batch: Batch,
        hidden: Tensor | None = None,
        truth: Truth | None = None,
        smoothing: float = 0.0,
        mixup: Mixup | None = None,
        dummy_rows: Batch | None = None,
        fewer: Tensor | None = None,
    ) -> NetworkOutput:
        """Run a batch; heads and losses compute in float32, also under autocast.

        Args:
            batch: Stream to cells.
            hidden: bool ``[B, S]``; True where a stream is masked in the fusion (not in its
                own head).
            truth: Target to truth, for the losses of structured targets.
            smoothing: Label smoothing of structured targets.
            mixup: Mixes the fused rows before the flat targets' heads (manifold mixup, Verma et al. 2019, arXiv
                1806.05236).
            dummy_rows: Stream that is absent in the whole batch to one row of it, so that its encoder runs anyway.
            fewer: As ``hidden``; the flat targets are predicted a second time with these streams masked, and streams
                are recovered with these masked.

        Returns:
            Outputs of all heads.
        """
        tokens = self.encode(batch, dummy_rows)
        fused = self.fuse(tokens, hidden)
        again = None if fewer is None else self.fuse(tokens, fewer)
        losses = {} if fused is None or truth is None else self.structured_losses(fused, truth, smoothing, again)
        with autocast_disabled(self.log_variances.device):
            streams = self.stream_outputs(tokens)
            mixed, mixed_again = (rows if mixup is None else apply_mixup(rows, mixup) for rows in (fused, again))
            outputs = self.fused_outputs(tokens, streams, mixed, hidden)
            outputs_again = {} if mixed_again is None else self.head_outputs(mixed_again)
            return NetworkOutput(outputs, streams, fused, losses, outputs_again)

    @property
    def fuses_streams(self) -> bool:
        """Whether a fusion combines several streams, so that modality dropout has an effect."""
        return len(self.streams) > 1 and not isinstance(self.fusion, NoFusion)

    def encode(self, batch: Batch, dummy_rows: Batch | None = None) -> dict[str, Tokens]:
        """Encode every stream's present rows.

        Args:
            batch: Stream to cells.
            dummy_rows: Stream to a row that is encoded where the batch has none; it adds no tokens.

        Returns:
            Stream to tokens.
        """
        encoders = [self.stream_encoder(number) for number in self.encoder_indices]
        return {
            stream: encode_present(encoder, batch[stream], self.width, (dummy_rows or {}).get(stream))
            for stream, encoder in zip(self.streams, encoders, strict=True)
        }

    def fuse(self, tokens: Mapping[str, Tokens], hidden: Tensor | None = None) -> Fused | None:
        """Fuse the streams.

        Args:
            tokens: Stream to tokens.
            hidden: bool ``[B, S]``; True where a stream is masked.

        Returns:
            The output of the fusion, or None without a fusion of tokens.
        """
        if self.fusion is None or isinstance(self.fusion, EvidentialFusion):
            return None
        if hidden is not None:
            tokens = {stream: mask_rows(tokens[stream], hidden[:, index]) for index, stream in enumerate(self.streams)}
        fused: Fused = self.fusion(dict(tokens))
        return fused.float()

    def fused_outputs(
        self,
        tokens: Mapping[str, Tokens],
        streams: Mapping[str, Mapping[str, Tensor]],
        fused: Fused | None,
        hidden: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Predict every flat target from the fused tokens, or by fusing the predictions of the streams' own heads.

        Args:
            tokens: Stream to tokens.
            streams: The output of ``stream_outputs``.
            fused: The output of ``fuse``.
            hidden: bool ``[B, S]``; True where a stream is masked.

        Returns:
            Target to ``[B, output_dim]``, empty without a fusion inside the network.
        """
        if isinstance(self.fusion, EvidentialFusion):
            present = torch.stack([tokens[stream].row_present for stream in self.streams], dim=1)
            present = present if hidden is None else present & ~hidden
            return {name: self.fusion(list(outputs.values()), present) for name, outputs in streams.items()}
        return {} if fused is None else self.head_outputs(fused)

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
        return {name: {stream: opinions(o) for stream, o in of_target.items()} for name, of_target in outputs.items()}

    def structured_losses(
        self, fused: Fused, truth: Truth, smoothing: float, fewer: Fused | None = None
    ) -> dict[str, Tensor]:
        """Compute the structured targets' losses.

        Args:
            fused: The fusion's output.
            truth: Target to truth.
            smoothing: Label smoothing.
            fewer: The fusion's output with more streams masked, if heads that recover streams are to read that.

        Returns:
            Target to loss ``[B]``.
        """
        losses = {}
        for name, head in self.named_structured_heads():
            with nullcontext() if head.uses_autocast else autocast_disabled(self.log_variances.device):
                seen = fewer if fewer is not None and head.reads_fewer else fused
                losses[name] = head.loss(seen, truth[name][0], smoothing)
        return losses

    def predict_structured(self, fused: Fused) -> dict[str, list[StructuredPrediction]]:
        """Predict the structured targets.

        Args:
            fused: The fusion's output.

        Returns:
            Target to B predictions.
        """
        return {name: head.predict(fused) for name, head in self.named_structured_heads()}

    def named_structured_heads(self) -> list[tuple[str, StructuredHead]]:
        """Return each structured target's name and head."""
        heads = [head for head in self.structured_heads if isinstance(head, StructuredHead)]
        return list(zip(self.structured, heads, strict=True))

    def _heads_by_target(self) -> Sequence[nn.ModuleList]:
        return [heads for heads in self.stream_heads if isinstance(heads, nn.ModuleList)]


def apply_mixup(fused: Fused | None, mixup: Mixup) -> Fused | None:
    """Mixup the pooled rows.

    Args:
        fused: The output of the fusion, if there is one.
        mixup: Partners and weight.

    Returns:
        The same with mixed pooled rows.
    """
    if fused is None:
        return None
    pooled = mixup.weight * fused.pooled + (1 - mixup.weight) * fused.pooled[mixup.partner.to(fused.pooled.device)]
    return dataclasses.replace(fused, pooled=pooled)
