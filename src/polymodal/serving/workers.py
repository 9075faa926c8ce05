"""Several processes that answer on one socket: started, watched, replaced where one dies, and stopped together."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

from polymodal.errors import CheckpointError, PolymodalError
from polymodal.serving.logs import LOGGER, start_logs
from polymodal.serving.metrics import MULTIPROCESS_FOLDER, forget_process
from polymodal.serving.process import run_process
from polymodal.serving.settings import ServerSettings

READY, ERROR = "ready", "error"
LEAST_LIFE_S = 5.0
"""A process that dies sooner is replaced after a wait."""
LONGEST_WAIT_S = 30.0
KILL_AFTER_S = 5.0
"""So long after the time of grace, processes that still run are killed."""


@dataclass
class _Worker:
    """One process.

    Attributes:
        process: The process.
        reports: Where it says that it answers, or why it cannot; closed when it ends.
        started_s: When it was started.
    """

    process: BaseProcess
    reports: Connection
    started_s: float = field(default_factory=time.monotonic)

    @property
    def pid(self) -> int:
        """Its process number."""
        return self.process.pid or 0


def supervise(settings: ServerSettings, listening: socket.socket, announce: Callable[[str], None]) -> None:
    """Run several processes until this one is told to stop.

    Args:
        settings: The server's settings.
        listening: The listening socket, which all share.
        announce: Called with the model's name when every process answers.

    Raises:
        CheckpointError: If no process can load the model; as its sentence says.
    """
    folder = tempfile.mkdtemp(prefix="polymodal-metrics-")
    changed = {MULTIPROCESS_FOLDER: folder} | _threads(settings.workers)
    try:
        with _environment(changed):
            start_logs(settings.is_quiet)
            _Supervisor(settings, listening, announce).run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _threads(workers: int) -> dict[str, str]:
    """Divide the cores among the processes, unless the user has."""
    share = max(1, (os.cpu_count() or 1) // workers)
    return {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(share)}


@contextmanager
def _environment(changed: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class _Supervisor:
    """Starts and watches the processes."""

    def __init__(self, settings: ServerSettings, listening: socket.socket, announce: Callable[[str], None]) -> None:
        self._settings, self._listening, self._announce = settings, listening, announce
        self._workers: list[_Worker] = []
        self._ready: set[int] = set()
        self._was_ready = False
        self._due: list[float] = []  # when processes that died are replaced
        self._wait_s = 0.0
        self._signals: list[int] = []
        self._wakeup, self._alarm = socket.socketpair()

    def run(self) -> None:
        with self._handled_signals():
            try:
                for _ in range(self._settings.workers):
                    self._start()
                while not self._stopped():
                    self._look()
            finally:
                self._stop()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        reports, of_worker = context.Pipe()
        arguments = (self._settings, self._listening, of_worker)
        process = context.Process(target=_work, args=arguments, name="polymodal-worker")
        process.start()
        of_worker.close()
        self._workers.append(_Worker(process, reports))

    def _stopped(self) -> bool:
        while self._signals:
            number = self._signals.pop(0)
            if number in (signal.SIGINT, signal.SIGTERM):
                return True
            for worker in self._workers:
                _send(worker, number)
        return False

    def _look(self) -> None:
        """Wait for something to happen, and see to it."""
        left_s = min(self._due) - time.monotonic() if self._due else None
        watched: list[Any] = [self._wakeup, *(worker.reports for worker in self._workers)]
        happened = wait(watched, None if left_s is None else max(left_s, 0.0))
        if self._wakeup in happened:
            self._wakeup.recv(4096)
        for worker in [worker for worker in self._workers if worker.reports in happened]:
            self._hear(worker)
        while self._due and min(self._due) <= time.monotonic():
            self._due.remove(min(self._due))
            self._start()

    def _hear(self, worker: _Worker) -> None:
        try:
            kind, text = worker.reports.recv()
        except (EOFError, OSError):
            self._replace(worker)
            return
        if kind == READY:
            self._ready.add(worker.pid)
            if not self._was_ready and len(self._ready) == self._settings.workers:
                self._was_ready = True
                self._announce(text)
        elif not self._was_ready:
            raise CheckpointError(text)
        else:
            LOGGER.error("worker cannot start", extra={"fields": {"worker": worker.pid, "reason": text}})

    def _replace(self, worker: _Worker) -> None:
        """Start another process for one that died, at once or, where it did not live long, after a wait."""
        worker.process.join()
        self._workers.remove(worker)
        self._ready.discard(worker.pid)
        forget_process(worker.pid)
        is_young = time.monotonic() - worker.started_s < LEAST_LIFE_S
        self._wait_s = min(max(2 * self._wait_s, 1.0), LONGEST_WAIT_S) if is_young else 0.0
        fields = {"worker": worker.pid, "exit_code": worker.process.exitcode, "replaced_in_s": self._wait_s}
        LOGGER.error("worker ended", extra={"fields": fields})
        self._due.append(time.monotonic() + self._wait_s)

    def _stop(self) -> None:
        for worker in self._workers:
            _send(worker, signal.SIGTERM)
        deadline = time.monotonic() + self._settings.grace_s + KILL_AFTER_S
        for worker in self._workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.reports.close()

    @contextmanager
    def _handled_signals(self) -> Iterator[None]:
        def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
            self._signals.append(number)
            with suppress(OSError):
                self._alarm.send(b"!")

        self._alarm.setblocking(False)
        numbers = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
        before = {number: signal.signal(number, note) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self._wakeup.close()
            self._alarm.close()


def _send(worker: _Worker, number: int) -> None:
    with suppress(ProcessLookupError):
        if worker.process.is_alive():
            os.kill(worker.pid, number)


def _work(settings: ServerSettings, listening: socket.socket, reports: Connection) -> None:
    """Answer requests in a process of its own, until it is told to stop or the process that started it ends."""
    threading.Thread(target=_end_with_parent, args=(reports,), daemon=True).start()
    try:
        run_process(settings, listening, lambda name: reports.send((READY, name)))
    except PolymodalError as error:
        reports.send((ERROR, str(error)))


def _end_with_parent(reports: Connection) -> None:
    with suppress(EOFError, OSError):
        reports.recv()
    os.kill(os.getpid(), signal.SIGTERM)
