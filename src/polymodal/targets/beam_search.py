"""Beam search over a step by step graph, without torch; with a beam width of 1 it is greedy decoding.

Keys and values of the steps so far are only handed from one step to the next, so that they may be arrays or tensors.

Shape legend: B rows of the batch, K beams of a row, N beams of all rows, T steps so far, C candidates of a beam.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CANDIDATES, CANDIDATE_IDS = "candidates", "candidate_ids"
"""Outputs of every step: log-probabilities and ids of the most probable next ids of each beam, ``[N, C]``."""
IDS, ORIGIN = "ids", "origin"
"""Inputs of every step but the first: the last id of each beam, and the number of the beam that it extends, ``[N]``."""
NEXT = "next_"
"""Begins the names of the outputs of a step that are inputs of the next one."""

Advance = Callable[[NDArray[np.int64], NDArray[np.int64]], "Candidates"]
"""From the last ids of the beams ``[N]`` and the number of the beam that each extends to the next candidates."""


@dataclass(frozen=True)
class Candidates:
    """The most probable next ids of each beam.

    Attributes:
        log_probabilities: float32 ``[N, C]``.
        ids: int64 ``[N, C]``, without the padding.
    """

    log_probabilities: NDArray[np.float32]
    ids: NDArray[np.int64]


@dataclass(frozen=True)
class Beams:
    """Unfinished and finished hypotheses.

    Attributes:
        ids: int64 ``[B, K, T]``; padding after the end.
        total: Sum of the ids' log-probabilities, float64 ``[B, K]``.
        length: Ids that are not padding, int64 ``[B, K]``.
        is_done: bool ``[B, K]``; True where the text is finished.
    """

    ids: NDArray[np.int64]
    total: NDArray[np.float64]
    length: NDArray[np.int64]
    is_done: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class BeamSearch:
    """Options of the search.

    Attributes:
        beam_width: K; 1 is greedy decoding. As many candidates of each beam are enough.
        max_length: Maximum number of ids of a text, including the end.
        end: Id that ends a text.
        padding: Id that stands after the end.
        length_penalty: The exponent of ``scores_of``.
    """

    beam_width: int
    max_length: int
    end: int
    padding: int
    length_penalty: float


def scores_of(total: NDArray[np.float64], length: NDArray[np.int64], length_penalty: float) -> NDArray[np.float64]:
    """Return the scores that rank hypotheses: Wu et al. 2016, arXiv 1609.08144, equation 14, without coverage.

    Args:
        total: Sum of the ids' log-probabilities, of any shape.
        length: Number of ids, of a shape that broadcasts.
        length_penalty: The exponent; 0 ranks by the total.

    Returns:
        ``total / ((5 + length) / 6) ** length_penalty``.
    """
    return np.asarray(total / ((5 + length) / 6) ** length_penalty)


def decode_steps(
    outputs: Mapping[str, Any], step: Callable[[Mapping[str, Any]], Mapping[str, Any]], search: BeamSearch
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Search the most probable text of each row with a graph that computes one step at a time.

    Args:
        outputs: ``CANDIDATES`` and ``CANDIDATE_IDS`` of the first step, arrays ``[B, C]``, and further inputs of the
            step, ``[B, ...]``.
        step: From ``IDS``, ``ORIGIN`` and the further inputs to the next candidates and to those of the further inputs
            that change, their names after ``NEXT``.
        search: Options.

    Returns:
        Ids ``[B, T]`` of the best text, and the mean log-probability of its ids ``[B]``.
    """
    num_rows = len(outputs[CANDIDATES])
    beams = np.repeat(np.arange(num_rows), search.beam_width)
    given = {name: value if search.beam_width == 1 else value[beams] for name, value in outputs.items()}
    first = Candidates(given.pop(CANDIDATES), given.pop(CANDIDATE_IDS))

    def advance(ids: NDArray[np.int64], origin: NDArray[np.int64]) -> Candidates:
        found = dict(step({IDS: ids, ORIGIN: origin, **given}))
        candidates = Candidates(found.pop(CANDIDATES), found.pop(CANDIDATE_IDS))
        given.update({name.removeprefix(NEXT): value for name, value in found.items()})
        return candidates

    return beam_search(first, advance, num_rows, search)


