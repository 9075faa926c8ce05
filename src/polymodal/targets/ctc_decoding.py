"""Connectionist temporal classification without torch: greedy decoding, prefix beam search, likelihood of a text.

Shape legend: B rows of the batch, T steps, V units with the blank, L units of a text, S states: blanks and units.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from polymodal.targets.units import BLANK

Prefix = tuple[int, ...]
MIN_PROBABILITY = 1e-4
"""Prefixes are not extended by units that are less probable at a step."""
IMPOSSIBLE = -1e30
"""Log-probability of what cannot be; finite, so that differences of two are numbers."""


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


def text_log_likelihoods(
    log_probabilities_BTV: NDArray[np.float32], num_steps: NDArray[np.int64], texts: Sequence[Sequence[int]]
) -> NDArray[np.float64]:
    """Return the log-likelihood of each text, summed over all alignments: Graves et al. 2006, equations 6 to 8.

    Args:
        log_probabilities_BTV: ``[B, T, V]``.
        num_steps: int64 ``[B]``, steps in use.
        texts: Ids of each row's text.

    Returns:
        float64 ``[B]``; 0 where the row has no steps, or too few for its text.
    """
    order = np.argsort(-num_steps, kind="stable")
    states_BS, skips_BS = _states([texts[row] for row in order])
    log_BS = np.full(states_BS.shape, IMPOSSIBLE)
    log_BS[:, :2] = 0.0
    for step in range(int(num_steps.max(initial=0))):
        rows, states = slice(int((num_steps > step).sum())), slice(2 * step + 2)
        unit_BS = np.take_along_axis(log_probabilities_BTV[order[rows], step], states_BS[rows, states], axis=1)
        reached_BS = _reached(log_BS[rows, states], skips_BS[rows, states]) if step else log_BS[rows, states]
        log_BS[rows, states] = np.maximum(reached_BS + unit_BS, IMPOSSIBLE)
    found = np.empty(len(texts))
    found[order] = _ended(log_BS, np.array([len(texts[row]) for row in order], dtype=np.int64))
    return np.where((num_steps > 0) & (found > IMPOSSIBLE / 2), found, 0.0)


def _ended(log_BS: NDArray[np.float64], num_units: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the log-probability of ending in the last unit of a text or in the blank after it, ``[B]``."""
    rows, last = np.arange(len(log_BS)), 2 * num_units
    in_unit_B = np.where(num_units > 0, log_BS[rows, np.maximum(last - 1, 0)], IMPOSSIBLE)
    return np.logaddexp(log_BS[rows, last], in_unit_B)


def _states(texts: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the ids of the states, blanks around each unit, and whether a state may follow the one two before it."""
    states_BS = np.full((len(texts), 2 * max(map(len, texts), default=0) + 1), BLANK, dtype=np.int64)
    for row, text in enumerate(texts):
        states_BS[row, 1 : 2 * len(text) : 2] = text
    skips_BS = np.zeros(states_BS.shape, dtype=np.bool_)
    skips_BS[:, 2:] = (states_BS[:, 2:] != BLANK) & (states_BS[:, 2:] != states_BS[:, :-2])
    return states_BS, skips_BS


def _reached(log_BS: NDArray[np.float64], skips_BS: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the log-probability of coming to each state from itself, the one before it or the one before that."""
    largest_BS = log_BS.copy()
    np.maximum(largest_BS[:, 1:], log_BS[:, :-1], out=largest_BS[:, 1:])
    two_BS = np.where(skips_BS[:, 2:], log_BS[:, :-2], IMPOSSIBLE)
    np.maximum(largest_BS[:, 2:], two_BS, out=largest_BS[:, 2:])
    total_BS = np.exp(log_BS - largest_BS)
    total_BS[:, 1:] += np.exp(log_BS[:, :-1] - largest_BS[:, 1:])
    total_BS[:, 2:] += np.exp(two_BS - largest_BS[:, 2:])
    return np.asarray(largest_BS + np.log(total_BS))
