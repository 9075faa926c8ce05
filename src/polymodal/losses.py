"""The training loss: every target, fused and by each stream's own head (torch)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from polymodal.network import Batch, Network, Outputs, Truth
from polymodal.targets import AnyTarget, StructuredTarget


def draw_hidden(present: Tensor, chance: float) -> Tensor:
    """Choose which streams to hide from the fusion, row by row, never all that a row has.

    Args:
        present: bool ``[B, S]``.
        chance: Chance that a present stream is hidden.

    Returns:
        bool ``[B, S]``.
    """
    hidden = (torch.rand(present.shape) < chance) & present
    nothing = ~present.any(dim=1, keepdim=True)
    spared = torch.multinomial((present | nothing).float(), 1)
    emptied = (present & ~hidden).sum(dim=1) == 0
    return hidden.scatter(1, spared, hidden.gather(1, spared) & ~emptied.unsqueeze(1))


def stream_presence(batch: Batch, streams: tuple[str, ...]) -> Tensor:
    """Tell where each stream is there.

    Args:
        batch: Stream to cells.
        streams: Order of the result's columns.

    Returns:
        bool ``[B, S]``.
    """
    return torch.stack([batch[stream].row_present for stream in streams], dim=1)


def total_loss(
    network: Network,
    outputs: Outputs,
    truth: Truth,
    present: Tensor,
    targets: Mapping[str, AnyTarget],
    auxiliary_weight: float,
    smoothing: float,
) -> Tensor:
    """Add up the losses of all targets.

    Several targets are weighted by learned uncertainties (Kendall, Gal and Cipolla 2018, eq. 10).

    Args:
        network: Holds the uncertainties.
        outputs: The network's outputs.
        truth: Target to truth and where it is known.
        present: bool ``[B, S]``, the streams that are there.
        targets: Name to fitted target.
        auxiliary_weight: Weight of the streams' own losses.
        smoothing: Label smoothing.

    Returns:
        One number.
    """
    losses = []
    for name, target in targets.items():
        fused, streams = target_losses(outputs, name, target, truth[name], present, smoothing)
        weight = auxiliary_weight if name in outputs.fused else 1.0
        losses.append(fused + weight * streams.sum())
    if len(losses) == 1:
        return losses[0]
    stacked = torch.stack(losses)
    return ((-network.log_variances).exp() * stacked + network.log_variances).sum()


def target_losses(
    outputs: Outputs, name: str, target: AnyTarget, truth: tuple[Tensor, Tensor], present: Tensor, smoothing: float
) -> tuple[Tensor, Tensor]:
    """Compute one target's fused loss and each stream's.

    Args:
        outputs: The network's outputs.
        name: The target's name.
        target: The fitted target.
        truth: Truth and where it is known.
        present: bool ``[B, S]``.
        smoothing: Label smoothing.

    Returns:
        The fused loss (0 without a fusion) and the streams' ``[S]``; a structured target has none of its streams'.
    """
    values, known = truth
    if isinstance(target, StructuredTarget):
        return _mean(outputs.losses[name], known & present.any(dim=1)), present.new_zeros(1, dtype=torch.float32)
    streams = [
        _mean(target.loss(output, values, smoothing), known & present[:, index])
        for index, output in enumerate(outputs.streams[name].values())
    ]
    if name not in outputs.fused:
        return torch.zeros(()), torch.stack(streams)
    fused = _mean(target.loss(outputs.fused[name], values, smoothing), known & present.any(dim=1))
    return fused, torch.stack(streams)


def _mean(losses: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, losses, 0.0).sum() / mask.sum().clamp(min=1)