def beam_search(
    first: Candidates, advance: Advance, num_rows: int, search: BeamSearch
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Search the most probable text of each row.

    Differs from Wu et al. 2016, section 7: finished texts stay among the beams and are ranked with the others; the
    search stops when every beam is finished.

    Args:
        first: The first candidates; those of the beams of a row are equal.
        advance: Computes the next candidates.
        num_rows: B.
        search: Options.

    Returns:
        Ids ``[B, T]`` of the best text, and the mean log-probability of its ids ``[B]``.
    """
    beams, origin = _extend(_empty_beams(num_rows, search.beam_width), first, search)
    while beams.ids.shape[2] < search.max_length and not beams.is_done.all():
        beams, origin = _extend(beams, advance(beams.ids[:, :, -1].ravel(), origin), search)
    best = scores_of(beams.total, beams.length, search.length_penalty).argmax(axis=1)
    rows = np.arange(num_rows)
    return beams.ids[rows, best], beams.total[rows, best] / beams.length[rows, best]


def _empty_beams(num_rows: int, beam_width: int) -> Beams:
    """Return empty texts; all but the first of a row have probability 0, because they are equal."""
    total = np.full((num_rows, beam_width), -np.inf)
    total[:, 0] = 0.0
    nothing = np.zeros((num_rows, beam_width), dtype=np.int64)
    return Beams(np.zeros((num_rows, beam_width, 0), dtype=np.int64), total, nothing, nothing.astype(np.bool_))


def _extend(beams: Beams, candidates: Candidates, search: BeamSearch) -> tuple[Beams, NDArray[np.int64]]:
    """Return the best beams of one more id, and the number ``[N]`` of the beam that each extends."""
    num_rows, beam_width = beams.total.shape
    choices = (num_rows, beam_width * candidates.ids.shape[1])
    log_BKC, ids_BKC = _extensions(candidates, beams.is_done, search.padding)
    total_BKC = beams.total[:, :, None] + log_BKC
    length_BK = beams.length + ~beams.is_done
    score_BKC = scores_of(total_BKC, length_BK[:, :, None], search.length_penalty)
    chosen_BK = np.argsort(-score_BKC.reshape(choices), axis=1, kind="stable")[:, :beam_width]
    origin_BK = chosen_BK // log_BKC.shape[2]
    rows = np.arange(num_rows)[:, None]
    new_BK = np.take_along_axis(ids_BKC.reshape(choices), chosen_BK, axis=1)
    following = Beams(
        ids=np.concatenate([beams.ids[rows, origin_BK], new_BK[:, :, None]], axis=2),
        total=np.take_along_axis(total_BKC.reshape(choices), chosen_BK, axis=1),
        length=length_BK[rows, origin_BK],
        is_done=beams.is_done[rows, origin_BK] | (new_BK == search.end),
    )
    return following, (rows * beam_width + origin_BK).ravel()


def _extensions(
    candidates: Candidates, is_done_BK: NDArray[np.bool_], padding: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return log-probabilities and ids ``[B, K, C]``; a finished text is extended by padding with log-probability 0."""
    shape = (*is_done_BK.shape, candidates.ids.shape[1])
    log_BKC = candidates.log_probabilities.reshape(shape).astype(np.float64)
    ended_C = np.where(np.arange(shape[2]) == 0, 0.0, -np.inf)
    ids_BKC = np.where(is_done_BK[:, :, None], padding, candidates.ids.reshape(shape))
    return np.where(is_done_BK[:, :, None], ended_C, log_BKC), ids_BKC
