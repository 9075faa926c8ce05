"""The training loss: every target, fused and by each stream's own head (torch)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from polymodal.config import TrainConfig
from polymodal.errors import parameter_error
from polymodal.model.network import Batch, Mixup, Network, NetworkOutput, Truth
from polymodal.targets import AnyTarget, CategoriesTarget, CategoryTarget, StructuredTarget, Target

FOCUS = 2.0
"""The focusing parameter of Lin et al. 2017, where it works best."""
TEMPERATURE = 2.0
"""Softens a teacher's probabilities."""


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


@dataclass(frozen=True, kw_only=True)
class LossInputs:
    """What a batch is to be learned for.

    Attributes:
        targets: Name to fitted target.
        truth: Target to truth and where it is known.
        present: bool ``[B, S]``, the streams that are there.
        settings: Resolved training options.
        soft: Flat target to a teacher's predictions, where there is a teacher.
        mix: How the batch's fused rows were mixed, where they were.
        share: Share of the step's rows that are in this batch.
        counts: Where the step has more rows than this batch: target to int64 ``[1 + S]``, how many of the step's rows
            count for its fused loss and for each stream's; means are taken over them.
    """

    targets: Mapping[str, AnyTarget]
    truth: Truth
    present: Tensor
    settings: TrainConfig
    soft: Mapping[str, Tensor] = field(default_factory=dict)
    mix: Mixup | None = None
    share: float = 1.0
    counts: Mapping[str, Tensor] = field(default_factory=dict)


def count_rows(known: Mapping[str, Tensor], present: Tensor) -> dict[str, Tensor]:
    """Count the rows that have a part in each loss.

    Args:
        known: Target to bool ``[B]``, where the truth is known.
        present: bool ``[B, S]``.

    Returns:
        Target to int64 ``[1 + S]``: rows of the fused loss, then of each stream's.
    """
    parts = torch.cat([present.any(dim=1, keepdim=True), present], dim=1)
    return {name: (parts & found.unsqueeze(1)).sum(dim=0) for name, found in known.items()}


@dataclass(frozen=True)
class Terms:
    """The parts of a training loss.

    Attributes:
        fused: Loss of the fused predictions and of structured targets.
        streams: Loss of each stream's own heads ``[S]``, as it counts.
    """

    fused: Tensor
    streams: Tensor

    @property
    def total(self) -> Tensor:
        """The whole loss."""
        return self.fused + self.streams.sum()

    def weighted(self, weights: Sequence[float]) -> Tensor:
        """Return the whole loss with a weight for each part.

        Args:
            weights: Of the fused part, then of each stream.

        Returns:
            One number.
        """
        factors = self.streams.new_tensor(weights)
        return factors[0] * self.fused + (factors[1:] * self.streams).sum()


def loss_terms(network: Network, outputs: NetworkOutput, loss_inputs: LossInputs) -> Terms:
    """Add up the losses of all targets.

    Several targets are weighted by learned uncertainties (Kendall, Gal and Cipolla 2018, eq. 10).

    Args:
        network: Holds the uncertainties.
        outputs: The network's outputs.
        loss_inputs: What is to be learned.

    Returns:
        The parts of the loss.
    """
    found = [_target_terms(outputs, name, target, loss_inputs) for name, target in loss_inputs.targets.items()]
    if len(found) == 1:
        return found[0]
    scales = (-network.log_variances).exp()
    fused = (
        scales * torch.stack([terms.fused for terms in found])
    ).sum() + loss_inputs.share * network.log_variances.sum()
    return Terms(fused, (scales.unsqueeze(1) * torch.stack([terms.streams for terms in found])).sum(dim=0))


def _target_terms(outputs: NetworkOutput, name: str, target: AnyTarget, loss_inputs: LossInputs) -> Terms:
    fused, streams = target_losses(outputs, name, target, loss_inputs)
    weight = loss_inputs.settings.auxiliary_weight if name in outputs.fused else 1.0
    if name in loss_inputs.soft and name in outputs.fused:
        fused = fused + loss_inputs.share * loss_inputs.settings.distill_weight * _distance(
            outputs.fused[name], target, loss_inputs.soft[name]
        )
    return Terms(fused, weight * streams)


