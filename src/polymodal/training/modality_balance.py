"""Keeping one stream from learning at the cost of another, beside the streams' own heads (torch).

Each method is told by its name in ``train.balance``: ``none``, ``ogm_ge``, ``mmpareto`` or ``blending``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from polymodal.errors import parameter_error
from polymodal.model.network import Network, NetworkOutput
from polymodal.targets import AnyTarget, CategoryTarget
from polymodal.training.losses import LossInputs, Terms

MODULATION = 0.3
"""Strength of the modulation of OGM-GE, its alpha."""
RESCALE = 1.0
"""Least norm of the Pareto gradient, as a share of the plain sum's."""
WEIGHT_RANGE = (0.1, 3.0)


def check_balance(name: str, network: Network, targets: Mapping[str, AnyTarget], num_parts: int = 1) -> None:
    """Check that a method has what it works on.

    Args:
        name: ``none``, ``ogm_ge``, ``mmpareto`` or ``blending``.
        network: The network.
        targets: Name to fitted target.
        num_parts: In how many parts a step's gradient is computed.

    Raises:
        ConfigError: If there is no fusion of several streams, or, for ``ogm_ge``, no category to compare scores of.
    """
    if name == "none":
        return
    if not network.fuses_streams or not network.targets:
        raise parameter_error("balance", "training", "none, where no fusion joins several streams", name)
    if name in ("ogm_ge", "mmpareto") and len(network.own_encoders) < len(network.streams):
        raise parameter_error("balance", "training", "none or blending, where streams share an encoder", name)
    if name in ("ogm_ge", "mmpareto") and num_parts > 1:
        raise parameter_error("balance", "training a batch in parts or processes", "none or blending", name)
    if name == "ogm_ge" and not any(isinstance(target, CategoryTarget) for target in targets.values()):
        raise parameter_error("balance", "training", "another method, where no target is a category", name)


def backward(
    network: Network,
    terms: Terms,
    outputs: NetworkOutput,
    loss_inputs: LossInputs,
    history: Sequence[Mapping[str, Any]],
) -> Tensor:
    """Compute all gradients, balanced by the method that was asked for.

    Args:
        network: The network.
        terms: The parts of the loss.
        outputs: The network's outputs.
        loss_inputs: What is to be learned.
        history: The epochs so far.

    Returns:
        The loss that was followed.
    """
    method = loss_inputs.settings.balance
    if method == "blending":
        loss = terms.weighted(blending_weights(history, len(terms.streams)))
        torch.autograd.backward(loss)
        return loss
    if method == "mmpareto":
        chosen = pareto_gradients(network, terms)
        torch.autograd.backward(terms.total)
        for parameter, gradient in chosen:
            parameter.grad = gradient
        return terms.total
    torch.autograd.backward(terms.total)
    if method == "ogm_ge":
        modulate(network, modulation(outputs, loss_inputs))
    return terms.total


def modulation(outputs: NetworkOutput, loss_inputs: LossInputs) -> list[float]:
    """Compute how much each encoder's gradient is kept: OGM-GE, Peng et al. 2022, arXiv 2203.15332, eq. 8 to 10.

    Differs from the source: scores come from the streams' own heads, and any number of streams is compared, each
    with the mean of the others.

    Args:
        outputs: The network's outputs.
        loss_inputs: What is to be learned.

    Returns:
        Factor 0 to 1 of each stream; 1 for streams that are not ahead.
    """
    name = next(name for name, target in loss_inputs.targets.items() if isinstance(target, CategoryTarget))
    values, known = loss_inputs.truth[name]
    scores = []
    for index, output in enumerate(outputs.streams[name].values()):
        right = output.detach().softmax(dim=1).gather(1, values.unsqueeze(1)).squeeze(1)
        usable = known & loss_inputs.present[:, index]
        scores.append(float(torch.where(usable, right, 0.0).sum() / usable.sum().clamp(min=1)))
    others = [(sum(scores) - score) / max(len(scores) - 1, 1) for score in scores]
    ratios = [score / max(other, 1e-6) for score, other in zip(scores, others, strict=True)]
    return [1 - float(torch.tanh(torch.tensor(MODULATION * ratio))) if ratio > 1 else 1.0 for ratio in ratios]


