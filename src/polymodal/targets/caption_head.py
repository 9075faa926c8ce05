"""The head of the target caption: an autoregressive transformer decoder over the fused tokens (torch).

Shape legend: B rows of the batch, K beams of a row, C texts of a row, T steps of the text, W width, V ids.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from polymodal.nn.attention import KeyValue
from polymodal.nn.layers import small_parameter
from polymodal.targets.beam_search import CANDIDATE_IDS, CANDIDATES, IDS, NEXT, ORIGIN
from polymodal.targets.caption_tokenizer import PADDING
from polymodal.targets.decoder import Decoder, Memory
from polymodal.targets.predictions import ReadOutputs, StructuredPrediction
from polymodal.targets.structured_head import StepGraph, StructuredHead, to_arrays
from polymodal.tokens import Fused

MEMORY_PRESENT = "memory_present"


class CaptionHead(StructuredHead):
    """A decoder with cross-attention to the fused tokens, whose first input is the fused vector.

    After Vaswani et al. 2017, arXiv 1706.03762. Differs from the source: the fused vector takes the place of the
    start token, positions are learned, and the embeddings are tied to the output layer (Press and Wolf 2017, arXiv
    1608.05859).
    """

    reads_tokens = True

    def __init__(
        self,
        read: ReadOutputs,
        num_ids: int,
        width: int,
        *,
        depth: int,
        num_heads: int,
        dropout: float,
        max_length: int,
        num_candidates: int,
    ) -> None:
        """Build the layers.

        Args:
            read: ``read_outputs`` of the target.
            num_ids: V.
            width: W.
            depth: Decoder layers.
            num_heads: Attention heads; the width must be a multiple of it.
            dropout: Dropout probability.
            max_length: Maximum number of ids of a text, including the end.
            num_candidates: C, the most probable next ids that each step gives.
        """
        super().__init__(read)
        self.num_candidates = num_candidates
        self.begin = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.embedding_VW = small_parameter(num_ids, width)
        self.positions_TW = small_parameter(max_length, width)
        self.bias_V = nn.Parameter(torch.zeros(num_ids))
        self.decoder = Decoder(width, depth, num_heads, dropout)

    def loss(self, fused: Fused, truth: Tensor, smoothing: float) -> Tensor:
        """Mean cross-entropy of the ids with teacher forcing.

        Args:
            fused: Output of the fusion.
            truth: int64 ``[B, max_length]``, padded with 0; or ``[B, C, max_length]``, several texts of a row, of which
                one is drawn in training; else the mean over them is taken.
            smoothing: Label-smoothing factor.

        Returns:
            Loss ``[B]``; 0 where no text is known.
        """
        if truth.dim() == 2:
            return self._loss(fused, truth, smoothing)
        is_text_BC = (truth != PADDING).any(dim=2)
        if self.training:
            drawn_B = torch.rand(is_text_BC.shape, device=truth.device).masked_fill(~is_text_BC, -1.0).argmax(dim=1)
            return self._loss(fused, truth[torch.arange(len(truth), device=truth.device), drawn_B], smoothing)
        losses_BC = torch.stack([self._loss(fused, text_BT, smoothing) for text_BT in truth.unbind(dim=1)], dim=1)
        return losses_BC.sum(dim=1) / is_text_BC.sum(dim=1).clamp(min=1)

    def _loss(self, fused: Fused, truth: Tensor, smoothing: float) -> Tensor:
        """Return the loss ``[B]`` of one text of each row, int64 ``[B, max_length]``."""
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

    def outputs(self, fused: Fused) -> dict[str, Tensor]:
        """Compute the first step of decoding.

        Args:
            fused: Output of the fusion.

        Returns:
            ``candidates`` and ``candidate_ids`` ``[B, C]``, log-probabilities of the most probable first ids;
            ``keys_I`` and ``values_I`` ``[B, H, 1, D]`` of the step in layer I; ``memory_keys_I`` and
            ``memory_values_I`` ``[B, H, M, D]``; ``memory_present``, bool ``[B, M]``.
        """
        memory = self.decoder.project_memory(fused.read_tokens())
        step_B1W = (self.begin(fused.pooled) + self.positions_TW[0]).unsqueeze(1)
        hidden_B1W, past = self.decoder(step_B1W, memory)
        return {**self._candidates(hidden_B1W[:, 0]), **named_pairs("", past), **named_memory(memory)}

    def step(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Compute a further step of decoding.

        Args:
            inputs: ``ids``, int64 ``[N]``, the last id of each beam; ``origin``, int64 ``[N]``, the number of the beam
                that each beam extends; keys, values and memory by the names of ``outputs``, ``[N, H, T, D]``.

        Returns:
            Candidates ``[N, C]``; ``next_keys_I`` and ``next_values_I`` ``[N, H, T + 1, D]``.
        """
        origin, depth = inputs[ORIGIN], len(self.decoder.layers)
        past = [(inputs[f"keys_{layer}"][origin], inputs[f"values_{layer}"][origin]) for layer in range(depth)]
        memory = Memory(
            [(inputs[f"memory_keys_{layer}"], inputs[f"memory_values_{layer}"]) for layer in range(depth)],
            inputs[MEMORY_PRESENT],
        )
        position = torch.full_like(origin[:1], past[0][0].shape[2])
        step_NW = self.embedded(inputs[IDS]) + functional.embedding(position, self.positions_TW)
        hidden_N1W, past = self.decoder(step_NW.unsqueeze(1), memory, past)
        return {**self._candidates(hidden_N1W[:, 0]), **named_pairs(NEXT, past)}

    def build_step(self) -> StepGraph:
        """Build the graph of ``step``.

        Returns:
            A module that shares the weights of the head.
        """
        return CaptionStep(self)

    def predict(self, fused: Fused) -> list[StructuredPrediction]:
        """Decode a text for each row; keys and values stay on the device.

        Args:
            fused: Output of the fusion.

        Returns:
            Texts; the confidence is the geometric mean of the ids' probabilities.
        """
        device = fused.pooled.device

        def step(inputs: Mapping[str, Any]) -> dict[str, Any]:
            given = {name: inputs[name] for name in inputs if name not in (IDS, ORIGIN)}
            placed = {name: torch.from_numpy(inputs[name]).to(device) for name in (IDS, ORIGIN)}
            return _candidates_on_cpu(self.step(given | placed))

        return self.read(_candidates_on_cpu(self.outputs(fused)), step)

    def _candidates(self, hidden_NW: Tensor) -> dict[str, Tensor]:
        """Return log-probabilities and ids of the most probable next ids ``[N, C]``, without the padding."""
        log_NV = functional.log_softmax(self.logits(hidden_NW).float(), dim=1)
        is_padding = torch.arange(log_NV.shape[1], device=log_NV.device) == PADDING
        best_NC, ids_NC = log_NV.masked_fill(is_padding, -torch.inf).topk(self.num_candidates, dim=1)
        return {CANDIDATES: best_NC, CANDIDATE_IDS: ids_NC}

    def embedded(self, ids: Tensor) -> Tensor:
        """Return the embeddings of ids, ``[..., W]``."""
        return functional.embedding(ids, self.embedding_VW) * math.sqrt(self.embedding_VW.shape[1])

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits of the next id, ``[..., V]``, from the decoder's output ``[..., W]``."""
        return functional.linear(hidden, self.embedding_VW, self.bias_V)


