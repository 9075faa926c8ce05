"""Modality balancing: methods that keep one stream from dominating the training of the others (torch).

``train.balance`` names the method: ``none``, ``ogm_ge``, ``mmpareto`` or ``blending``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from polymodal.errors import parameter_error
from polymodal.model.network import Network, NetworkOutput
from polymodal.targets import AnyTarget, CategoryTarget
from polymodal.training.losses import LossInputs, LossTerms

MODULATION = 0.3
"""Alpha of OGM-GE, the strength of the modulation."""
RESCALE = 1.0
"""Least norm of the Pareto gradient, as a fraction of the norm of the sum of the gradients."""
WEIGHT_RANGE = (0.1, 3.0)


def check_balance(name: str, network: Network, targets: Mapping[str, AnyTarget], accumulation_steps: int = 1) -> None:
    """Check that a method fits the network, the targets and gradient accumulation.

    Args:
        name: ``none``, ``ogm_ge``, ``mmpareto`` or ``blending``.
        network: The network.
        targets: Name to fitted target.
        accumulation_steps: Number of micro-batches of a step, over all processes.

    Raises:
        ConfigError: If no fusion combines several streams, or if the method needs an encoder for each stream, the
            gradient of the full batch, or (``ogm_ge``) a category, and there is none.
    """
    if name == "none":
        return
    if not network.fuses_streams or not network.targets:
        raise parameter_error("balance", "training", "none, where no fusion joins several streams", name)
    if name in ("ogm_ge", "mmpareto") and len(network.own_encoders) < len(network.streams):
        raise parameter_error("balance", "training", "none or blending, where streams share an encoder", name)
    if name in ("ogm_ge", "mmpareto") and accumulation_steps > 1:
        raise parameter_error("balance", "training with micro-batches or several processes", "none or blending", name)
    if name == "ogm_ge" and not any(isinstance(target, CategoryTarget) for target in targets.values()):
        raise parameter_error("balance", "training", "another method, where no target is a category", name)


def backward(
    network: Network,
    terms: LossTerms,
    outputs: NetworkOutput,
    loss_inputs: LossInputs,
    history: Sequence[Mapping[str, Any]],
) -> Tensor:
    """Run the backward pass, with the balancing method of the options.

    Args:
        network: The network.
        terms: The terms of the loss.
        outputs: The network's outputs.
        loss_inputs: The other inputs of the loss.
        history: The epochs so far.

    Returns:
        The minimised loss.
    """
    method = loss_inputs.settings.balance
    if method == "blending":
        loss = terms.weighted(blending_weights(history, len(terms.streams)))
        torch.autograd.backward(loss)
        return loss
    if method == "mmpareto":
        encoder_gradients = pareto_gradients(network, terms)
        torch.autograd.backward(terms.total)
        for parameter, gradient in encoder_gradients:
            parameter.grad = gradient
        return terms.total
    torch.autograd.backward(terms.total)
    if method == "ogm_ge":
        modulate_gradients(network, modulation_factors(outputs, loss_inputs))
    return terms.total


def modulation_factors(outputs: NetworkOutput, loss_inputs: LossInputs) -> list[float]:
    """Compute the factor of each encoder's gradient: OGM-GE, Peng et al. 2022, arXiv 2203.15332, eq. 8 to 10.

    Differs from the source: scores come from the streams' own heads, and any number of streams is compared, each
    with the mean of the others.

    Args:
        outputs: The network's outputs.
        loss_inputs: The other inputs of the loss.

    Returns:
        Factor 0 to 1 of each stream; 1 for streams that score no better than the mean of the others.
    """
    name = next(name for name, target in loss_inputs.targets.items() if isinstance(target, CategoryTarget))
    values, known = loss_inputs.truth[name]
    scores = []
    for index, output in enumerate(outputs.streams[name].values()):
        probability = output.detach().softmax(dim=1).gather(1, values.unsqueeze(1)).squeeze(1)
        usable = known & loss_inputs.present[:, index]
        scores.append(float(torch.where(usable, probability, 0.0).sum() / usable.sum().clamp(min=1)))
    others = [(sum(scores) - score) / max(len(scores) - 1, 1) for score in scores]
    ratios = [score / max(other, 1e-6) for score, other in zip(scores, others, strict=True)]
    return [1 - float(torch.tanh(torch.tensor(MODULATION * ratio))) if ratio > 1 else 1.0 for ratio in ratios]


def modulate_gradients(network: Network, factors: Sequence[float]) -> None:
    """Scale the gradients of the better streams' encoders down, and add Gaussian noise to them (eq. 11).

    Args:
        network: The network; its gradients are replaced.
        factors: One for each stream.
    """
    for encoder, factor in zip(network.encoders, factors, strict=True):
        if factor == 1.0:
            continue
        for parameter in encoder.parameters():
            if parameter.grad is not None and parameter.grad.numel() > 1:
                noise = torch.randn_like(parameter.grad) * parameter.grad.std()
                parameter.grad = parameter.grad * factor + noise * (1 - factor)


def pareto_gradients(network: Network, terms: LossTerms) -> list[tuple[torch.nn.Parameter, Tensor]]:
    """Combine the gradients of the fused and the stream's own loss: MMPareto, Wei and Hu 2024, arXiv 2405.17730.

    Algorithm 1: gradients that agree are added; of those that conflict, the convex combination of least norm is taken,
    which increases neither loss, and scaled up to the norm of the sum.

    Args:
        network: The network.
        terms: The terms of the loss; their graphs are retained.

    Returns:
        Parameters of the encoders and their gradients.
    """
    result = []
    for encoder, stream_loss in zip(network.encoders, terms.streams, strict=True):
        parameters = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
        if not parameters:
            continue
        fused = _gradients(terms.fused, parameters)
        own = _gradients(stream_loss, parameters)
        result += list(zip(parameters, _pareto(fused, own), strict=True))
    return result


def _gradients(loss: Tensor, parameters: list[torch.nn.Parameter]) -> list[Tensor]:
    if not loss.requires_grad:
        return [torch.zeros_like(parameter) for parameter in parameters]
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, gradients, strict=True)]


def _pareto(fused: list[Tensor], own: list[Tensor]) -> list[Tensor]:
    def dot(first: list[Tensor], second: list[Tensor]) -> Tensor:
        return torch.stack([(a * b).sum() for a, b in zip(first, second, strict=True)]).sum()

    total = [a + b for a, b in zip(fused, own, strict=True)]
    agreement = dot(fused, own)
    if agreement >= 0:
        return total
    difference = [a - b for a, b in zip(fused, own, strict=True)]
    weight = ((dot(own, own) - agreement) / dot(difference, difference)).clamp(0, 1)
    combined = [2 * (weight * a + (1 - weight) * b) for a, b in zip(fused, own, strict=True)]
    norm, least_norm = dot(combined, combined).sqrt(), RESCALE * dot(total, total).sqrt()
    scale = torch.where(norm < least_norm, least_norm / norm.clamp(min=1e-12), 1.0)
    return [scale * gradient for gradient in combined]


def blending_weights(history: Sequence[Mapping[str, Any]], num_streams: int) -> list[float]:
    """Weight the fused and the streams' losses: Gradient-Blending, Wang et al. 2020, arXiv 1905.12681, eq. 5.

    The weight of a loss term is its decrease on validation since the first epoch, divided by the square of the increase
    of its generalisation gap. Differs from the source: estimated online from the epochs of the run itself, clipped.

    Args:
        history: The epochs so far, each with ``part_losses``.
        num_streams: Number of streams.

    Returns:
        Weight of the fused loss, then of each stream's; their mean is 1. All 1 in the first two epochs.
    """
    if len(history) < 2:
        return [1.0] * (num_streams + 1)
    first, last = history[0]["part_losses"], history[-1]["part_losses"]
    raw = []
    for term in range(num_streams + 1):
        gain = first["validation"][term] - last["validation"][term]
        gap_before = first["validation"][term] - first["train"][term]
        overfit = (last["validation"][term] - last["train"][term]) - gap_before
        raw.append(max(gain, 0.0) / max(overfit**2, 1e-4))
    mean = sum(raw) / len(raw)
    if mean <= 0:
        return [1.0] * (num_streams + 1)
    clipped = [min(max(weight / mean, WEIGHT_RANGE[0]), WEIGHT_RANGE[1]) for weight in raw]
    return [weight * len(clipped) / sum(clipped) for weight in clipped]
