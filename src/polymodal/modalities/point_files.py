"""Point cloud files: PCD in its three forms, and bare float32 as KITTI writes it (numpy).

Sources: the Point Cloud Library's description of the PCD format 0.7; Geiger et al. 2013, KITTI; the stream format of
LibLZF, in which PCD is compressed. Headers are validated against the size of the content.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polymodal.modalities.base import CellReadError, quote
from polymodal.modalities.media import MAX_FILE_BYTES

PCD_START = re.compile(rb"(\s*#[^\n]*\n)*\s*(VERSION|FIELDS)\s")
MAX_HEADER_BYTES = 65_536
TYPES = {
    **{f"F{size}": f"<f{size}" for size in (4, 8)},
    **{f"I{size}": f"<i{size}" for size in (1, 2, 4, 8)},
    **{f"U{size}": f"<u{size}" for size in (1, 2, 4, 8)},
}
COLOURS = ("rgb", "rgba")
PADDING = "_"
LZF_LITERAL = 32


def axes_first(names: Sequence[str]) -> list[int]:
    """Return the order of values of a point in which x, y and z come first.

    Args:
        names: Names of the values, in any case; ``//X`` as CloudCompare writes it is x.

    Returns:
        Their places: those of x, y and z where there are all three, then the others as they stand.
    """
    axes = [name.strip().strip("/#").strip().lower() for name in names]
    if not {"x", "y", "z"} <= set(axes):
        return list(range(len(names)))
    first = [axes.index(axis) for axis in "xyz"]
    return first + [place for place in range(len(names)) if place not in first]


def load_bin(content: bytes, num_columns: int) -> NDArray[np.float32]:
    """Read bare little-endian float32 values.

    Args:
        content: The whole file.
        num_columns: Values of a point: 4 in KITTI (x, y, z, intensity), 5 in nuScenes.

    Returns:
        float32 ``[points, num_columns]``.

    Raises:
        CellReadError: If the size does not fit.
    """
    if len(content) % (4 * num_columns):
        raise CellReadError(
            f"has {len(content):,} bytes, which are no whole points of {num_columns} float32 values (4 bytes each)"
        )
    return np.frombuffer(content, "<f4").reshape(-1, num_columns)


@dataclass(frozen=True)
class PcdHeader:
    """The header of a PCD file.

    Attributes:
        fields: Names of the fields.
        types: numpy dtype of each.
        counts: Values of each, one after the other.
        num_points: Points in the file.
        data: ``ascii``, ``binary`` or ``binary_compressed``.
        size: Bytes of the header.
    """

    fields: list[str]
    types: list[str]
    counts: list[int]
    num_points: int
    data: str
    size: int

    @property
    def point_type(self) -> np.dtype[np.void]:
        """Structured dtype of one point; fields are named by their index, since names may be duplicated."""
        parts = zip(self.types, self.counts, strict=True)
        return np.dtype([(str(place), kind, (count,)) for place, (kind, count) in enumerate(parts)])


def is_pcd(content: bytes) -> bool:
    """Return whether bytes are the beginning of a PCD file.

    Args:
        content: The file.

    Returns:
        True for comments and VERSION, or FIELDS.
    """
    return PCD_START.match(content[:MAX_HEADER_BYTES]) is not None


def load_pcd(content: bytes) -> NDArray[np.float64]:
    """Read a PCD file.

    Args:
        content: The whole file.

    Returns:
        float64 ``[points, features]``: x, y and z first where the file has them, then the other fields in their order;
        a packed colour as red, green and blue.

    Raises:
        CellReadError: If the file is damaged or cut off.
    """
    header = read_header(content)
    body = content[header.size :]
    if header.data == "ascii":
        fields = _ascii_fields(body, header)
    elif header.data == "binary":
        fields = _binary_fields(body, header)
    else:
        fields = _compressed_fields(body, header)
    named = [pair for pair in zip(header.fields, fields, strict=True) if pair[0] != PADDING]
    order = [named[place] for place in axes_first([name for name, _ in named])]
    columns = [_unpacked(values) if name in COLOURS else values.astype(np.float64) for name, values in order]
    return np.concatenate(columns, axis=1) if columns else np.zeros((header.num_points, 0))


def read_header(content: bytes) -> PcdHeader:
    """Read the header of a PCD file.

    Args:
        content: The file.

    Returns:
        The header, checked.

    Raises:
        CellReadError: If a line is missing or says what cannot be.
    """
    file, entries = io.BytesIO(content[:MAX_HEADER_BYTES]), dict[str, list[str]]()
    while "DATA" not in entries:
        line = file.readline()
        if not line:
            raise CellReadError("is a damaged .pcd file: its header has no line DATA")
        words = line.decode("latin-1").split()
        if words and not words[0].startswith("#"):
            entries[words[0].upper()] = words[1:]
    try:
        return _checked_header(entries, file.tell())
    except (KeyError, ValueError, IndexError):
        raise CellReadError("is a damaged .pcd file: its header is incomplete") from None


def _checked_header(entries: dict[str, list[str]], size: int) -> PcdHeader:
    fields = entries["FIELDS"]
    types = [TYPES[kind + extent] for kind, extent in zip(entries["TYPE"], entries["SIZE"], strict=True)]
    counts = [int(count) for count in entries.get("COUNT", ["1"] * len(fields))]
    num_points = (
        int(entries["POINTS"][0]) if "POINTS" in entries else int(entries["WIDTH"][0]) * int(entries["HEIGHT"][0])
    )
    data = entries["DATA"][0].lower()
    if not len(fields) == len(types) == len(counts) or num_points < 0 or min(counts, default=1) < 1:
        raise ValueError
    if data not in ("ascii", "binary", "binary_compressed"):
        raise CellReadError(f"is a .pcd file of the form {quote(data)}; expected ascii, binary or binary_compressed")
    if sum(counts) * num_points > MAX_FILE_BYTES // 8:
        raise CellReadError(f"declares {num_points:,} points of {sum(counts):,} values, too many for one cell")
    return PcdHeader(fields, types, counts, num_points, data, size)


def _ascii_fields(body: bytes, header: PcdHeader) -> list[NDArray[np.generic]]:
    words = body.split()
    expected = header.num_points * sum(header.counts)
    if len(words) != expected:
        raise CellReadError(f"is a damaged .pcd file: it declares {expected:,} values but holds {len(words):,}")
    try:
        values = np.array(words, dtype="S").astype(np.float64) if words else np.zeros(0)
    except ValueError:
        raise CellReadError("is a damaged .pcd file: it holds other things than numbers") from None
    table = values.reshape(header.num_points, sum(header.counts))
    stops = np.cumsum(header.counts)
    parts = zip(header.fields, header.types, stops, header.counts, strict=True)
    return [_as_stored(table[:, stop - count : stop], name, kind) for name, kind, stop, count in parts]


def _as_stored(values: NDArray[np.float64], name: str, kind: str) -> NDArray[np.generic]:
    """Cast a packed colour to the dtype it was stored in, so that its bits can be unpacked."""
    with np.errstate(invalid="ignore", over="ignore"):
        return values.astype(kind) if name in COLOURS else values


def _binary_fields(body: bytes, header: PcdHeader) -> list[NDArray[np.generic]]:
    _check_size(len(body), header)
    points = np.frombuffer(body, header.point_type, header.num_points)
    return [points[str(place)] for place in range(len(header.fields))]


def _compressed_fields(body: bytes, header: PcdHeader) -> list[NDArray[np.generic]]:
    """Decompress the fields, which are stored one after the other, each for all points."""
    if len(body) < 8:
        raise CellReadError("is a damaged .pcd file: its compressed part is cut off")
    packed_size, size = (int(extent) for extent in np.frombuffer(body, "<u4", 2))
    if size != header.num_points * header.point_type.itemsize or len(body) - 8 < packed_size:
        raise CellReadError("is a damaged .pcd file: its compressed part does not fit its header")
    plain, start, fields = decompress_lzf(body[8 : 8 + packed_size], size), 0, []
    for kind, count in zip(header.types, header.counts, strict=True):
        values = np.frombuffer(plain, kind, header.num_points * count, offset=start)
        fields.append(values.reshape(header.num_points, count))
        start += values.nbytes
    return fields


def _check_size(found: int, header: PcdHeader) -> None:
    expected = header.num_points * header.point_type.itemsize
    if found < expected:
        raise CellReadError(f"is a damaged .pcd file: it declares {expected:,} bytes of points but holds {found:,}")


def _unpacked(values: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return red, green and blue, 0 to 255, of 32 bits ``0xAARRGGBB``."""
    bits = np.ascontiguousarray(values[:, :1])
    codes = bits.view("<u4") if bits.dtype.itemsize == 4 else bits.astype("<u4")
    return np.concatenate([(codes >> shift & 255).astype(np.float64) for shift in (16, 8, 0)], axis=1)


