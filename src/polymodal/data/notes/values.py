"""Notices of what stands in plain columns: words for missing, numbers in disguise, sentinels, outliers, copies."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.data.notes.notice import Notice, count, join_words, name_columns
from polymodal.data.notes.part import Part, num_sampled
from polymodal.data.schema.columns import OVERRULED, ColumnSchema
from polymodal.data.schema.detect_target import number_of
from polymodal.data.schema.samples import is_absent
from polymodal.data.schema.schema import FOR_SPLIT, LEFT_OUT, Schema
from polymodal.data.schema.string_evidence import is_number_text
from polymodal.modalities.base import quote
from polymodal.modalities.number import is_missing_word

CELLS = 2_000_000
FEWEST_ROWS, MOST_ROWS = 300, 20_000
"""Cells that are looked at in all columns, and rows in each."""
NUMBER_LIKE = re.compile(
    r"[<>~≈]?\s*[-+(]?\s*[$€£¥₹]?\s*[-+]?\d[\d.,'\u00a0\u202f ]*([eE][-+]?\d+)?\)?"
    r"\s*[^\W\d_]{0,5}[%‰°$€£¥₹²³]?[^\W\d_]?"
)
"""Money, thousands, decimal commas, shares and numbers with a unit."""
MIN_SHARE_NUMBERS = 0.5
MIN_DISTINCT = 10
MIN_SENTINELS = 3
MIN_SENTINEL_SHARE = 0.002
SENTINEL_GAP = 1.0
OUTLIER_GAP = 10.0
"""How far a repeated value, or a single one, stands from all others, in units of the others' range."""
MAX_OUTLIER_SHARE = 0.02


def value_notices(schema: Schema, part: Part) -> list[Notice]:
    """Look at the values of plain columns.

    Args:
        schema: Columns and targets.
        part: The training rows; a sample of them is looked at.

    Returns:
        Notices of all kinds of this module.
    """
    sample = part.sample(num_sampled(len(schema.columns) + len(schema.targets), CELLS, FEWEST_ROWS, MOST_ROWS))
    numbers = [entry.name for entry in schema.columns if entry.modality == "number"]
    targets = [target.name for target in schema.targets if target.kind == "number"]
    return [
        *_missing_words([*numbers, *targets], sample),
        *_number_forms(schema),
        *_number_like(schema, sample),
        *_sentinels([*numbers, *targets], targets, sample),
        *_same_columns(schema.columns, sample),
    ]


def _of(sample: Part) -> str:
    return f"{count(len(sample), 'row')} looked at"


def _missing_words(columns: Sequence[str], sample: Part) -> list[Notice]:
    words: Counter[str] = Counter()
    found: list[str] = []
    for name in columns:
        here = Counter(cell.strip() for cell in sample.cells(name) if is_missing_word(cell))
        words += here
        found += [name] if here else []
    if not found:
        return []
    shown = join_words([f"{word!r} ({number:,} times)" for word, number in words.most_common(5)])
    sentence = f"Read as missing in {name_columns(found)}: {shown}, in the {_of(sample)}."
    return [
        Notice(kind="missing_words", columns=tuple(found), rows=words.total(), of_rows=len(sample), sentence=sentence)
    ]


def _number_forms(schema: Schema) -> list[Notice]:
    """Tell in what form the numbers of columns and targets are written, where that is not plainly."""
    written: dict[str, list[str]] = {}
    forms = {entry.name: entry.form for entry in schema.columns} | {t.name: t.form for t in schema.targets}
    for name, form in forms.items():
        if form is not None:
            how = str(form) or "with marks between thousands, as a range or a bound, or in parentheses"
            written.setdefault(how, []).append(name)
    return [
        Notice(kind="number_form", columns=tuple(names), sentence=f"{name_columns(names)}: numbers are read {how}.")
        for how, names in written.items()
    ]


