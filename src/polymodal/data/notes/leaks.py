"""Notices of columns that may give the answer away: equal to a target, one to one with it, or near-perfect alone.

Each input column is looked at by itself, so the time grows with their number, not with its square. How well it predicts
is judged by two-fold cross-validation on training rows: a value predicts what rows of the same value have in the other
fold, and a number or date what those of the nearest value have.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.data.notes.notice import Notice, count, drop_flag, name_columns
from polymodal.data.notes.part import Part, num_sampled
from polymodal.data.notes.values import as_numbers
from polymodal.data.schema.columns import ColumnSchema, TargetSchema
from polymodal.data.schema.detect_target import FLAT_KINDS, labels_of
from polymodal.data.schema.samples import is_absent
from polymodal.data.schema.schema import Schema
from polymodal.data.tables.splits import group_text
from polymodal.modalities.base import CellReadError
from polymodal.modalities.date_text import EPOCH, DateOrder
from polymodal.modalities.datetime import DateTime, DateTimeSettings, parse_datetime

CELLS = 1_000_000
FEWEST_ROWS, MOST_ROWS = 300, 5_000
"""Cells that are looked at in all columns, and rows in each."""
LOOKED_AT = frozenset({"number", "category", "datetime", "text"})
MIN_ROWS = 20
MIN_PRIOR_ERRORS = 5
MIN_SKILL = 0.98
"""Share of the errors of a guess without inputs that a column alone has to avoid."""
ROWS_PER_VALUE = 5
"""Labels and texts with fewer rows per value than this are not judged; of numbers, a value is in one fold alone."""
FREQUENT_SHARE = 0.05
"""A value of more rows than this share of all, such as 0 or an absent cell, is in both folds."""
MAX_LABELS = 20
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class _Truth:
    """A target's known cells in the sample.

    Attributes:
        target: The target.
        rows: Rows of the sample in which it is known.
        texts: Their cells as text.
        codes: int64 ``[rows]``, classes; None for numbers.
        ranks: float64 ``[rows]``, 0 to 1; None for classes.
    """

    target: TargetSchema
    rows: NDArray[np.int64]
    texts: list[str]
    codes: Codes | None
    ranks: NDArray[np.float64] | None

    @property
    def is_number(self) -> bool:
        """Whether the target is a number."""
        return self.ranks is not None


def leak_notices(schema: Schema, part: Part) -> list[Notice]:
    """Look for columns that give a target away.

    Args:
        schema: Input columns and targets.
        part: The training rows; a sample of them is looked at.

    Returns:
        Notices, with the figure that was measured; nothing is left out of training.
    """
    entries = [entry for entry in schema.columns if entry.modality in LOOKED_AT and not entry.parts]
    sample = part.sample(num_sampled(len(entries) * len(schema.targets), CELLS, FEWEST_ROWS, MOST_ROWS))
    truths = [truth for target in schema.targets if (truth := _truth(target, sample)) is not None]
    found: dict[tuple[str, str], list[_Found]] = defaultdict(list)
    for entry in entries if truths else ():
        cells = sample.cells(entry.name)
        for truth in truths:
            leak = _find(entry, [cells[row] for row in truth.rows.tolist()], truth)
            if leak is not None:
                found[leak.how, truth.target.name].append(leak)
    return [_notice(leaks) for leaks in found.values()]


def _truth(target: TargetSchema, sample: Part) -> _Truth | None:
    cells = sample.cells(target.name)
    rows = np.array([row for row, cell in enumerate(cells) if not is_absent(cell)], np.int64)
    if target.kind == "number":
        values = as_numbers(cells)
        rows = np.flatnonzero(~np.isnan(values))
        ranks = _ranks(values[rows])
        return _Truth(target, rows, [_text(cells[row]) for row in rows.tolist()], None, ranks) if len(rows) else None
    texts = [_label(cells[row], target.kind) for row in rows.tolist()]
    return _Truth(target, rows, texts, _codes(texts), None) if len(rows) else None


def _label(cell: Cell, kind: str) -> str:
    return "|".join(sorted(labels_of(cell))) if kind == "categories" else _text(cell)


def _text(cell: Cell) -> str:
    return "" if is_absent(cell) else (group_text(cell) or "").casefold()


def _codes(texts: Sequence[str]) -> Codes:
    places: dict[str, int] = {}
    return np.array([places.setdefault(text, len(places)) for text in texts], np.int64)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    distinct, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    middles = np.cumsum(counts) - counts / 2
    return np.asarray(middles[places] / max(len(values), 1)) if len(distinct) else values


@dataclass(frozen=True)
class _Found:
    """A column that may give a target away: how, by a key of ``HOW``, with the figure and the one without inputs."""

    column: str
    target: TargetSchema
    how: str
    rows: int
    figure: float = 1.0
    prior: float = 0.0


HOW = {
    "equal": "is equal to the target {target!r} in all {rows}",
    "one_to_one": "is one to one with the target {target!r} in all {rows}: each value stands for one of its values",
    "classes": "alone tells {target!r} right in {figure} of held-out training rows ({prior} without any input)",
    "number": "alone explains {figure} of the order of {target!r} in held-out training rows",
    "named": "names the right {target!r} in {figure} of the {rows} ({prior} are of the largest class)",
}


def _notice(leaks: Sequence[_Found]) -> Notice:
    names, worst = tuple(leak.column for leak in leaks), min(leaks, key=lambda leak: leak.figure)
    is_one = len(names) == 1
    how = HOW[worst.how].format(
        target=worst.target.name,
        rows=f"{count(worst.rows, 'row')} looked at",
        figure=f"{'' if is_one or worst.figure == 1 else 'at least '}{worst.figure:.1%}",
        prior=f"{worst.prior:.1%}",
    )
    known, them = ("it is", "it") if is_one else ("they are", "them")
    sentence = (
        f"{'' if is_one else 'Each of '}{name_columns(names)} {how}. This looks like a leak: unless {known} known when "
        f"predictions are made, leave {them} out with {drop_flag(names)}."
    )
    return Notice(kind="leak", columns=names, of_rows=worst.rows, sentence=sentence)


def _find(entry: ColumnSchema, cells: Sequence[Cell], truth: _Truth) -> _Found | None:
    if len(cells) < MIN_ROWS:
        return None
    values = _as_values(entry.modality, cells)
    codes = _codes([_text(cell) for cell in cells]) if values is None else _codes_of_numbers(values)
    how = _exactly(cells, codes, truth)
    if how is not None:
        return _Found(entry.name, truth.target, how, len(cells))
    if truth.target.kind not in FLAT_KINDS:
        return None
    named = _named(entry, cells, truth) if entry.modality == "text" else None
    return named or _alone(entry, values, codes, truth)


def _exactly(cells: Sequence[Cell], codes: Codes, truth: _Truth) -> str | None:
    """Tell whether a column is equal to the target, or one to one with its classes."""
    if all(_text(cell) == text for cell, text in zip(cells, truth.texts, strict=True)):
        return "equal"
    distinct = int(codes.max()) + 1
    if truth.codes is None or not 2 <= distinct == int(truth.codes.max()) + 1 or distinct > len(codes) / 2:
        return None
    return "one_to_one" if len(np.unique(codes * distinct + truth.codes)) == distinct else None


def _alone(entry: ColumnSchema, values: NDArray[np.float64] | None, codes: Codes, truth: _Truth) -> _Found | None:
    """Judge a column alone."""
    has_many_values = int(codes.max()) + 1 > len(codes) / ROWS_PER_VALUE
    if values is None and has_many_values:
        return None
    folds = _folds(codes) if has_many_values else np.random.default_rng(0).permutation(len(codes)) % 2
    judge = _number_skill if truth.is_number else _class_skill
    if values is None:
        return judge(entry, codes.astype(np.float64), folds, truth, False)
    return judge(entry, values, folds, truth, True)


def _codes_of_numbers(values: NDArray[np.float64]) -> Codes:
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def _folds(codes: Codes) -> Codes:
    """Put all rows of a value into one fold, so that no repeated row is recognised by it; frequent values are split."""
    random, counts = np.random.default_rng(0), np.bincount(codes)
    by_value, by_row = random.permutation(len(counts)) % 2, random.permutation(len(codes)) % 2
    is_frequent = counts > max(ROWS_PER_VALUE, FREQUENT_SHARE * len(codes))
    return np.where(is_frequent[codes], by_row, by_value[codes])


def _as_values(modality: str, cells: Sequence[Cell]) -> NDArray[np.float64] | None:
    """Return numbers, or seconds of dates; NaN where a cell is absent. None for labels and texts."""
    if modality == "number":
        return as_numbers(cells)
    if modality != "datetime":
        return None
    order = DateTime.fit(cells, DateTimeSettings(), None).order
    return np.array([_seconds(cell, order) for cell in cells])


def _seconds(cell: Cell, order: DateOrder) -> float:
    try:
        return np.nan if is_absent(cell) else (parse_datetime(cell, order=order) - EPOCH).total_seconds()
    except CellReadError:
        return np.nan


def _class_skill(
    entry: ColumnSchema, keys: NDArray[np.float64], folds: Codes, truth: _Truth, is_ordered: bool
) -> _Found | None:
    assert truth.codes is not None
    num_classes, errors, prior_errors = int(truth.codes.max()) + 1, 0, 0
    for fold in (0, 1):
        fitted, held = folds != fold, folds == fold
        frequencies = np.bincount(truth.codes[fitted], minlength=num_classes)
        prior = int(frequencies.argmax()) if fitted.any() else -1
        distinct, places = np.unique(keys[fitted], return_inverse=True)
        found = _look_up(distinct, _modes(places, truth.codes[fitted], num_classes), keys[held], prior, is_ordered)
        errors += int((found != truth.codes[held]).sum())
        prior_errors += int((truth.codes[held] != prior).sum())
    if prior_errors < MIN_PRIOR_ERRORS or errors > (1 - MIN_SKILL) * prior_errors:
        return None
    rows = len(keys)
    return _Found(entry.name, truth.target, "classes", rows, 1 - errors / rows, 1 - prior_errors / rows)


def _modes(places: Codes, codes: Codes, num_classes: int) -> Codes:
    """Return the most frequent class of each place, int64 ``[places]``."""
    pairs, counts = np.unique(places * num_classes + codes, return_counts=True)
    order = np.lexsort((counts, pairs // num_classes))
    last = np.append(np.diff(pairs[order] // num_classes) > 0, True)[: len(order)]
    return np.asarray(pairs[order][last] % num_classes)


def _number_skill(
    entry: ColumnSchema, keys: NDArray[np.float64], folds: Codes, truth: _Truth, is_ordered: bool
) -> _Found | None:
    """Judge by the variance of the target's ranks, in which no single large number decides."""
    assert truth.ranks is not None
    squares = prior_squares = 0.0
    for fold in (0, 1):
        fitted, held = folds != fold, folds == fold
        if not fitted.any() or not held.any():
            return None
        mean = float(truth.ranks[fitted].mean())
        distinct, places, counts = np.unique(keys[fitted], return_inverse=True, return_counts=True)
        means = np.bincount(places, truth.ranks[fitted]) / counts
        found = _look_up(distinct, means, keys[held], mean, is_ordered)
        squares += float(((found - truth.ranks[held]) ** 2).sum())
        prior_squares += float(((mean - truth.ranks[held]) ** 2).sum())
    if not prior_squares or squares > (1 - MIN_SKILL) * prior_squares:
        return None
    return _Found(entry.name, truth.target, "number", len(keys), 1 - squares / prior_squares)


