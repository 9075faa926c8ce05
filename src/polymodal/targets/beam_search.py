"""Beam search; with a beam width of 1 it is greedy decoding (torch).

Shape legend: B rows of the batch, K beams of a row, T steps so far, V ids.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

NextLogProbabilities = Callable[[Tensor | None, Tensor | None], Tensor]
"""From each beam's last id ``[B * K]`` and the index of the beam that it extends ``[B * K]``, both None at the first
step, to log-probabilities ``[B * K, V]`` of the next id."""


@dataclass(frozen=True)
class Beams:
    """Unfinished and finished hypotheses.

    Attributes:
        ids: int64 ``[B, K, T]``; padding after the end.
        total: Sum of the ids' log-probabilities, float ``[B, K]``.
        length: Ids that are not padding, int64 ``[B, K]``.
        is_done: bool ``[B, K]``; True where the text is finished.
    """

    ids: Tensor
    total: Tensor
    length: Tensor
    is_done: Tensor


def scores_of(total: Tensor, length: Tensor, length_penalty: float) -> Tensor:
    """Return the scores that rank hypotheses: Wu et al. 2016, arXiv 1609.08144, equation 14, without coverage.

    Args:
        total: Sum of the ids' log-probabilities, of any shape.
        length: Number of ids, of a shape that broadcasts.
        length_penalty: The exponent; 0 ranks by the total.

    Returns:
        ``total / ((5 + length) / 6) ** length_penalty``.
    """
    return total / ((5 + length) / 6) ** length_penalty


def beam_search(
    advance: NextLogProbabilities,
    num_rows: int,
    beam_width: int,
    max_length: int,
    end: int,
    padding: int,
    length_penalty: float,
) -> tuple[Tensor, Tensor]:
    """Search the most probable text of each row.

    Differs from Wu et al. 2016, section 7: finished texts stay among the beams and are ranked with the others; the
    search stops when every beam is finished.

    Args:
        advance: Computes the log-probabilities of the next ids.
        num_rows: B.
        beam_width: K; 1 is greedy decoding.
        max_length: Maximum number of ids of a text, including the end.
        end: Id that ends a text.
        padding: Id that stands after the end.
        length_penalty: The exponent of ``scores_of``.

    Returns:
        Ids ``[B, T]`` of the best text, and the mean log-probability of its ids ``[B]``.
    """
    log_BKV = advance(None, None)
    log_BKV = log_BKV.view(num_rows, beam_width, log_BKV.shape[1])
    beams, origin = _extend(_empty_beams(log_BKV), log_BKV, end, padding, length_penalty)
    while beams.ids.shape[2] < max_length and not bool(beams.is_done.all()):
        log_BKV = advance(beams.ids[:, :, -1].flatten(), origin).view_as(log_BKV)
        beams, origin = _extend(beams, log_BKV, end, padding, length_penalty)
    best = scores_of(beams.total, beams.length, length_penalty).argmax(dim=1, keepdim=True)
    ids = beams.ids.gather(1, best.unsqueeze(2).expand(-1, -1, beams.ids.shape[2])).squeeze(1)
    return ids, (beams.total.gather(1, best) / beams.length.gather(1, best)).squeeze(1)


def _empty_beams(log_BKV: Tensor) -> Beams:
    """Return empty texts; all but the first of a row have probability 0, because they are equal."""
    total = log_BKV.new_full(log_BKV.shape[:2], -torch.inf)
    total[:, 0] = 0.0
    nothing = torch.zeros(log_BKV.shape[:2], dtype=torch.long, device=log_BKV.device)
    return Beams(nothing.new_zeros(*log_BKV.shape[:2], 0), total, nothing, nothing.bool())


def _extend(beams: Beams, log_BKV: Tensor, end: int, padding: int, length_penalty: float) -> tuple[Beams, Tensor]:
    """Return the best beams of one more id, and the index ``[B * K]`` of the beam that each extends."""
    num_rows, beam_width, num_ids = log_BKV.shape
    total_BKV = beams.total.unsqueeze(2) + _extension_log_probabilities(log_BKV, beams.is_done, padding)
    length_BK = beams.length + ~beams.is_done
    score_BKV = scores_of(total_BKV, length_BK.unsqueeze(2), length_penalty)
    chosen_BK = score_BKV.flatten(1).topk(beam_width, dim=1).indices
    origin_BK, new_BK = chosen_BK // num_ids, chosen_BK % num_ids
    kept_BKT = beams.ids.gather(1, origin_BK.unsqueeze(2).expand(-1, -1, beams.ids.shape[2]))
    following = Beams(
        ids=torch.cat([kept_BKT, new_BK.unsqueeze(2)], dim=2),
        total=total_BKV.flatten(1).gather(1, chosen_BK),
        length=length_BK.gather(1, origin_BK),
        is_done=beams.is_done.gather(1, origin_BK) | (new_BK == end),
    )
    first_of_row = torch.arange(num_rows, device=origin_BK.device).unsqueeze(1) * beam_width
    return following, (first_of_row + origin_BK).flatten()


def _extension_log_probabilities(log_BKV: Tensor, is_done: Tensor, padding: int) -> Tensor:
    """Return ``[B, K, V]``: a finished text is extended by padding with log-probability 0, other texts never are."""
    is_padding = torch.arange(log_BKV.shape[2], device=log_BKV.device) == padding
    ended = torch.zeros_like(log_BKV).masked_fill(~is_padding, -torch.inf)
    return torch.where(is_done.unsqueeze(2), ended, log_BKV.masked_fill(is_padding, -torch.inf))
