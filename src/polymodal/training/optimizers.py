"""The optimizers that can be chosen by ``train.optimizer`` (torch)."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn, optim
from torch.optim import SGD, AdamW, NAdam, Optimizer, RAdam

from polymodal.config import TrainConfig
from polymodal.encoders import Pretrained
from polymodal.errors import ConfigError, MissingPackageError
from polymodal.model.build import RATES
from polymodal.model.network import Network
from polymodal.training.sharding import is_sharding_enabled

MOMENTUM = 0.9
Groups = list[dict[str, Any]]
IS_HIDDEN = "is_hidden"
"""Key of a parameter group: whether it has weight matrices of hidden layers, and nothing else."""


def check_optimizer(settings: TrainConfig) -> None:
    """Check that an optimizer can be used, before anything is read or trained.

    Args:
        settings: Training options.

    Raises:
        MissingPackageError: If the package that has the optimizer is not installed.
        ConfigError: If this version of torch lacks it, or it needs whole matrices and weights are sharded.
    """
    if settings.optimizer == "lion" and find_spec("lion_pytorch") is None:
        raise MissingPackageError("train.optimizer=lion needs the package lion-pytorch: pip install 'polymodal[lion]'.")
    if settings.optimizer != "muon":
        return
    if not hasattr(optim, "Muon"):
        raise ConfigError(f"train.optimizer=muon needs torch 2.9 or newer; this is {torch.__version__}.")
    if is_sharding_enabled(settings):
        raise ConfigError(
            "train.optimizer=muon reads whole weight matrices, of which sharded processes have a part each. Leave out "
            "train.shard, or choose adamw."
        )


def parameter_groups(network: Network, settings: TrainConfig) -> list[dict[str, Any]]:
    """Build the optimizer's parameter groups: weight decay for matrices only, own learning rates of checkpoints.

    Args:
        network: The network.
        settings: Resolved training options.

    Returns:
        Groups for the optimizer, each with its ``peak_lr``; for ``muon`` the hidden matrices are one by themselves.
    """
    learning_rate = settings.learning_rate or 1e-3
    groups: list[dict[str, Any]] = []
    for encoder in network.own_encoders:
        if isinstance(encoder, Pretrained):
            groups += encoder.parameter_groups(learning_rate, settings.layer_decay)
    grouped = {id(parameter) for group in groups for parameter in group["params"]}
    rest = [p for p in network.parameters() if p.requires_grad and id(p) not in grouped]
    hidden = _hidden_weights(network) if settings.optimizer == "muon" else set()
    matrices = {"weight_decay": settings.weight_decay, "lr": learning_rate}
    decay = {"params": [p for p in rest if p.ndim >= 2 and id(p) not in hidden], **matrices}
    no_decay = {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0, "lr": learning_rate}
    whole = {"params": [p for p in rest if id(p) in hidden], **matrices, IS_HIDDEN: True}
    trained = [{**group, "params": [p for p in group["params"] if p.requires_grad]} for group in groups]
    groups = [group for group in [*trained, decay, no_decay, whole] if group["params"]]
    return [{**group, "peak_lr": group.get("lr", learning_rate)} for group in groups]


def _hidden_weights(network: Network) -> set[int]:
    """Return the ids of the weights of all linear layers but those of heads."""
    inside = [network.own_encoders, *([] if network.fusion is None else [network.fusion])]
    layers = [layer for part in inside for layer in part.modules() if isinstance(layer, nn.Linear)]
    return {id(layer.weight) for layer in layers}


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


def _lion(groups: Groups, learning_rate: float) -> Optimizer:
    """Chen et al. 2023, arXiv 2302.06675, program 1; by ``lion-pytorch``.

    Its learning rate is a third to a tenth of AdamW's, and its weight decay as much larger (section 5), so that their
    product stays.
    """
    from lion_pytorch import Lion

    scaled = [{**group, "weight_decay": group.get("weight_decay", 0.0) / RATES["lion"]} for group in groups]
    optimizer: Optimizer = Lion(scaled, lr=learning_rate)
    return optimizer


def _muon(groups: Groups, learning_rate: float) -> Optimizer:
    hidden = [group for group in groups if IS_HIDDEN in group]
    return MuonAndAdamW(hidden, [group for group in groups if IS_HIDDEN not in group], learning_rate)


class MuonAndAdamW(Optimizer):
    """Muon for weight matrices of hidden layers, AdamW for all else.

    Jordan et al. 2024, Muon: An optimizer for hidden layers in neural networks, kellerjordan.github.io/posts/muon.
    Embeddings, heads, biases, convolutions and pretrained checkpoints are no hidden matrices. Updates have the size of
    AdamW's, so that its learning rate and weight decay fit: Liu et al. 2025, arXiv 2502.16982, equation 4.

    Example:
        >>> layer = nn.Linear(2, 3)
        >>> optimizer = MuonAndAdamW([{"params": [layer.weight]}], [{"params": [layer.bias]}], 1e-3)
        >>> [len(group["params"]) for group in optimizer.param_groups]
        [1, 1]
    """

    def __init__(self, hidden: Groups, others: Groups, learning_rate: float) -> None:
        """Build both optimizers.

        Args:
            hidden: Groups of matrices.
            others: Groups of other parameters.
            learning_rate: Of groups without one.
        """
        self.parts: list[Optimizer] = []
        if others:
            self.parts.append(_adamw(others, learning_rate))
        if hidden:
            self.parts.append(optim.Muon(hidden, lr=learning_rate, adjust_lr_fn="match_rms_adamw"))
        super().__init__([group for part in self.parts for group in part.param_groups], {})
        self._part_sizes = [len(part.param_groups) for part in self.parts]

    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002
        """Update all weights.

        Args:
            closure: Not used.
        """
        first = 0
        for part, size in zip(self.parts, self._part_sizes, strict=True):
            # Both have the groups and the state of this optimizer, which loading a checkpoint replaces.
            part.param_groups, part.state = self.param_groups[first : first + size], self.state
            part.step()
            first += size


OPTIMIZERS: dict[str, Callable[[Groups, float], Optimizer]] = {
    "adamw": _adamw,
    "lion": _lion,
    "muon": _muon,
    "nadam": _nadam,
    "radam": _radam,
    "sgd": _sgd,
}
