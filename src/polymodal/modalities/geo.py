"""Places on the Earth: latitude and longitude in degrees, as unit vectors.

A cell holds both, or a table has a column of each; what recognises them stands here too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from polymodal.arrays import BrokenCell, Cell, Column
from polymodal.modalities.base import (
    CellReadError,
    ColumnGroup,
    Modality,
    Settings,
    is_absent,
    quote,
    read_cells,
    single_blanks,
)
from polymodal.modalities.json_text import load_json
from polymodal.modalities.number import parse_number
from polymodal.modalities.number_words import MISSING_WORDS

Place = tuple[float, float]
"""Latitude and longitude in degrees."""

MAX_LATITUDE, MAX_LONGITUDE = 90.0, 180.0
LATITUDE_WORDS = frozenset({"lat", "latitude"})
LONGITUDE_WORDS = frozenset({"lon", "lng", "long", "longitude"})
SMALLEST_SPREAD = 1e-6
"""Places that lie within six metres count as one."""
NEARLY_ALL = 0.95
SAMPLE = 1000

DEGREES = r"([+-]?\d+(?:\.\d*)?)\s*°?\s*([NSEW]?)"
PAIR = re.compile(rf"\(?\s*{DEGREES}\s*[,;\s]\s*{DEGREES}\s*\)?", re.IGNORECASE)
WKT_POINT = re.compile(r"(?:SRID\s*=\s*\d+\s*;\s*)?POINT\s*Z?M?\s*\(\s*(\S+)\s+(\S+)(?:\s+\S+)*\s*\)", re.IGNORECASE)
TWO_DECIMALS = re.compile(r"\d\.\d.*\d\.\d")
NAME_OF_PAIRS = re.compile(
    r"(?<![a-z])(?:gps|geo(?:loc\w*|point|position|coord\w*)?)(?![a-z])|lat(?:itude)?_?(?:lon|lng)"
)
NAME_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_a-zA-Z]+|\d+")

GOLDEN = (1 + 5**0.5) / 2
DIRECTIONS = np.array(
    [[0, 1, GOLDEN], [0, 1, -GOLDEN], [1, GOLDEN, 0], [1, -GOLDEN, 0], [GOLDEN, 0, 1], [-GOLDEN, 0, 1]]
) / np.hypot(1, GOLDEN)
"""Unit vectors ``[6, 3]`` along the six diagonals of an icosahedron: any two lines are at the same angle."""


class GeoSettings(Settings):
    """Places have no options."""


@dataclass(frozen=True, kw_only=True)
class Geo(Modality):
    """Latitude and longitude as a point of the unit sphere, so that nothing jumps at the date line or at the poles.

    The vector is ``[cos lat cos lon, cos lat sin lon, sin lat]``: sphereC of Mai et al. 2023 with one scale, 1.

    Attributes:
        center: Mean vector of the training cells.
        spread: Root of their mean squared distance from it, in radii of the Earth; 1 where all are one place.
    """

    center: list[float]
    spread: float

    name: ClassVar[str] = "geo"
    summary: ClassVar[str] = "latitude and longitude, in one cell or in two columns, on the unit sphere"
    paper: ClassVar[str] = "Mai et al. 2023, Sphere2Vec (sphereC with one scale)"
    Settings: ClassVar[type[BaseModel]] = GeoSettings

    @classmethod
    def fit(
        cls,
        cells: Sequence[Cell],
        settings: GeoSettings,  # noqa: ARG003  (all modalities are called alike)
        folder: Path | None,  # noqa: ARG003
        *,
        num_threads: int | None = None,  # noqa: ARG003
    ) -> Geo:
        """Measure where the training cells lie and how far apart.

        Args:
            cells: Training cells.
            settings: No options.
            folder: Not needed.
            num_threads: Not needed.

        Returns:
            The fitted modality.
        """
        vectors = unit_vectors([place for place in read_cells(cells, read_place)[0] if place is not None])
        center = vectors.mean(axis=0) if len(vectors) else np.zeros(3)
        spread = float(np.sqrt(((vectors - center) ** 2).sum(axis=1).mean())) if len(vectors) else 0.0
        return cls(center=center.tolist(), spread=spread if spread > SMALLEST_SPREAD else 1.0)

    def transform(
        self,
        cells: Sequence[Cell],
        folder: Path | None,  # noqa: ARG002
        *,
        num_threads: int | None = None,  # noqa: ARG002
    ) -> tuple[Column, list[BrokenCell]]:
        """Turn places into unit vectors.

        Args:
            cells: What ``read_place`` reads.
            folder: Not needed.
            num_threads: Not needed.

        Returns:
            float32 ``[rows, 3]``; and the broken cells: out of range, swapped, half there, or no place at all.
        """
        places, broken = read_cells(cells, read_place)
        present = np.array([place is not None for place in places], bool)
        vectors = unit_vectors([(0.0, 0.0) if place is None else place for place in places])
        return Column(np.where(present[:, None], vectors, 0).astype(np.float32), present), broken

    def state(self) -> dict[str, Any]:
        """Return what was fitted, in plain JSON types."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Geo:
        """Make the modality again from its state.

        Args:
            state: What ``state`` returned.

        Returns:
            The same modality.
        """
        return cls(**state)


