"""Dynamic micro-batching: rows of requests that arrive together are answered in one call of the model.

The model runs in one thread, or in a few. While they are busy, requests wait in a queue of bounded length; then as many
as fit into a batch are taken together. A request waits for others only while another one is being read, and never
longer than the deadline. A batch that fails is repeated request by request, so that no request breaks another one's
answer.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from polymodal.serving.request_error import RequestError

Run = Callable[[list[Any]], Sequence[Any]]
"""Answers rows: one answer each, in their order."""
MAX_RETRY_S = 30
SMOOTHING = 0.9


@dataclass(eq=False)
class _Job:
    """The rows of a request.

    Attributes:
        rows: The rows.
        key: Jobs of equal keys may share a batch.
        run: Answers rows.
        future: Gets the answers.
        arrived_s: When it was queued, by the loop's clock.
    """

    rows: Sequence[Any]
    key: Hashable
    run: Run
    future: asyncio.Future[Sequence[Any]]
    arrived_s: float = field(default_factory=time.monotonic)


class Batcher:
    """Joins the rows of concurrent requests into batches.

    Example:
        >>> async def double(number):
        ...     batcher = Batcher(max_batch=8, max_wait_s=0.001, queue=16)
        ...     batcher.start()
        ...     answers = await batcher.submit([number], "key", lambda rows: [2 * row for row in rows])
        ...     await batcher.stop()
        ...     return answers
        >>> asyncio.run(double(21))
        [42]
    """

    def __init__(
        self,
        *,
        max_batch: int,
        max_wait_s: float,
        queue: int,
        observe: Callable[[int], None] = lambda _: None,
        threads: int = 1,
    ) -> None:
        """Set the bounds.

        Args:
            max_batch: Rows of a batch, at most; a request of more rows is a batch of its own.
            max_wait_s: How long a row waits for others.
            queue: Rows that may wait.
            observe: Called with the number of rows of each batch.
            threads: Batches that are answered at a time.
        """
        self.max_batch = max_batch
        self.max_wait_s = max_wait_s
        self.queue = queue
        self._observe = observe
        self._jobs: deque[_Job] = deque()
        self._changed = asyncio.Event()
        self._arriving = 0
        self._seconds_a_row = 0.0
        self._threads = threads
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="model")
        self._tasks: list[asyncio.Task[None]] = []
        self._waiting_rows = 0

    @property
    def waiting_rows(self) -> int:
        """Rows in the queue."""
        return self._waiting_rows

    def start(self) -> None:
        """Begin to answer; call it in the event loop."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._answer_forever()) for _ in range(self._threads)]

    async def stop(self) -> None:
        """Stop; requests that still wait get a RequestError with 503."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        while self._jobs:
            self._finish(self._jobs.popleft(), stopping())
        self._executor.shutdown(wait=False)

    @contextmanager
    def arriving(self) -> Iterator[Callable[[], None]]:
        """Announce a request that is being read; a batch may wait for it, up to the deadline.

        Yields:
            Call it once the request is queued; leaving the context does it too.
        """
        self._arriving += 1
        is_announced = True

        def arrived() -> None:
            nonlocal is_announced
            self._arriving -= is_announced
            is_announced = False
            self._changed.set()

        try:
            yield arrived
        finally:
            arrived()

    def check_room(self, num_rows: int) -> None:
        """Check that rows would fit into the queue now.

        Args:
            num_rows: Their number.

        Raises:
            RequestError: With 429 if they do not.
        """
        if self._waiting_rows + num_rows > self.queue:
            wait_s = math.ceil(self._waiting_rows * self._seconds_a_row)
            raise RequestError(
                429,
                f"{self._waiting_rows:,} rows are waiting, and this server lets no more than {self.queue:,} wait. "
                "Try again later.",
                retry_after_s=min(max(wait_s, 1), MAX_RETRY_S),
            )

    async def submit(self, rows: Sequence[Any], key: Hashable, run: Run) -> Sequence[Any]:
        """Queue rows and wait for their answers.

        Args:
            rows: The rows of one request.
            key: Rows of requests with equal keys may be answered in one call.
            run: Answers rows; called in the model's thread, with the rows of one or more requests.

        Returns:
            One answer each.

        Raises:
            RequestError: With 429 if the queue is full, with 503 if the server stops.
        """
        self.check_room(len(rows))
        job = _Job(rows, key, run, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self._waiting_rows += len(rows)
        self._changed.set()
        return await job.future

    async def _answer_forever(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wait_for_jobs()
            batch = self._take()
            if not batch:
                continue
            started = time.monotonic()
            outcomes = await loop.run_in_executor(self._executor, _run_batch, batch)
            num_rows = sum(len(job.rows) for job in batch)
            self._measure(num_rows, time.monotonic() - started)
            for job, outcome in zip(batch, outcomes, strict=True):
                self._finish(job, outcome)

    def _measure(self, num_rows: int, seconds: float) -> None:
        self._observe(num_rows)
        now = seconds / max(num_rows, 1)
        before = self._seconds_a_row or now
        self._seconds_a_row = SMOOTHING * before + (1 - SMOOTHING) * now

    async def _wait_for_jobs(self) -> None:
        """Wait until there is a job and either a whole batch, or nothing more to wait for."""
        while True:
            self._changed.clear()
            left_s = self._seconds_to_wait()
            if left_s is not None and left_s <= 0:
                return
            try:
                await asyncio.wait_for(self._changed.wait(), left_s)
            except TimeoutError:
                return

    def _seconds_to_wait(self) -> float | None:
        if not self._jobs:
            return None
        if not self._arriving or self._waiting_rows >= self.max_batch:
            return 0.0
        return self._jobs[0].arrived_s + self.max_wait_s - time.monotonic()

    def _take(self) -> list[_Job]:
        """Take the first job and those of its key that fit into a batch with it; others keep their order."""
        batch: list[_Job] = []
        num_rows = 0
        left: deque[_Job] = deque()
        while self._jobs:
            job = self._jobs.popleft()
            if job.future.done():  # its client has given up
                self._waiting_rows -= len(job.rows)
            elif not batch or (job.key == batch[0].key and num_rows + len(job.rows) <= self.max_batch):
                batch.append(job)
                num_rows += len(job.rows)
                self._waiting_rows -= len(job.rows)
            else:
                left.append(job)
            if num_rows >= self.max_batch:
                break
        left.extend(self._jobs)
        self._jobs = left
        return batch

    def _finish(self, job: _Job, outcome: Sequence[Any] | Exception) -> None:
        if job.future.done():
            return
        if isinstance(outcome, Exception):
            job.future.set_exception(outcome)
        else:
            job.future.set_result(outcome)


def stopping() -> RequestError:
    """Build the error of a server that stops."""
    return RequestError(503, "This server is stopping. Try again.", retry_after_s=1)


def _run_batch(batch: list[_Job]) -> list[Sequence[Any] | Exception]:
    """Answer the rows of all jobs at once or, where that fails, job by job."""
    try:
        answers = batch[0].run([row for job in batch for row in job.rows])
    except Exception as error:
        return [error] if len(batch) == 1 else [_run_batch([job])[0] for job in batch]
    ends = [0]
    for job in batch:
        ends.append(ends[-1] + len(job.rows))
    return [answers[start:end] for start, end in pairwise(ends)]
