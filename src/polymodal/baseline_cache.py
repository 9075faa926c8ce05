"""Fitted baselines kept beside decoded arrays: the next run on the same rows need not fit them again."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Column
from polymodal.baseline_features import FeatureBlocks
from polymodal.baselines import Baseline
from polymodal.cache import ArrayCache

FORMAT = 1
"""Part of every key; rises when baselines are fitted in another way."""
PLAIN = "plain"


def keep_baselines(cache: ArrayCache, given: Sequence[Any], fit: Callable[[], list[Baseline]]) -> list[Baseline]:
    """Return fitted baselines from the cache, or fit and keep them.

    Args:
        cache: Where they are kept.
        given: All that the fit depends on: features, arrays and plain values. The key is their content.
        fit: Fits them; called only where the cache has none that are whole.

    Returns:
        The baselines; those from the cache predict the same bits.
    """
    if cache.folder is None:
        return fit()
    kept, _ = cache.column(_key(given), lambda *_: (_pack(fit()), []))
    return _unpack(kept) or fit()


def _key(given: Sequence[Any]) -> str:
    digest = hashlib.sha256(f"baselines {FORMAT} lightgbm {version('lightgbm')}".encode())
    for value in given:
        for part in _parts(value):
            is_array = isinstance(part, np.ndarray)
            digest.update((f" {part.dtype.str} {part.shape} " if is_array else f" {part!r} ").encode())
            digest.update(np.ascontiguousarray(part).data if is_array else b"")
    return digest.hexdigest()


def _parts(value: Any) -> Iterator[Any]:
    if not isinstance(value, FeatureBlocks):
        yield value
        return
    yield from (value.dense, value.trees)
    if value.sparse is not None:
        yield from (value.sparse.shape, value.sparse.data, value.sparse.indices, value.sparse.indptr)


def _pack(baselines: list[Baseline]) -> Column:
    """Return one row of bytes: an archive of arrays, each with its checksum."""
    plain: list[dict[str, Any]] = []
    arrays: dict[str, NDArray[Any]] = {}
    for place, baseline in enumerate(baselines):
        state, found, texts = baseline.state()
        plain.append({"state": state, "texts": texts})
        arrays |= {f"{place}.{name}": array for name, array in found.items()}
    arrays[PLAIN] = np.frombuffer(json.dumps(plain).encode(), np.uint8)
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return Column(np.frombuffer(file.getvalue(), np.uint8)[None], np.ones(1, np.bool_))


def _unpack(kept: Column) -> list[Baseline]:
    """Return what was packed; nothing if the bytes are damaged."""
    try:
        with np.load(io.BytesIO(kept.values[0].tobytes()), allow_pickle=False) as file:
            arrays = dict(file)
        plain = json.loads(arrays.pop(PLAIN).tobytes())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return []
    return [
        Baseline.from_state(entry["state"], _under(arrays, f"{place}."), entry["texts"])
        for place, entry in enumerate(plain)
    ]


def _under(arrays: dict[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
