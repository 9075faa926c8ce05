"""What happens to memory that is freed while networks run."""

from __future__ import annotations

import ctypes
import sys

import numpy as np
import pytest

from polymodal.nn.allocator import memory_reused

MB = 2**20
FIELDS = ["arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"]
LIBRARY = ctypes.CDLL(None) if sys.platform == "linux" else None

pytestmark = pytest.mark.skipif(
    not hasattr(LIBRARY, "mallinfo2"), reason="only glibc can be told, and asked, what it does with freed memory"
)


class Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in FIELDS]


def held_mb() -> float:
    """Memory that the C library has from the system, in use or not."""
    assert LIBRARY is not None
    LIBRARY.mallinfo2.restype = Mallinfo
    found = LIBRARY.mallinfo2()
    return (found.arena + found.hblkhd) / MB


def held_after_freeing_mb() -> float:
    before = held_mb()
    array = np.ones(256 * MB, np.uint8)
    assert held_mb() > before + 200
    del array
    return held_mb()


def test_freed_memory_stays_within_the_context_and_is_given_back_after_it() -> None:
    before = held_mb()
    with memory_reused():
        assert held_after_freeing_mb() > before + 200
        first, again = held_mb(), np.ones(256 * MB, np.uint8)
        assert held_mb() == pytest.approx(first, abs=20)
        assert len(again)
        del again
    assert held_mb() < before + 50
    assert held_after_freeing_mb() < before + 50


def test_it_is_left_when_something_goes_wrong() -> None:
    with pytest.raises(KeyError), memory_reused():
        raise KeyError
    before = held_mb()
    assert held_after_freeing_mb() < before + 50
