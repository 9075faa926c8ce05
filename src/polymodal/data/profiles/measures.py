"""What is measured of the cells of a column: its numbers and labels, the length of a text, the duration of a sound."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell, Column
from polymodal.modalities import CellReadError, DateTime, Text
from polymodal.modalities.category import category_text
from polymodal.modalities.date_text import EPOCH
from polymodal.modalities.datetime import parse_datetime
from polymodal.modalities.geo import read_place
from polymodal.modalities.media import is_absent_media, try_decode
from polymodal.modalities.number import parse_number
from polymodal.modalities.series import read_series
from polymodal.modalities.text import parse_words

T = TypeVar("T")
R = TypeVar("R")

Kind = Literal["number", "category"]
DAYS = "days since 1970"
"""The unit of moments."""
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MAX_LETTERS = 2000
"""Letters of a text whose script is looked up."""


@dataclass(frozen=True)
class ColumnCells:
    """The cells of one column, as measures read them.

    Attributes:
        cells: Raw cells, one a row.
        arrays: The same cells decoded, or None where they were not.
        modality: The fitted modality of the column, or None.
        folder: Base folder of relative paths.
    """

    cells: Sequence[Cell]
    arrays: Column | None = None
    modality: Any = None
    folder: Path | None = None


@dataclass(frozen=True)
class Measure:
    """One property of the cells of a column.

    Attributes:
        name: The property: "value", "length", "brightness".
        unit: Its unit, empty where it has none.
        values: One number or label a row; None where the cell is absent, cannot be read or was not looked at.
        is_fitted: Whether it depends on what was fitted on the training rows, so that only other rows can be compared.
    """

    name: str
    unit: str
    values: Sequence[float | None] | Sequence[str | None]
    is_fitted: bool = False


def read_each(read: Callable[[Cell], T | None], cells: Iterable[Cell]) -> list[T | None]:
    """Read cells one by one.

    Args:
        read: Reads a cell; None where it holds nothing.
        cells: Any cells.

    Returns:
        What was read, one a cell; None where it is absent or cannot be read.
    """
    found = [None if is_absent_media(cell) else try_decode(read, cell) for cell in cells]
    return [None if isinstance(value, CellReadError) else value for value in found]


def apply(function: Callable[[T], R], values: Iterable[T | None]) -> list[R | None]:
    """Apply a function to the values that are there.

    Args:
        function: From a value to what is measured of it.
        values: Values, None where there is none.

    Returns:
        One result a value; None where there is none.
    """
    return [None if value is None else function(value) for value in values]


def apply_to_rows(function: Callable[[NDArray[Any]], float], column: Column) -> list[float | None]:
    """Apply a function to the decoded rows that are there.

    Args:
        function: From the values of a row, without padding, to a number.
        column: Decoded cells.

    Returns:
        One number a row; None where it is absent.
    """
    lengths = column.lengths if column.lengths is not None else [None] * len(column)
    rows = zip(column.values, column.row_present, lengths, strict=True)
    return [function(values[:length]) if present else None for values, present, length in rows]


def measure_numbers(column: ColumnCells) -> list[Measure]:
    """Measure a column of numbers: their values.

    Args:
        column: The cells.

    Returns:
        One measure.
    """
    return [Measure("value", "", read_each(parse_number, column.cells))]


def measure_categories(column: ColumnCells) -> list[Measure]:
    """Measure a column of labels: their frequencies.

    Args:
        column: The cells.

    Returns:
        One measure.
    """
    return [Measure("value", "", read_each(category_text, column.cells))]


def measure_dates(column: ColumnCells) -> list[Measure]:
    """Measure a column of dates: the moments and the days of the week.

    Args:
        column: The cells.

    Returns:
        Two measures.
    """
    order = column.modality.order if isinstance(column.modality, DateTime) else "MDY"
    moments = read_each(partial(parse_datetime, order=order), column.cells)
    days = apply(lambda moment: (moment - EPOCH).total_seconds() / 86_400, moments)
    return [Measure("time", DAYS, days), Measure("weekday", "", apply(lambda m: WEEKDAYS[m.weekday()], moments))]


def measure_texts(column: ColumnCells) -> list[Measure]:
    """Measure a column of texts: their length, their script, and how well the fitted tokenizer knows their words.

    A byte-level tokenizer knows every character, but cuts words that it has not seen into more tokens.

    Args:
        column: The cells.

    Returns:
        Length in characters and script; with a fitted modality also characters a token, and the share of tokens that
        its vocabulary lacks where it can lack one.
    """
    texts = read_each(parse_words, column.cells)
    found = [
        Measure("length", "characters", apply(lambda text: float(len(text)), texts)),
        Measure("script", "", apply(script_of, texts)),
    ]
    if not isinstance(column.modality, Text):
        return found
    count = _token_counter(column.modality)
    counts = [None if text is None else count(text) for text in texts]
    found.append(Measure("characters per token", "", apply(lambda c: c[0] / c[1], counts), is_fitted=True))
    if all(c is None or c[2] is None for c in counts):
        return found
    unknown = apply(lambda c: (c[2] or 0) / c[1], counts)
    return [*found, Measure("unknown tokens", "share", unknown, is_fitted=True)]


def _token_counter(modality: Text) -> Callable[[str], tuple[int, int, int | None]]:
    """Return what counts characters, tokens (at least one) and unknown tokens; None where there are no unknown ones."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(modality.tokenizer)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    place = getattr(tokenizer.model, "unk_token", None) and tokenizer.token_to_id(tokenizer.model.unk_token)

    def count(text: str) -> tuple[int, int, int | None]:
        read = modality.prepare(text)
        ids = tokenizer.encode(read).ids
        return len(read), max(len(ids), 1), None if place is None else ids.count(place)

    return count


