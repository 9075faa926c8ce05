"""Detects the kind of a target: labels, numbers, texts, or any other modality that can be predicted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from polymodal.arrays import Cell
from polymodal.data.schema.columns import read_written_number
from polymodal.data.schema.detect_modality import detect_modality
from polymodal.data.schema.detect_text import count_words
from polymodal.data.schema.samples import Detection, present_cells
from polymodal.data.schema.string_evidence import find_form
from polymodal.errors import SchemaError
from polymodal.modalities import MODALITIES, Audio, CellReadError
from polymodal.modalities.json_text import load_json
from polymodal.modalities.number import parse_number

TARGET_KINDS = (
    "category",
    "categories",
    "number",
    "vector",
    "caption",
    "series",
    "image",
    "boxes",
    "transcript",
)
FLAT_KINDS = frozenset({"category", "categories", "number"})
MAX_WHOLE_CLASSES = 20
ROWS_PER_TEXT = 5
LABEL_MARKS = ("|", ";")
SHARE_JOINED = 0.05
IDENTIFIER_ROWS = 20
SENTENCE_WORDS = 3.0


def detect_target_kind(
    name: str,
    cells: Sequence[Cell],
    folder: Path | None,
    overruled: str | None = None,
    inputs: frozenset[str] = frozenset(),
) -> Detection:
    """Detect the kind of a target column.

    Integers of at most 20 distinct values are classes, other numbers are regression targets. Lists, JSON lists and
    labels joined by ``|`` or ``;`` that occur in several rows are multi-label targets. Texts that repeat are
    classes; others are transcripts where there is sound to transcribe, else captions. Lists of one count of numbers
    are vectors, other lists and tables of numbers are series, and pictures are images.

    Args:
        name: The column's name.
        cells: All its cells.
        folder: Base folder of relative paths.
        overruled: The kind given by the user.
        inputs: Modalities of the input columns.

    Returns:
        A name in ``TARGET_KINDS`` and the reason, as one clause.

    Raises:
        SchemaError: If the column has no value or one alone, or holds what this version cannot predict.
    """
    present = present_cells(cells)
    if not present:
        raise SchemaError(f"The target {name!r} has no value in any row. Choose another target, or fill it in.")
    found = (overruled, "as the user says") if overruled else _kind(name, present, folder, inputs)
    _check_values(name, found[0], present)
    return found


def _kind(name: str, present: Sequence[Cell], folder: Path | None, inputs: frozenset[str]) -> Detection:
    modality, reason = detect_modality(name, present, folder)
    cells = _TargetCells(name, present, reason, inputs)
    if modality in _DECIDERS:
        return _DECIDERS[modality](cells)
    if modality in TARGET_KINDS:
        return modality, reason
    raise SchemaError(
        f"The target {name!r} holds {modality} cells ({reason}), which this version does not predict. "
        f"It predicts {', '.join(TARGET_KINDS)}. If its values are classes, say `--modality {name}=category`."
    )


@dataclass(frozen=True)
class _TargetCells:
    """A target column: its name, present cells, the reason of its modality, and the modalities of the inputs."""

    name: str
    present: Sequence[Cell]
    reason: str
    inputs: frozenset[str]


def _number_kind(cells: _TargetCells) -> Detection:
    present = cells.present
    numbers = _numbers(present)
    whole = all(number.is_integer() for number in numbers)
    about = f"{len(numbers)} different {'whole numbers' if whole else 'numbers'}"
    if len(numbers) <= 2 or (whole and len(numbers) <= MAX_WHOLE_CLASSES and len(numbers) <= len(present) / 2):
        return "category", about
    return "number", about


def _text_kind(cells: _TargetCells) -> Detection:
    rows, distinct = len(cells.present), len(set(map(str, cells.present)))
    if distinct * ROWS_PER_TEXT <= rows or _joined_reason(cells.present):
        return _label_kind(cells)
    kind = "transcript" if any(map(_has_sound, cells.inputs)) else "caption"
    return kind, f"{distinct} different texts in {rows} rows"


def _has_sound(modality: str) -> bool:
    """Tell whether a text may be the transcript of such an input."""
    return modality in MODALITIES and Audio.name in (modality, MODALITIES[modality].track)


def _label_kind(cells: _TargetCells) -> Detection:
    joined = _joined_reason(cells.present)
    if joined:
        return "categories", joined
    _check_repeats(cells.name, cells.present)
    return "category", cells.reason


def _list_kind(cells: _TargetCells) -> Detection:
    """Lists of labels that repeat are labels; lists of sentences are several captions of each row."""
    lists = [labels_of(cell) for cell in cells.present]
    texts = [text for labels in lists for text in labels]
    words = sum(map(count_words, texts)) / max(len(texts), 1)
    if words >= SENTENCE_WORDS and len(set(texts)) * 2 > len(texts):
        return "caption", f"the cells are lists of texts, {words:.1f} words each: several captions a row"
    return "categories", cells.reason


_DECIDERS: dict[str, Callable[[_TargetCells], Detection]] = {
    "number": _number_kind,
    "text": _text_kind,
    "category": _label_kind,
    "categories": _list_kind,
}
"""Modalities with several kinds of target; others are targets of the kind of their own name, or none."""


def _joined_reason(present: Sequence[Cell]) -> str | None:
    cells = [str(cell) for cell in present]
    for mark in LABEL_MARKS:
        joined = sum(mark in cell for cell in cells)
        parts = Counter(part.strip() for cell in cells for part in cell.split(mark) if part.strip())
        is_joined = joined >= max(2, SHARE_JOINED * len(cells)) and sum(parts.values()) >= 2 * len(parts)
        if is_joined and not _are_wholes(cells, mark):
            return f"{joined} of {len(cells)} cells join labels by {mark!r}, of {len(parts)} different ones"
    return None


def _are_wholes(cells: Sequence[str], mark: str) -> bool:
    """Tell whether joined words are names, such as ``Home | Kitchen``: few that repeat, each word in one place only.

    Labels of a set stand beside different others; the words of a name always stand behind the same ones.
    """
    wholes = {tuple(part.strip() for part in cell.split(mark)) for cell in set(cells)}
    places: dict[str, set[tuple[str, ...]]] = {}
    for whole in wholes:
        for place, part in enumerate(whole):
            places.setdefault(part, set()).add(whole[:place])
    return len(wholes) * ROWS_PER_TEXT <= len(cells) and all(len(prefixes) == 1 for prefixes in places.values())


def _check_repeats(name: str, present: Sequence[Cell]) -> None:
    if len(set(map(str, present))) == len(present) >= IDENTIFIER_ROWS:
        raise SchemaError(
            f"The target {name!r} has another value in every row, so no class can be learnt. If each value is a "
            f"class, say `--modality {name}=category`."
        )


def _check_values(name: str, kind: str, present: Sequence[Cell]) -> None:
    if kind == "number":
        _check_numbers(name, present)
    elif kind == "categories":
        _check_lists(name, present)
    if kind in {"category", "number"} and len({_text(cell) for cell in present}) == 1:
        what = "class" if kind == "category" else "value"
        raise SchemaError(
            f"The target {name!r} has one {what} only, {_text(present[0])!r}, in all {len(present)} rows that have it. "
            "There is nothing to learn: expected at least two."
        )


def _text(cell: Cell) -> str:
    text = str(cell).strip()
    return text.removesuffix(".0") if isinstance(cell, float) else text


def _check_numbers(name: str, present: Sequence[Cell]) -> None:
    if not _numbers(present):
        raise SchemaError(
            f"The target {name!r} is to be a number, but {str(present[0])[:40]!r} and all others are none."
        )


def _numbers(present: Sequence[Cell]) -> set[float]:
    form = find_form(present)
    read = present if form is None else [read_written_number(form, cell) for cell in present]
    return {number for cell in read if (number := number_of(cell)) is not None}


def number_of(cell: Cell) -> float | None:
    """Parse a target cell as a number.

    Args:
        cell: A present cell.

    Returns:
        The number, or None.
    """
    try:
        return parse_number(cell)
    except CellReadError:
        return None


def _check_lists(name: str, present: Sequence[Cell]) -> None:
    labels = {label for cell in present for label in labels_of(cell)}
    if not labels:
        raise SchemaError(f"The target {name!r} names no label in any row. Expected lists of labels.")


def labels_of(cell: Cell) -> list[str]:
    """Parse a target cell with several labels.

    Args:
        cell: A list, a JSON list, or text joined by ``|`` or ``;``.

    Returns:
        Its labels.
    """
    if isinstance(cell, str):
        text = cell.strip()
        if text.startswith("["):
            try:
                return [str(label) for label in load_json(text)]
            except (ValueError, TypeError):
                return [text]
        return [part for part in text.split("|" if "|" in text else ";") if part.strip()]
    return [str(label) for label in cell] if isinstance(cell, list | tuple) else [str(cell)]