class CaptionStep(StepGraph):
    """A step of decoding as a module of its own, for export."""

    def __init__(self, head: CaptionHead) -> None:
        """Store the head.

        Args:
            head: The head, whose weights are shared.
        """
        super().__init__()
        self.head = head

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Compute a step; see ``CaptionHead.step``.

        Args:
            inputs: Input name to tensor.

        Returns:
            Output name to tensor.
        """
        return self.head.step(inputs)

    def example_inputs(self, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Build inputs of the third step, whose keys and values are of two steps.

        Args:
            outputs: Output of ``CaptionHead.outputs``.

        Returns:
            Input name to tensor.
        """
        best = outputs[CANDIDATE_IDS][:, 0]
        chosen = {IDS: best, ORIGIN: torch.arange(best.shape[0], device=best.device)}
        state = {name: value for name, value in outputs.items() if name not in (CANDIDATES, CANDIDATE_IDS)}
        found = self.head.step(state | chosen)
        following = {name: found.get(f"{NEXT}{name}", value) for name, value in state.items()}
        return following | chosen

    def free_axes(self, name: str) -> dict[int, str]:
        """Return which sizes of an input are free.

        Args:
            name: Name of the input.

        Returns:
            Axis to ``rows``, ``steps`` or ``tokens``.
        """
        if name == MEMORY_PRESENT:
            return {0: "rows", 1: "tokens"}
        if name in (IDS, ORIGIN):
            return {0: "rows"}
        return {0: "rows", 2: "tokens" if name.startswith("memory") else "steps"}


def named_pairs(prefix: str, layers: Sequence[KeyValue]) -> dict[str, Tensor]:
    """Name the keys and values of all layers.

    Args:
        prefix: Beginning of the names.
        layers: Keys and values of each layer.

    Returns:
        ``keys_I`` and ``values_I`` to tensor, after the prefix.
    """
    found: dict[str, Tensor] = {}
    for layer, (keys, values) in enumerate(layers):
        found |= {f"{prefix}keys_{layer}": keys, f"{prefix}values_{layer}": values}
    return found


def named_memory(memory: Memory) -> dict[str, Tensor]:
    """Name the parts of the memory.

    Args:
        memory: Keys and values of the fused tokens.

    Returns:
        ``memory_keys_I``, ``memory_values_I`` and ``memory_present`` to tensor.
    """
    return {**named_pairs("memory_", memory.layers), MEMORY_PRESENT: memory.present}


def _candidates_on_cpu(outputs: dict[str, Tensor]) -> dict[str, Any]:
    """Convert the candidates, which numpy reads, to arrays; keys and values stay where they are."""
    return {**outputs, **to_arrays({name: outputs[name] for name in (CANDIDATES, CANDIDATE_IDS)})}
