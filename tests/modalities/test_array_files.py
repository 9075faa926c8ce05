"""Numbers from every format of file and from lists with gaps, and what is none."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from polymodal.modalities.array_files import as_numbers, is_list_text, load_numbers, parse_json
from polymodal.modalities.base import CellReadError

TABLE = np.array([[1.5, -2.0], [np.nan, 4.0], [5.0, 6e3]])


def npy(values: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def parquet_bytes(**columns: Any) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pa.table(columns), file)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        npy(TABLE),
        npz(any_name=TABLE.astype(np.float32)),
        parquet_bytes(a=[1.5, None, 5.0], b=pa.array([-2, 4, 6000], pa.int16())),
        b"a,b\n1.5,-2\n,4\n5,6e3\n",
        b"1.5,-2\n,4\n5,6e3",
        b"\xef\xbb\xbfa;b\r\n1.5;-2\r\nNaN;4\r\n5;6e3\r\n",
        b'"a"\t"b"\n1.5\t-2\nnull\t4\n5\t6e3\n',
    ],
    ids=["npy", "npz", "parquet", "csv with names", "csv without", "semicolons", "tabs"],
)
def test_every_format_of_the_same_table(content: bytes) -> None:
    np.testing.assert_array_equal(load_numbers(content), TABLE)


@pytest.mark.parametrize("content", [b"x\n1\n\n3\n", b"1\n\n3\n", parquet_bytes(x=[1, None, 3])])
def test_one_column_keeps_its_gaps(content: bytes) -> None:
    np.testing.assert_array_equal(load_numbers(content), [[1], [np.nan], [3]])


def test_truth_values_are_numbers() -> None:
    np.testing.assert_array_equal(load_numbers(parquet_bytes(on=[True, False])), [[1], [0]])


def encrypted() -> bytes:
    content = bytearray(npz(a=TABLE))
    for magic, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(magic) + place] |= 1
    return bytes(content)


def bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", npy(np.zeros(10)))
    content = bytearray(file.getvalue())
    start = content.index(b"PK\x01\x02") + 24
    content[start : start + 4] = (2**31).to_bytes(4, "little")
    return bytes(content)


def pickled() -> bytes:
    file = io.BytesIO()
    np.savez(file, a=np.array([{}], dtype=object))
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (npz(a=TABLE, b=TABLE), r"an archive of 2 arrays \(a, b\); expected one"),
        (npz(), "an archive of 0 arrays"),
        (npz(a=TABLE)[:-40], "the archive is damaged"),
        (encrypted(), "damaged or encrypted"),
        (bomb(), "declares 2,147,483,648 bytes, above the limit"),
        (pickled(), "objects are never unpickled"),
        (parquet_bytes(a=[1.0, 2.0])[:-9], "cut off or damaged"),
        (parquet_bytes(when=pa.array([0, 1], pa.timestamp("s"))), "column 'when' of type timestamp"),
        (b"a,b\n1,2\n3,high\n", r"its column 2 \('b'\) holds 'high'"),
        (b"1,2\n3,high\n", "its column 2 holds 'high'"),
        (b"1,2\n3\n", "not a readable .csv file"),
        (b"\x00\x01\x02", "no file of numbers"),
        (b"\xff\xfeabc", "no file of numbers"),
    ],
)
def test_what_is_no_table_of_numbers(content: bytes, reason: str) -> None:
    with pytest.raises(CellReadError, match=reason):
        load_numbers(content)


def test_none_in_lists_is_nan_and_text_is_not_a_number(tmp_path: Path) -> None:
    np.testing.assert_array_equal(as_numbers([[1, None], [2, 3]]), [[1, np.nan], [2, 3]])
    nested = np.array([np.array([1.0, None], dtype=object), np.array([2.0, 3.0])], dtype=object)
    np.testing.assert_array_equal(as_numbers(nested), [[1, np.nan], [2, 3]])
    for cell in (["1", None], [[1], [2, 3]], [[1, None], [2]], [None, "x"], 7, [10**400, None]):
        with pytest.raises(CellReadError):
            as_numbers(cell)


@pytest.mark.parametrize(
    "text",
    ["[1.5, null]", "[1.5, None]", "(1.5, nan)", "[1.5 nan]", "array([1.5, nan])", "tensor([1.5, nan], dtype=float)"],
)
def test_lists_as_other_programs_write_them(text: str) -> None:
    np.testing.assert_array_equal(as_numbers(parse_json(text)), [1.5, np.nan])


def test_numbers_between_marks_are_a_list_and_a_shortened_one_is_broken() -> None:
    for mark in (" ", ",", "; ", "|"):
        text = mark.join(map(str, range(12)))
        assert is_list_text(text)
        assert parse_json(text) == list(range(12))
    assert not is_list_text("1 2 3")
    with pytest.raises(CellReadError, match="numbers are missing where"):
        parse_json("[0.1 0.2 ... 0.3 0.4]")
