"""How sure the modality of a column is, from how many of its cells speak for it and for the next modality.

Each sampled cell speaks for one modality or several: text of a number for ``number``, and for ``category`` as far as
few different whole numbers repeat; a path or bytes for what their ending or magic number says; an array for what its
axes, its smoothness and the column's name say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.data.schema.array_evidence import IMAGE_CHANNELS, POINT_WIDTH, names_points, names_series
from polymodal.data.schema.detect_text import FEW_VALUES, SHORT_WORDS, TWO_WORDS, count_words
from polymodal.data.schema.evidence import sniff
from polymodal.data.schema.samples import URL, evenly_spaced
from polymodal.data.schema.string_evidence import TIME_NAME, find_form, is_date_text, is_number_text, is_written_number
from polymodal.data.tables.files import ARRAY, media_of_ending
from polymodal.modalities import geo
from polymodal.modalities.array_files import is_list_text
from polymodal.modalities.inline_media import inline_modality

CONFIDENCE_SAMPLE, ARRAY_SAMPLE = 200, 20
SURE, LIKELY = 0.95, 2 / 3
MIN_SMOOTH_LENGTH = 8
FALLBACK = {"number": "category", "datetime": "category", "category": "text", "text": "category"}
"""The second guess where no cell speaks for another modality."""
STATISTICAL = frozenset({"number", "datetime", "category", "text"})
"""Modalities that cells fit by chance, so that few cells prove little."""
Support = dict[str, float]
"""Modality to the share of the cells that speak for it."""


@dataclass(frozen=True)
class Confidence:
    """How sure the modality of a column is.

    Attributes:
        share: Between 0 and 1: the support of the modality by that of it and of the second guess.
        second: The second guess; empty where nothing else can read the cells.
    """

    share: float
    second: str = ""

    @property
    def level(self) -> str:
        """``sure`` from 0.95 on, ``likely`` from two thirds on, else ``guess``."""
        return "sure" if self.share >= SURE else "likely" if self.share >= LIKELY else "guess"


def modality_confidence(name: str, modality: str, cells: Sequence[Cell]) -> Confidence:
    """Judge how sure a column's modality is.

    Args:
        name: The column's name.
        modality: What was detected; for a target, its kind.
        cells: Its present cells.

    Returns:
        The share and the second guess. For numbers, dates, labels and texts the share is one of the rule of
        succession, (k + 1) / (n + 2), so that few cells never make it sure.
    """
    sample = evenly_spaced(cells, CONFIDENCE_SAMPLE)
    if not sample:
        return Confidence(0.0)
    support = _support(name, modality, sample, cells)
    others = {kind: share for kind, share in support.items() if kind != modality}
    second = max(others, key=others.__getitem__, default="")
    mine, other = support.get(modality, 0.0), others.get(second, 0.0)
    if not other:
        second = FALLBACK.get(modality, second)
    if modality in STATISTICAL and not _has_type(modality, sample):
        count = len(sample)
        return Confidence((mine * count + 1) / ((mine + other) * count + 2), second)
    return Confidence(mine / (mine + other) if mine + other else 0.5, second)


def _has_type(modality: str, sample: Sequence[Cell]) -> bool:
    """Tell whether Python's types say it: truth values and dates, which are nothing else."""
    types = {"datetime": ("date", "datetime", "time"), "category": ("bool", "bool_")}.get(modality, ())
    return all(type(cell).__name__ in types for cell in sample)


def _support(name: str, modality: str, sample: Sequence[Cell], cells: Sequence[Cell]) -> Support:
    if any(isinstance(cell, str | int | float | np.number) and not isinstance(cell, bool) for cell in sample):
        return _of_texts(name, modality, [str(cell) for cell in sample], [str(cell) for cell in cells])
    if all(isinstance(cell, np.ndarray | list | tuple) for cell in sample):
        return _of_arrays(name, modality, sample)
    if all(isinstance(cell, bytes) for cell in sample):
        found = Counter(sniff(cell) or modality for cell in sample)
        return {kind: count / len(sample) for kind, count in found.items()}
    return {modality: 1.0}


def _of_texts(name: str, modality: str, sample: Sequence[str], cells: Sequence[str]) -> Support:
    """Sum what each text speaks for; a text that is a path, a date or a list is nothing less special."""
    counts, form = Counter(cells), find_form(cells)
    totals: Counter[str] = Counter()
    for cell in sample:
        kind = _special_kind(cell, modality)
        if kind:
            totals[kind] += 1
        elif is_number_text(cell) or (form is not None and is_written_number(cell, form)):
            totals.update(_of_number(cell, counts))
        else:
            totals.update(_of_words(cell, counts[cell]))
    support = {kind: total / len(sample) for kind, total in totals.items() if total}
    if modality == "datetime" and "datetime" not in support and TIME_NAME.search(name):
        support["datetime"] = 2 * support.get("number", 1.0)  # seconds since 1970: the numbers and the name say so
    return _with_codes(modality, support, sample)


