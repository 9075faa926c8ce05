"""Point clouds as PLY, OFF and XYZ files (numpy), and LAS and LAZ through laspy.

Sources: Turk 1994, The PLY Polygon File Format; the Object File Format of Geomview. Headers are validated against the
size of the content.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polymodal.modalities.base import CellReadError, quote
from polymodal.modalities.logger_files import load_logger_file
from polymodal.modalities.point_files import axes_first

PLY_MAGIC, LAS_MAGIC = b"ply", b"LASF"
OFF_START = re.compile(r"(?:ST)?(C?)(N?)4?n?OFF\b|OFF", re.IGNORECASE)
"""The first word of an OFF file: what is written of a vertex, such as its colour and normal."""
MAX_HEADER_BYTES = 65_536
SCALARS = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": ""}


@dataclass(frozen=True)
class _PlyHeader:
    """The vertices that a PLY file declares: how many, their values with types, and where they begin."""

    order: str
    num_points: int
    names: list[str]
    types: list[str]
    size: int


def load_ply(content: bytes) -> NDArray[np.float64]:
    """Read the vertices of a PLY file.

    Args:
        content: The whole file, in text or binary form; the vertices come first, as they do by convention.

    Returns:
        float64 ``[points, values]``: x, y and z first, then all other values of a vertex in their order.

    Raises:
        CellReadError: If it is damaged or holds no vertices.
    """
    header = _read_ply_header(content)
    body = content[header.size :]
    vertices = _binary_points(body, header) if header.order else _ascii_points(body, header)
    return vertices[:, axes_first(header.names)]


def _binary_points(body: bytes, header: _PlyHeader) -> NDArray[np.float64]:
    kind = np.dtype([(str(place), header.order + scalar) for place, scalar in enumerate(header.types)])
    if header.num_points * kind.itemsize > len(body):
        raise CellReadError(f"is a PLY file that declares {header.num_points:,} vertices but holds fewer")
    vertices = np.frombuffer(body, kind, header.num_points)
    return np.stack([vertices[str(place)].astype(np.float64) for place in range(len(header.types))], axis=1)


def _ascii_points(body: bytes, header: _PlyHeader) -> NDArray[np.float64]:
    lines = [line for line in body.decode("ascii", "replace").splitlines() if line.strip()][: header.num_points]
    try:
        values = np.array([line.split() for line in lines], np.float64)
    except ValueError:
        raise CellReadError("is a damaged PLY file: its vertices are no numbers") from None
    if not header.num_points:
        return np.zeros((0, len(header.types)))
    if values.shape != (header.num_points, len(header.types)):
        raise CellReadError(f"is a PLY file that declares {header.num_points:,} vertices but holds others")
    return values


def _read_ply_header(content: bytes) -> _PlyHeader:
    end = content[:MAX_HEADER_BYTES].find(b"end_header")
    if end < 0:
        raise CellReadError("is a PLY file whose header does not end")
    size = content.find(b"\n", end) + 1 or len(content)
    form, num_points, element = "", -1, ""
    names: list[str] = []
    types: list[str] = []
    for line in content[:end].decode("ascii", "replace").splitlines():
        words = line.split()
        if words[:1] == ["format"] and len(words) > 1:
            form = words[1]
        elif words[:1] == ["element"] and len(words) > 2:
            if element and num_points < 0:
                raise CellReadError(f"is a PLY file that begins with {quote(element)}; expected its vertices first")
            element = words[1]
            num_points = int(words[2]) if element == "vertex" and words[2].isdigit() else num_points
        elif words[:1] == ["property"] and element == "vertex":
            if len(words) != 3 or words[1] not in SCALARS:
                raise CellReadError(f"is a PLY file whose vertices have a {quote(line.strip())}; expected scalars")
            names.append(words[2])
            types.append(SCALARS[words[1]])
    if form not in ORDERS or num_points < 0 or not {"x", "y", "z"} <= set(map(str.lower, names)):
        raise CellReadError("is a PLY file without vertices of x, y and z, or of an unknown form")
    return _PlyHeader(ORDERS[form], num_points, names, types, size)


def is_off(content: bytes) -> bool:
    """Tell whether bytes are the beginning of an OFF file, below comments.

    Args:
        content: The file.

    Returns:
        True for OFF, COFF, NOFF and the like.
    """
    lines = _off_lines(content[:MAX_HEADER_BYTES])
    return bool(lines) and OFF_START.match(lines[0]) is not None


def _off_lines(content: bytes) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in content.decode("ascii", "replace").splitlines())
    return [line for line in lines if line]


def load_off(content: bytes) -> NDArray[np.float64]:
    """Read the vertices of an OFF file, with or without its first word.

    Args:
        content: The whole file.

    Returns:
        float64 ``[points, values]``: x, y, z, and the colour and the normal where the first word declares them (COFF,
        NOFF).

    Raises:
        CellReadError: If it is damaged.
    """
    lines = _off_lines(content)
    start = OFF_START.match(lines[0]) if lines else None
    has_more = start is not None and bool(start[1] or start[2])
    rest = lines[0][start.end() :].split() if start else []
    words = ([rest] if rest else []) + [line.split() for line in lines[int(start is not None) :]]
    try:
        num_points = int(words[0][0])
        rows = [row if has_more else row[:3] for row in words[1 : 1 + num_points]]
        values = np.array(rows, np.float64) if rows else np.zeros((0, 3))
    except (IndexError, ValueError):
        raise CellReadError("is a damaged OFF file: its vertices are no numbers") from None
    if len(values) != num_points or values.shape[1] < 3:
        raise CellReadError(f"is an OFF file that declares {num_points:,} vertices but holds fewer")
    return values


def load_xyz(content: bytes) -> NDArray[np.float64]:
    """Read points as lines of numbers, at least three in each; a first line with their number is left out.

    Args:
        content: The whole file.

    Returns:
        float64 ``[points, values]``.

    Raises:
        CellReadError: If a line holds anything else.
    """
    first, _, rest = content.lstrip().partition(b"\n")
    if first.strip().isdigit():
        content = rest
    values, names = load_logger_file(content)
    if values.shape[1] < 3:
        raise CellReadError(f"holds {values.shape[1]} values a line; expected x, y, z and perhaps more")
    return values[:, axes_first(names)] if names else values


def load_las(content: bytes) -> NDArray[np.float64]:
    """Read the points of a LAS or LAZ file.

    Args:
        content: The whole file.

    Returns:
        float64 ``[points, 4]``: x, y, z in the file's unit and the intensity.

    Raises:
        CellReadError: If it is damaged, or laspy (for LAZ: and lazrs) is not installed.
    """
    try:
        import laspy
    except ImportError:
        raise CellReadError(
            "is a LAS file, for which laspy is needed: install it with `pip install 'polymodal[formats]'`"
        ) from None
    try:
        with laspy.open(io.BytesIO(content)) as reader:
            num_points, cloud = reader.header.point_count, reader.read()
        parts = (cloud.x, cloud.y, cloud.z, cloud.intensity)
        points = np.stack([np.asarray(part, np.float64) for part in parts], axis=1)
    except Exception as error:  # laspy raises many kinds on damaged files
        raise CellReadError(f"is not a readable LAS file: {quote(str(error), 120)}") from None
    if len(points) != num_points:
        raise CellReadError(
            f"is a LAS file that declares {num_points:,} points but holds {len(points):,}: it is cut off"
        )
    return points
