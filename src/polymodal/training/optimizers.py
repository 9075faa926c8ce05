"""The optimizers that can be chosen by ``train.optimizer`` (torch)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.optim import SGD, AdamW, NAdam, Optimizer, RAdam

from polymodal.config import TrainConfig
from polymodal.encoders import Pretrained
from polymodal.model.network import Network

MOMENTUM = 0.9
Groups = list[dict[str, Any]]


def parameter_groups(network: Network, settings: TrainConfig) -> list[dict[str, Any]]:
    """Build the optimizer's parameter groups: weight decay for matrices only, own learning rates of checkpoints.

    Args:
        network: The network.
        settings: Resolved training options.

    Returns:
        Groups for the optimizer, each with its ``peak_lr``.
    """
    learning_rate = settings.learning_rate or 1e-3
    groups: list[dict[str, Any]] = []
    for encoder in network.own_encoders:
        if isinstance(encoder, Pretrained):
            groups += encoder.parameter_groups(learning_rate, settings.layer_decay)
    grouped = {id(parameter) for group in groups for parameter in group["params"]}
    rest = [p for p in network.parameters() if p.requires_grad and id(p) not in grouped]
    decay = {"params": [p for p in rest if p.ndim >= 2], "weight_decay": settings.weight_decay, "lr": learning_rate}
    no_decay = {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0, "lr": learning_rate}
    trained = [{**group, "params": [p for p in group["params"] if p.requires_grad]} for group in groups]
    groups = [group for group in [*trained, decay, no_decay] if group["params"]]
    return [{**group, "peak_lr": group.get("lr", learning_rate)} for group in groups]


def build_optimizer(name: str, groups: Groups, learning_rate: float) -> Optimizer:
    """Build an optimizer.

    Args:
        name: Name in ``OPTIMIZERS``.
        groups: Parameter groups with their weight decay and learning rate.
        learning_rate: Of groups without one.

    Returns:
        The optimizer; weight decay is decoupled from the gradients (Loshchilov and Hutter 2019, arXiv 1711.05101), but
        for ``sgd``, where it is a part of them.
    """
    return OPTIMIZERS[name](groups, learning_rate)


def _adamw(groups: Groups, learning_rate: float) -> Optimizer:
    """Loshchilov and Hutter 2019, arXiv 1711.05101, algorithm 2."""
    return AdamW(groups, lr=learning_rate, fused=True)


def _nadam(groups: Groups, learning_rate: float) -> Optimizer:
    """Dozat 2016, Incorporating Nesterov Momentum into Adam."""
    return NAdam(groups, lr=learning_rate, decoupled_weight_decay=True)


def _radam(groups: Groups, learning_rate: float) -> Optimizer:
    """Liu et al. 2020, arXiv 1908.03265, algorithm 2."""
    return RAdam(groups, lr=learning_rate, decoupled_weight_decay=True)


def _sgd(groups: Groups, learning_rate: float) -> Optimizer:
    """Sutskever et al. 2013, On the importance of initialization and momentum in deep learning, equations 3 and 4.

    A weight decay of AdamW is a share of the learning rate, one of SGD a term of the gradient that momentum sums up: it
    is divided by as much.
    """
    scaled = [{**group, "weight_decay": group.get("weight_decay", 0.0) * (1 - MOMENTUM) ** 2} for group in groups]
    return SGD(scaled, lr=learning_rate, momentum=MOMENTUM, nesterov=True)


OPTIMIZERS: dict[str, Callable[[Groups, float], Optimizer]] = {
    "adamw": _adamw,
    "nadam": _nadam,
    "radam": _radam,
    "sgd": _sgd,
}
