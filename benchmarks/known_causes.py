"""Generated rows whose answer has one known cause: a patch in a picture, a word, a tone, a burst of one sensor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Place = dict[str, Any]
"""Where the cause is, as ``Part.place`` has it."""

SIDE, PATCH = 24, 6
NUM_WORDS, SENTENCE, CAUSE_WORD = 60, 14, "zebra"
RATE_HZ, CLIP_S, TONE_S, TONE_HZ = 8000, 1.0, 0.25, 2000
STEPS, CHANNELS, BURST = 64, 3, 6
OTHERS = 0.5
"""Share of rows without the cause that have something else in its place: neither alone tells the classes apart."""


@dataclass(frozen=True)
class KnownCause:
    """A table and where the cause is in each row.

    Attributes:
        table: Columns ``cell`` and ``label``; half of the rows have the cause and the label "yes".
        causes: Its place in each row that has it, else None.
    """

    table: dict[str, list[Any]]
    causes: list[Place | None]


def patches(rows: int, seed: int) -> KnownCause:
    """Draw pictures of noise, half of them with a red patch; of the others half have a blue one.

    Args:
        rows: Number of rows.
        seed: Of the draw.

    Returns:
        Pictures ``[24, 24, 3]``.
    """

    def draw(random: np.random.Generator, has_cause: bool) -> tuple[Any, Place]:
        picture = random.integers(60, 196, (SIDE, SIDE, 3)).astype(np.uint8)
        top, left = random.integers(0, SIDE - PATCH, 2).tolist()
        if has_cause or random.random() < OTHERS:
            picture[top : top + PATCH, left : left + PATCH] = (230, 20, 20) if has_cause else (20, 20, 230)
        corners = (left, top, left + PATCH, top + PATCH)
        return picture, {"box": [corner / SIDE for corner in corners]}

    return _rows(rows, seed, draw)


def words(rows: int, seed: int) -> KnownCause:
    """Draw sentences of random words, half of them with the word "zebra".

    Args:
        rows: Number of rows.
        seed: Of the draw.

    Returns:
        Texts of 14 words.
    """

    def draw(random: np.random.Generator, has_cause: bool) -> tuple[Any, Place]:
        chosen = [f"word{number}" for number in random.integers(0, NUM_WORDS, SENTENCE)]
        place = int(random.integers(0, SENTENCE))
        if has_cause:
            chosen[place] = CAUSE_WORD
        start = len(" ".join(chosen[:place])) + (place > 0)
        return " ".join(chosen), {"start": start, "end": start + len(chosen[place])}

    return _rows(rows, seed, draw)


def tones(rows: int, seed: int) -> KnownCause:
    """Draw seconds of noise, half of them with a quarter of a second of a tone; of the others half have a lower one.

    Args:
        rows: Number of rows.
        seed: Of the draw.

    Returns:
        Arrays with their rate.
    """

    def draw(random: np.random.Generator, has_cause: bool) -> tuple[Any, Place]:
        clip = 0.05 * random.normal(size=int(RATE_HZ * CLIP_S))
        start_s = float(random.uniform(0, CLIP_S - TONE_S))
        times = np.arange(int(TONE_S * RATE_HZ)) / RATE_HZ
        tone = np.sin(2 * np.pi * (TONE_HZ if has_cause else TONE_HZ / 4) * times)
        first = int(start_s * RATE_HZ)
        if has_cause or random.random() < OTHERS:
            clip[first : first + len(tone)] += 0.4 * tone
        place = {"seconds": [start_s, start_s + TONE_S], "hertz": [TONE_HZ, TONE_HZ]}
        return (clip.astype(np.float32), RATE_HZ), place

    return _rows(rows, seed, draw)


def bursts(rows: int, seed: int) -> KnownCause:
    """Draw three channels of noise, half of them with a burst in the middle one; of the others half in the last one.

    Args:
        rows: Number of rows.
        seed: Of the draw.

    Returns:
        Arrays ``[64, 3]``.
    """

    def draw(random: np.random.Generator, has_cause: bool) -> tuple[Any, Place]:
        series = random.normal(size=(STEPS, CHANNELS))
        start, channel = int(random.integers(0, STEPS - BURST)), 1 if has_cause else 2
        if has_cause or random.random() < OTHERS:
            series[start : start + BURST, channel] += 6
        return series, {"steps": [start, start + BURST], "channel": channel}

    return _rows(rows, seed, draw)


KNOWN_CAUSES: dict[str, Callable[[int, int], KnownCause]] = {
    "patch": patches,
    "word": words,
    "tone": tones,
    "burst": bursts,
}


def _rows(rows: int, seed: int, draw: Callable[[np.random.Generator, bool], tuple[Any, Place]]) -> KnownCause:
    random = np.random.default_rng(seed)
    has_cause = random.permutation(np.arange(rows) % 2 == 0).tolist()
    drawn = [draw(random, has) for has in has_cause]
    table = {"cell": [cell for cell, _ in drawn], "label": ["yes" if has else "no" for has in has_cause]}
    return KnownCause(table, [place if has else None for has, (_, place) in zip(has_cause, drawn, strict=True)])


def is_hit(part: Place, cause: Place) -> bool:
    """Return whether a part is the cause: the cause fills half of the part, or the part half of the cause.

    Args:
        part: Place of a part.
        cause: Place of the cause.

    Returns:
        True where they are the same; a word has to be the word alone, and a band has to hold the tone.
    """
    if "start" in cause:
        return (part["start"], part["end"]) == (cause["start"], cause["end"])
    if "hertz" in cause and not part["hertz"][0] <= cause["hertz"][0] <= part["hertz"][1]:
        return False
    shared, own, whole = _volumes(part, cause)
    return shared > 0 and shared >= 0.5 * min(own, whole)


def _volumes(part: Place, cause: Place) -> tuple[float, float, float]:
    """Return the volume of the intersection, of the part and of the cause."""
    spans = [(_spans(part), _spans(cause))]
    shared = own = whole = 1.0
    for (low, high), (cause_low, cause_high) in zip(*spans[0], strict=True):
        shared *= max(0.0, min(high, cause_high) - max(low, cause_low))
        own, whole = own * (high - low), whole * (cause_high - cause_low)
    return shared, own, whole


def _spans(place: Place) -> list[tuple[float, float]]:
    if "box" in place:
        left, top, right, bottom = place["box"]
        return [(left, right), (top, bottom)]
    if "seconds" in place:
        return [tuple(place["seconds"])]
    first, _, last = str(place["channel"]).partition("-")
    return [tuple(place["steps"]), (float(first), float(last or first) + 1)]


def top_place(parts: list[Any]) -> Place:
    """Return where the part lies that speaks most for the answer.

    Args:
        parts: Parts of a cell.

    Returns:
        Its place.
    """
    values: NDArray[np.float64] = np.array([part.value for part in parts])
    return dict(parts[int(values.argmax())].place)
