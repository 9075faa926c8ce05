"""Tables and media in archives: zip of a folder, class folders, WebDataset shards; hostile and broken ones."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from polymodal.data.cache.keys import cell_keys
from polymodal.data.inspection import inspect_table
from polymodal.data.tables.table import Table, iterate_table, read_table
from polymodal.errors import PolymodalWarning, TableError
from polymodal.modalities import MODALITIES, archive_files, build_settings
from polymodal.modalities.base import CellReadError
from polymodal.modalities.media import read_media


def png(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (8, 8), shade).save(file, "PNG")
    return file.getvalue()


def pack(path: Path, members: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return path
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def opened(table: Table, column: str) -> list[bytes]:
    return [read_media(cell, table.folder) for cell in table.columns[column]]


@pytest.mark.parametrize("ending", [".zip", ".tar"])
@pytest.mark.parametrize("top", ["", "set/", "./"])
def test_a_table_is_read_with_its_media(tmp_path: Path, ending: str, top: str) -> None:
    members = {f"{top}images/{row}.png": png(row) for row in range(4)}
    rows = "".join(f"images/{row}.png,{'ab'[row % 2]}\n" for row in range(4))
    members |= {f"{top}train.csv": f"image,label\n{rows}".encode(), f"{top}README.txt": b"read me\n"}
    table = read_table(pack(tmp_path / f"set{ending}", members))
    assert opened(table, "image") == [png(row) for row in range(4)]
    found = {entry["name"]: entry for entry in inspect_table(table, targets=["label"])["columns"]}
    assert (found["image"]["modality"], found["image"]["broken"]) == ("image", 0)
    assert [part.num_rows for part in iterate_table(str(tmp_path / f"set{ending}"), 3)] == [3, 1]


@pytest.mark.parametrize("ending", [".zip", ".tar"])
@pytest.mark.parametrize("top", ["", "set/"])
def test_class_folders_are_read(tmp_path: Path, ending: str, top: str) -> None:
    members = {f"{top}{label}/{row}.png": png(row) for label in ("cat", "dog") for row in range(2)}
    table = read_table(pack(tmp_path / f"x{ending}", {**members, "__MACOSX/._x.png": b"x", f"{top}.DS_Store": b"x"}))
    assert table.columns["label"] == ["cat", "cat", "dog", "dog"]
    assert opened(table, "image") == [png(0), png(1)] * 2


def samples(first: int, count: int, **more: bytes) -> dict[str, bytes]:
    members: dict[str, bytes] = {}
    for row in range(first, first + count):
        members[f"{row:03}.png"] = png(row)
        members[f"{row:03}.cls"] = str(row % 2).encode()
        members[f"{row:03}.txt"] = f"picture {row}".encode()
        members[f"{row:03}.json"] = json.dumps({"size": row, "txt": "again"}).encode()
        members |= {f"{row:03}.{ending}": content for ending, content in more.items()}
    return members


@pytest.mark.parametrize("form", ["braces", "folder"])
def test_shards_of_webdataset_are_one_table(tmp_path: Path, form: str) -> None:
    for shard in range(3):
        pack(tmp_path / f"data-{shard:03}.tar", samples(4 * shard, 4))
    table = read_table(tmp_path / "data-{000..002}.tar" if form == "braces" else tmp_path)
    assert table.column_names == ["image", "cls", "txt", "size", "json.txt"]
    assert table.columns["cls"] == [row % 2 for row in range(12)]
    assert table.columns["size"] == list(range(12))
    assert opened(table, "image") == [png(row) for row in range(12)]


def test_two_pictures_a_sample_keep_their_endings(tmp_path: Path) -> None:
    members = samples(0, 3) | {f"{row:03}.mask.png": png(200) for row in range(3)}
    table = read_table(pack(tmp_path / "s.tar", members))
    assert {"png", "mask.png"} <= set(table.column_names)
    assert opened(table, "mask.png") == [png(200)] * 3


def test_pickles_in_shards_are_left_out_and_told(tmp_path: Path) -> None:
    path = pack(tmp_path / "s.tar", samples(0, 3, pyd=b"\x80\x04cos\nsystem\n."))
    with pytest.warns(PolymodalWarning, match=r"3 files \.pyd of the shards are left out: pickles are never loaded"):
        assert "pyd" not in read_table(path).columns


@pytest.mark.parametrize("num_threads", [1, 3])
def test_members_are_decoded_in_processes_that_share_the_archive(tmp_path: Path, num_threads: int) -> None:
    members = {f"{'ab'[row % 2]}/{row}.png": png(row) for row in range(200)}
    table = read_table(pack(tmp_path / "shades.zip", members))
    read_media(table.columns["image"][0], table.folder)  # the archive is open before processes are made
    image = MODALITIES["image"].fit(table.columns["image"], build_settings("image", {"size": 8}), table.folder)
    column, broken = image.transform(table.columns["image"], table.folder, num_threads=num_threads)
    assert not broken
    shades = [int(str(cell).split("/")[1].removesuffix(".png")) for cell in table.columns["image"]]
    assert column.values.reshape(200, -1)[:, 0].tolist() == shades


@pytest.mark.parametrize("name", ["../secret.png", "a/../../secret.png", "../x.zip/../secret.png"])
def test_paths_never_lead_out_of_an_archive(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.png").write_bytes(png(1))
    path = pack(tmp_path / "x.zip", {"a/1.png": png(2), "t.csv": f"image,y\n{name},1\na/1.png,2\n".encode()})
    table = read_table(path)
    with pytest.raises(CellReadError, match=r"leads out of the archive|no such file"):
        read_media(table.columns["image"][0], table.folder)
    assert read_media("a/1.png", table.folder) == png(2)


def test_names_that_lead_out_and_links_are_no_members(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        for name, kind, target in (
            ("cat/l.png", tarfile.SYMTYPE, "/etc/hostname"),
            ("cat/h.png", tarfile.LNKTYPE, "x"),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
        for name in ("../out.png", "/abs.png", "cat/in.png", "dog/in.png"):
            info = tarfile.TarInfo(name)
            info.size = len(png(0))
            archive.addfile(info, io.BytesIO(png(0)))
    assert read_table(path).columns["image"] == ["cat/in.png", "dog/in.png"]
    assert not (tmp_path.parent / "out.png").exists()


def test_a_member_that_declares_too_much_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pack(tmp_path / "x.zip", {"a/1.png": b"\0" * 4_000_000, "b/1.png": png(1)})
    monkeypatch.setattr("polymodal.modalities.media.MAX_FILE_BYTES", 1_000_000)
    monkeypatch.setattr(archive_files, "open_member", lambda *_: pytest.fail("it is opened"))
    with pytest.raises(CellReadError, match="declares 4,000,000 bytes, above the limit of 1,000,000"):
        read_media("a/1.png", path)


def test_a_table_that_is_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pack(tmp_path / "x.zip", {"t.csv": b"a,b\n" + b"1,1\n" * 2_000_000})
    monkeypatch.setattr("polymodal.data.tables.archive_tables.CHECKED_BYTES", 1000)
    with pytest.raises(TableError, match=r"declares 8,000,004 bytes, which are .* in the archive: too many to unpack"):
        read_table(path)


def broken(tmp_path: Path, kind: str) -> Path:
    if kind == "cut off":
        path = pack(tmp_path / "x.zip", {"a/1.png": png(1), "b/1.png": png(2)})
        path.write_bytes(path.read_bytes()[:-30])
    elif kind == "cut tar":
        path = pack(tmp_path / "x.tar", {"a/1.png": png(1), "b/1.png": b"x" * 9000})
        path.write_bytes(path.read_bytes()[:3000])
    elif kind == "no archive":
        path = tmp_path / "x.tar"
        path.write_bytes(b"hello " * 400)
    elif kind == "encrypted":
        path = pack(tmp_path / "x.zip", {"t.csv": b"a,b\n1,2\n"})
        content = bytearray(path.read_bytes())
        content[6] |= 1
        content[content.index(b"PK\x01\x02") + 8] |= 1
        path.write_bytes(content)
    elif kind == "nested":
        path = pack(tmp_path / "x.zip", {"inner.zip": b"PK", "more.tar.gz": b"x"})
    elif kind == "nothing":
        path = pack(tmp_path / "x.zip", {"a.bin2": b"x"})
    elif kind == "several":
        path = pack(tmp_path / "x.zip", {"test.csv": b"a\n1\n", "train.csv": b"a\n1\n"})
    else:
        path = tmp_path / "x.tar.gz"
        path.write_bytes(b"\x1f\x8b")
    return path


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("cut off", r"x\.zip is not a readable archive: it is cut off or no zip file"),
        ("cut tar", r"x\.tar is not a readable archive"),
        ("no archive", r"x\.tar is not a readable archive"),
        ("encrypted", "is encrypted; unpack the archive with its password first"),
        ("nested", r"holds archives \(inner\.zip, more\.tar\.gz\), which are not read inside another\. Unpack it"),
        ("nothing", "holds 1 files, but no table, class folders or samples"),
        ("several", r"holds several tables: test\.csv, train\.csv\. Name one, as in x\.zip/test\.csv"),
        ("compressed", "cannot be read one by one. Unpack it, or save it as .zip or .tar"),
    ],
)
def test_archives_that_cannot_be_read_are_one_sentence(tmp_path: Path, kind: str, sentence: str) -> None:
    with pytest.raises(TableError, match=sentence) as caught:
        read_table(broken(tmp_path, kind))
    assert "\n" not in str(caught.value)


def test_one_of_several_tables_can_be_named(tmp_path: Path) -> None:
    path = broken(tmp_path, "several")
    assert read_table(path / "train.csv").columns == {"a": ["1"]}
    with pytest.raises(TableError, match=r"no such file"):
        read_table(path / "absent.csv")


def test_a_replaced_archive_is_decoded_anew(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.zip", {"a/1.png": png(1), "b/1.png": png(2)})
    before = cell_keys("image", {}, ["a/1.png", "b/1.png"], path).digests
    assert len(set(before.tolist())) == 2
    pack(path, {"a/1.png": png(3), "b/1.png": png(4), "b/2.png": png(5)})
    assert not set(before.tolist()) & set(cell_keys("image", {}, ["a/1.png", "b/1.png"], path).digests.tolist())


def test_arrays_in_archives_are_told_apart_by_their_shape(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.save(file, np.zeros((20, 3)))
    rows = "".join(f"{row}.npy,{row % 2}\n" for row in range(4))
    members = {f"{row}.npy": file.getvalue() for row in range(4)} | {"t.csv": f"wave,y\n{rows}".encode()}
    found = inspect_table(read_table(pack(tmp_path / "x.zip", members)), targets=["y"])["columns"][0]
    assert (found["modality"], found["broken"]) == ("series", 0)
