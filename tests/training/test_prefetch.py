"""Batches are prefetched during the step before, and are the same as without prefetching."""

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


def test_a_batch_is_prepared_before_its_step_asks_for_it() -> None:
    prefetcher: Prefetcher[bool] = Prefetcher(has_free_core=True)
    prepared = Event()
    prefetcher.submit(1, lambda: prepared.set() is None)
    assert prepared.wait(timeout=20)  # though no step has asked for it
    assert prefetcher.get(1, lambda: False)


def test_a_step_gets_only_its_own_batch() -> None:
    prefetcher: Prefetcher[str] = Prefetcher(has_free_core=True)
    prefetcher.submit(4, lambda: "of step 4")
    assert prefetcher.get(3, lambda: "of step 3") == "of step 3"
    assert prefetcher.get(4, lambda: "anew") == "anew"


def test_an_error_is_raised_in_the_step_that_needs_the_batch() -> None:
    prefetcher: Prefetcher[float] = Prefetcher(has_free_core=True)
    prefetcher.submit(1, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prefetcher.get(1, lambda: 1.0)
    prefetcher.submit(2, lambda: 1 / 0)
    prefetcher.discard()
    assert prefetcher.get(2, lambda: 1.0) == 1.0


def test_without_a_free_core_the_step_prepares_its_batch() -> None:
    prefetcher: Prefetcher[Thread] = Prefetcher(has_free_core=False)
    prefetcher.submit(1, current_thread)
    assert prefetcher.get(1, current_thread) is current_thread()


def test_there_is_a_free_core_beside_a_gpu_and_beside_idle_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polymodal.training.prefetch.available_cpu_count", lambda: 2 * torch.get_num_threads())
    assert has_free_core(torch.device("cpu"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert not has_free_core(torch.device("cpu"))
    assert has_free_core(torch.device("cuda"))


def test_other_threads_keep_their_number_of_torch_threads() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert Prefetcher[int](has_free_core=True).get(0, torch.get_num_threads) == 1
        assert torch.get_num_threads() == 2
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"train.accumulate": 2},
        pytest.param({"train.balance": "ogm_ge"}, marks=pytest.mark.exhaustive),
        pytest.param({"train.mixup": 0.3}, marks=pytest.mark.exhaustive),
    ],
)
def test_a_run_is_the_same_with_and_without_prefetching(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tiny.only(tiny.write_table(tmp_path, rows=60), "photo", "sound", "note", "kind")
    submitted: list[int] = []
    submit = Prefetcher.submit

    def recorded(prefetcher: Prefetcher[Any], step: int, prepare: Any) -> None:
        submitted.append(step)
        submit(prefetcher, step, prepare)

    monkeypatch.setattr(Prefetcher, "submit", recorded)
    options = {"settings": {"train.epochs": 2, "train.batch_size": 12, **settings}}
    models = []
    for is_free in (False, True):
        submitted.clear()
        monkeypatch.setattr(polymodal.training.trainer, "has_free_core", lambda _, is_free=is_free: is_free)
        models.append(tiny.train(table, **options))
    assert tiny.same(*map(tiny.weights_of, models))
    assert bool(submitted) == ("train.balance" not in settings)  # OGM-GE draws noise after the backward pass


def test_batches_are_prepared_in_a_single_other_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = set()
    augment_batch = polymodal.training.training_step.augment_batch

    def recorded(*given: Any) -> Any:
        threads.add(current_thread())
        return augment_batch(*given)

    monkeypatch.setattr(polymodal.training.training_step, "augment_batch", recorded)
    monkeypatch.setattr(polymodal.training.trainer, "has_free_core", lambda _: True)
    tiny.train(tiny.only(tiny.write_table(tmp_path, rows=40), "photo", "kind"), settings={"train.epochs": 2})
    assert len(threads) == 1
    assert main_thread() not in threads
