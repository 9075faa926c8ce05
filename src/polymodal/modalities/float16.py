"""Conversion of float32 arrays to float16, the dtype in which audio features are stored."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHUNK_SIZE = 30_000
"""Values converted at a time: from 32,768 values on torch would start threads, which do not survive a fork."""


def to_float16(values: NDArray[np.float32]) -> NDArray[np.float16]:
    """Convert to float16, rounding to nearest with ties to even (IEEE 754).

    NumPy converts one value at a time. If torch is imported already, as in training, it is used instead and is ten
    times as fast: decoding a clip of some seconds takes a fifth less time.

    Args:
        values: float32 of any shape.

    Returns:
        float16 of the same shape; the same bits with and without torch.
    """
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return values.astype(np.float16)
    flat = np.ascontiguousarray(values).reshape(-1)
    converted = np.empty(flat.shape, np.float16)
    source, destination = torch.from_numpy(flat), torch.from_numpy(converted)
    for start in range(0, len(flat), CHUNK_SIZE):
        destination[start : start + CHUNK_SIZE].copy_(source[start : start + CHUNK_SIZE])
    return converted.reshape(values.shape)
