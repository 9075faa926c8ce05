"""A load generator: raw HTTP/1.1 connections of one process, in asyncio; prints one JSON object.

Closed loop (``--rate 0``): each connection asks again as soon as it is answered. Open loop: requests are due at random
times of a rate, whatever the server does, and their duration counts from when they were due;
that of refusals from when they were sent.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from pathlib import Path
from typing import Any

HEAD = "POST /predict HTTP/1.1\r\nHost: loopback\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"


class Connection:
    """A connection that is kept, and opened again where it was closed."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send a request, again where the server has closed the idle connection; status 0 where it breaks twice."""
        status, body = await self._try(request)
        return (status, body) if status else await self._try(request)

    async def _try(self, request: bytes) -> tuple[int, bytes]:
        try:
            if self.streams is None:
                self.streams = await asyncio.open_connection("127.0.0.1", self.port)
            reader, writer = self.streams
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            return int(head[9:12]), await reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError):
            self.streams = None
            return 0, b""


class Load:
    """What came back, and how long it took.

    Attributes:
        seconds: Status to durations.
        num_wrong: Answers that differ from the expected ones.
    """

    def __init__(self, port: int, bodies: list[bytes], expected: list[list[Any]]) -> None:
        self.port, self.expected = port, expected
        self.requests = [HEAD.format(len(body)).encode() + body for body in bodies]
        self.seconds: dict[int, list[float]] = {}
        self.num_wrong = 0

    async def one(self, connection: Connection, number: int, due_s: float) -> None:
        """Ask one question and note what came back."""
        place = number % len(self.requests)
        sent_s = time.perf_counter()
        status, body = await connection.ask(self.requests[place])
        since_s = due_s if status == 200 else sent_s
        self.seconds.setdefault(status, []).append(time.perf_counter() - since_s)
        if status == 200:
            answers = [next(iter(row["predictions"].values()))["value"] for row in json.loads(body)["rows"]]
            self.num_wrong += answers != self.expected[place]

    async def closed(self, num_connections: int, duration_s: float) -> None:
        """Ask as fast as answers come."""
        until = time.perf_counter() + duration_s

        async def ask(first: int) -> None:
            connection, number = Connection(self.port), first
            while (now := time.perf_counter()) < until:
                await self.one(connection, number, now)
                number += num_connections

        await asyncio.gather(*(ask(first) for first in range(num_connections)))

    async def open(self, num_connections: int, duration_s: float, rate: float) -> None:
        """Ask at random times of a rate; a request whose turn comes while all connections wait is late."""
        free: asyncio.Queue[Connection] = asyncio.Queue()
        for _ in range(num_connections):
            free.put_nowait(Connection(self.port))
        draw, started, tasks, due_s, number = random.Random(0), time.perf_counter(), set(), 0.0, 0

        async def ask(number: int, due_s: float) -> None:
            connection = await free.get()
            await self.one(connection, number, due_s)
            free.put_nowait(connection)

        while due_s < duration_s:
            due_s += draw.expovariate(rate)
            await asyncio.sleep(max(0.0, started + due_s - time.perf_counter()))
            task = asyncio.ensure_future(ask(number, started + due_s))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            number += 1
        await asyncio.gather(*tasks)


def summary(load: Load, wall_s: float) -> dict[str, Any]:
    """Return counts and quantiles of durations by status."""
    found: dict[str, Any] = {"wall_s": wall_s, "wrong": load.num_wrong}
    for status, seconds in sorted(load.seconds.items()):
        seconds.sort()
        at = {f"p{p}": seconds[min(len(seconds) - 1, int(len(seconds) * p / 100))] for p in (50, 95, 99)}
        found[str(status)] = {"count": len(seconds)} | at
    return found


def main() -> None:
    """Load a server as the options say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("requests", type=Path, help="JSON: a list of [body, expected answers]")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rate", type=float, default=0)
    asked = parser.parse_args()
    pairs = json.loads(asked.requests.read_text())
    load = Load(asked.port, [json.dumps(body).encode() for body, _ in pairs], [answers for _, answers in pairs])
    started = time.perf_counter()
    run = load.open(asked.connections, asked.seconds, asked.rate) if asked.rate else None
    asyncio.run(run or load.closed(asked.connections, asked.seconds))
    print(json.dumps(summary(load, time.perf_counter() - started)))


if __name__ == "__main__":
    main()
