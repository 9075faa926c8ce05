"""Work on cells over several cores: the same results in the same order, whatever becomes of the processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as pillow  # noqa: N813

from polymodal.modalities import parallel
from polymodal.modalities.image import Image, ImageSettings
from polymodal.modalities.parallel import can_fork

needs_fork = pytest.mark.skipif(not can_fork(), reason="processes are forked on Linux only")
MAIN = os.getpid()


@pytest.fixture(autouse=True)
def _much_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run any work in parallel."""
    monkeypatch.setattr(parallel, "MIN_PARALLEL_S", 0.0)


def mapped(function: Callable[[list[int]], Sequence[Any]], num_workers: int | None, number: int = 80) -> Iterator[Any]:
    return parallel.parallel_map(function, range(number), num_workers, 2)


def processes_of(results: Sequence[tuple[int, int]]) -> set[int]:
    return {process for _, process in results}


@pytest.mark.parametrize("num_workers", [1, 2, 3, 100, None])
@pytest.mark.parametrize("is_fork", [True, False])
def test_results_come_in_order(monkeypatch: pytest.MonkeyPatch, num_workers: int | None, is_fork: bool) -> None:
    if not is_fork:
        monkeypatch.setattr(parallel, "can_fork", lambda: False)
    assert list(mapped(lambda chunk: [10 * value for value in chunk], num_workers)) == list(range(0, 800, 10))


@needs_fork
def test_processes_share_the_work() -> None:
    found = list(mapped(lambda chunk: [(value, os.getpid()) for value in chunk], 2))
    assert [value for value, _ in found] == list(range(80))
    assert len(processes_of(found)) == 3


def test_little_work_and_large_results_stay_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    large = list(mapped(lambda chunk: [np.full(2**18, os.getpid()) for _ in chunk], 2))
    assert {int(values[0]) for values in large} == {MAIN}
    monkeypatch.setattr(parallel, "MIN_PARALLEL_S", 60.0)
    assert processes_of(list(mapped(lambda chunk: [(value, os.getpid()) for value in chunk], 2))) == {MAIN}


def test_a_thread_does_not_fork() -> None:
    with ThreadPoolExecutor(1) as pool:
        work = [(value, os.getpid()) for value in range(80)]
        found = pool.submit(lambda: list(mapped(lambda chunk: [work[value] for value in chunk], 2))).result()
        assert not pool.submit(can_fork).result()
    assert found == work


@needs_fork
def test_what_a_killed_process_left_undone_is_done_here() -> None:
    def work(chunk: list[int]) -> list[tuple[int, int]]:
        if chunk[0] == 20 and os.getpid() != MAIN:
            os.kill(os.getpid(), signal.SIGKILL)
        return [(value, os.getpid()) for value in chunk]

    found = list(mapped(work, 2))
    assert [value for value, _ in found] == list(range(80))
    assert {value for value, process in found if process == MAIN} >= {0, 1, 20, 21}


@needs_fork
def test_where_no_process_can_be_made_the_work_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object) -> None:
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr("multiprocessing.context.ForkProcess.start", full)
    found = list(mapped(lambda chunk: [(value, os.getpid()) for value in chunk], 2))
    assert found == [(value, MAIN) for value in range(80)]


@needs_fork
def test_a_failure_is_raised_here_and_once(capfd: pytest.CaptureFixture[str]) -> None:
    def work(chunk: list[int]) -> list[int]:
        if chunk[0] == 20:
            raise ValueError("chunk 20")
        return chunk

    with pytest.raises(ValueError, match="chunk 20"):
        list(mapped(work, 2))
    assert capfd.readouterr() == ("", "")


@needs_fork
def test_what_cannot_be_sent_is_made_here() -> None:
    found = [make() for make in mapped(lambda chunk: [lambda value=value: value for value in chunk], 2)]
    assert found == list(range(80))


@needs_fork
def test_processes_end_with_the_work() -> None:
    running = mapped(lambda chunk: [(value, os.getpid()) for value in chunk], 2, 8000)
    workers = processes_of([next(running) for _ in range(8)]) - {MAIN}
    running.close()
    assert len(workers) == 2
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)


@needs_fork
def test_processes_end_when_the_main_one_is_killed() -> None:
    receiver, sender = os.pipe()
    main = os.fork()
    if not main:
        os.close(receiver)
        running = mapped(lambda chunk: [(value, os.getpid()) for value in chunk], 2, 400_000)
        next(running), next(running), next(running)  # the workers' pipes are full soon, with nobody to read them
        os.kill(os.getpid(), signal.SIGKILL)
    os.close(sender)
    os.waitpid(main, 0)
    assert os.read(receiver, 1) == b""  # returns when the last process that has the other end is gone
    os.close(receiver)


@needs_fork
def test_killed_processes_leave_pictures_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    for number in range(120):
        pillow.fromarray(rng.integers(0, 256, (24, 24), dtype=np.uint8)).save(tmp_path / f"{number}.png")
    cells = [f"{number}.png" for number in range(120)]
    image = Image.fit(cells, ImageSettings(), tmp_path, num_threads=1)
    expected, _ = image.transform(cells, tmp_path, num_threads=1)
    decode = Image._decode

    def deadly(self: Image, cell: str, folder: Path) -> object:
        if cell == "60.png" and os.getpid() != MAIN:
            os.kill(os.getpid(), signal.SIGKILL)
        return decode(self, cell, folder)

    monkeypatch.setattr(Image, "_decode", deadly)
    found, broken = image.transform(cells, tmp_path, num_threads=2)
    assert not broken
    assert found.present.all()
    np.testing.assert_array_equal(found.values, expected.values)


@needs_fork
def test_rows_of_files_that_cannot_be_read_are_named_by_any_process(tmp_path: Path) -> None:
    for number in range(60):
        pillow.new("L", (24, 24), number).save(tmp_path / f"{number}.png")
    (tmp_path / "45.png").write_bytes(b"no picture")
    cells = [f"{number}.png" for number in range(61)]
    image = Image.fit(cells, ImageSettings(), tmp_path, num_threads=1)
    found, broken = image.transform(cells, tmp_path, num_threads=2)
    assert [(cell.row, cell.reason) for cell in broken] == [
        (46, "45.png is not a picture in a known format (PNG, JPEG, WebP, TIFF, GIF, BMP, ...)"),
        (61, f"there is no file {tmp_path / '60.png'}"),
    ]
    assert np.flatnonzero(~found.present).tolist() == [45, 60]


@needs_fork
def test_no_more_processes_than_chunks_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[object] = []
    start = parallel.multiprocessing.context.ForkProcess.start
    monkeypatch.setattr(
        "multiprocessing.context.ForkProcess.start", lambda process: (started.append(process), start(process))
    )
    assert list(mapped(lambda chunk: chunk, 64, number=8)) == list(range(8))
    assert len(started) == 3  # two members are tried here, the other six are three chunks
