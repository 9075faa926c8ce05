"""Files and folders that are written as a whole or not at all, and nothing beside them that is touched."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from polymodal import atomic_files
from polymodal.atomic_files import (
    atomic_file,
    atomic_folder,
    check_replaceable,
    is_temporary,
    remove_temporaries,
    temporary_sibling,
    write_text,
)
from polymodal.errors import ConfigError

VECTORS = {"row": np.zeros(200_000, np.float32)}


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def full_disk() -> Iterator[None]:
    """Refuse files of more than 100 kB, as a full disk does: the system's error is another one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write_vectors(folder: Path) -> None:
    with atomic_folder(folder, ["vectors.safetensors", "part"]) as temporary:
        save_file(VECTORS, temporary / "vectors.safetensors")
        (temporary / "part").mkdir()
        (temporary / "part" / "a.txt").write_text("a")


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_modes_are_those_of_the_umask(mask: int, mode: int, tmp_path: Path) -> None:
    with umask(mask):
        write_vectors(tmp_path / "folder")
        write_text(tmp_path / "a.txt", "a")
        with atomic_file(tmp_path / "a.safetensors") as temporary:
            save_file(VECTORS, temporary)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()}
    assert modes == dict.fromkeys(("vectors.safetensors", "a.txt", "a.safetensors"), mode)
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o777 & ~mask


def test_a_full_disk_is_an_error_with_the_files_name_and_keeps_what_was_there(tmp_path: Path) -> None:
    path, folder = tmp_path / "a.safetensors", tmp_path / "folder"
    path.write_text("old")
    write_vectors(folder)
    before = (folder / "vectors.safetensors").read_bytes()
    with full_disk():
        with pytest.raises(OSError, match="File too large") as of_file, atomic_file(path) as temporary:
            save_file(VECTORS, temporary)  # its own error is no OSError
        with pytest.raises(OSError, match="File too large") as of_folder:
            write_vectors(folder)
        with pytest.raises(OSError, match="File too large") as of_text:
            write_text(tmp_path / "a.txt", "a" * 200_000)
    named = [found.value.filename for found in (of_file, of_folder, of_text)]
    assert named == [str(path), str(folder), str(tmp_path / "a.txt")]
    assert path.read_text() == "old"
    assert (folder / "vectors.safetensors").read_bytes() == before
    assert sorted(found.name for found in tmp_path.iterdir()) == ["a.safetensors", "folder"]


@pytest.mark.parametrize("can_exchange", [True, False])
def test_what_is_beside_or_inside_is_kept(can_exchange: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not can_exchange:
        monkeypatch.setattr(atomic_files, "_exchange", lambda *_: False)
    for name in ("folder.new", "folder.old", "folder.tmp", ".folder.tmp"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.txt").write_text("precious")
    write_vectors(tmp_path / "folder")
    (tmp_path / "folder" / "notes.txt").write_text("precious")
    (tmp_path / "folder" / "mine").mkdir()
    (tmp_path / "folder" / "mine" / "deep.txt").write_text("precious")
    (tmp_path / "folder" / "notes.txt").chmod(0o600)
    (tmp_path / "folder" / "part" / "old.txt").write_text("of the older one")
    write_vectors(tmp_path / "folder")
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.txt")}
    assert found == {
        "folder.new/thesis.txt",
        "folder.old/thesis.txt",
        "folder.tmp/thesis.txt",
        ".folder.tmp/thesis.txt",
        "folder/notes.txt",
        "folder/mine/deep.txt",
        "folder/part/a.txt",
    }
    assert (tmp_path / "folder" / "notes.txt").stat().st_mode & 0o777 == 0o600
    assert not any(map(is_temporary, tmp_path.iterdir()))


def test_links_stay_links(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "a.txt").write_text("old")
    for name, target in (("a.txt", "there/a.txt"), ("folder", "there")):
        (tmp_path / name).symlink_to(target)
    write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "there" / "a.txt").read_text() == "new"
    write_vectors(tmp_path / "folder")
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["a.txt", "part", "vectors.safetensors"]
    assert all((tmp_path / name).is_symlink() for name in ("a.txt", "folder"))


@pytest.mark.skipif(os.geteuid() == 0, reason="to the superuser nothing is write-protected")
def test_a_write_protected_file_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("precious")
    (tmp_path / "a.txt").chmod(0o444)
    with pytest.raises(PermissionError, match=r"a\.txt"):
        write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "precious"


def test_names_may_be_long(tmp_path: Path) -> None:
    name = "ü" * 127
    write_text(tmp_path / name, "a")
    assert (tmp_path / name).read_text() == "a"


def test_only_what_has_such_a_name_is_temporary(tmp_path: Path) -> None:
    names = ["a.tmp", ".a.tmp", "a.0123456789ab.tmp", ".0123456789ab.tmp", "a"]
    for path in [temporary_sibling(tmp_path / "a"), *(tmp_path / name for name in names)]:
        path.write_text("")
    temporary_sibling(tmp_path / "b").mkdir()
    assert sum(map(is_temporary, tmp_path.iterdir())) == 2
    remove_temporaries(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(names)


def test_what_cannot_be_replaced_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty"):
        check_replaceable(tmp_path / name, "index.json", "an index")
    with pytest.raises(ConfigError, match=r"file is a file\. Choose another one\.$"):
        check_replaceable(tmp_path / "file", "index.json", "an index")
    with pytest.raises(ConfigError, match=r"holds something else than an index\. Choose another one\.$"):
        check_replaceable(tmp_path, "index.json", "an index")
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(ConfigError, match=r"cannot be replaced\. Choose a new folder inside it\.$"):
        check_replaceable(Path(), "index.json", "an index")
