"""The loss of connectionist temporal classification (torch).

Shape legend: B rows of the batch, T steps, V units with the blank, L units of a text.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from polymodal.targets.units import BLANK


def ctc_loss(log_probabilities_BTV: Tensor, num_steps: Tensor, truth_BL: Tensor) -> Tensor:
    """Negative log-likelihood of each text, summed over all alignments: Graves et al. 2006, equation 3.

    Args:
        log_probabilities_BTV: ``[B, T, V]``.
        num_steps: int64 ``[B]``, steps in use.
        truth_BL: int64 ``[B, L]``, ids of units, padded with 0.

    Returns:
        ``[B]``; 0 where the row has no steps, or too few for its text.
    """
    if not log_probabilities_BTV.numel():
        return log_probabilities_BTV.sum((1, 2))
    losses = functional.ctc_loss(
        log_probabilities_BTV.transpose(0, 1).float(),
        truth_BL,
        num_steps,
        (truth_BL != BLANK).sum(dim=1),
        blank=BLANK,
        reduction="none",
        zero_infinity=True,
    )
    return torch.where(num_steps > 0, losses, 0.0)