def decompress_lzf(packed: bytes, size: int) -> bytes:
    """Decompress LZF.

    A control byte below 32 is followed by that many plain bytes and one; any other repeats what was written before: its
    upper three bits are the length (7: one more byte of length), its lower five and the next byte the distance back.

    Args:
        packed: The compressed bytes.
        size: Bytes that must come out.

    Returns:
        The plain bytes.

    Raises:
        CellReadError: If the stream is damaged.
    """
    plain, place = bytearray(), 0
    try:
        while place < len(packed):
            control, place = packed[place], place + 1
            if control < LZF_LITERAL:
                plain += packed[place : place + control + 1]
                place += control + 1
                continue
            length = control >> 5
            if length == 7:
                length, place = length + packed[place], place + 1
            distance, place = ((control & 31) << 8) + packed[place] + 1, place + 1
            _repeat(plain, distance, length + 2)
            if len(plain) > size:
                break
    except IndexError:
        raise CellReadError("is a damaged .pcd file: its compressed part is cut off") from None
    if len(plain) != size:
        raise CellReadError(f"is a damaged .pcd file: {size:,} bytes were compressed, {len(plain):,} come out")
    return bytes(plain)


def _repeat(plain: bytearray, distance: int, length: int) -> None:
    """Append a copy of earlier bytes; a copy that overlaps the end repeats."""
    start = len(plain) - distance
    if start < 0:
        raise IndexError
    piece = plain[start : start + length]
    plain += (piece * (length // len(piece) + 1))[:length]
