"""Point cloud files: PCD in its three forms, and bare float32."""

from __future__ import annotations

import numpy as np
import pytest

from polymodal.modalities.base import CellReadError
from polymodal.modalities.point_files import decompress_lzf, is_pcd, load_bin, load_pcd

POINTS = np.array([[1.5, 2, -3], [4, np.nan, 6], [7, 8, 9], [0, 0, 0.25]], np.float32)
RING = np.array([7, 1, 300, 2], np.uint16)


def header(fields: str, size: str, kind: str, data: str, points: int = 4, count: str = "") -> bytes:
    counts = count or " ".join("1" for _ in fields.split())
    lines = ["# .PCD v0.7 - Point Cloud Data file format", "VERSION 0.7", f"FIELDS {fields}", f"SIZE {size}"]
    lines += [f"TYPE {kind}", f"COUNT {counts}", f"WIDTH {points}", "HEIGHT 1", "VIEWPOINT 0 0 0 1 0 0 0"]
    return "\n".join([*lines, f"POINTS {points}", f"DATA {data}", ""]).encode()


def ascii_pcd() -> bytes:
    lines = [" ".join([*map(str, point), str(ring)]) for point, ring in zip(POINTS, RING, strict=True)]
    return header("x y z ring", "4 4 4 2", "F F F U", "ascii") + "\n".join(lines).encode() + b"\n"


def binary_pcd() -> bytes:
    kind = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("ring", "<u2")])
    table = np.zeros(4, kind)
    for place, name in enumerate("xyz"):
        table[name] = POINTS[:, place]
    table["ring"] = RING
    return header("x y z ring", "4 4 4 2", "F F F U", "binary") + table.tobytes()


def literal_lzf(plain: bytes) -> bytes:
    pieces = [plain[start : start + 32] for start in range(0, len(plain), 32)]
    return b"".join(bytes([len(piece) - 1]) + piece for piece in pieces)


def compressed_pcd() -> bytes:
    plain = b"".join(POINTS[:, place].tobytes() for place in range(3)) + RING.tobytes()
    packed = literal_lzf(plain)
    sizes = np.array([len(packed), len(plain)], "<u4").tobytes()
    return header("x y z ring", "4 4 4 2", "F F F U", "binary_compressed") + sizes + packed


@pytest.mark.parametrize("content", [ascii_pcd(), binary_pcd(), compressed_pcd()], ids=["ascii", "binary", "lzf"])
def test_every_form_of_the_same_cloud(content: bytes) -> None:
    assert is_pcd(content)
    np.testing.assert_array_equal(load_pcd(content), np.column_stack([POINTS, RING]))


def test_coordinates_come_first_padding_goes_and_colours_are_unpacked() -> None:
    kind = np.dtype([("i", "<f4"), ("pad", "<u1", 3), ("z", "<f8"), ("y", "<f8"), ("x", "<f8"), ("rgb", "<u4")])
    table = np.array([(5, (9, 9, 9), 3, 2, 1, 0xFF102030), (6, (9, 9, 9), 3.5, 2.5, 1.5, 0x00FFFE01)], kind)
    content = header("i _ z y x rgb", "4 1 8 8 8 4", "F U F F F F", "binary", points=2, count="1 3 1 1 1 1")
    expected = [[1, 2, 3, 5, 16, 32, 48], [1.5, 2.5, 3.5, 6, 255, 254, 1]]
    np.testing.assert_array_equal(load_pcd(content + table.tobytes()), expected)


def test_lzf_repeats_what_was_written_before() -> None:
    packed = bytes([2]) + b"abc" + bytes([(3 << 5), 2]) + bytes([(7 << 5), 4, 0]) + bytes([0]) + b"!"
    plain = b"abc" + b"abcab" + b"b" * 13 + b"!"
    assert decompress_lzf(packed, len(plain)) == plain


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (binary_pcd()[:-5], "declares 56 bytes of points but holds 51"),
        (ascii_pcd()[:-5], "declares 16 values but holds 15"),
        (ascii_pcd().replace(b"300", b"abc"), "other things than numbers"),
        (compressed_pcd()[:-3], "does not fit its header"),
        (compressed_pcd()[:-50] + bytes(50), "is a damaged .pcd file"),
        (header("x y z", "4 4 4", "F F F", "zip"), "of the form 'zip'; expected ascii, binary or binary_compressed"),
        (header("x y z", "4 4", "F F F", "ascii"), "its header is incomplete"),
        (header("x y z", "4 4 4", "F F F", "binary", points=10**12), "too many for one cell"),
        (b"VERSION 0.7\nFIELDS x y z\n", "no line DATA"),
    ],
)
def test_damaged_files_are_one_clause(content: bytes, reason: str) -> None:
    with pytest.raises(CellReadError, match=reason):
        load_pcd(content)


@pytest.mark.parametrize("packed", [bytes([3]) + b"abcd" + bytes([0xE0]), bytes([0x20, 9]), bytes([0xFF, 0xFF])])
def test_damaged_lzf_is_refused(packed: bytes) -> None:
    with pytest.raises(CellReadError, match="damaged"):
        decompress_lzf(packed, 20)


def test_bare_floats() -> None:
    np.testing.assert_array_equal(load_bin(np.arange(8, dtype="<f4").tobytes(), 4), [[0, 1, 2, 3], [4, 5, 6, 7]])
    with pytest.raises(CellReadError, match="no whole points of 4 float32 values"):
        load_bin(bytes(20), 4)
    assert load_bin(bytes(20), 5).shape == (1, 5)
