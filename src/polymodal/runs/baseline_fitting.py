"""The baselines of a run: fitted on training and validation rows, by cross-fitting."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from polymodal.config import RunConfig
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.tables.splits import group_text
from polymodal.ensemble.baseline_cache import TRUTH, FittedBaselines, Fold, content, load_or_fit_baselines
from polymodal.ensemble.baselines import Baseline, Floats
from polymodal.ensemble.cross_fitting import cross_fit_baselines, deal_folds, validation_fold
from polymodal.ensemble.features import FeatureBlocks, FeatureExtractor
from polymodal.model.batches import Examples, bytes_of_row
from polymodal.model.fit_ensemble import baseline_targets, sample_validation
from polymodal.runs.data_module import DataModule
from polymodal.targets import AnyTarget
from polymodal.targets.numeric import NumericTarget

TRAIN_ROWS = 100_000
"""Most training rows that baselines are fitted on."""
FITTED_BYTES = 2**30
"""Most bytes of the arrays that the features of the baselines are fitted on."""


def fit_baselines(
    data_module: DataModule,
    config: RunConfig,
    cache: ArrayCache,
    origins: Mapping[str, NDArray[np.int64]] | None = None,
) -> tuple[FittedBaselines | None, list[str]]:
    """Fit the baselines of every target of classes or numbers on samples of bounded size.

    Args:
        data_module: The run's data.
        config: The run's configuration.
        cache: Cache of fitted baselines.
        origins: Split to the table's row of each row of its columns, where some are copies; copies of a row stay in one
            fold. None: the rows of the columns are those of the table.

    Returns:
        The baselines with their folds, None without any; and sentences the user should read.
    """
    targets = baseline_targets(data_module.targets)
    if not config.baselines or not targets:
        return None, []
    splits = {split: examples.without_outputs() for split, examples in data_module.splits.items()}
    train = splits["train"].sample(TRAIN_ROWS, config.seed, list(targets))
    validation = sample_validation(splits["validation"], data_module.targets, config.seed)
    fitted_on = train.sample(max(1, FITTED_BYTES // bytes_of_row(train.columns)), config.seed, list(targets))
    shapes = {stream: column.take(slice(len(fitted_on))) for stream, column in fitted_on.columns.items()}
    unfitted = FeatureExtractor.unfitted(data_module.schema, data_module.preprocessor.modalities, shapes)
    notices = _notices(data_module, unfitted, len(train))
    if not unfitted.streams:
        return None, notices
    groups = _groups(data_module, {"train": train, "validation": validation}, config, origins)

    def fit() -> FittedBaselines:
        features = unfitted.fit(fitted_on.columns_in_use(), fitted_on.cells_in_use())
        blocks = FeatureBlocks.concatenate([_extract_features(features, part) for part in (train, validation)])
        fitted = {
            name: _fit_target(name, target, blocks, (train, validation), groups, config)
            for name, target in targets.items()
        }
        return FittedBaselines(
            features,
            {name: baselines for name, (baselines, _, _) in fitted.items()},
            {name: folds for name, (_, folds, _) in fitted.items()},
            {name: training_rows for name, (_, _, training_rows) in fitted.items()},
        )

    dependencies = _dependencies(unfitted, targets, (train, validation), groups, config)
    return load_or_fit_baselines(cache, dependencies, fit), notices


def _notices(data_module: DataModule, extractor: FeatureExtractor, used: int) -> list[str]:
    rows = len(data_module.splits["train"])
    notices = [f"The baselines were fitted on {used:,} of {rows:,} training rows."] if used < rows else []
    known = {features.stream for features in extractor.streams}
    return notices + [
        f"The baselines leave out the stream {stream.name!r}: {stream.modality!r} has no features for them."
        for stream in data_module.schema.streams
        if stream.name not in known
    ]


def _groups(
    data_module: DataModule,
    samples: Mapping[str, Examples],
    config: RunConfig,
    origins: Mapping[str, NDArray[np.int64]] | None,
) -> list[Hashable] | None:
    """Return the group of each row, or the row itself where it has none; None where each row is a group of its own."""
    if config.group is None and origins is None:
        return None
    rows_of = {s: sample.rows if origins is None else origins[s][sample.rows] for s, sample in samples.items()}
    found: list[Hashable] = []
    for split, rows in rows_of.items():
        cells = None if config.group is None else data_module.tables[split].columns.get(config.group)
        texts = [None if cells is None else group_text(cells[row]) for row in rows]
        found += [f"{split} {row}" if text is None else text for text, row in zip(texts, rows.tolist(), strict=True)]
    return found


def _dependencies(
    unfitted: FeatureExtractor,
    targets: Mapping[str, AnyTarget],
    samples: Sequence[Examples],
    groups: list[Hashable] | None,
    config: RunConfig,
) -> Iterator[Any]:
    """Yield all that fitted baselines depend on: their cache key."""
    yield from (unfitted, config.seed, _num_threads(config), config.time is None, groups)
    yield [(name, target.kind, target.classes) for name, target in targets.items()]
    for examples in samples:
        for name in targets:
            yield from (examples.truth[name], examples.known[name])
        for chunk in examples.chunks():
            yield from content(chunk.columns_in_use(), chunk.cells_in_use(), unfitted.cell_columns)


def _num_threads(config: RunConfig) -> int:
    return config.num_threads or torch.get_num_threads()


def _extract_features(extractor: FeatureExtractor, examples: Examples) -> FeatureBlocks:
    chunks = [extractor.transform(chunk.columns_in_use(), chunk.cells_in_use()) for chunk in examples.chunks()]
    return FeatureBlocks.concatenate(chunks)


def _fit_target(
    name: str,
    target: AnyTarget,
    features: FeatureBlocks,
    samples: tuple[Examples, Examples],
    groups: list[Hashable] | None,
    config: RunConfig,
) -> tuple[list[Baseline], list[Fold], dict[str, Floats]]:
    """Fit the baselines where the target is known, and predict the training rows that a fold held out.

    Rows split by time are one fold.
    """
    known = np.concatenate([examples.known[name] for examples in samples])
    truth, kind, num_classes = _encoded(target, np.concatenate([examples.truth[name] for examples in samples])[known])
    rows, num_train, features = np.flatnonzero(known), len(samples[0]), features.take(known)
    is_validation = rows >= num_train
    if config.time is None:
        of_rows = None if groups is None else [groups[row] for row in rows.tolist()]
        folds = deal_folds(truth, is_validation, of_rows, config.seed)
    else:
        folds = validation_fold(is_validation)
    fitted = cross_fit_baselines(kind, num_classes, features, truth, folds, config.seed, _num_threads(config))
    pairs = list(zip(folds, fitted.folds, strict=True))
    places = [(rows[fold[is_validation[fold]]] - num_train, baselines) for fold, baselines in pairs]
    in_training = [(fold[~is_validation[fold]], baselines) for fold, baselines in pairs]
    return (
        fitted.baselines,
        [Fold(of_fold, baselines) for of_fold, baselines in places if len(of_fold)],
        _predict_training_rows(features, truth, in_training),
    )


def _encoded(target: AnyTarget, truth: NDArray[Any]) -> tuple[NDArray[Any], str, int]:
    """Return the truth as baselines predict it, its kind, and the number of classes, labels or numbers."""
    if isinstance(target, NumericTarget):
        numbers = target.truth_numbers(truth)
        return numbers, "numbers", numbers.shape[1]
    return truth, target.kind, len(target.classes or ()) or 1


def _predict_training_rows(
    features: FeatureBlocks,
    truth: NDArray[Any],
    folds: Sequence[tuple[NDArray[np.int64], list[Baseline]]],
) -> dict[str, Floats]:
    """Return each baseline's predictions of the training rows that a fold held out, and their ``truth``."""
    found: dict[str, list[Floats]] = {}
    for rows, baselines in folds:
        if len(rows):
            held_out = features.take(rows)
            found.setdefault(TRUTH, []).append(truth[rows])
            for baseline in baselines:
                found.setdefault(baseline.name, []).append(baseline.predict(held_out))
    return {name: np.concatenate(parts) for name, parts in found.items()}