def read_place(cell: Cell) -> Place | None:
    """Read a cell as latitude and longitude in degrees.

    Args:
        cell: Text such as ``48.1, 11.5``, ``48.1° N, 11.5° E`` or WKT's ``POINT (11.5 48.1)``; a record, or its JSON,
            with ``lat`` or ``latitude`` and ``lon``, ``lng``, ``long`` or ``longitude``, or GeoJSON's ``Point``; a
            tuple, list or array of the two, latitude first.

    Returns:
        Latitude and longitude; None where neither is there.

    Raises:
        CellReadError: If the cell is no place, only half of one, or out of range.
    """
    latitude, longitude = (None if is_absent(part) else parse_number(part) for part in _parts(cell))
    if latitude is None and longitude is None:
        return None
    if latitude is None or longitude is None:
        raise CellReadError(f"has no {'latitude' if latitude is None else 'longitude'}")
    if MAX_LATITUDE < abs(latitude) <= MAX_LONGITUDE and abs(longitude) <= MAX_LATITUDE:
        raise CellReadError(f"latitude {latitude:g} is beyond 90, longitude {longitude:g} is not: they may be swapped")
    for name, value, limit in (("latitude", latitude, MAX_LATITUDE), ("longitude", longitude, MAX_LONGITUDE)):
        if abs(value) > limit:
            raise CellReadError(f"{name} {value:g} is not within -{limit:g}..{limit:g}")
    return latitude, longitude


def _parts(cell: Cell) -> tuple[Cell, Cell]:
    """Return what stands for latitude and for longitude."""
    if isinstance(cell, str):
        return _parts_of_text(cell.strip())
    if isinstance(cell, Mapping):
        return _parts_of_record(cell)
    if isinstance(cell, tuple | list | np.ndarray):
        parts = np.atleast_1d(cell).tolist() if isinstance(cell, np.ndarray) else list(cell)
        if len(parts) != 2:
            raise CellReadError(f"holds {len(parts)} values; expected latitude and longitude")
        return parts[0], parts[1]
    raise CellReadError(f"{quote(cell)} is no place; expected latitude, longitude such as 48.1, 11.5")


def _parts_of_text(text: str) -> tuple[Cell, Cell]:
    if text.lower() in MISSING_WORDS:
        return None, None
    if text.startswith(("{", "[")):
        return _parts(_parse_json(text))
    if match := WKT_POINT.fullmatch(single_blanks(text)):
        return match[2], match[1]
    if match := PAIR.fullmatch(single_blanks(text)):
        first, second = (_signed(*match.group(place, place + 1)) for place in (1, 3))
        is_swapped = match[2].upper() in ("E", "W") and match[4].upper() in ("N", "S")
        return (second, first) if is_swapped else (first, second)
    raise CellReadError(f"{quote(text)} is no place; expected latitude, longitude such as 48.1, 11.5")


def _signed(degrees: str, letter: str) -> float:
    return -float(degrees) if letter and letter in "SWsw" else float(degrees)


def _parse_json(text: str) -> Any:
    try:
        return load_json(text)
    except ValueError:
        raise CellReadError(f"{quote(text)} is not JSON") from None


def _parts_of_record(record: Mapping[Any, Cell]) -> tuple[Cell, Cell]:
    fields = {str(key).strip().lower(): value for key, value in record.items()}
    if fields.get("type") == "Point" and "coordinates" in fields:
        coordinates = fields["coordinates"]
        longitude, latitude = _parts(coordinates[:2] if isinstance(coordinates, list | tuple) else coordinates)
        return latitude, longitude
    found = [[value for key, value in fields.items() if key in words] for words in (LATITUDE_WORDS, LONGITUDE_WORDS)]
    if not all(found):
        raise CellReadError(f"the record has the keys {', '.join(fields) or 'none'}; expected lat and lon")
    return found[0][0], found[1][0]


def unit_vectors(places: Sequence[Place]) -> NDArray[np.float64]:
    """Put places on the unit sphere.

    Args:
        places: Latitude and longitude in degrees.

    Returns:
        float64 ``[places, 3]``: x towards 0° N 0° E, y towards 0° N 90° E, z towards the north pole.
    """
    latitude, longitude = np.radians(np.array(places, np.float64).reshape(-1, 2)).T
    return np.stack(
        [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)], axis=1
    )


