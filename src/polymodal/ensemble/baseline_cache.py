"""Caching of fitted baselines and of their predictions, in the cache of decoded arrays."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell, Column, arrays_under, put_under
from polymodal.data.cache.cache import ArrayCache, content_key
from polymodal.ensemble.baselines import Baseline
from polymodal.ensemble.features import FeatureBlocks, FeatureExtractor

FORMAT = 10
"""Part of every key; is increased when features, fitting or prediction of the baselines change."""
NO_CACHE = ArrayCache(None)
JSON_KEY = "plain"
TRUTH = "truth"
T = TypeVar("T")
Arrays = dict[str, NDArray[Any]]
BaselinePredictions = dict[str, dict[str, NDArray[np.float64]]]
"""Flat target to baseline to predictions."""


@dataclass(frozen=True)
class Fold:
    """Validation rows, and the baselines that were fitted without them.

    Attributes:
        rows: int64, places among the validation rows that baselines and ensembles are fitted on.
        baselines: One for each baseline of the target, of the same name.
    """

    rows: NDArray[np.int64]
    baselines: list[Baseline]


@dataclass(frozen=True)
class FittedBaselines:
    """Baselines and the features that they read.

    Attributes:
        features: Cheap features of every stream.
        baselines: Flat target to its baselines, fitted on training and validation rows.
        folds: Flat target to its folds, which are not part of a saved model.
        training_rows: Flat target to each baseline's predictions of training rows, by the fold that held them out, and
            to their ``TRUTH``; empty where folds hold out validation rows only.
    """

    features: FeatureExtractor
    baselines: dict[str, list[Baseline]]
    folds: dict[str, list[Fold]] = field(default_factory=dict)
    training_rows: dict[str, Arrays] = field(default_factory=dict)


def load_or_fit_baselines(
    cache: ArrayCache, dependencies: Iterable[Any], fit: Callable[[], FittedBaselines]
) -> FittedBaselines:
    """Load fitted baselines from the cache, or fit and store them.

    Args:
        cache: The cache.
        dependencies: Arrays and plain values that the fit depends on; their content is the key.
        fit: Fits the baselines; called only if the cache has no valid entry.

    Returns:
        The baselines; those from the cache predict the same bits.
    """
    return _cached(cache, "baselines", dependencies, fit, _state, _from_state)


def predict_baselines(
    fitted: FittedBaselines,
    columns: Mapping[str, Column],
    cells: Mapping[str, Sequence[Cell]],
    masks: Sequence[frozenset[str]],
    cache: ArrayCache,
) -> list[BaselinePredictions]:
    """Predict rows with the baselines, or load the predictions from the cache.

    Args:
        fitted: The baselines.
        columns: Stream to arrays.
        cells: Column to raw cells.
        masks: Sets of streams that are masked, one set per result.
        cache: The cache.

    Returns:
        The predictions, one per mask.
    """
    forms = frozenset(
        form for baselines in fitted.baselines.values() for baseline in baselines for form in baseline.forms
    )
    if not forms:
        return [{} for _ in masks]

    def predict() -> list[BaselinePredictions]:
        targets = fitted.baselines.items()
        return [
            {name: {baseline.name: baseline.predict(features) for baseline in baselines} for name, baselines in targets}
            for features in fitted.features.transform_masked(columns, cells, masks, forms)
        ]

    dependencies = _prediction_dependencies(fitted, columns, cells, masks)
    return _cached(cache, "predictions", dependencies, predict, _to_arrays, _from_arrays)


def out_of_fold_predictions(
    fitted: FittedBaselines,
    columns: Mapping[str, Column],
    cells: Mapping[str, Sequence[Cell]],
    masks: Sequence[frozenset[str]],
    first_row: int = 0,
    cache: ArrayCache = NO_CACHE,
) -> list[BaselinePredictions]:
    """Predict validation rows, each with the baselines that were fitted without it, or load the predictions.

    Args:
        fitted: The baselines and their folds.
        columns: Stream to arrays of consecutive validation rows.
        cells: Column to raw cells of the same rows.
        masks: Sets of streams that are masked, one set per result.
        first_row: Place of the first of these rows among the validation rows that the folds name.
        cache: The cache.

    Returns:
        The predictions, one per mask. Rows of no fold, whose target is unknown, are predicted by the baselines of all
        rows.
    """
    places = np.arange(first_row, first_row + len(next(iter(columns.values()))))
    targets = fitted.baselines.items()

    def predict() -> list[BaselinePredictions]:
        return [
            {name: _out_of_fold(baselines, fitted.folds.get(name, []), features, places) for name, baselines in targets}
            for features in fitted.features.transform_masked(columns, cells, masks)
        ]

    dependencies = _prediction_dependencies(fitted, columns, cells, masks, first_row)
    return _cached(cache, "out-of-fold predictions", dependencies, predict, _to_arrays, _from_arrays)


def _prediction_dependencies(
    fitted: FittedBaselines,
    columns: Mapping[str, Column],
    cells: Mapping[str, Sequence[Cell]],
    masks: Sequence[frozenset[str]],
    first_row: int = 0,
) -> Iterator[Any]:
    plain, arrays = _state(fitted)
    yield from (plain, [sorted(mask) for mask in masks], first_row)
    for name, array in arrays.items():
        yield from (name, array)
    yield from content(columns, cells, fitted.features.cell_columns)


def _out_of_fold(
    baselines: Sequence[Baseline], folds: Sequence[Fold], features: FeatureBlocks, places: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    predictions = {baseline.name: baseline.predict(features) for baseline in baselines}
    for fold in folds:
        rows = np.flatnonzero(np.isin(places, fold.rows))
        if len(rows):
            held_out = features.take(rows)
            for baseline in fold.baselines:
                predictions[baseline.name][rows] = baseline.predict(held_out)
    return predictions


def content(columns: Mapping[str, Column], cells: Mapping[str, Sequence[Cell]], read: Sequence[str]) -> Iterator[Any]:
    """Yield everything that baselines read of some rows.

    Args:
        columns: Stream to arrays.
        cells: Column to raw cells.
        read: Columns whose raw cells are read.

    Yields:
        Arrays and plain values.
    """
    for name, column in columns.items():
        yield from (name, column.values, column.present, column.lengths)
    for name in read:
        yield from (name, _as_array(list(cells.get(name, ()))))


def _as_array(cells: list[Cell]) -> Any:
    """Return numbers as an array, which is hashed faster; other cells as they are."""
    try:
        return np.array(cells, np.float64)
    except (TypeError, ValueError, OverflowError):
        return cells


def _cached(
    cache: ArrayCache,
    kind: str,
    dependencies: Iterable[Any],
    compute: Callable[[], T],
    to_state: Callable[[T], tuple[Any, Arrays]],
    from_state: Callable[[Any, Arrays], T],
) -> T:
    """Return the cached result for these dependencies, or compute and store it; a damaged entry is computed again."""
    if cache.folder is None:
        return compute()
    key = content_key(f"{kind} {FORMAT} lightgbm {version('lightgbm')}", dependencies)
    packed, _ = cache.column(key, lambda *_: (_pack(*to_state(compute())), []))
    unpacked = _unpack(packed)
    return compute() if unpacked is None else from_state(*unpacked)


def _state(fitted: FittedBaselines) -> tuple[dict[str, Any], Arrays]:
    """Return fitted baselines and their folds as plain JSON and named arrays."""
    features, feature_arrays = fitted.features.state()
    arrays = put_under(feature_arrays, "features.")
    targets: dict[str, list[dict[str, Any]]] = {}
    folds: dict[str, list[list[dict[str, Any]]]] = {}
    for number, (target, baselines) in enumerate(fitted.baselines.items()):
        targets[target] = _baseline_states(baselines, f"{number}.", arrays)
        folds[target] = []
        for place, fold in enumerate(fitted.folds.get(target, [])):
            arrays[f"{number}.fold{place}.rows"] = fold.rows
            folds[target].append(_baseline_states(fold.baselines, f"{number}.fold{place}.", arrays))
        of_rows = fitted.training_rows.get(target, {})
        arrays |= put_under(of_rows, f"{number}.training.")
    return {"features": features, "targets": targets, "folds": folds}, arrays


def _baseline_states(baselines: Sequence[Baseline], prefix: str, arrays: Arrays) -> list[dict[str, Any]]:
    """Return the plain states, and add the arrays under a prefix."""
    states = []
    for place, baseline in enumerate(baselines):
        state, own_arrays, texts = baseline.state()
        states.append({"state": state, "texts": texts})
        arrays |= put_under(own_arrays, f"{prefix}{place}.")
    return states


def _from_state(plain: dict[str, Any], arrays: Arrays) -> FittedBaselines:
    features = FeatureExtractor.from_state(plain["features"], arrays_under(arrays, "features."))
    baselines, folds, training_rows = {}, {}, {}
    for number, (target, states) in enumerate(plain["targets"].items()):
        own = arrays_under(arrays, f"{number}.")
        baselines[target] = _baselines_from(states, own)
        folds[target] = [
            Fold(own[f"fold{place}.rows"], _baselines_from(of_fold, arrays_under(own, f"fold{place}.")))
            for place, of_fold in enumerate(plain["folds"][target])
        ]
        training_rows[target] = arrays_under(own, "training.")
    return FittedBaselines(features, baselines, folds, training_rows)


def _baselines_from(states: Sequence[dict[str, Any]], arrays: Arrays) -> list[Baseline]:
    return [
        Baseline.from_state(entry["state"], arrays_under(arrays, f"{place}."), entry["texts"])
        for place, entry in enumerate(states)
    ]


def _to_arrays(predictions: list[BaselinePredictions]) -> tuple[list[dict[str, list[str]]], Arrays]:
    """Return predictions as names and arrays in their order."""
    names = [{target: list(of_target) for target, of_target in of_mask.items()} for of_mask in predictions]
    values = [values for of_mask in predictions for of_target in of_mask.values() for values in of_target.values()]
    return names, {str(place): array for place, array in enumerate(values)}


def _from_arrays(names: list[dict[str, list[str]]], arrays: Arrays) -> list[BaselinePredictions]:
    values = iter(arrays.values())
    return [
        {target: {name: next(values) for name in of_target} for target, of_target in of_mask.items()}
        for of_mask in names
    ]


def _pack(plain: Any, arrays: Arrays) -> Column:
    """Return one row of bytes: an archive of arrays, each with its checksum."""
    file = io.BytesIO()
    text = np.frombuffer(json.dumps(plain).encode(), np.uint8)
    np.savez(file, allow_pickle=False, **{JSON_KEY: text, **arrays})
    return Column(np.frombuffer(file.getvalue(), np.uint8)[None], np.ones(1, np.bool_))


def _unpack(packed: Column) -> tuple[Any, Arrays] | None:
    """Return the packed content; None if the bytes are damaged."""
    try:
        with np.load(io.BytesIO(packed.values[0].tobytes()), allow_pickle=False) as file:
            arrays = dict(file)
        return json.loads(arrays.pop(JSON_KEY).tobytes()), arrays
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
