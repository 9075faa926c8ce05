"""Counters and histograms in Prometheus' form."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from polymodal.serving.questions import Row

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
SIZES = (0, 1, 2, 3, 4, 5, 10, 20, 50, 100)
MULTIPROCESS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable of prometheus-client: where processes share what they counted."""


class Metrics:
    """What a server counts; nothing of it is taken from cells but names of columns.

    Attributes:
        requests: Answers by route and status.
        seconds: Duration of requests by route.
    """

    def __init__(self) -> None:
        """Begin at zero."""
        self._registry = CollectorRegistry()
        make: dict[str, Any] = {"registry": self._registry}
        self.requests = Counter("polymodal_requests", "Answers.", ["route", "status"], **make)
        self.seconds = Histogram(
            "polymodal_request_seconds", "Duration of requests.", ["route"], buckets=SECONDS, **make
        )
        self._rows = Counter("polymodal_rows", "Rows that were answered.", **make)
        self._batches = Histogram("polymodal_batch_rows", "Rows of each batch.", buckets=ROWS, **make)
        self._waiting = Gauge("polymodal_waiting_rows", "Rows in the queue.", multiprocess_mode="livesum", **make)
        self._unseen = Counter(
            "polymodal_unseen_categories", "Cells whose category was not seen in training.", ["column"], **make
        )
        self._absent = Counter("polymodal_absent_streams", "Rows in which a stream is absent.", ["stream"], **make)
        self._broken = Counter("polymodal_broken_cells", "Cells that could not be decoded.", ["column"], **make)
        self._sizes = Histogram(
            "polymodal_set_size", "Labels of each prediction set.", ["target"], buckets=SIZES, **make
        )
        self._reloads = Counter("polymodal_reloads", "Reloads of the model.", ["result"], **make)

    def see_batch(self, num_rows: int) -> None:
        """Count a batch.

        Args:
            num_rows: Its rows.
        """
        self._batches.observe(num_rows)

    def see_waiting(self, num_rows: int) -> None:
        """Note the length of the queue.

        Args:
            num_rows: Rows that wait.
        """
        self._waiting.set(num_rows)

    def see_reload(self, is_loaded: bool) -> None:
        """Count a reload.

        Args:
            is_loaded: Whether it worked.
        """
        self._reloads.labels("loaded" if is_loaded else "failed").inc()

    def see_rows(self, rows: Sequence[Row], streams: dict[str, str]) -> None:
        """Count what rows lack.

        Args:
            rows: Checked rows.
            streams: Column to stream.
        """
        self._rows.inc(len(rows))
        for row in rows:
            for column in row.unseen:
                self._unseen.labels(column).inc()
            if not row.absent:
                continue
            present = {stream for column, stream in streams.items() if row.cells[column] is not None}
            for stream in set(streams.values()) - present:
                self._absent.labels(stream).inc()

    def see_answers(self, answers: Iterable[dict[str, Any]]) -> None:
        """Count broken cells and sizes of sets.

        Args:
            answers: Answers of ``ServedModel.predict``.
        """
        for answer in answers:
            for cell in answer["broken"]:
                self._broken.labels(cell["column"]).inc()
            for name, target in answer["predictions"].items():
                if "set" in target:
                    self._sizes.labels(name).observe(len(target["set"]))

    def text(self) -> bytes:
        """Return everything as text, over all processes."""
        if MULTIPROCESS_FOLDER not in os.environ:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


def forget_process(pid: int) -> None:
    """Forget the gauges of a process that ended; what it counted stays.

    Args:
        pid: Its number.
    """
    mark_process_dead(pid)  # type: ignore[no-untyped-call]