def _special_kind(cell: str, modality: str) -> str:
    ending = media_of_ending(cell) if len(cell) < 4096 and "\n" not in cell else None
    if ending is not None:
        return modality if ending == ARRAY or (modality, ending) == ("video", "image") else ending
    if (inline := inline_modality(cell)) is not None:
        return inline
    if is_date_text(cell):
        return "datetime"
    if modality == "video":  # a folder of its frames
        return modality
    if modality not in STATISTICAL and (is_list_text(cell) or _is_record(cell) or geo.is_place(cell)):
        return modality
    return "text" if URL.fullmatch(cell) else ""


def _is_record(cell: str) -> bool:
    return cell.lstrip().startswith("{") and cell.rstrip().endswith("}")


def _of_number(cell: str, counts: Mapping[str, int]) -> Support:
    """Let a number speak for a category too, the more the fewer different whole numbers repeat."""
    is_whole = is_number_text(cell) and float(cell).is_integer()
    few = min(1.0, FEW_VALUES / len(counts)) if is_whole and counts[cell] > 1 else 0.0
    return {"number": 1.0, "category": few}


def _of_words(cell: str, count: int) -> Support:
    words = count_words(cell)
    is_text = words >= SHORT_WORDS or (count == 1 and words >= TWO_WORDS)
    return {"text": float(is_text), "category": float(count > 1)}


def _with_codes(modality: str, support: Support, sample: Sequence[str]) -> Support:
    """Let digits of one length, some with leading zeros, speak for codes and not for numbers."""
    codes = [cell.strip() for cell in sample if cell.strip().isdigit()]
    if modality != "category" or not any(code.startswith("0") and len(code) > 1 for code in codes):
        return support
    alike = Counter(map(len, codes)).most_common(1)[0][1] / len(sample)
    return support | {"category": max(alike, support.get("category", 0.0)), "number": len(codes) / len(sample) - alike}


def _of_arrays(name: str, modality: str, sample: Sequence[Any]) -> Support:
    arrays = [array for cell in evenly_spaced(sample, ARRAY_SAMPLE) if (array := _numbers(cell)) is not None]
    if not arrays:
        return {modality: 1.0}
    support = _of_axes(arrays)
    if names_series(name):
        support["series"] = support.get("series", 0.0) + 1
    if names_points(name) and arrays[0].ndim in {2, 3}:
        support["points"] = support.get("points", 0.0) + 1
    if arrays[0].dtype == np.uint8 and modality in {"image", "video"}:
        support[modality] = support.get(modality, 0.0) + 1
    return {modality: 1.0} | support if modality not in support else support


def _numbers(cell: Any) -> NDArray[Any] | None:
    try:
        array = np.asarray(cell)
        return array if array.dtype.kind in "biuf" and array.size else None
    except (TypeError, ValueError):
        return None


def _of_axes(arrays: Sequence[NDArray[Any]]) -> Support:
    """Let the number of axes, their extents and the smoothness along them speak."""
    shape, smooth = arrays[0].shape, np.mean([_smoothness(array) for array in arrays], axis=0)
    is_ragged = len({array.shape for array in arrays}) > 1
    if len(shape) == 1:
        return {"series": 1.0} if is_ragged else {"vector": 1.0, "series": float(smooth[0])}
    if len(shape) == 2:
        points = 1 - float(smooth[0]) if shape[1] >= POINT_WIDTH else 0.0
        return {"series": 1.0, "points": points * is_ragged, "image": float(smooth.min()) * (not is_ragged)}
    if len(shape) == 3:
        is_picture = shape[2] in IMAGE_CHANNELS or shape[0] in IMAGE_CHANNELS
        return {"image": float(is_picture), "video": float(not is_picture)}
    return {"video": 1.0}


def _smoothness(array: NDArray[Any]) -> NDArray[np.float64]:
    """Return how smooth an array is along each of its first two axes: 1 smooth, 0 noise or too short to tell."""
    return np.array([_smooth_along(array, axis) if axis < array.ndim <= 2 else 0.0 for axis in (0, 1)])


def _smooth_along(array: NDArray[Any], axis: int) -> float:
    values = array.astype(np.float64)
    variance = float(np.nanvar(values)) if values.shape[axis] >= MIN_SMOOTH_LENGTH else 0.0
    if not variance > 0:
        return 0.0
    roughness = float(np.nanmean(np.diff(values, axis=axis) ** 2)) / variance
    return max(0.0, 1 - roughness / 2)
