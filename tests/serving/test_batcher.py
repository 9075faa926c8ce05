"""Micro-batches: which requests share one, and that none spoils another's answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from polymodal.serving.batcher import Batcher
from polymodal.serving.request_error import RequestError


def run(test: Callable[[Batcher], Any], **options: Any) -> Any:
    async def scenario() -> Any:
        batcher = Batcher(**({"max_batch": 8, "max_wait_s": 0.5, "queue": 16} | options))
        batcher.start()
        try:
            return await test(batcher)
        finally:
            await batcher.stop()

    return asyncio.run(scenario())


async def begin(batcher: Batcher, gate: Gate, rows: list[int], key: str = "key") -> asyncio.Future[Any]:
    """Submit rows and wait until the model has them."""
    job = asyncio.ensure_future(batcher.submit(rows, key, gate))
    await asyncio.to_thread(gate.begun.wait)
    return job


async def queue(batcher: Batcher, gate: Gate, rows: list[int], key: str = "key") -> asyncio.Future[Any]:
    """Submit rows behind those that the model has."""
    job = asyncio.ensure_future(batcher.submit(rows, key, gate))
    await asyncio.sleep(0)
    return job


class Gate:
    """A model that waits until it is let go, and remembers its batches."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.begun = threading.Event()
        self.batches: list[list[int]] = []

    def __call__(self, rows: list[int]) -> list[int]:
        self.begun.set()
        self.open.wait(30)
        self.batches.append(list(rows))
        return [10 * row for row in rows]


def test_requests_that_wait_share_a_batch() -> None:
    gate = Gate()

    async def scenario(batcher: Batcher) -> list[Any]:
        first = await begin(batcher, gate, [0])
        others = [await queue(batcher, gate, [row]) for row in range(1, 6)]
        gate.open.set()
        return list(await asyncio.gather(first, *others))

    assert run(scenario) == [[10 * row] for row in range(6)]
    assert gate.batches == [[0], [1, 2, 3, 4, 5]]


def test_a_batch_has_a_largest_size_and_one_key() -> None:
    gate = Gate()

    async def scenario(batcher: Batcher) -> None:
        first = await begin(batcher, gate, [0], "a")
        keys = ["a", "b", "a", "a", "b"]
        others = [await queue(batcher, gate, [row, row], key) for row, key in enumerate(keys, 1)]
        gate.open.set()
        await asyncio.gather(first, *others)

    run(scenario, max_batch=4)
    assert gate.batches == [[0], [1, 1, 3, 3], [2, 2, 5, 5], [4, 4]]


def test_a_batch_waits_for_a_request_that_is_being_read_until_the_deadline() -> None:
    batches: list[list[int]] = []

    def model(rows: list[int]) -> list[int]:
        batches.append(list(rows))
        return rows

    async def scenario(batcher: Batcher) -> None:
        with batcher.arriving() as arrived, batcher.arriving():
            arrived()
            first = asyncio.ensure_future(batcher.submit([1], "key", model))
            for _ in range(20):
                await asyncio.sleep(0)
            assert batches == []  # another request is on its way
            second = asyncio.ensure_future(batcher.submit([2], "key", model))
            await asyncio.sleep(0)
        await asyncio.gather(first, second)
        with batcher.arriving():  # it never comes
            await batcher.submit([3], "key", model)

    run(scenario)
    assert batches == [[1, 2], [3]]


def test_one_bad_request_fails_alone() -> None:
    def model(rows: list[int]) -> list[int]:
        if 13 in rows:
            raise RequestError(422, "Row 1 brings bad luck.")
        return rows

    async def scenario(batcher: Batcher) -> list[Any]:
        with batcher.arriving():
            jobs = [asyncio.ensure_future(batcher.submit([row], "key", model)) for row in (12, 13, 14)]
            await asyncio.sleep(0)
        return list(await asyncio.gather(*jobs, return_exceptions=True))

    first, second, third = run(scenario)
    assert (first, third) == ([12], [14])
    assert second.status == 422


def test_a_full_queue_refuses_and_says_when_to_try_again() -> None:
    gate = Gate()

    async def scenario(batcher: Batcher) -> RequestError:
        jobs = [
            await begin(batcher, gate, [0]),
            await queue(batcher, gate, [1] * 8),
            await queue(batcher, gate, [2] * 8),
        ]
        with pytest.raises(RequestError) as found:
            await batcher.submit([9], "key", gate)
        gate.open.set()
        await asyncio.gather(*jobs)
        return found.value

    error = run(scenario)
    assert error.status == 429
    assert error.retry_after_s >= 1


def test_who_gave_up_is_not_answered() -> None:
    gate = Gate()

    async def scenario(batcher: Batcher) -> int:
        first = await begin(batcher, gate, [0])
        second = await queue(batcher, gate, [1])
        second.cancel()
        third = await queue(batcher, gate, [2])
        gate.open.set()
        await asyncio.gather(first, third)
        return batcher.waiting_rows

    assert run(scenario) == 0
    assert gate.batches == [[0], [2]]


def test_stopping_answers_with_503() -> None:
    gate = Gate()

    async def scenario(batcher: Batcher) -> Any:
        first = await begin(batcher, gate, [0])
        waiting = await queue(batcher, gate, [1])
        first.cancel()
        await batcher.stop()
        gate.open.set()
        return await asyncio.gather(waiting, return_exceptions=True)

    (error,) = run(scenario)
    assert error.status == 503
