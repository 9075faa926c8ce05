"""Evidential classification: the loss of heads that predict a Dirichlet distribution (torch)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from polymodal.targets import AnyTarget, CategoryTarget

WARMUP = 0.5
"""Fraction of the training steps over which the weight of the penalty grows to 1."""


@dataclass(frozen=True, kw_only=True)
class EvidentialCategoryTarget(CategoryTarget):
    """One class a row, with a Dirichlet distribution as output; used in training only.

    Attributes:
        penalty: Weight of the penalty on evidence for wrong classes.
    """

    penalty: float = 0.0

    def loss(self, output: Tensor, truth: Tensor, smoothing: float) -> Tensor:
        """Expected cross-entropy and a penalty on evidence for wrong classes.

        Han et al. 2021, arXiv 2102.02051, equations 6 to 8. Differs from the source: labels are smoothed.

        Args:
            output: log α ``[B, classes]``, the logarithm of the parameters of a Dirichlet distribution.
            truth: Class indices ``[B]``.
            smoothing: Label-smoothing factor.

        Returns:
            Loss ``[B]``.
        """
        alpha = output.exp()
        right = functional.one_hot(truth, alpha.shape[1]).to(alpha.dtype)
        smoothed = smoothing / alpha.shape[1] + (1 - smoothing) * right
        expected = torch.digamma(alpha.sum(dim=1, keepdim=True)) - torch.digamma(alpha)
        losses = (smoothed * expected).sum(dim=1)
        if self.penalty > 0:
            losses = losses + self.penalty * kl_from_uniform(right + (1 - right) * alpha)
        return losses


def kl_from_uniform(alpha: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence of Dirichlet distributions from the uniform one (Han et al., eq. 7).

    Args:
        alpha: Parameters ``[B, classes]``, 1 or more.

    Returns:
        ``[B]``, 0 where all parameters are 1.
    """
    total = alpha.sum(dim=1)
    uniform = torch.lgamma(total.new_tensor(float(alpha.shape[1])))
    shape = torch.lgamma(total) - uniform - torch.lgamma(alpha).sum(dim=1)
    away = (alpha - 1) * (torch.digamma(alpha) - torch.digamma(total.unsqueeze(1)))
    return shape + away.sum(dim=1)


def to_evidential(targets: Mapping[str, AnyTarget]) -> dict[str, AnyTarget]:
    """Replace category targets by evidential ones.

    Args:
        targets: Name to fitted target.

    Returns:
        Name to target; those of other kinds are unchanged.
    """
    return {
        name: EvidentialCategoryTarget(**target.state()) if isinstance(target, CategoryTarget) else target
        for name, target in targets.items()
    }


def with_annealed_penalty(targets: Mapping[str, AnyTarget], progress: float) -> Mapping[str, AnyTarget]:
    """Return the targets with the weight of the evidential penalty at a point of training.

    Args:
        targets: Name to target.
        progress: Fraction of the training steps that are done.

    Returns:
        Name to target; the same mapping where no target is evidential.
    """
    found: dict[str, Any] = {
        name: dataclasses.replace(target, penalty=min(1.0, progress / WARMUP))
        for name, target in targets.items()
        if isinstance(target, EvidentialCategoryTarget)
    }
    return {**targets, **found} if found else targets