def _number_like(schema: Schema, sample: Part) -> list[Notice]:
    """Tell of labels, texts and identifiers most of which look like numbers."""
    asked = (LEFT_OUT, FOR_SPLIT, OVERRULED)
    entries = [
        entry
        for entry in (*schema.columns, *schema.ignored)
        if entry.modality in ("category", "text") and entry.reason not in asked and "leading zeros" not in entry.reason
    ]
    notices = [_number_like_notice(entry, sample, entry in schema.ignored) for entry in entries]
    return [notice for notice in notices if notice]


def _number_like_notice(entry: ColumnSchema, sample: Part, is_ignored: bool) -> Notice | None:
    cells = [cell for cell in sample.cells(entry.name) if isinstance(cell, str) and not is_absent(cell)]
    if not any(char.isdigit() for cell in cells[:20] for char in cell):
        return None
    plain = [cell for cell in cells if is_number_text(cell)]
    like = [cell for cell in cells if NUMBER_LIKE.fullmatch(cell.strip()) and not is_number_text(cell)]
    others = [cell for cell in cells if not is_number_text(cell)]
    if not others or len(plain) + len(like) < MIN_SHARE_NUMBERS * len(cells) or not _vary(plain or like, cells):
        return None
    taken = "an identifier and left out" if is_ignored else "labels" if entry.modality == "category" else "text"
    found = len(plain) if plain else len(like)
    what = "are numbers, others are not" if plain else "look like numbers but are not written as such"
    sentence = (
        f"{entry.name!r} is taken for {taken}: {found:,} of {count(len(cells), 'cell')} {what} (such as "
        f"{quote(others[0])}). Write plain numbers such as 1234.5 and leave cells without a number empty, or say "
        f"--modality {entry.name}=number, which counts the others as broken."
    )
    return Notice(kind="number_like", columns=(entry.name,), rows=len(others), of_rows=len(sample), sentence=sentence)


def _vary(numbers: Sequence[str], cells: Sequence[str]) -> bool:
    """Tell whether numbers have many values, as measurements have and codes have not."""
    return len(set(numbers)) >= max(MIN_DISTINCT, len(cells) / 20)


def _sentinels(columns: Iterable[str], targets: Sequence[str], sample: Part) -> list[Notice]:
    notices: list[Notice] = []
    repeated: dict[float, list[tuple[str, int]]] = {}
    for name in columns:
        values = as_numbers(sample.cells(name))
        values = values[np.isfinite(values)]
        for value, number in _far_values(values):
            repeated.setdefault(value, []).append((name, number))
        notices += _outliers(name, values, sample, name in targets)
    return [_sentinel_notice(value, found, sample) for value, found in repeated.items()] + notices


