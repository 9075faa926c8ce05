"""Fitted baselines, and what they say of rows, kept beside decoded arrays: the next run need not ask them again."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell, Column, arrays_under
from polymodal.data.cache.cache import ArrayCache, content_key
from polymodal.ensemble.baselines import Baseline
from polymodal.ensemble.features import FeatureExtractor

FORMAT = 5
"""Part of every key; rises when features are made, or baselines fitted or asked, in another way."""
PLAIN = "plain"
T = TypeVar("T")
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


def load_or_fit_baselines(
    cache: ArrayCache, given: Iterable[Any], fit: Callable[[], FittedBaselines]
) -> FittedBaselines:
    """Return fitted baselines from the cache, or fit and keep them.

    Args:
        cache: Where they are kept.
        given: All that the fit depends on: arrays and plain values. The key is their content.
        fit: Fits them; called only where the cache has none that are whole.

    Returns:
        The baselines; those from the cache predict the same bits.
    """
    return _kept(cache, "baselines", given, fit, _state, _from_state)


def predict_baselines(
    fitted: FittedBaselines,
    columns: Mapping[str, Column],
    cells: Mapping[str, Sequence[Cell]],
    views: Sequence[frozenset[str]],
    cache: ArrayCache,
) -> list[BaselinePredictions]:
    """Ask baselines about rows, or return from the cache what they said of them.

    Args:
        fitted: The baselines.
        columns: Stream to arrays.
        cells: Column to raw cells.
        views: The streams to take away, each time.
        cache: Where the answers are kept.

    Returns:
        The predictions, once a view.
    """
    forms = frozenset(form for found in fitted.baselines.values() for baseline in found for form in baseline.forms)
    if not forms:
        return [{} for _ in views]

    def given() -> Iterator[Any]:
        plain, arrays = _state(fitted)
        yield from (plain, [sorted(view) for view in views])
        for name, array in arrays.items():
            yield from (name, array)
        yield from content(columns, cells, fitted.features.text_columns)

    def ask() -> list[BaselinePredictions]:
        asked = fitted.baselines.items()
        return [
            {name: {baseline.name: baseline.predict(blocks) for baseline in found} for name, found in asked}
            for blocks in fitted.features.transform_views(columns, cells, views, forms)
        ]

    return _kept(cache, "predictions", given(), ask, _listed, _nested)


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


def _kept(
    cache: ArrayCache,
    what: str,
    given: Iterable[Any],
    make: Callable[[], T],
    to_state: Callable[[T], tuple[Any, Arrays]],
    from_state: Callable[[Any, Arrays], T],
) -> T:
    """Return what is in the cache for what is given, or make and keep it; as if it were new where it is damaged."""
    if cache.folder is None:
        return make()
    key = content_key(f"{what} {FORMAT} lightgbm {version('lightgbm')}", given)
    kept, _ = cache.column(key, lambda *_: (_packed(*to_state(make())), []))
    found = _unpacked(kept)
    return make() if found is None else from_state(*found)


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
    features = FeatureExtractor.from_state(plain["features"], arrays_under(arrays, "features."))
    baselines = {
        target: [
            Baseline.from_state(entry["state"], arrays_under(arrays, f"{number}.{place}."), entry["texts"])
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
