"""Connectionist temporal classification: loss, greedy decoding and prefix beam search (torch and numpy).

Shape legend: B rows of the batch, T steps, V units with the blank, L units of a text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from polymodal.targets.units import BLANK

Prefix = tuple[int, ...]
MIN_PROBABILITY = 1e-4
"""Prefixes are not extended by units that are less probable at a step."""


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


def greedy_decode(best_T: Sequence[int]) -> list[int]:
    """Take the most probable unit of every step, merge repeats and remove blanks: Graves et al. 2006, section 3.2.

    Args:
        best_T: Id of the most probable unit at each step in use.

    Returns:
        Ids of the text.
    """
    before = [BLANK, *best_T]
    return [unit for unit, last in zip(best_T, before, strict=False) if unit not in (BLANK, last)]


def prefix_beam_search(
    probabilities_TV: NDArray[np.float64], beam_width: int, allows: Callable[[Prefix, int], bool] | None = None
) -> list[Prefix]:
    """Search the most probable texts, with the probabilities of all alignments of a prefix summed.

    Prefix beam search: Hannun et al. 2014, arXiv 1408.2873, algorithm 1.
    Differs from the source: an optional hard constraint in place of a language model, and the
    probabilities are normalised after each step.

    Args:
        probabilities_TV: ``[T, V]``, steps in use only.
        beam_width: Prefixes kept after each step.
        allows: Whether a prefix may be followed by a unit; None allows all.

    Returns:
        Prefixes, the most probable first.
    """
    beams: dict[Prefix, tuple[float, float]] = {(): (1.0, 0.0)}
    for step_V in probabilities_TV.tolist():
        units = [unit for unit in range(1, len(step_V)) if step_V[unit] > MIN_PROBABILITY or allows is not None]
        beams = _most_probable(_extend_prefixes(beams, step_V, units, allows), beam_width)
    return list(beams)


def _extend_prefixes(
    beams: dict[Prefix, tuple[float, float]],
    step_V: list[float],
    units: list[int],
    allows: Callable[[Prefix, int], bool] | None,
) -> dict[Prefix, tuple[float, float]]:
    """Return the probabilities of each prefix, ending in a blank and in its last unit, after one more step."""
    found: dict[Prefix, tuple[float, float]] = {}
    for prefix, (in_blank, in_unit) in beams.items():
        last, both = prefix[-1] if prefix else BLANK, in_blank + in_unit
        before = found.get(prefix, (0.0, 0.0))
        found[prefix] = (before[0] + both * step_V[BLANK], before[1] + (in_unit * step_V[last] if prefix else 0.0))
        for unit in units:
            gained = (in_blank if unit == last else both) * step_V[unit]
            if gained and (allows is None or allows(prefix, unit)):
                longer = (*prefix, unit)
                before = found.get(longer, (0.0, 0.0))
                found[longer] = (before[0], before[1] + gained)
    return found


def _most_probable(beams: dict[Prefix, tuple[float, float]], beam_width: int) -> dict[Prefix, tuple[float, float]]:
    kept = sorted(beams.items(), key=lambda pair: -sum(pair[1]))[:beam_width]
    total = sum(sum(pair) for _, pair in kept) or 1.0
    return {prefix: (in_blank / total, in_unit / total) for prefix, (in_blank, in_unit) in kept}