def as_numbers(cells: Iterable[Cell]) -> NDArray[np.float64]:
    """Read cells as numbers.

    Args:
        cells: Cells of a column.

    Returns:
        float64 ``[rows]``; NaN where a cell is absent or no finite number.
    """
    cells = list(cells)
    try:
        values = np.array(cells, object).astype(np.float64) if all(map(_is_plain, cells)) else None
    except (TypeError, ValueError, OverflowError):  # words among the numbers
        values = None
    if values is None:
        found = (None if is_absent(cell) else number_of(cell) for cell in cells)
        values = np.array([np.nan if number is None else number for number in found], np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def _is_plain(cell: Cell) -> bool:
    return cell is None or isinstance(cell, str | float | int)


def _far_values(values: NDArray[np.float64]) -> list[tuple[float, int]]:
    """Return the smallest and the largest value where they repeat, far from all others, with their counts."""
    distinct, counts = np.unique(values, return_counts=True)
    found = []
    fewest = max(MIN_SENTINELS, MIN_SENTINEL_SHARE * len(values))
    while len(distinct) > MIN_DISTINCT:
        with np.errstate(over="ignore"):
            low, high = distinct[1] - distinct[0], distinct[-1] - distinct[-2]
            at = 0 if low >= high else -1
            rest = distinct[1:] if at == 0 else distinct[:-1]
            is_far = max(low, high) > SENTINEL_GAP * (rest[-1] - rest[0])
        if not is_far or counts[at] < fewest:
            break
        found.append((float(distinct[at]), int(counts[at])))
        counts, distinct = (counts[1:], rest) if at == 0 else (counts[:-1], rest)
    return found


def _sentinel_notice(value: float, found: Sequence[tuple[str, int]], sample: Part) -> Notice:
    names, rows = tuple(name for name, _ in found), sum(number for _, number in found)
    sentence = (
        f"{name_columns(names)}: the number {value:,.12g} stands far from all others {rows:,} times in the "
        f"{_of(sample)}. If it means that there is no value, leave these cells empty; here it is read as a number."
    )
    return Notice(kind="sentinel", columns=names, rows=rows, of_rows=len(sample), sentence=sentence)


def _outliers(name: str, values: NDArray[np.float64], sample: Part, is_target: bool) -> list[Notice]:
    """Tell of a few single values that are far from the other ones and squeeze their scale."""
    if len(values) < 5 * MIN_DISTINCT:
        return []
    low, high = np.quantile(values, [MAX_OUTLIER_SHARE, 1 - MAX_OUTLIER_SHARE])
    with np.errstate(over="ignore"):
        far = np.maximum(low - values, values - high) > OUTLIER_GAP * (high - low)
    kept, number = values[~far], int(far.sum())
    repeats = {value for value, _ in _far_values(values)}
    if not number or high <= low or len(np.unique(kept)) < MIN_DISTINCT or set(values[far].tolist()) <= repeats:
        return []
    effect = "The model learns them more than all others" if is_target else "Far numbers are read by their logarithm"
    sentence = (
        f"{name!r}: {count(number, 'value')} (such as {values[far][0]:,.12g}) of the {_of(sample)} "
        f"{'is' if number == 1 else 'are'} far from the others, which lie in {kept.min():,.4g} to {kept.max():,.4g}. "
        f"{effect}. Correct or empty those cells if they are mistakes."
    )
    return [Notice(kind="sentinel", columns=(name,), rows=number, of_rows=len(sample), sentence=sentence)]


def _same_columns(columns: Sequence[ColumnSchema], sample: Part) -> list[Notice]:
    """Tell of columns that hold the same as one before them; all are kept."""
    groups: dict[int, list[str]] = {}
    for entry in columns:
        if not entry.source and not entry.parts and (key := _content_hash(sample.cells(entry.name))) is not None:
            groups.setdefault(key, []).append(entry.name)
    return [_same_notice(names, sample) for names in groups.values() if len(names) > 1]


def _content_hash(cells: Sequence[Cell]) -> int | None:
    try:
        return hash(tuple(cells))
    except TypeError:  # lists, arrays or records
        return None


def _same_notice(names: Sequence[str], sample: Part) -> Notice:
    sentence = (
        f"{name_columns(names[1:])} {'holds' if len(names) == 2 else 'hold'} the same as {names[0]!r} in the "
        f"{_of(sample)}; all are kept."
    )
    return Notice(kind="same_column", columns=tuple(names), of_rows=len(sample), sentence=sentence)


def absent_file_notices(broken: Mapping[str, Sequence[str]], present: Mapping[str, int]) -> list[Notice]:
    """Tell of columns of files many of which are not there.

    Args:
        broken: Column to the reasons of its broken cells.
        present: Column to how many cells it has.

    Returns:
        One notice for each column with two absent files or more, at least one in a hundred.
    """
    notices = []
    for name, reasons in broken.items():
        absent = [reason for reason in reasons if reason.startswith("there is no file")]
        if len(absent) >= max(2, present[name] / 100):
            sentence = (
                f"{name!r}: {len(absent):,} of {count(present[name], 'file')} are not there (such as "
                f"{absent[0].removeprefix('there is no file ')}); these cells count as missing."
            )
            notices.append(
                Notice(kind="absent_files", columns=(name,), rows=len(absent), of_rows=present[name], sentence=sentence)
            )
    return notices