def _look_up(
    distinct: NDArray[np.float64], answers: NDArray[Any], keys: NDArray[np.float64], prior: float, is_ordered: bool
) -> NDArray[Any]:
    """Return each key's answer: that of the same value, or of the nearest; NaN is a value of its own, the last."""
    num = len(distinct) - int(len(distinct) > 0 and np.isnan(distinct[-1]))
    of_absent = answers[-1] if num < len(distinct) else prior
    if not num:
        return np.where(np.isnan(keys), of_absent, prior)
    right = np.clip(np.searchsorted(distinct[:num], keys), 0, num - 1)
    left = np.maximum(right - 1, 0)
    with np.errstate(over="ignore", invalid="ignore"):
        places = np.where(np.abs(keys - distinct[left]) < np.abs(distinct[right] - keys), left, right)
    found = answers[places] if is_ordered else np.where(distinct[places] == keys, answers[places], prior)
    return np.where(np.isnan(keys), of_absent, found)


def _named(entry: ColumnSchema, cells: Sequence[Cell], truth: _Truth) -> _Found | None:
    """Tell whether the texts name their class, and no other."""
    if truth.codes is None:
        return None
    labels = list(dict.fromkeys(truth.texts))
    if not 2 <= len(labels) <= MAX_LABELS or any(len(label) < 2 for label in labels):
        return None
    texts, right = [_text(cell) for cell in cells], 0
    for text, label in zip(texts, truth.texts, strict=True):
        right += label in text and not any(other in text for other in labels if other not in label)
    prior = max(np.bincount(truth.codes)) / len(texts)
    if (1 - prior) * len(texts) < MIN_PRIOR_ERRORS or len(texts) - right > (1 - MIN_SKILL) * (1 - prior) * len(texts):
        return None
    return _Found(entry.name, truth.target, "named", len(texts), right / len(texts), float(prior))
