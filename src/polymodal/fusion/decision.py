"""Fusion of the predictions of the streams' heads inside the network (torch).

Shape legend: B rows of the batch, S streams, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional

Opinion = tuple[Tensor, Tensor]
"""Belief in each class ``[B, K]`` and uncertainty ``[B, 1]``; a row's sum is 1."""


class EvidentialFusion(nn.Module):
    """Dirichlet opinions of the streams, combined by Dempster's rule: Han et al. 2021, arXiv 2102.02051.

    A stream's head gives evidence for each class (section 3.2): with evidence e, the parameters of a Dirichlet
    distribution are α = e + 1. An absent stream has no evidence, which leaves the others' opinion unchanged, so
    that no missing token is needed. Outputs are log α, whose softmax is the expected probability.
    """

    def __init__(self, streams: Sequence[str] = (), width: int = 0) -> None:  # noqa: ARG002
        """Build the fusion, which has no weights.

        Args:
            streams: Not used: any number is combined.
            width: Not used: it combines predictions, not tokens.
        """
        super().__init__()

    def opinions(self, outputs: Tensor) -> Tensor:
        """Convert a head's outputs to evidence.

        Args:
            outputs: Real numbers ``[B, K]``.

        Returns:
            log α ``[B, K]``, 0 where there is no evidence.
        """
        return torch.log1p(functional.softplus(outputs))

    def forward(self, opinions: Sequence[Tensor], present_BS: Tensor) -> Tensor:
        """Combine the streams (definition 4, equations 4 and 5).

        Args:
            opinions: log α ``[B, K]`` of each stream.
            present_BS: bool ``[B, S]``; the values of absent streams are never read.

        Returns:
            log α ``[B, K]`` of all streams together.
        """
        evidence = [
            torch.where(present_B1, log_BK, 0).expm1()
            for log_BK, present_B1 in zip(opinions, torch.split(present_BS, 1, dim=1), strict=True)
        ]
        belief_BK, uncertainty_B1 = reduce(combine_opinions, [opinion_of(found_BK) for found_BK in evidence])
        total_B1 = belief_BK.shape[1] / uncertainty_B1.clamp(min=1e-9)
        return torch.log1p(belief_BK * total_B1)


def opinion_of(evidence_BK: Tensor) -> Opinion:
    """Convert evidence to belief and uncertainty (Han et al. 2021, equation 2).

    Args:
        evidence_BK: ``[B, K]``, 0 or more.

    Returns:
        Belief in each class, and the uncertainty, the rest to 1.
    """
    total_B1 = evidence_BK.sum(dim=1, keepdim=True) + evidence_BK.shape[1]
    return evidence_BK / total_B1, evidence_BK.shape[1] / total_B1


def combine_opinions(first: Opinion, second: Opinion) -> Opinion:
    """Combine two opinions by Dempster's rule (Han et al. 2021, equation 4).

    Args:
        first: An opinion.
        second: Another.

    Returns:
        The combined opinion; one without belief changes nothing.
    """
    (belief_BK, doubt_B1), (other_BK, other_doubt_B1) = first, second
    agreed_BK = belief_BK * other_BK + belief_BK * other_doubt_B1 + other_BK * doubt_B1
    both_B1 = doubt_B1 * other_doubt_B1
    kept_B1 = agreed_BK.sum(dim=1, keepdim=True) + both_B1
    return agreed_BK / kept_B1, both_B1 / kept_B1
