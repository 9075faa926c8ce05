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
from polymodal.ensemble.cross_fitting import NUM_FOLDS, ONE_FOLD_ROWS, cross_fit_baselines, deal_folds
from polymodal.ensemble.features import FeatureBlocks, FeatureExtractor
from polymodal.model.batches import Examples, bytes_of_row
from polymodal.model.fit_ensemble import sample_validation
from polymodal.runs.data_module import DataModule
from polymodal.targets import StructuredTarget, Target

TRAIN_ROWS = 100_000
"""Most training rows that baselines are fitted on."""
FITTED_BYTES = 2**30
"""Most bytes of the arrays that the features of the baselines are fitted on."""


def fit_baselines(
    data_module: DataModule, config: RunConfig, cache: ArrayCache
) -> tuple[FittedBaselines | None, list[str]]:
    """Fit the baselines of every flat target on a sample of the rows, so that time and memory are bounded.

    Args:
        data_module: The run's data.
        config: The run's configuration.
        cache: Cache of fitted baselines.

    Returns:
        The baselines with their folds, None without any; and sentences the user should read.
    """
    flat = {name: target for name, target in data_module.targets.items() if not isinstance(target, StructuredTarget)}
    if not config.baselines or not flat:
        return None, []
    splits = {split: examples.without_outputs() for split, examples in data_module.splits.items()}
    train = splits["train"].sample(TRAIN_ROWS, config.seed, list(flat))
    validation = sample_validation(splits["validation"], data_module.targets, config.seed)
    fitted_on = train.sample(max(1, FITTED_BYTES // bytes_of_row(train.columns)), config.seed, list(flat))
    shapes = {stream: column.take(slice(len(fitted_on))) for stream, column in fitted_on.columns.items()}
    unfitted = FeatureExtractor.unfitted(data_module.schema, data_module.preprocessor.modalities, shapes)
    notices = _notices(data_module, unfitted, len(train))
    if not unfitted.streams:
        return None, notices
    groups = _groups(data_module, (train, validation), config)

    def fit() -> FittedBaselines:
        features = unfitted.fit(fitted_on.columns_in_use(), fitted_on.cells_in_use())
        blocks = FeatureBlocks.concatenate([_extract_features(features, part) for part in (train, validation)])
        fitted = {name: _fit_target(name, flat[name], blocks, (train, validation), groups, config) for name in flat}
        return FittedBaselines(
            features,
            {name: baselines for name, (baselines, _, _) in fitted.items()},
            {name: folds for name, (_, folds, _) in fitted.items()},
            {name: training_rows for name, (_, _, training_rows) in fitted.items()},
        )

    dependencies = _dependencies(unfitted, flat, (train, validation), groups, config)
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


def _groups(data_module: DataModule, samples: Sequence[Examples], config: RunConfig) -> list[str | None] | None:
    """Return the group of each training and validation row; None where rows are not split by group."""
    if config.group is None:
        return None
    groups: list[str | None] = []
    for split, examples in zip(("train", "validation"), samples, strict=True):
        cells = data_module.tables[split].columns.get(config.group)
        groups += [None if cells is None else group_text(cells[row]) for row in examples.rows]
    return groups


def _dependencies(
    unfitted: FeatureExtractor,
    targets: Mapping[str, Target],
    samples: Sequence[Examples],
    groups: list[str | None] | None,
    config: RunConfig,
) -> Iterator[Any]:
    """Yield all that fitted baselines depend on: their cache key."""
    yield from (unfitted, config.seed, _num_threads(config), config.time is None, groups)
    yield [(name, target.kind, target.classes) for name, target in targets.items()]
    for examples in samples:
        for name in targets:
            yield from (examples.truth[name], examples.known[name])
        for chunk in examples.chunks():
            yield from content(chunk.columns_in_use(), chunk.cells_in_use(), unfitted.text_columns)


def _num_threads(config: RunConfig) -> int:
    return config.num_threads or torch.get_num_threads()


def _extract_features(extractor: FeatureExtractor, examples: Examples) -> FeatureBlocks:
    chunks = [extractor.transform(chunk.columns_in_use(), chunk.cells_in_use()) for chunk in examples.chunks()]
    return FeatureBlocks.concatenate(chunks)


def _fit_target(
    name: str,
    target: Target,
    features: FeatureBlocks,
    samples: tuple[Examples, Examples],
    groups: Sequence[Hashable] | None,
    config: RunConfig,
) -> tuple[list[Baseline], list[Fold], dict[str, Floats]]:
    """Fit the baselines where the target is known, and predict the training rows that a fold held out."""
    train, validation = (np.flatnonzero(examples.known[name]) for examples in samples)
    truth = np.concatenate([examples.truth[name][examples.known[name]] for examples in samples])
    known = np.concatenate([train, len(samples[0]) + validation])
    features = features.take(known)
    of_rows = None if groups is None else [groups[row] for row in known.tolist()]
    held_out = _hold_out(truth, len(train), of_rows, config)
    fitted = cross_fit_baselines(
        target.kind, len(target.classes or ()) or 1, features, truth, held_out, config.seed, _num_threads(config)
    )
    pairs = list(zip(held_out, fitted.folds, strict=True))
    folds = [Fold(validation[rows[rows >= len(train)] - len(train)], baselines) for rows, baselines in pairs]
    return fitted.baselines, folds, _predict_training_rows(features, truth, len(train), pairs)


def _hold_out(
    truth: NDArray[Any], num_train: int, groups: Sequence[Hashable] | None, config: RunConfig
) -> list[NDArray[np.int64]]:
    """Return what each fold holds out: all validation rows if they are many or split by time, else some of all rows."""
    num_validation = len(truth) - num_train
    if num_validation and (config.time is not None or num_validation >= ONE_FOLD_ROWS):
        return [np.arange(num_train, len(truth))]
    return deal_folds(truth, groups, config.seed, NUM_FOLDS)


def _predict_training_rows(
    features: FeatureBlocks,
    truth: NDArray[Any],
    num_train: int,
    folds: Sequence[tuple[NDArray[np.int64], list[Baseline]]],
) -> dict[str, Floats]:
    """Return each baseline's predictions of the training rows that a fold held out, and their ``truth``."""
    found: dict[str, list[Floats]] = {}
    for rows, baselines in folds:
        rows = rows[rows < num_train]
        if len(rows):
            held_out = features.take(rows)
            found.setdefault(TRUTH, []).append(truth[rows])
            for baseline in baselines:
                found.setdefault(baseline.name, []).append(baseline.predict(held_out))
    return {name: np.concatenate(parts) for name, parts in found.items()}