def target_losses(
    outputs: NetworkOutput, name: str, target: AnyTarget, loss_inputs: LossInputs
) -> tuple[Tensor, Tensor]:
    """Compute one target's fused loss and each stream's.

    Args:
        outputs: The network's outputs.
        name: The target's name.
        target: The fitted target.
        loss_inputs: What is to be learned.

    Returns:
        The fused loss (0 without a fusion) and the streams' ``[S]``; zeros for a structured target, which has no
        streams' own heads.
    """
    (values, known), present = loss_inputs.truth[name], loss_inputs.present
    counts = loss_inputs.counts.get(name)
    if isinstance(target, StructuredTarget):
        losses = outputs.losses[name]
        mean = _mean(losses, known & present.any(dim=1), None if counts is None else counts[0])
        return mean, losses.new_zeros(present.shape[1])
    streams = [
        _mean(
            row_losses(target, output, values, loss_inputs.settings),
            known & present[:, index],
            None if counts is None else counts[1 + index],
        )
        for index, output in enumerate(outputs.streams[name].values())
    ]
    found = torch.stack(streams)
    if name not in outputs.fused:
        return found.new_zeros(()), found
    return _fused_loss(outputs.fused[name], target, loss_inputs, name), found


def _fused_loss(output: Tensor, target: Target, loss_inputs: LossInputs, name: str) -> Tensor:
    values, known = loss_inputs.truth[name]
    usable = known & loss_inputs.present.any(dim=1)
    losses = row_losses(target, output, values, loss_inputs.settings)
    if loss_inputs.mix is None:
        return _mean(losses, usable, loss_inputs.counts[name][0] if name in loss_inputs.counts else None)
    other, share = loss_inputs.mix.partner, loss_inputs.mix.share
    partners = row_losses(target, output, values[other], loss_inputs.settings)
    return loss_inputs.share * _mean(share * losses + (1 - share) * partners, usable & usable[other])


def row_losses(target: Target, output: Tensor, truth: Tensor, settings: TrainConfig) -> Tensor:
    """Compute each row's loss in the form that was asked for.

    Args:
        target: The fitted target.
        output: Head output ``[B, output_dim]``.
        truth: Encoded cells.
        settings: The form of the loss and the label smoothing.

    Returns:
        Loss ``[B]``: the target's own; focal (Lin et al. 2017, arXiv 1708.02002, equation 4); or with logits
        adjusted by the classes' frequencies (Menon et al. 2021, arXiv 2007.07314, equation 10).
    """
    if settings.loss == "logit_adjusted" and isinstance(target, CategoryTarget):
        prior = torch.tensor(target.prior, dtype=output.dtype, device=output.device)
        return functional.cross_entropy(
            output + prior.log(), truth, label_smoothing=settings.label_smoothing, reduction="none"
        )
    plain = target.loss(output, truth, settings.label_smoothing)
    if settings.loss == "focal" and isinstance(target, CategoryTarget):
        right = output.softmax(dim=1).gather(1, truth.unsqueeze(1)).squeeze(1)
        return (1 - right) ** FOCUS * plain
    if settings.loss == "focal" and isinstance(target, CategoriesTarget):
        wrong = (truth - output.sigmoid()).abs().mean(dim=1)
        return wrong**FOCUS * plain
    return plain


def check_loss(settings: TrainConfig, targets: Mapping[str, AnyTarget]) -> None:
    """Check that the form of the loss and of sampling fit the targets.

    Args:
        settings: Training options.
        targets: Name to fitted target.

    Raises:
        ConfigError: If no target has classes, or labels, to apply them to.
    """
    kinds = {"focal": (CategoryTarget, CategoriesTarget), "logit_adjusted": (CategoryTarget,)}.get(settings.loss)
    if kinds and not any(isinstance(target, kinds) for target in targets.values()):
        raise parameter_error("loss", "training", "cross_entropy, where no target has classes", settings.loss)
    if settings.sampling == "balanced" and not any(isinstance(target, CategoryTarget) for target in targets.values()):
        raise parameter_error("sampling", "training", "uniform, where no target is a category", settings.sampling)


def _distance(output: Tensor, target: AnyTarget, soft: Tensor) -> Tensor:
    """How far a prediction is from the teacher's: Hinton et al. 2015, arXiv 1503.02531, section 2."""
    if isinstance(target, CategoryTarget):
        teacher = (soft.clamp(min=1e-8).log() / TEMPERATURE).softmax(dim=1)
        student = (output / TEMPERATURE).log_softmax(dim=1)
        return TEMPERATURE**2 * functional.kl_div(student, teacher.to(student.dtype), reduction="batchmean")
    if isinstance(target, CategoriesTarget):
        return functional.binary_cross_entropy_with_logits(output, soft.to(output.dtype))
    assert not isinstance(target, StructuredTarget)
    return target.loss(output, soft, 0.0).mean()


def _mean(losses: Tensor, mask: Tensor, count: Tensor | None = None) -> Tensor:
    return torch.where(mask, losses, 0.0).sum() / (mask.sum() if count is None else count).clamp(min=1)
