"""Decoding whole columns through the cache: each file once, flat in memory, sound under every accident."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image as pillow  # noqa: N813

from polymodal.arrays import Cell
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.cache.entry import Decoded
from polymodal.data.cache.row_file import RowFile
from polymodal.data.decoding import decode_column
from polymodal.modalities import Audio, Image, Modality, build_settings
from polymodal.modalities.image import ImageSettings

RATE = 8000


def picture_files(folder: Path, count: int) -> list[str]:
    folder.mkdir(exist_ok=True)
    for index in range(count):
        random = np.random.default_rng(index)
        pillow.fromarray(random.integers(0, 255, (9, 12, 3), np.uint8)).save(folder / f"{index}.png")
    return [f"{index}.png" for index in range(count)]


def clip_files(folder: Path, lengths: Sequence[int]) -> list[str]:
    folder.mkdir(exist_ok=True)
    for index, length in enumerate(lengths):
        samples = np.random.default_rng(index).normal(0, 0.1, length).astype(np.float32)
        soundfile.write(folder / f"{index}.wav", samples, RATE)
    return [f"{index}.wav" for index in range(len(lengths))]


def image_of(cells: list[Cell], folder: Path) -> Image:
    return Image.fit(cells, ImageSettings(size=8), folder)


def audio_of(cells: list[Cell], folder: Path) -> Modality:
    return Audio.fit(cells, build_settings("audio", {"features": "samples"}), folder)


class Counting:
    """A modality that tells which cells it decoded."""

    def __init__(self, modality: Modality) -> None:
        self.modality, self.decoded = modality, []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.modality, name)

    def transform(self, cells: Any, folder: Path | None, *, num_threads: int | None = None) -> Decoded:
        self.decoded += list(cells)
        return self.modality.transform(cells, folder, num_threads=num_threads)


def assert_as_decoded_afresh(found: Decoded, modality: Modality, cells: list[Cell], folder: Path) -> None:
    column, broken = modality.transform(cells, folder)
    assert found[1] == broken
    assert found[0].values.dtype == column.values.dtype
    assert np.array_equal(found[0].values, column.values)
    assert np.array_equal(found[0].present, column.present)
    assert (found[0].lengths is None) == (column.lengths is None)
    if column.lengths is not None:
        assert np.array_equal(found[0].lengths, column.lengths)


def test_pictures_are_as_decoded_at_once_whatever_repeats_misses_or_is_broken(tmp_path: Path) -> None:
    cells: list[Cell] = picture_files(tmp_path, 150)
    (tmp_path / "7.png").write_bytes(b"no picture")
    cells = [None, *cells[::-1], "7.png", "3.png", None, "gone.png", "3.png"]
    image = image_of(cells, tmp_path)
    for _ in range(2):
        found = decode_column(image, cells, tmp_path, ArrayCache(tmp_path / "cache"), 2)
        assert_as_decoded_afresh(found, image, cells, tmp_path)
    assert isinstance(found[0].values, np.memmap)


def test_clips_of_rising_lengths_are_as_decoded_at_once(tmp_path: Path) -> None:
    cells: list[Cell] = clip_files(tmp_path, range(10, 1500, 10))
    cells = [*cells, None, "0.wav", "gone.wav"]
    audio = audio_of(cells, tmp_path)
    for _ in range(2):
        found = decode_column(audio, cells, tmp_path, ArrayCache(tmp_path / "cache"), 2)
        assert_as_decoded_afresh(found, audio, cells, tmp_path)


def test_a_column_of_nothing(tmp_path: Path) -> None:
    for cells in ([], [None, None]):
        for modality in (image_of([], tmp_path), audio_of([], tmp_path)):
            found = decode_column(modality, cells, tmp_path, ArrayCache(tmp_path / "cache"), 1)
            assert_as_decoded_afresh(found, modality, cells, tmp_path)


@pytest.mark.parametrize("kind", ["pictures", "clips"])
def test_only_what_no_earlier_table_holds_is_decoded(tmp_path: Path, kind: str) -> None:
    cells: list[Cell] = (
        picture_files(tmp_path, 100) if kind == "pictures" else clip_files(tmp_path, range(1000, 2000, 10))
    )
    modality = (image_of if kind == "pictures" else audio_of)(cells, tmp_path)
    (tmp_path / cells[5]).write_bytes(b"broken")
    cache = ArrayCache(tmp_path / "cache")
    decode_column(modality, cells[:60], tmp_path, cache, 2)
    counting = Counting(modality)
    mixed = [cells[70], *cells[10:40], cells[5], None, cells[71], cells[70]]
    found = decode_column(counting, mixed, tmp_path, cache, 2)
    assert sorted(counting.decoded) == sorted([cells[5], cells[70], cells[71]])
    assert_as_decoded_afresh(found, modality, mixed, tmp_path)


def test_a_file_replaced_under_its_old_time_is_decoded_anew(tmp_path: Path) -> None:
    cells: list[Cell] = picture_files(tmp_path, 2)
    image, cache = image_of(cells, tmp_path), ArrayCache(tmp_path / "cache")
    decode_column(image, cells, tmp_path, cache, 1)
    before = (tmp_path / "0.png").stat()
    content = (tmp_path / "1.png").read_bytes()
    (tmp_path / "0.png").write_bytes(content.ljust(before.st_size, b"\0")[: max(before.st_size, len(content))])
    os.utime(tmp_path / "0.png", ns=(before.st_atime_ns, before.st_mtime_ns))
    found = decode_column(image, cells, tmp_path, cache, 1)
    assert_as_decoded_afresh(found, image, cells, tmp_path)


def test_a_disk_that_is_full_keeps_the_column_in_memory(tmp_path: Path) -> None:
    """A process that may write 20 kB to a file decodes 100 kB; nothing is left behind."""
    cells = picture_files(tmp_path, 600)
    code = f"""