def modulate(network: Network, factors: Sequence[float]) -> None:
    """Slow down the encoders that are ahead, and add the noise that the slowing took away (eq. 11).

    Args:
        network: Gradients are changed in place.
        factors: One a stream.
    """
    for encoder, factor in zip(network.encoders, factors, strict=True):
        if factor == 1.0:
            continue
        for parameter in encoder.parameters():
            if parameter.grad is not None and parameter.grad.numel() > 1:
                noise = torch.randn_like(parameter.grad) * parameter.grad.std()
                parameter.grad = parameter.grad * factor + noise * (1 - factor)


def pareto_gradients(network: Network, terms: Terms) -> list[tuple[torch.nn.Parameter, Tensor]]:
    """Join each encoder's fused and own gradient: MMPareto, Wei and Hu 2024, arXiv 2405.17730, algorithm 1.

    Gradients that agree are added; of those that conflict the combination of least norm is taken, which harms
    neither, and brought back to the norm of the plain sum.

    Args:
        network: The network.
        terms: The parts of the loss; their graphs are kept.

    Returns:
        Parameters of the encoders and their gradients.
    """
    found = []
    for encoder, own in zip(network.encoders, terms.streams, strict=True):
        parameters = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
        if not parameters:
            continue
        fused = _gradients(terms.fused, parameters)
        alone = _gradients(own, parameters)
        found += list(zip(parameters, _pareto(fused, alone), strict=True))
    return found


def _gradients(loss: Tensor, parameters: list[torch.nn.Parameter]) -> list[Tensor]:
    if not loss.requires_grad:
        return [torch.zeros_like(parameter) for parameter in parameters]
    found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


def _pareto(fused: list[Tensor], alone: list[Tensor]) -> list[Tensor]:
    def dot(first: list[Tensor], second: list[Tensor]) -> Tensor:
        return torch.stack([(a * b).sum() for a, b in zip(first, second, strict=True)]).sum()

    plain = [a + b for a, b in zip(fused, alone, strict=True)]
    agreement = dot(fused, alone)
    if agreement >= 0:
        return plain
    share = ((dot(alone, alone) - agreement) / dot(*[[a - b for a, b in zip(fused, alone, strict=True)]] * 2)).clamp(
        0, 1
    )
    joined = [2 * (share * a + (1 - share) * b) for a, b in zip(fused, alone, strict=True)]
    length, wanted = dot(joined, joined).sqrt(), RESCALE * dot(plain, plain).sqrt()
    scale = torch.where(length < wanted, wanted / length.clamp(min=1e-12), 1.0)
    return [scale * gradient for gradient in joined]


def blending_weights(history: Sequence[Mapping[str, Any]], num_streams: int) -> list[float]:
    """Weigh the fused and the streams' losses: Gradient-Blending, Wang et al. 2020, arXiv 1905.12681, eq. 5.

    A part counts by what it gained on validation since the first epoch, over the square of what it overfitted
    meanwhile. Differs from the source: measured online over the run's own epochs, within bounds.

    Args:
        history: The epochs so far, each with ``part_losses``.
        num_streams: Number of streams.

    Returns:
        Weight of the fused part, then of each stream; their mean is 1. All 1 before two epochs are over.
    """
    if len(history) < 2:
        return [1.0] * (num_streams + 1)
    first, last = history[0]["part_losses"], history[-1]["part_losses"]
    raw = []
    for part in range(num_streams + 1):
        gain = first["validation"][part] - last["validation"][part]
        gap_before = first["validation"][part] - first["train"][part]
        overfit = (last["validation"][part] - last["train"][part]) - gap_before
        raw.append(max(gain, 0.0) / max(overfit**2, 1e-4))
    mean = sum(raw) / len(raw)
    if mean <= 0:
        return [1.0] * (num_streams + 1)
    bounded = [min(max(weight / mean, WEIGHT_RANGE[0]), WEIGHT_RANGE[1]) for weight in raw]
    return [weight * len(bounded) / sum(bounded) for weight in bounded]
