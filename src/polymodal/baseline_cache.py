"""Fitted baselines, and what they say of rows, kept beside decoded arrays: the next run need not ask them again."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell, Column
from polymodal.baseline_features import FeatureExtractor
from polymodal.baselines import Baseline
from polymodal.cache import ArrayCache

FORMAT = 2
"""Part of every key; rises when baselines are fitted, or predict, in another way."""
PLAIN = "plain"
Arrays = dict[str, NDArray[Any]]
BaselinePredictions = dict[str, dict[str, NDArray[np.float64]]]
"""Flat target to baseline to what it predicts."""


@dataclass(frozen=True)
class FittedBaselines:
    """Baselines and the features that they read.

    Attributes:
        features: Cheap features of every stream.
        baselines: Flat target to its baselines.
    """

    features: FeatureExtractor
    baselines: dict[str, list[Baseline]]


def keep_baselines(cache: ArrayCache, given: Iterable[Any], fit: Callable[[], FittedBaselines]) -> FittedBaselines:
    """Return fitted baselines from the cache, or fit and keep them.

    Args:
        cache: Where they are kept.
        given: All that the fit depends on: arrays and plain values. The key is their content.
        fit: Fits them; called only where the cache has none that are whole.

    Returns:
        The baselines; those from the cache predict the same bits.
    """
    if cache.folder is None:
        return fit()
    kept, _ = cache.column(_key("baselines", given), lambda *_: (_packed(*_state(fit())), []))
    found = _unpacked(kept)
    return fit() if found is None else _from_state(*found)


def keep_predictions(
    cache: ArrayCache, given: Iterable[Any], predict: Callable[[], list[BaselinePredictions]]
) -> list[BaselinePredictions]:
    """Return what baselines say of some rows from the cache, or ask them and keep it.

    Args:
        cache: Where it is kept.
        given: All that it depends on, the baselines' ``identity`` among it.
        predict: Asks them; called only where the cache has no whole answer.

    Returns:
        What ``predict`` returned, this time or another.
    """
    if cache.folder is None:
        return predict()
    kept, _ = cache.column(_key("predictions", given), lambda *_: (_packed(*_listed(predict())), []))
    found = _unpacked(kept)
    return predict() if found is None else _nested(*found)


def content(columns: Mapping[str, Column], cells: Mapping[str, Sequence[Cell]], texts: Sequence[str]) -> Iterator[Any]:
    """Yield all that baselines read of some rows.

    Args:
        columns: Stream to arrays.
        cells: Column to raw cells.
        texts: Columns whose cells are read as texts.

    Yields:
        Arrays and plain values.
    """
    for name, column in columns.items():
        yield from (name, column.values, column.present, column.lengths)
    for name in texts:
        yield from (name, list(cells.get(name, ())))


def identity(fitted: FittedBaselines) -> Iterator[Any]:
    """Yield what baselines are told apart by: all that they learnt.

    Args:
        fitted: The baselines.

    Yields:
        Arrays and plain values.
    """
    plain, arrays = _state(fitted)
    yield plain
    for name, array in arrays.items():
        yield from (name, array)


def _key(what: str, given: Iterable[Any]) -> str:
    digest = hashlib.sha256(f"{what} {FORMAT} lightgbm {version('lightgbm')}".encode())
    for part in given:
        is_array = isinstance(part, np.ndarray)
        digest.update((f" {part.dtype.str} {part.shape} " if is_array else f" {part!r} ").encode("utf-8", "replace"))
        digest.update(np.ascontiguousarray(part).data if is_array else b"")
    return digest.hexdigest()


def _state(fitted: FittedBaselines) -> tuple[dict[str, Any], Arrays]:
    """Return fitted baselines as plain JSON and named arrays."""
    plain, found = fitted.features.state()
    arrays = {f"features.{name}": array for name, array in found.items()}
    targets: dict[str, list[dict[str, Any]]] = {}
    for number, (target, baselines) in enumerate(fitted.baselines.items()):
        for place, baseline in enumerate(baselines):
            state, found, texts = baseline.state()
            targets.setdefault(target, []).append({"state": state, "texts": texts})
            arrays |= {f"{number}.{place}.{name}": array for name, array in found.items()}
    return {"features": plain, "targets": targets}, arrays


def _from_state(plain: dict[str, Any], arrays: Arrays) -> FittedBaselines:
    features = FeatureExtractor.from_state(plain["features"], _under(arrays, "features."))
    baselines = {
        target: [
            Baseline.from_state(entry["state"], _under(arrays, f"{number}.{place}."), entry["texts"])
            for place, entry in enumerate(entries)
        ]
        for number, (target, entries) in enumerate(plain["targets"].items())
    }
    return FittedBaselines(features, baselines)


def _listed(predictions: list[BaselinePredictions]) -> tuple[list[dict[str, list[str]]], Arrays]:
    """Return predictions as names and arrays in their order."""
    names = [{target: list(found) for target, found in said.items()} for said in predictions]
    values = [values for said in predictions for found in said.values() for values in found.values()]
    return names, {str(place): array for place, array in enumerate(values)}


def _nested(names: list[dict[str, list[str]]], arrays: Arrays) -> list[BaselinePredictions]:
    values = iter(arrays.values())
    return [{target: {name: next(values) for name in found} for target, found in said.items()} for said in names]


def _packed(plain: Any, arrays: Arrays) -> Column:
    """Return one row of bytes: an archive of arrays, each with its checksum."""
    file = io.BytesIO()
    text = np.frombuffer(json.dumps(plain).encode(), np.uint8)
    np.savez(file, allow_pickle=False, **{PLAIN: text, **arrays})
    return Column(np.frombuffer(file.getvalue(), np.uint8)[None], np.ones(1, np.bool_))


def _unpacked(kept: Column) -> tuple[Any, Arrays] | None:
    """Return what was packed; None if the bytes are damaged."""
    try:
        with np.load(io.BytesIO(kept.values[0].tobytes()), allow_pickle=False) as file:
            arrays = dict(file)
        return json.loads(arrays.pop(PLAIN).tobytes()), arrays
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


def _under(arrays: Arrays, prefix: str) -> Arrays:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
