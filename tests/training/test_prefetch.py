"""What a step takes is made while the step before is busy, and is the same as if it were not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Thread, current_thread, main_thread
from typing import Any

import pytest
import torch

import polymodal.training.trainer
import polymodal.training.training_step
import tiny
from polymodal.training.prefetch import Prefetcher, has_free_core


def test_it_is_made_while_the_step_before_is_busy() -> None:
    prefetcher: Prefetcher[bool] = Prefetcher(has_free_core=True)
    made = Event()
    prefetcher.submit(1, lambda: made.set() is None)
    assert made.wait(timeout=20)  # though no step has asked for it
    assert prefetcher.get(1, lambda: False)


def test_a_step_takes_its_own_alone() -> None:
    prefetcher: Prefetcher[str] = Prefetcher(has_free_core=True)
    prefetcher.submit(4, lambda: "of step 4")
    assert prefetcher.get(3, lambda: "of step 3") == "of step 3"
    assert prefetcher.get(4, lambda: "anew") == "anew"


def test_what_fails_stops_the_step_that_needs_it() -> None:
    prefetcher: Prefetcher[float] = Prefetcher(has_free_core=True)
    prefetcher.submit(1, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prefetcher.get(1, lambda: 1.0)
    prefetcher.submit(2, lambda: 1 / 0)
    prefetcher.discard()
    assert prefetcher.get(2, lambda: 1.0) == 1.0


def test_without_room_everything_is_made_by_the_step() -> None:
    prefetcher: Prefetcher[Thread] = Prefetcher(has_free_core=False)
    prefetcher.submit(1, current_thread)
    assert prefetcher.get(1, current_thread) is current_thread()


def test_there_is_room_beside_another_device_and_beside_idle_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polymodal.training.prefetch.available_cpu_count", lambda: 2 * torch.get_num_threads())
    assert has_free_core(torch.device("cpu"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert not has_free_core(torch.device("cpu"))
    assert has_free_core(torch.device("cuda"))


def test_other_threads_keep_their_number_of_torchs_threads() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert Prefetcher[int](has_free_core=True).get(0, torch.get_num_threads) == 1
        assert torch.get_num_threads() == 2
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("settings", [{}, {"train.accumulate": 2}, {"train.balance": "ogm_ge"}, {"train.mixup": 0.3}])
def test_a_run_learns_the_same_whether_batches_are_drawn_ahead_or_not(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tiny.only(tiny.write_table(tmp_path, rows=60), "photo", "sound", "note", "kind")
    begun: list[int] = []
    submit = Prefetcher.submit

    def noted(prefetcher: Prefetcher[Any], step: int, make: Any) -> None:
        begun.append(step)
        submit(prefetcher, step, make)

    monkeypatch.setattr(Prefetcher, "submit", noted)
    options = {"settings": {"train.epochs": 2, "train.batch_size": 12, **settings}}
    models = []
    for room in (False, True):
        begun.clear()
        monkeypatch.setattr(polymodal.training.trainer, "has_free_core", lambda _, room=room: room)
        models.append(tiny.train(table, **options))
    assert tiny.same(*map(tiny.weights_of, models))
    assert bool(begun) == ("train.balance" not in settings)  # OGM-GE draws noise when the way back is over


def test_batches_are_drawn_in_one_thread_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = set()
    augment_batch = polymodal.training.training_step.augment_batch

    def noted(*given: Any) -> Any:
        threads.add(current_thread())
        return augment_batch(*given)

    monkeypatch.setattr(polymodal.training.training_step, "augment_batch", noted)
    monkeypatch.setattr(polymodal.training.trainer, "has_free_core", lambda _: True)
    tiny.train(tiny.only(tiny.write_table(tmp_path, rows=40), "photo", "kind"), settings={"train.epochs": 2})
    assert len(threads) == 1
    assert main_thread() not in threads
