"""The table of rules that detect modalities, one row per modality."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

import numpy as np

from polymodal.arrays import Cell
from polymodal.data.schema.array_evidence import (
    ArrayCells,
    are_clouds,
    image_reason,
    points_reason,
    ragged_points_reason,
    series_reason,
    vector_reason,
    video_reason,
)
from polymodal.data.schema.samples import Detection
from polymodal.data.schema.string_evidence import (
    StringCells,
    category_identifier,
    category_reason,
    datetime_reason,
    number_identifier,
    number_reason,
    text_reason,
)
from polymodal.modalities import ColumnGroup, ModalityEntry, geo
from polymodal.modalities.audio_files import RATE_NAMES
from polymodal.plugins import AspectTable

T = TypeVar("T")
Rule = Callable[[T], str | None]
"""A rule: returns the reason why cells are of the modality, or None if they are not."""


def _nothing(_cells: Any) -> str | None:
    return None


def _no_groups(_columns: Mapping[str, Sequence[Cell]]) -> list[ColumnGroup]:
    return []


def _no_files(_name: str, _ending: str) -> bool:
    return False


def _always(reason: str) -> Rule[Sequence[Any]]:
    return lambda _cells: reason


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The rules that detect one modality.

    Attributes:
        types: Name of a Python type in ``detect_modality.TYPES`` to the rule for cells of that type.
        magic: Magic numbers of its files, with their offsets.
        file: Name of such a file in messages.
        arrays: Rule for arrays and for lists that form arrays.
        ragged: Rule for ragged lists.
        strings: Rule for strings that are neither paths nor JSON.
        claims: Tells by a column's name and an ending whether files that others read are of this modality.
        groups: Looks at columns of plain cells, name to all of them, for several that are one column of the modality
            together.
        identifier: Says of a column's name and cells, which all differ, why nothing can be learnt from them; None
            for modalities whose columns are never identifiers.
    """

    types: Mapping[str, Rule[Sequence[Any]]] = field(default_factory=dict)
    magic: tuple[tuple[bytes, int], ...] = ()
    file: str = ""
    arrays: Rule[ArrayCells] = _nothing
    ragged: Rule[Sequence[list[Any]]] = _nothing
    strings: Rule[StringCells] = _nothing
    claims: Callable[[str, str], bool] = _no_files
    groups: Callable[[Mapping[str, Sequence[Cell]]], list[ColumnGroup]] = _no_groups
    identifier: Callable[[str, Sequence[Cell]], str | None] | None = None

    def of_type(self, kind: str) -> Rule[Sequence[Any]]:
        """Return the rule for cells of one Python type.

        Args:
            kind: Name of the type.

        Returns:
            The rule, or one that never matches.
        """
        return self.types.get(kind, _nothing)


def _samples_reason(cells: Sequence[dict[str, Any]]) -> str | None:
    is_sound = "array" in cells[0] and bool(set(RATE_NAMES) & set(cells[0]))
    return "the cells hold samples and a sampling rate" if is_sound else None


def _pairs_reason(cells: Sequence[tuple[Any, ...]]) -> str | None:
    first = cells[0]
    is_sound = len(first) == 2 and np.ndim(first[0]) in {1, 2} and isinstance(first[1], int | np.integer)
    return "the cells are (samples, sample rate) pairs" if is_sound else None


EVIDENCE: AspectTable[Evidence] = AspectTable(
    ModalityEntry,
    "evidence",
    {
        "geo": Evidence(
            types={"dict": geo.records_reason},
            arrays=lambda cells: geo.pairs_reason(cells.name, cells.arrays),
            strings=lambda strings: geo.texts_reason(strings.sample),
            groups=geo.find_pairs,
        ),
        "points": Evidence(
            magic=((b"# .PCD", 0),),
            file="a .pcd file",
            arrays=points_reason,
            ragged=ragged_points_reason,
            claims=are_clouds,
        ),
        "image": Evidence(
            types={"picture": _always("the cells are pictures in memory")},
            magic=(
                (b"\x89PNG", 0),
                (b"\xff\xd8\xff", 0),
                (b"GIF8", 0),
                (b"BM", 0),
                (b"II*\x00", 0),
                (b"MM\x00*", 0),
                (b"WEBP", 8),
                (b"ftypavif", 4),
                (b"ftypheic", 4),
                (b"ftypmif1", 4),
                (b"DICM", 128),
            ),
            file="an image file",
            arrays=image_reason,
        ),
        "audio": Evidence(
            types={"dict": _samples_reason, "tuple": _pairs_reason},
            magic=(
                (b"WAVE", 8),
                (b"fLaC", 0),
                (b"OggS", 0),
                (b"ID3", 0),
                (b"AIFF", 8),
                (b"AIFC", 8),
                (b"ftypM4A", 4),
                (b"\xff\xfb", 0),
                (b"\xff\xf3", 0),
                (b"\xff\xf2", 0),
            ),
            file="an audio file",
        ),
        "video": Evidence(
            magic=((b"ftyp", 4), (b"AVI ", 8), (b"\x1a\x45\xdf\xa3", 0), (b"\x00\x00\x01\xba", 0)),
            file="a video file",
            arrays=video_reason,
        ),
        "series": Evidence(magic=((b"PAR1", 0),), file="a Parquet file", arrays=series_reason),
        "vector": Evidence(magic=((b"\x93NUMPY", 0),), file="a .npy file", arrays=vector_reason),
        "number": Evidence(
            types={"number": _always("the cells are numbers")}, strings=number_reason, identifier=number_identifier
        ),
        "datetime": Evidence(types={"date": _always("the cells are dates")}, strings=datetime_reason),
        "category": Evidence(
            types={"bool": _always("the cells are true or false")},
            strings=category_reason,
            identifier=category_identifier,
        ),
        "text": Evidence(strings=text_reason),
    },
    default=Evidence(),
)
"""Rows are tried in this order, and the first match is used: specific rules come before general ones."""


@cache
def _ordered_rows() -> tuple[tuple[str, Evidence], ...]:
    """Return the rows in the order in which they are tried: those of installed packages before the package's own."""
    return tuple((name, EVIDENCE[name]) for name in sorted(EVIDENCE, key=EVIDENCE.own.__contains__))


def find(look: Callable[[Evidence], Rule[T]], cells: T) -> Detection | None:
    """Return the first match of the rows.

    Args:
        look: Returns the rule of a row.
        cells: What the look takes.

    Returns:
        The modality and the reason, as one clause; None without a match.
    """
    answers = ((modality, look(row)(cells)) for modality, row in _ordered_rows())
    return next(((modality, reason) for modality, reason in answers if reason is not None), None)


def claimed_by(name: str, ending: str) -> str | None:
    """Tell whose files are of another modality by the name of their column.

    Args:
        name: The column's name.
        ending: Ending of most of its paths, in lower case with its dot.

    Returns:
        The modality that claims them, or None.
    """
    return next((modality for modality, row in _ordered_rows() if row.claims(name, ending)), None)


def sniff(data: bytes) -> str | None:
    """Detect the modality of a file by its magic number.

    Args:
        data: The file.

    Returns:
        A modality, or None where the format is not known.
    """
    magics = ((modality, magic, start) for modality, row in _ordered_rows() for magic, start in row.magic)
    return next((modality for modality, magic, start in magics if data[start : start + len(magic)] == magic), None)