def degrees_of(vectors: NDArray[Any]) -> NDArray[np.float64]:
    """Return latitude and longitude of vectors.

    Args:
        vectors: ``[rows, 3]``, of any length.

    Returns:
        float64 ``[rows, 2]``, in degrees; 0, 0 for the zero vector.
    """
    x, y, z = np.asarray(vectors, np.float64).T
    degrees: NDArray[np.float64] = np.degrees(np.stack([np.arctan2(z, np.hypot(x, y)), np.arctan2(y, x)], axis=1))
    return degrees


def place_features(column: Column) -> NDArray[np.float32]:
    """Describe places for the baselines.

    Args:
        column: Unit vectors.

    Returns:
        float32 ``[rows, 11]``: the vector, how far it points along each of six ``DIRECTIONS`` (trees cut along axes
        only), latitude and longitude in degrees.
    """
    vectors = column.values.astype(np.float64)
    return np.concatenate([vectors, vectors @ DIRECTIONS.T, degrees_of(vectors)], axis=1).astype(np.float32)


def records_reason(cells: Iterable[Mapping[str, Cell]]) -> str | None:
    """Say why records are places; None where they are not."""
    return "the cells are records with latitude and longitude" if _are_places(list(cells)) else None


def texts_reason(cells: Sequence[str]) -> str | None:
    """Say why texts are places; None where they are not: plain pairs need decimals, and some beyond -1..1."""
    if not _are_places(cells):
        return None
    pairs = [cell for cell in cells if PAIR.fullmatch(single_blanks(cell))]
    places = [place for cell in pairs if (place := _place_or_none(cell)) is not None]
    is_plain = sum(TWO_DECIMALS.search(cell) is None for cell in pairs) > (1 - NEARLY_ALL) * len(cells)
    if is_plain or (places and np.abs(places).max() <= 1):
        return None
    return f"{sum(map(is_place, cells))} of {len(cells)} cells are latitude and longitude"


def pairs_reason(name: str, pairs: Sequence[Any]) -> str | None:
    """Say why pairs of numbers are places by the column's name; None where they are not."""
    if NAME_OF_PAIRS.search(name.lower()) is None or not _are_places(pairs):
        return None
    return "the cells are pairs of numbers, latitude and longitude by the name"


def _place_or_none(cell: Cell) -> Place | None:
    try:
        return read_place(cell)
    except CellReadError:
        return None


def is_place(cell: Cell) -> bool:
    """Tell whether a cell reads as latitude and longitude.

    Args:
        cell: A cell.

    Returns:
        True where it does.
    """
    return _place_or_none(cell) is not None


def _are_places(cells: Sequence[Cell]) -> bool:
    return len(cells) > 0 and sum(map(is_place, cells)) >= NEARLY_ALL * len(cells)


def find_pairs(columns: Mapping[str, Sequence[Cell]]) -> list[ColumnGroup]:
    """Find pairs of columns that are latitude and longitude, by name and range.

    Args:
        columns: Name to cells, such as ``pickup_lat`` and ``pickup_lon``.

    Returns:
        Each pair, or why it is none: its cells are out of range.
    """
    latitudes, longitudes = (_by_rest_of_name(columns, words) for words in (LATITUDE_WORDS, LONGITUDE_WORDS))
    return [_pair(rest, latitudes[rest], longitudes[rest], columns) for rest in latitudes if rest in longitudes]


def _by_rest_of_name(columns: Iterable[str], words: frozenset[str]) -> dict[str, str]:
    """Find columns whose name has one of the words: the rest of the name, in lower case, to the first such column."""
    found: dict[str, str] = {}
    for name in columns:
        parts = [part.lower() for part in NAME_WORDS.findall(name)]
        rest = [part for part in parts if part not in words]
        if len(rest) == len(parts) - 1:
            found.setdefault("_".join(rest), name)
    return found


def _pair(rest: str, latitude: str, longitude: str, columns: Mapping[str, Sequence[Cell]]) -> ColumnGroup:
    outside = [
        _outside(name, columns[name], limit) for name, limit in ((latitude, MAX_LATITUDE), (longitude, MAX_LONGITUDE))
    ]
    return ColumnGroup(
        name=f"{rest}.{Geo.name}" if rest else Geo.name,
        columns=(latitude, longitude),
        reason=f"{latitude!r} and {longitude!r} are latitude and longitude by name and range",
        refusal=next((f"no latitude and longitude: {reason}" for reason in outside if reason), ""),
    )


def _outside(name: str, cells: Sequence[Cell], limit: float) -> str:
    """Say how many of some cells are no degrees; empty where nearly all are."""
    step = -(-len(cells) // SAMPLE) or 1
    numbers, _ = read_cells(cells[::step], parse_number)
    there = [number for number, cell in zip(numbers, cells[::step], strict=True) if not is_absent(cell)]
    inside = sum(number is not None and abs(number) <= limit for number in there)
    if there and inside >= NEARLY_ALL * len(there):
        return ""
    return f"{len(there) - inside} of {len(there)} cells of {name!r} are not within -{limit:g}..{limit:g}"