import resource, numpy as np
from pathlib import Path
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.decoding import decode_column
from polymodal.modalities.image import Image, ImageSettings
folder = Path({str(tmp_path)!r})
cells = {cells!r}
image = Image.fit(cells, ImageSettings(size=8), folder)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
column, _ = decode_column(image, cells, folder, ArrayCache(folder / "cache"), 2)
assert np.array_equal(column.values, image.transform(cells, folder)[0].values)
assert not isinstance(column.values, np.memmap)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert os.listdir(tmp_path / "cache") == []


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_disk_that_fills_up_while_rows_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    cells: list[Cell] = clip_files(tmp_path, range(10, 3000, 10))
    audio, left = audio_of(cells, tmp_path), [int(share * len(cells))]
    write = os.pwrite

    def pwrite(descriptor: int, content: Any, position: int) -> int:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, content, position)

    monkeypatch.setattr(os, "pwrite", pwrite)
    found = decode_column(audio, cells, tmp_path, ArrayCache(tmp_path / "cache"), 2)
    assert_as_decoded_afresh(found, audio, cells, tmp_path)
    assert os.listdir(tmp_path / "cache") == []


def test_a_disk_that_fills_up_with_the_last_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells: list[Cell] = picture_files(tmp_path, 5)
    image = image_of(cells, tmp_path)

    def save(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", save)
    found = decode_column(image, cells, tmp_path, ArrayCache(tmp_path / "cache"), 2)
    assert_as_decoded_afresh(found, image, cells, tmp_path)
    assert os.listdir(tmp_path / "cache") == []


@pytest.mark.parametrize("damage", ["values.npy", "present.npy", "lengths.npy", "column.json", "cells.npy", "version"])
def test_a_damaged_entry_is_neither_read_nor_copied_from(tmp_path: Path, damage: str) -> None:
    cells: list[Cell] = clip_files(tmp_path, range(500, 600, 10))
    audio, cache = audio_of(cells, tmp_path), ArrayCache(tmp_path / "cache")
    for wanted in (cells, cells[:7]):
        decode_column(audio, cells, tmp_path, cache, 1)
        for record in (tmp_path / "cache").glob("*/column.json"):
            file = record.with_name(damage)
            if damage == "version":
                record.write_text(json.dumps({**json.loads(record.read_text()), "format": 1}))
            else:
                file.write_bytes(file.read_bytes()[:-5])
        assert_as_decoded_afresh(decode_column(audio, wanted, tmp_path, cache, 1), audio, wanted, tmp_path)


WORKER = """
import sys, numpy as np
from pathlib import Path
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.decoding import decode_column
from polymodal.modalities.image import Image, ImageSettings
folder, count, limit, times = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
cells = [f"{index}.png" for index in range(count)]
image = Image.fit(cells[:8], ImageSettings(size=8), folder)
truth = image.transform(cells, folder)[0].values
cache = ArrayCache(folder / "cache", limit)
for number in range(times):
    part = number % 7
    found = decode_column(image, cells[part:], folder, cache, 1)
    assert np.array_equal(found[0].values, truth[part:]), "wrong data"
    if number % 3 == 2:
        cache.clear()
    assert np.array_equal(found[0].values, truth[part:]), "wrong data after clear"
print("sound")
"""


def work(folder: Path, count: int, limit: int, times: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKER, str(folder), str(count), str(limit), str(times)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_processes_that_fill_evict_and_clear_the_same_cache_never_see_wrong_data(tmp_path: Path) -> None:
    picture_files(tmp_path, 40)
    workers = [work(tmp_path, 40, limit, 40) for limit in (30_000, 10**9)]
    for worker in workers:
        out, error = worker.communicate(timeout=900)
        assert out == "sound\n", error


def test_what_a_killed_process_left_is_removed_later(tmp_path: Path) -> None:
    cells: list[Cell] = picture_files(tmp_path, 300)
    for index in range(300):  # pipes: the worker decodes until it waits for one
        if index >= 200:
            (tmp_path / f"{index}.png").write_bytes(b"")
    code = f"""
import os, signal
from pathlib import Path
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.decoding import decode_column
from polymodal.modalities.image import Image, ImageSettings
folder, cells = Path({str(tmp_path)!r}), {cells!r}
image = Image.fit(cells[:8], ImageSettings(size=8), folder)
transform = Image.transform
def killed(self, cells, *rest, **named):
    if "150.png" in cells:
        os.kill(os.getpid(), signal.SIGKILL)
    return transform(self, cells, *rest, **named)
Image.transform = killed
decode_column(image, cells, folder, ArrayCache(folder / "cache"), 1)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    cache = tmp_path / "cache"
    (left,) = os.listdir(cache)
    assert left.startswith("unfinished-")
    image = image_of(cells[:8], tmp_path)
    assert_as_decoded_afresh(decode_column(image, cells, tmp_path, ArrayCache(cache), 1), image, cells, tmp_path)
    assert (cache / left).is_dir(), "another process may still be at work"
    os.utime(cache / left, (0, 0))
    os.remove(cache / "usage")
    decode_column(image, cells[:9], tmp_path, ArrayCache(cache), 1)
    assert not (cache / left).exists()


def peak_bytes(folder: Path, count: int) -> int:
    code = f"""
import resource
from pathlib import Path
import polymodal.data.decoding
from polymodal.data.cache.cache import ArrayCache
from polymodal.modalities.image import Image
polymodal.data.decoding.BLOCK_BYTES = 2**20
folder = Path({str(folder)!r})
cells = [f"{{index}}.png" for index in range({count})]
image = Image(height=64, width=64, channels=3, mean=[0.5] * 3, std=[0.5] * 3)
column, broken = polymodal.data.decoding.decode_column(image, cells, folder, ArrayCache(folder / "cache"), 2)
assert column.present.all(), broken[:1]
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return int(done.stdout)


@pytest.mark.exhaustive
def test_memory_does_not_grow_with_the_number_of_pictures(tmp_path: Path) -> None:
    picture_files(tmp_path, 20)
    for index in range(20, 8000):
        os.link(tmp_path / f"{index % 20}.png", tmp_path / f"{index}.png")
    few, many = peak_bytes(tmp_path, 800), peak_bytes(tmp_path, 8000)
    assert many - few < 0.25 * 7200 * 64 * 64 * 3


def test_the_folder_is_not_searched_for_every_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells: list[Cell] = picture_files(tmp_path, 12)
    image, cache, searched = image_of(cells, tmp_path), ArrayCache(tmp_path / "cache"), []
    search = ArrayCache._evict

    def counted(self: ArrayCache, kept: Path) -> None:
        searched.append(kept)
        search(self, kept)

    monkeypatch.setattr(ArrayCache, "_evict", counted)
    for index in range(12):
        decode_column(image, [cells[index]], tmp_path, cache, 1)
    assert len(searched) == 1
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 7200)
    decode_column(image, cells[:2], tmp_path, cache, 1)
    assert len(searched) == 2


def test_a_row_file_is_an_array_file(tmp_path: Path) -> None:
    with RowFile(tmp_path / "a.npy", (6, 2, 3), np.dtype(np.int16), is_ragged=True) as file:
        for steps in (1, 2, 5, 20):
            values = np.full((2, steps, 3), steps, np.int16)
            file.write(np.array([steps % 6, 0]), values)
    found = np.load(tmp_path / "a.npy")[:, : file.steps]
    assert found.shape == (6, 20, 3)
    assert [int(row.sum()) for row in found] == [1200, 3, 1200, 0, 0, 75]
