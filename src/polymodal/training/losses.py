"""Training losses: the fused loss of each target and the auxiliary losses of the streams' own heads (torch)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from polymodal.config import TrainConfig
from polymodal.errors import parameter_error
from polymodal.model.label_decision import BALANCED_LOSSES
from polymodal.model.network import Batch, Mixup, Network, NetworkOutput, Truth
from polymodal.targets import AnyTarget, CategoriesTarget, CategoryTarget, StructuredTarget, Target
from polymodal.training.confidence_penalty import check_confidence_penalty, confidence_penalty

FOCAL_GAMMA = 2.0
"""The focusing parameter of the focal loss; the best one of Lin et al. 2017."""
DISTILLATION_TEMPERATURE = 2.0
"""Temperature of the teacher's and the student's probabilities in knowledge distillation."""


def sample_modality_dropout(present: Tensor, probability: float) -> Tensor:
    """Sample which streams are hidden from the fusion, row by row, never all streams of a row.

    Args:
        present: bool ``[B, S]``.
        probability: Probability that a present stream is hidden.

    Returns:
        bool ``[B, S]``.
    """
    hidden = (torch.rand(present.shape) < probability) & present
    empty = ~present.any(dim=1, keepdim=True)
    kept = torch.multinomial((present | empty).float(), 1)
    all_hidden = (present & ~hidden).sum(dim=1) == 0
    return hidden.scatter(1, kept, hidden.gather(1, kept) & ~all_hidden.unsqueeze(1))


def stream_presence(batch: Batch, streams: tuple[str, ...]) -> Tensor:
    """Return which streams are present.

    Args:
        batch: Stream to cells.
        streams: Order of the result's columns.

    Returns:
        bool ``[B, S]``; True where the stream is present.
    """
    return torch.stack([batch[stream].row_present for stream in streams], dim=1)


@dataclass(frozen=True, kw_only=True)
class LossInputs:
    """Everything besides the network's outputs that the loss of a micro-batch depends on.

    Attributes:
        targets: Name to fitted target.
        truth: Target to truth and where it is known.
        present: bool ``[B, S]``, which streams are present.
        settings: Resolved training options.
        teacher_predictions: Flat target to a teacher's predictions and, bool ``[B]``, where they are learned from.
        is_answer: Structured target to bool ``[B]``, True where the truth is a teacher's answer.
        mixup: Partners and weight of mixup; None: rows are not mixed.
        batch_fraction: Rows of this micro-batch as a fraction of the step's full batch.
        compared: bool ``[B]``, rows whose confidence with one more stream masked is compared; None: none is.
        counts: If the full batch has more rows: target to int64 ``[1 + S]``, number of its rows in the fused loss and
            in each stream's loss, by which sums over the micro-batch are divided.
    """

    targets: Mapping[str, AnyTarget]
    truth: Truth
    present: Tensor
    settings: TrainConfig
    teacher_predictions: Truth = field(default_factory=dict)
    is_answer: Mapping[str, Tensor] = field(default_factory=dict)
    mixup: Mixup | None = None
    batch_fraction: float = 1.0
    compared: Tensor | None = None
    counts: Mapping[str, Tensor] = field(default_factory=dict)


def count_rows(known: Mapping[str, Tensor], present: Tensor) -> dict[str, Tensor]:
    """Count the rows in each loss term.

    Args:
        known: Target to bool ``[B]``, where the truth is known.
        present: bool ``[B, S]``.

    Returns:
        Target to int64 ``[1 + S]``: rows of the fused loss, then of each stream's.
    """
    used = torch.cat([present.any(dim=1, keepdim=True), present], dim=1)
    return {name: (used & mask.unsqueeze(1)).sum(dim=0) for name, mask in known.items()}


@dataclass(frozen=True)
class LossTerms:
    """The terms of a training loss.

    Attributes:
        fused: Loss of the fused predictions and of structured targets.
        streams: Auxiliary loss of each stream's own heads ``[S]``, weighted.
    """

    fused: Tensor
    streams: Tensor

    @property
    def total(self) -> Tensor:
        """Sum of all terms."""
        return self.fused + self.streams.sum()

    def weighted(self, weights: Sequence[float]) -> Tensor:
        """Return a weighted sum of the terms.

        Args:
            weights: Weight of the fused loss, then of each stream's.

        Returns:
            A scalar.
        """
        factors = self.streams.new_tensor(weights)
        return factors[0] * self.fused + (factors[1:] * self.streams).sum()


def loss_terms(network: Network, outputs: NetworkOutput, loss_inputs: LossInputs) -> LossTerms:
    """Sum the losses of all targets.

    Several targets are weighted by learned uncertainties (Kendall, Gal and Cipolla 2018, eq. 10).

    Args:
        network: The network, for the uncertainties.
        outputs: The network's outputs.
        loss_inputs: The other inputs of the loss.

    Returns:
        The terms of the loss.
    """
    targets = [_target_terms(outputs, name, target, loss_inputs) for name, target in loss_inputs.targets.items()]
    if len(targets) == 1:
        return targets[0]
    scales = (-network.log_variances).exp()
    fused = (scales * torch.stack([terms.fused for terms in targets])).sum()
    fused = fused + loss_inputs.batch_fraction * network.log_variances.sum()
    return LossTerms(fused, (scales.unsqueeze(1) * torch.stack([terms.streams for terms in targets])).sum(dim=0))


def _target_terms(outputs: NetworkOutput, name: str, target: AnyTarget, loss_inputs: LossInputs) -> LossTerms:
    fused, streams = target_losses(outputs, name, target, loss_inputs)
    weight = loss_inputs.settings.auxiliary_weight if name in outputs.fused else 1.0
    if name in loss_inputs.teacher_predictions and not isinstance(target, StructuredTarget):
        taught = _distillation_losses(outputs, name, target, loss_inputs)
        fused, streams = fused + taught[0], streams + taught[1:]
    if loss_inputs.compared is not None and name in outputs.fewer and isinstance(target, CategoryTarget):
        penalty = confidence_penalty(outputs.fused[name], outputs.fewer[name], loss_inputs.compared)
        fused = fused + loss_inputs.batch_fraction * loss_inputs.settings.confidence_penalty * penalty
    return LossTerms(fused, weight * streams)


def target_losses(
    outputs: NetworkOutput, name: str, target: AnyTarget, loss_inputs: LossInputs
) -> tuple[Tensor, Tensor]:
    """Compute one target's fused loss and each stream's.

    Args:
        outputs: The network's outputs.
        name: The target's name.
        target: The fitted target.
        loss_inputs: The other inputs of the loss.

    Returns:
        The fused loss (0 without a fusion) and the streams' losses ``[S]``; zeros for a structured target, which has no
        stream heads.
    """
    (values, known), present = loss_inputs.truth[name], loss_inputs.present
    counts = loss_inputs.counts.get(name)
    if isinstance(target, StructuredTarget):
        losses = outputs.losses[name]
        if name in loss_inputs.is_answer:
            losses = torch.where(loss_inputs.is_answer[name], loss_inputs.settings.distill_weight * losses, losses)
        mean = _masked_mean(losses, known & present.any(dim=1), None if counts is None else counts[0])
        return mean, losses.new_zeros(present.shape[1])
    streams = [
        _masked_mean(
            row_losses(target, output, values, loss_inputs.settings),
            known & present[:, index],
            None if counts is None else counts[1 + index],
        )
        for index, output in enumerate(outputs.streams[name].values())
    ]
    stream_losses = torch.stack(streams)
    if name not in outputs.fused:
        return stream_losses.new_zeros(()), stream_losses
    return _fused_loss(outputs.fused[name], target, loss_inputs, name), stream_losses


def _fused_loss(output: Tensor, target: Target, loss_inputs: LossInputs, name: str) -> Tensor:
    values, known = loss_inputs.truth[name]
    usable = known & loss_inputs.present.any(dim=1)
    losses = row_losses(target, output, values, loss_inputs.settings)
    if loss_inputs.mixup is None:
        return _masked_mean(losses, usable, loss_inputs.counts[name][0] if name in loss_inputs.counts else None)
    partner, weight = loss_inputs.mixup.partner, loss_inputs.mixup.weight
    partner_losses = row_losses(target, output, values[partner], loss_inputs.settings)
    mixed = weight * losses + (1 - weight) * partner_losses
    return loss_inputs.batch_fraction * _masked_mean(mixed, usable & usable[partner])


def row_losses(target: Target, output: Tensor, truth: Tensor, settings: TrainConfig) -> Tensor:
    """Compute the loss of each row.

    Args:
        target: The fitted target.
        output: Head output ``[B, output_dim]``.
        truth: Encoded cells.
        settings: Training options: the kind of the loss and the label smoothing.

    Returns:
        Loss ``[B]``: the target's own; focal (Lin et al. 2017, arXiv 1708.02002, equation 4); with logits adjusted by
        the classes' frequencies (Menon et al. 2021, arXiv 2007.07314, equation 10); or divided by the frequency of the
        row's class, relative to equal ones (King and Zeng 2001, Logistic Regression in Rare Events Data, equation 15).
    """
    if settings.loss == "logit_adjusted" and isinstance(target, CategoryTarget):
        prior = torch.tensor(target.prior, dtype=output.dtype, device=output.device)
        return functional.cross_entropy(
            output + prior.log(), truth, label_smoothing=settings.label_smoothing, reduction="none"
        )
    plain = target.loss(output, truth, settings.label_smoothing)
    if settings.loss == "class_weighted" and isinstance(target, CategoryTarget):
        prior = torch.tensor(target.prior, dtype=output.dtype, device=output.device)
        return plain / (len(prior) * prior)[truth]
    if settings.loss == "focal" and isinstance(target, CategoryTarget):
        probability = output.softmax(dim=1).gather(1, truth.unsqueeze(1)).squeeze(1)
        return (1 - probability) ** FOCAL_GAMMA * plain
    if settings.loss == "focal" and isinstance(target, CategoriesTarget):
        error = (truth - output.sigmoid()).abs().mean(dim=1)
        return error**FOCAL_GAMMA * plain
    return plain


def check_loss(settings: TrainConfig, targets: Mapping[str, AnyTarget], network: Network) -> None:
    """Check that the options of loss and sampling fit the targets and the network.

    Args:
        settings: Training options.
        targets: Name to fitted target.
        network: The network.

    Raises:
        ConfigError: If no target has the classes or labels that they need, or no fusion joins several streams.
    """
    check_confidence_penalty(settings, network, targets)
    balanced = dict.fromkeys(BALANCED_LOSSES, (CategoryTarget,))
    kinds = {"focal": (CategoryTarget, CategoriesTarget), **balanced}.get(settings.loss)
    if kinds and not any(isinstance(target, kinds) for target in targets.values()):
        raise parameter_error("loss", "training", "cross_entropy, where no target has classes", settings.loss)
    if settings.sampling == "balanced" and not any(isinstance(target, CategoryTarget) for target in targets.values()):
        raise parameter_error("sampling", "training", "uniform, where no target is a category", settings.sampling)


def _distillation_losses(outputs: NetworkOutput, name: str, target: Target, loss_inputs: LossInputs) -> Tensor:
    """Return the weighted loss of a target against the teacher: fused (0 without a fusion), then of each stream's head.

    Each is a sum over the rows that are learned from, divided by all rows of the batch.
    """
    (answers, known), present = loss_inputs.teacher_predictions[name], loss_inputs.present
    of_streams = [
        torch.where(known & present[:, index], _distillation_loss(output, target, answers), 0.0).mean()
        for index, output in enumerate(outputs.streams[name].values())
    ]
    fused = of_streams[0].new_zeros(())
    if name in outputs.fused:
        usable = known & present.any(dim=1)
        if loss_inputs.mixup is not None:
            partner, weight = loss_inputs.mixup.partner, loss_inputs.mixup.weight
            answers, usable = weight * answers + (1 - weight) * answers[partner], usable & usable[partner]
        fused = torch.where(usable, _distillation_loss(outputs.fused[name], target, answers), 0.0).mean()
    weight_of_rows = loss_inputs.batch_fraction * loss_inputs.settings.distill_weight
    return weight_of_rows * torch.stack([fused, *of_streams])


def _distillation_loss(output: Tensor, target: Target, answers: Tensor) -> Tensor:
    """Compute each row's loss of knowledge distillation: Hinton et al. 2015, arXiv 1503.02531, section 2."""
    if isinstance(target, CategoryTarget):
        if target.logit_offset is not None:
            output = output + torch.tensor(target.logit_offset, dtype=output.dtype, device=output.device)
        teacher = (answers.clamp(min=1e-8).log() / DISTILLATION_TEMPERATURE).softmax(dim=1)
        student = (output / DISTILLATION_TEMPERATURE).log_softmax(dim=1)
        divergence = functional.kl_div(student, teacher.to(student.dtype), reduction="none").sum(dim=1)
        return DISTILLATION_TEMPERATURE**2 * divergence
    return target.loss(output, answers.to(output.dtype), 0.0)


def _masked_mean(losses: Tensor, mask: Tensor, count: Tensor | None = None) -> Tensor:
    return torch.where(mask, losses, 0.0).sum() / (mask.sum() if count is None else count).clamp(min=1)
