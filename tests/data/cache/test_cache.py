"""The decode cache: made once, never stale, never half."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as pillow  # noqa: N813

from polymodal.arrays import BrokenCell, Column
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.cache.entry import METADATA_FILE, VALUES_FILE, Decoded, map_values
from polymodal.data.cache.keys import cell_keys
from polymodal.data.cache.row_file import RowFile
from polymodal.modalities import MODALITIES


class Maker:
    """Counts how often a column is made."""

    def __init__(self, rows: int = 3) -> None:
        self.count = 0
        self.rows = rows

    def __call__(self, entry: Path | None = None) -> Decoded:
        self.count += 1
        values = np.arange(self.rows * 2, dtype=np.float16).reshape(self.rows, 2)
        column = Column(values, np.ones(self.rows, bool), np.full(self.rows, 2, np.int64))
        return column, [BrokenCell(2, "a", "why")]


def same(one: Decoded, other: Decoded) -> bool:
    lengths_one, lengths_other = one[0].lengths, other[0].lengths
    assert lengths_one is not None
    assert lengths_other is not None
    arrays = [(one[0].values, other[0].values), (one[0].present, other[0].present), (lengths_one, lengths_other)]
    return one[1] == other[1] and all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in arrays)


def entries(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if name != "usage")


def test_a_column_is_made_once_and_memory_mapped(tmp_path: Path) -> None:
    make, cache = Maker(), ArrayCache(tmp_path / "deep" / "cache")
    first, second = cache.column("k", make), cache.column("k", make)
    assert make.count == 1
    assert same(first, second)
    assert same(first, make())
    assert isinstance(second[0].values, np.memmap)
    assert entries(tmp_path / "deep" / "cache") == ["k"]


def test_a_column_larger_than_the_memory_is_mapped(tmp_path: Path) -> None:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    steps = 2 * memory // 8

    def make(entry: Path | None) -> Decoded:
        assert entry is not None
        with RowFile(entry / VALUES_FILE, (4, 1), np.dtype(np.float32), is_ragged=True) as file:
            file.write(np.arange(3), np.ones((3, 2), np.float32))
            file._grow(steps)  # a hole takes no room on the disk
        column = Column(map_values(entry, 2), np.ones(4, bool), np.array([2, 2, 2, 0]))
        return column, []

    cache = ArrayCache(tmp_path)
    for _ in range(2):
        column, _ = cache.column("k", make)
        assert np.asarray(column.values).tolist() == [[1, 1], [1, 1], [1, 1], [0, 0]]


def test_writing_into_a_column_never_reaches_the_disk(tmp_path: Path) -> None:
    make, cache = Maker(), ArrayCache(tmp_path)
    cache.column("k", make)[0].values[:] = 7
    assert same(cache.column("k", make), make())


def test_a_column_without_rows(tmp_path: Path) -> None:
    make, cache = Maker(rows=0), ArrayCache(tmp_path)
    cache.column("k", make)
    assert len(cache.column("k", make)[0]) == 0
    assert make.count == 1


def test_without_a_folder_nothing_is_kept() -> None:
    make, cache = Maker(), ArrayCache(None)
    assert same(cache.column("k", make), cache.column("k", make))
    assert make.count == 2


@pytest.mark.parametrize("name", ["values.npy", "present.npy", "lengths.npy", "column.json"])
@pytest.mark.parametrize("damage", ["cut", "empty", "gone", "garbage"])
def test_a_damaged_entry_is_made_again(tmp_path: Path, name: str, damage: str) -> None:
    make, cache = Maker(), ArrayCache(tmp_path)
    cache.column("k", make)
    file = tmp_path / "k" / name
    content = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes({"cut": content[:-3], "empty": b"", "garbage": b"\x00" * len(content)}[damage])
    assert same(cache.column("k", make), make())
    assert same(cache.column("k", make), make())
    assert make.count == 4


def test_an_entry_is_on_the_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[list[str]] = []
    monkeypatch.setattr("os.fsync", lambda _: synced.append(entries(tmp_path)))
    ArrayCache(tmp_path).column("k", Maker())
    assert len(synced) == 4
    assert all("k" not in names for names in synced)
    assert entries(tmp_path) == ["k"]


def test_what_the_disk_refuses_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.fsync", refuse)
    make, cache = Maker(), ArrayCache(tmp_path)
    assert same(cache.column("k", make), make())
    assert entries(tmp_path) == []


def test_an_entry_of_another_version_is_made_again(tmp_path: Path) -> None:
    make, cache = Maker(), ArrayCache(tmp_path)
    cache.column("k", make)
    record = json.loads((tmp_path / "k" / METADATA_FILE).read_text())
    (tmp_path / "k" / METADATA_FILE).write_text(json.dumps(record | {"format": record["format"] - 1}))
    assert same(cache.column("k", make), make())
    assert make.count == 3


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_does_no_harm(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    make = Maker()
    assert same(ArrayCache(tmp_path / "cache").column("k", make), make())


def test_a_file_in_the_folders_place_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("not a folder")
    make = Maker()
    assert same(ArrayCache(tmp_path / "cache").column("k", make), make())


def test_a_failing_decoder_leaves_nothing(tmp_path: Path) -> None:
    def fail(entry: Path | None) -> Decoded:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ArrayCache(tmp_path).column("k", fail)
    assert entries(tmp_path) == []


def test_the_longest_unused_go_first(tmp_path: Path) -> None:
    make = Maker(rows=1000)
    size = sum(file.stat().st_size for file in _filled(tmp_path / "probe", make).iterdir())
    cache = ArrayCache(tmp_path / "cache", max_bytes=int(2.5 * size))
    for index, key in enumerate("abc"):
        cache.column(key, make)
        os.utime(tmp_path / "cache" / key, (index, index))
        if key == "b":
            cache.column("a", make)  # used again: now the youngest
    assert entries(tmp_path / "cache") == ["a", "c"]


def _filled(folder: Path, make: Maker) -> Path:
    ArrayCache(folder).column("k", make)
    return folder / "k"


def test_a_column_larger_than_the_bound_stays_in_memory(tmp_path: Path) -> None:
    make = Maker(rows=1000)
    assert same(ArrayCache(tmp_path, max_bytes=100).column("k", make), make())
    assert entries(tmp_path) == []


def test_leftovers_of_killed_runs_are_removed(tmp_path: Path) -> None:
    (tmp_path / "unfinished-old").mkdir()
    (tmp_path / "unfinished-new").mkdir()
    os.utime(tmp_path / "unfinished-old", (0, 0))
    ArrayCache(tmp_path).column("k", Maker())
    assert entries(tmp_path) == ["k", "unfinished-new"]


def test_default_folder_follows_the_environment(private_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ArrayCache.default().folder == private_cache
    monkeypatch.delenv("POLYMODAL_CACHE")
    assert ArrayCache.default().folder == Path.home() / ".cache" / "polymodal" / "arrays"


def key(cells: list[Any], folder: Path | None = None, modality: str = "image", **state: Any) -> str:
    facts = {"is_file": MODALITIES[modality].is_file, "is_json": MODALITIES[modality].is_json}
    return cell_keys(modality, state, cells, folder, **facts).name


def test_a_key_changes_with_state_modality_and_order(tmp_path: Path) -> None:
    keys = [key([b"a", b"b"]), key([b"b", b"a"]), key([b"a"]), key([b"a", None]), key([b"a", b"a"])]
    keys += [key([b"a"], modality="audio"), key([b"a"], width=3), key([]), key(["a"], tmp_path)]
    assert len(set(keys)) == len(keys)
    assert key([b"a", b"b"]) == key([b"a", b"b"])


def test_a_changed_file_changes_the_key(tmp_path: Path) -> None:
    missing = key(["a"], tmp_path)
    (tmp_path / "a").write_bytes(b"1")
    os.utime(tmp_path / "a", ns=(1, 1))
    first = key(["a"], tmp_path)
    os.utime(tmp_path / "a", ns=(1, 2))
    touched = key(["a"], tmp_path)
    (tmp_path / "a").write_bytes(b"12")
    os.utime(tmp_path / "a", ns=(1, 2))
    assert len({missing, first, touched, key(["a"], tmp_path), key(["a"], None)}) == 5


def test_same_name_in_another_folder_is_another_file(tmp_path: Path) -> None:
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_bytes(b"1")
    shutil.copystat(tmp_path / "x" / "a", tmp_path / "y" / "a")
    assert key(["a"], tmp_path / "x") != key(["a"], tmp_path / "y")
    assert key(["a"], tmp_path / "x") == key([str(tmp_path / "x" / "a")], tmp_path / "y")


def test_a_picture_that_cannot_be_read_has_a_key() -> None:
    file = io.BytesIO()
    pillow.new("L", (64, 64), 5).save(file, "PNG")
    broken = pillow.open(io.BytesIO(file.getvalue()[:60]))
    assert len(key([broken])) == 65


def test_content_counts_whatever_holds_it() -> None:
    picture = pillow.new("L", (2, 2), 5)
    assert key([picture]) == key([pillow.new("L", (2, 2), 5)])
    assert key([picture]) != key([pillow.new("L", (2, 2), 6)])
    assert key([np.zeros(4)]) == key([np.zeros(4)])
    assert key([np.zeros(4)]) != key([np.zeros((2, 2))])
    assert key([np.zeros(2)]) != key([np.zeros(2, np.int64)])
    assert key([(np.zeros(2), 8000)]) != key([(np.zeros(2), 16_000)])
    assert key([{"array": np.zeros(2), "sampling_rate": 1}]) != key([{"array": np.zeros(2), "sampling_rate": 2}])
    assert key(["a"], modality="text") != key(["b"], modality="text")
    for modality in ("vector", "series", "points"):
        assert key(["[1]"], modality=modality) != key(["[2]"], modality=modality)
