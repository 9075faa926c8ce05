"""Python's garbage collector, while much is imported."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """Import without looking for garbage: what is imported becomes none, and looking takes a fifth of the time.

    Yields:
        Nothing; imports stand inside.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
