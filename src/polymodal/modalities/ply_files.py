"""Point clouds as PLY, OFF and XYZ files (numpy), and LAS and LAZ through laspy.

Sources: Turk 1994, The PLY Polygon File Format; the Object File Format of Geomview. Headers are validated against the
size of the content.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polymodal.modalities.base import CellReadError, quote
from polymodal.modalities.logger_files import load_logger_file

PLY_MAGIC, LAS_MAGIC, OFF_MAGIC = b"ply", b"LASF", b"OFF"
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
        float64 ``[points, values]``: x, y, z and all other scalar values of a vertex.

    Raises:
        CellReadError: If it is damaged or holds no vertices.
    """
    header = _read_ply_header(content)
    body = content[header.size :]
    if not header.order:
        return _ascii_points(body, header)
    kind = np.dtype([(str(place), header.order + scalar) for place, scalar in enumerate(header.types)])
    if header.num_points * kind.itemsize > len(body):
        raise CellReadError(f"is a PLY file that declares {header.num_points:,} vertices but holds fewer")
    vertices = np.frombuffer(body, kind, header.num_points)
    return np.stack([vertices[str(place)].astype(np.float64) for place in range(len(header.types))], axis=1)


def _ascii_points(body: bytes, header: _PlyHeader) -> NDArray[np.float64]:
    lines = body.decode("ascii", "replace").splitlines()[: header.num_points]
    try:
        values = np.array([line.split() for line in lines], np.float64)
    except ValueError:
        raise CellReadError("is a damaged PLY file: its vertices are no numbers") from None
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
    if form not in ORDERS or num_points < 0 or names[:3] != ["x", "y", "z"]:
        raise CellReadError("is a PLY file without vertices of x, y and z, or of an unknown form")
    return _PlyHeader(ORDERS[form], num_points, names, types, size)


def load_off(content: bytes) -> NDArray[np.float64]:
    """Read the vertices of an OFF file.

    Args:
        content: The whole file.

    Returns:
        float64 ``[points, 3]``.

    Raises:
        CellReadError: If it is damaged.
    """
    text = content.decode("ascii", "replace").removeprefix("OFF")
    words = [line.split() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    try:
        num_points = int(words[0][0])
        values = np.array([row[:3] for row in words[1 : 1 + num_points]], np.float64)
    except (IndexError, ValueError):
        raise CellReadError("is a damaged OFF file: its vertices are no numbers") from None
    if values.shape != (num_points, 3):
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
    values = load_logger_file(content)[0]
    if values.shape[1] < 3:
        raise CellReadError(f"holds {values.shape[1]} values a line; expected x, y, z and perhaps more")
    return values


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
        cloud = laspy.read(io.BytesIO(content))
        return np.stack([np.asarray(part, np.float64) for part in (cloud.x, cloud.y, cloud.z, cloud.intensity)], axis=1)
    except Exception as error:  # laspy raises many kinds on damaged files
        raise CellReadError(f"is not a readable LAS file: {quote(str(error), 120)}") from None
