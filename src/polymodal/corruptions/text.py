"""Corruptions of text: typos, dropped words, errors of character recognition."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from polymodal.arrays import Cell
from polymodal.corruptions.base import CorruptCell, CorruptionContext
from polymodal.modalities.text import parse_words

KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
"""Rows of a QWERTY keyboard; a key's neighbours stand beside it and, half a key to the right, below it."""

MISREAD: dict[str, tuple[str, ...]] = {
    "a": ("o", "e"), "b": ("6", "h"), "c": ("e", "o"), "d": ("cl",), "e": ("c", "o"), "f": ("t",), "g": ("9", "q"),
    "h": ("b", "li"), "i": ("l", "1", "j"), "j": ("i",), "l": ("1", "i", "I"), "m": ("rn", "nn"), "n": ("ri", "u"),
    "o": ("0", "c"), "q": ("g", "9"), "r": ("t", "n"), "s": ("5",), "t": ("f", "l"), "u": ("v", "ii"), "v": ("u", "y"),
    "w": ("vv",), "y": ("v",), "z": ("2",), "A": ("4",), "B": ("8", "3"), "D": ("0", "O"), "E": ("F",), "G": ("6", "C"),
    "I": ("l", "1"), "O": ("0", "Q"), "Q": ("O",), "S": ("5", "8"), "T": ("7",), "Z": ("2", "7"), "0": ("O", "o"),
    "1": ("l", "I"), "2": ("Z",), "5": ("S",), "6": ("b", "G"), "8": ("B",), "9": ("g", "q"),
}  # fmt: skip
"""What a recogniser of print takes a character for."""

FEW_CHARACTERS = 12
"""Text whose words have more characters on average is written without spaces: its characters are its words."""


def on_text(corrupt: Callable[[str, float, np.random.Generator], str]) -> CorruptCell:
    """Turn a corruption of a string into one of cells.

    Args:
        corrupt: From text, level and random numbers to text.

    Returns:
        The corruption of a cell; the cell as it is where nothing would be left of it.
    """

    def corrupt_cell(cell: Cell, level: float, random: np.random.Generator, context: CorruptionContext) -> Cell:  # noqa: ARG001
        text = parse_words(cell)
        corrupted = "" if text is None else corrupt(text, level, random)
        return corrupted if corrupted.strip() else cell

    return corrupt_cell


def _neighbours() -> dict[str, str]:
    """Return each key's neighbours."""
    places = {key: (row, column + row / 2) for row, keys in enumerate(KEYBOARD) for column, key in enumerate(keys)}
    near = {
        key: "".join(
            other for other, (r, c) in places.items() if other != key and abs(r - row) <= 1 and abs(c - column) <= 1
        )
        for key, (row, column) in places.items()
    }
    return near | {key.upper(): keys.upper() for key, keys in near.items()}


NEIGHBOURS = _neighbours()


def mistype(text: str, level: float, random: np.random.Generator) -> str:
    """Mistype letters: a neighbouring key, the letter twice, not at all, or in the wrong order with the next one.

    Letters that are on no such keyboard are doubled, left out or exchanged with the next one.

    Args:
        text: The text.
        level: Share of the letters that are hit.
        random: Random numbers.

    Returns:
        The text with typos.
    """
    hits, kinds, places = random.random((3, len(text)))
    written: list[str] = []
    waiting = ""
    for number, character in enumerate(text):
        typed, waiting_next = character, ""
        if hits[number] < level and character.isalpha():
            kind, keys = int(4 * kinds[number]), NEIGHBOURS.get(character, "")
            if kind == 0 and keys:
                typed = keys[int(places[number] * len(keys))]
            elif kind == 1:
                typed = character * 2
            elif kind == 2:
                typed = ""
            else:
                typed, waiting_next = "", character
        written += [typed, waiting]
        waiting = waiting_next
    return "".join(written) + waiting


def drop_words(text: str, level: float, random: np.random.Generator) -> str:
    """Leave words out; of scripts without spaces, characters.

    Args:
        text: The text.
        level: Share of the words that are left out; one stays at least.
        random: Random numbers.

    Returns:
        The rest.
    """
    words = text.split()
    has_spaces = len(text) <= FEW_CHARACTERS * len(words)
    parts, joint = (words, " ") if has_spaces else (list(text), "")
    chances = random.random(len(parts))
    kept = (chances >= level) | (chances == chances.max(initial=0.0))
    return joint.join(part for part, stays in zip(parts, kept, strict=True) if stays)


def misread(text: str, level: float, random: np.random.Generator) -> str:
    """Confuse characters that look alike in print; others, of other scripts too, are lost or change places.

    Args:
        text: The text.
        level: Share of the characters that are hit; blanks are not.
        random: Random numbers.

    Returns:
        The text as it was recognised.
    """
    hits, kinds = random.random((2, len(text)))
    read = list(text)
    for number, character in enumerate(text):
        if hits[number] >= level or character.isspace():
            continue
        alike = MISREAD.get(character)
        if alike is not None:
            read[number] = alike[int(kinds[number] * len(alike))]
        elif kinds[number] < 0.5 or number + 1 == len(text):
            read[number] = ""
        else:
            read[number], read[number + 1] = read[number + 1], read[number]
    return "".join(read)
