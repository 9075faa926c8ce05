"""Rounding to half precision, with and without torch."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from polymodal.modalities.float16 import CHUNK_SIZE, to_float16


def test_every_bit_is_the_same_with_and_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    bits = np.random.default_rng(0).integers(0, 2**32, 2 * CHUNK_SIZE + 17, dtype=np.uint64).astype(np.uint32)
    values = np.concatenate([bits.view(np.float32), np.float32([0, -0.0, 65504, 65520, 1e-8, 6e-8, np.inf, 1 / 3])])
    with np.errstate(over="ignore", invalid="ignore"):
        pytest.importorskip("torch")
        fast = to_float16(values)
        monkeypatch.delitem(sys.modules, "torch")
        plain = to_float16(values)
    assert np.array_equal(np.isnan(fast), np.isnan(plain))
    numbers = ~np.isnan(plain)
    assert np.array_equal(fast[numbers].view(np.uint16), plain[numbers].view(np.uint16))


def test_shape_and_order_stay() -> None:
    values = np.arange(12, dtype=np.float32).reshape(3, 4).T
    assert np.array_equal(to_float16(values), values.astype(np.float16))
    assert to_float16(np.zeros((0, 3), np.float32)).shape == (0, 3)