def script_of(text: str) -> str:
    """Name the script that most letters of a text are in.

    Args:
        text: Any text.

    Returns:
        The first word of the letters' names in Unicode, such as "Latin", "Cyrillic" or "Cjk"; "none" without letters.

    Example:
        >>> script_of("Добрый день, Anna")
        'Cyrillic'
    """
    counts = Counter(_script(letter) for letter in text[:MAX_LETTERS] if letter.isalpha())
    return counts.most_common(1)[0][0] if counts else "none"


@cache
def _script(letter: str) -> str:
    return unicodedata.name(letter, "unnamed").split()[0].capitalize()


def measure_vectors(column: ColumnCells) -> list[Measure]:
    """Measure a column of vectors: how far they are from the mean of the training rows.

    Args:
        column: The cells, decoded.

    Returns:
        One measure, the root mean square of the standardised values.
    """
    if column.arrays is None:
        return []
    sizes = apply_to_rows(lambda values: float(np.sqrt(np.square(values, dtype=np.float64).mean())), column.arrays)
    return [Measure("distance from the mean", "standard deviations", sizes)]


def measure_series(column: ColumnCells) -> list[Measure]:
    """Measure a column of series: their steps, level, spread and gaps.

    Args:
        column: The cells.

    Returns:
        Four measures; level and spread are means over channels.
    """
    series = read_each(partial(read_series, folder=column.folder), column.cells)
    with np.errstate(over="ignore", invalid="ignore"):
        levels = apply(lambda values: float(np.nanmean(values)), series)
        spreads = apply(lambda values: float(np.nanstd(values)), series)
    return [
        Measure("steps", "", apply(lambda values: float(max(values.shape)), series)),
        Measure("level", "", levels),
        Measure("spread", "", spreads),
        Measure("gaps", "share", apply(lambda values: float(np.isnan(values).mean()), series)),
    ]


def measure_points(column: ColumnCells) -> list[Measure]:
    """Measure a column of point clouds: the number of frames and of points, and their extent.

    Args:
        column: The cells, decoded: the last feature of a point is 1.

    Returns:
        Three measures.
    """
    if column.arrays is None:
        return []
    return [
        Measure("frames", "", apply_to_rows(lambda values: float(len(values)), column.arrays)),
        Measure("points", "", apply_to_rows(lambda values: float((values[..., -1] > 0).sum()), column.arrays)),
        Measure("extent", "standard deviations", apply_to_rows(_extent, column.arrays)),
    ]


def _extent(values: NDArray[Any]) -> float:
    points = values[values[..., -1] > 0][:, :3]
    return float(points.std(axis=0).mean()) if len(points) else 0.0


def measure_places(column: ColumnCells) -> list[Measure]:
    """Measure a column of places: latitude and longitude.

    Args:
        column: The cells.

    Returns:
        Two measures, in degrees.
    """
    places = read_each(read_place, column.cells)
    return [
        Measure("latitude", "degrees", apply(lambda place: place[0], places)),
        Measure("longitude", "degrees", apply(lambda place: place[1], places)),
    ]
