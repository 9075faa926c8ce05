"""A penalty on being surer without a stream than with it: calibrated multimodal learning (torch).

Ma et al. 2023, arXiv 2302.04022, equation 4: the confidence of a row must not rise when a stream is removed.
``train.confidence_penalty`` is its weight.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from polymodal.config import TrainConfig
from polymodal.errors import parameter_error
from polymodal.fusion.decision import EvidentialFusion
from polymodal.model.network import Network
from polymodal.targets import AnyTarget, CategoryTarget


def check_confidence_penalty(settings: TrainConfig, network: Network, targets: Mapping[str, AnyTarget]) -> None:
    """Check that the penalty fits the network and the targets.

    Args:
        settings: Training options.
        network: The network.
        targets: Name to fitted target.

    Raises:
        ConfigError: If no fusion joins several streams, or no target is a category.
    """
    weight = settings.confidence_penalty
    joins = network.fuses_streams and network.fusion is not None
    if weight and (not joins or isinstance(network.fusion, EvidentialFusion)):
        raise parameter_error("confidence_penalty", "training", "0, where no fusion joins tokens of streams", weight)
    if weight and not any(isinstance(target, CategoryTarget) for target in targets.values()):
        raise parameter_error("confidence_penalty", "training", "0, where no target is a category", weight)


def hide_one_more(present: Tensor, hidden: Tensor) -> Tensor:
    """Hide one more stream of every row that has two or more left, drawn at random.

    Args:
        present: bool ``[B, S]``, which streams a row has.
        hidden: bool ``[B, S]``, which of them are hidden already.

    Returns:
        bool ``[B, S]``: what is hidden then.
    """
    left = present & ~hidden
    is_enough = left.sum(dim=1, keepdim=True) >= 2
    drawn = torch.multinomial((left | ~is_enough).float(), 1)
    return hidden | torch.zeros_like(hidden).scatter(1, drawn, is_enough)


def confidence_penalty(more: Tensor, fewer: Tensor, compared: Tensor) -> Tensor:
    """Return by how much rows are surer with fewer streams, on average.

    Args:
        more: Logits ``[B, classes]`` with all streams that are shown.
        fewer: Logits with one stream less.
        compared: bool ``[B]``, rows in which one is less.

    Returns:
        A scalar: the mean of ``max(0, confidence with fewer - confidence with more)`` over the compared rows, where
        confidence is the largest probability.
    """
    rises = (fewer.softmax(dim=1).amax(dim=1) - more.softmax(dim=1).amax(dim=1)).clamp(min=0)
    return torch.where(compared, rises, 0.0).sum() / compared.sum().clamp(min=1)
