"""Files behind media cells: what is refused, and why."""

from __future__ import annotations

import io
import os
import re
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polymodal.modalities.base import CellReadError
from polymodal.modalities.decoding import sample_cells, unique_cells
from polymodal.modalities.media import as_array, load_npy, read_media


def npy(array: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("missing.png", "there is no file .*missing.png"),
        (".", "is a folder, not a file"),
        ("a\0b.png", "holds a NUL character"),
        ("x" * 5000, "too long for a path"),
        ("https://example.org/a.png", "is an address, not a path; --allow-remote allows it"),
        ("zero.png", r"zero.png is empty \(0 bytes\)"),
        ("pipe", "is not a regular file"),
        (b"", "holds no bytes"),
        ("loop", "there is a circle of links"),
    ],
)
def test_what_is_no_file_is_refused(tmp_path: Path, cell: Any, reason: str) -> None:
    (tmp_path / "zero.png").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CellReadError, match=reason):
        read_media(cell, tmp_path)


def test_too_large_a_file_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polymodal.modalities.media.MAX_FILE_BYTES", 10)
    (tmp_path / "a").write_bytes(b"x" * 11)
    with pytest.raises(CellReadError, match="has 11 bytes, above the limit of 10"):
        read_media("a", tmp_path)


def test_every_form_of_a_file_gives_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    forms: list[Any] = ["a", Path("a"), str(tmp_path / "a"), b"content", bytearray(b"content"), memoryview(b"content")]
    forms += [{"bytes": b"content", "path": None}, {"bytes": None, "path": "a"}]
    assert [read_media(form, tmp_path) for form in forms] == [b"content"] * len(forms)


def test_npy_is_read_in_both_orders() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(load_npy(npy(array)), array)
    np.testing.assert_array_equal(load_npy(npy(np.asfortranarray(array))), array)


def test_objects_are_never_unpickled() -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (pytest.fail, ("unpickled",))

    content = npy(np.array([Bomb()], dtype=object), allow_pickle=True)
    with pytest.raises(CellReadError, match="objects are never unpickled"):
        load_npy(content)


@pytest.mark.parametrize("shape", [(2**40,), (2**62, 2**62), (-1,)])
def test_a_declared_size_is_not_trusted(shape: tuple[int, ...]) -> None:
    file = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    tracemalloc.start()
    with pytest.raises(CellReadError, match="declares"):
        load_npy(file.getvalue() + b"12345678")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize("content", [b"\x93NUMPY", b"\x93NUMPY\x01\x00\xff\xff{", b"\x93NUMPY\x09\x00\x00\x00"])
def test_damaged_npy_header(content: bytes) -> None:
    with pytest.raises(CellReadError, match="header is damaged"):
        load_npy(content)


@pytest.mark.parametrize("content", [[[1, 2], [3]], ["a"], [1, None], object(), np.array(["x"])])
def test_what_is_no_array(content: Any) -> None:
    with pytest.raises(CellReadError):
        as_array(content)


def test_arrays_of_arrays_as_parquet_gives_them() -> None:
    nested = np.empty(2, dtype=object)
    nested[:] = [np.array([1, 2]), np.array([3, 4])]
    assert as_array(nested).tolist() == [[1, 2], [3, 4]]


def test_same_cells_form_one_group() -> None:
    array = np.zeros(2)
    cells = ["a", None, b"x", "a", array, {"bytes": b"x", "path": "y"}, array, {"bytes": None, "path": None}, ""]
    assert [rows for _, rows in unique_cells(cells)] == [[0, 3], [2, 5], [4, 6]]


def test_sample_goes_on_past_broken_cells() -> None:
    def work(cell: str) -> int:
        if cell.startswith("bad"):
            raise CellReadError("bad")
        return int(cell)

    cells = [f"bad{index}" for index in range(100)] + ["7", "7", "8"]
    assert sorted(value for _, value in sample_cells(cells, work, 10, 2)) == [7, 8]


def test_reason_names_the_full_path(tmp_path: Path) -> None:
    with pytest.raises(CellReadError, match=re.escape(str(tmp_path / "sub/a.png"))):
        read_media("sub/a.png", tmp_path)
