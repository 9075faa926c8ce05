"""Target encoding of categories: training rows are encoded by the rows outside their fold, all others by all of them.

Shape legend: N training rows, T numbers of the truth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell, Column
from polymodal.config import RunConfig
from polymodal.data.preprocessor import Preprocessor
from polymodal.data.tables.splits import group_text
from polymodal.data.tables.table import Table
from polymodal.errors import ConfigError, did_you_mean
from polymodal.modalities import Category, Modality, Tabular, TabularSettings, build_settings
from polymodal.modalities.category_encoding import CrossFitted, TargetMeans, check_count, cross_fit
from polymodal.targets import AnyTarget, CategoriesTarget, CategoryTarget, NumberTarget

NUM_FOLDS = 5
FLAT = (CategoryTarget, CategoriesTarget, NumberTarget)

Rows = NDArray[np.int64]
Truth = tuple[list[str], NDArray[np.float64], NDArray[np.bool_]]
"""Names of T numbers, the numbers ``[N, T]``, and a mask of the rows in which they are known ``[N]``."""


@dataclass(frozen=True)
class TargetEncodings:
    """Target encodings of the categories of a run.

    Attributes:
        folds: Fold of each row of the training table, int64; -1 of rows that are not trained on.
        modalities: Stream to its fitted modality, with the encodings of all training rows.
        encodings: Stream to category to its encodings.
    """

    folds: Rows
    modalities: Mapping[str, Tabular]
    encodings: Mapping[str, Mapping[str, CrossFitted]]

    def out_of_fold(self, columns: Mapping[str, Column], rows: Rows) -> dict[str, Column]:
        """Encode training rows by the rows outside their fold.

        Args:
            columns: Stream to arrays of some rows.
            rows: Which rows of the training table they are; those that are not trained on stay as they are.

        Returns:
            Stream to arrays.
        """
        found = dict(columns)
        for stream, encodings in self.encodings.items():
            column = columns[stream]
            values, present = column.values.copy(), column.present.copy()
            for fold in range(NUM_FOLDS):
                places = np.flatnonzero(self.folds[rows] == fold)
                of_fold = {name: crossed.of_folds[fold] for name, crossed in encodings.items()}
                part = self.modalities[stream].encoded_by(of_fold, column.take(places))
                values[places], present[places] = part.values, part.present
            found[stream] = Column(values, present)
        return found


def check_target_encodings(settings: Mapping[str, Mapping[str, Any]], targets: Mapping[str, AnyTarget]) -> None:
    """Check that there is a target that categories can be encoded by, before cells are read.

    Args:
        settings: Stream to options of its modality.
        targets: Name to fitted target.

    Raises:
        ConfigError: If there is none.
    """
    for stream, options in settings.items():
        if "target" in (options.get("encoding"), *dict(options.get("encodings") or {}).values()):
            _name_of_target(stream, options.get("encoding_target"), targets)


def _name_of_target(stream: str, given: str | None, targets: Mapping[str, AnyTarget]) -> str:
    flat = [name for name, target in targets.items() if isinstance(target, FLAT)]
    if not flat:
        raise ConfigError(
            f"settings.{stream}.encoding=target needs a category, labels or a number to predict, and this run has "
            "none. Choose one_hot, ordinal or embedding."
        )
    if given is not None and given not in flat:
        advice = did_you_mean(given, flat, "Targets that it can be are")
        raise ConfigError(f"settings.{stream}.encoding_target names {given!r}. {advice}")
    return given or flat[0]


def fit_target_encodings(
    preprocessor: Preprocessor,
    table: Table,
    rows: Rows,
    targets: Mapping[str, AnyTarget],
    settings: Mapping[str, Mapping[str, Any]],
    config: RunConfig,
) -> tuple[Preprocessor, TargetEncodings | None]:
    """Fit the target encodings that the options ask for.

    Args:
        preprocessor: Fitted on the training rows.
        table: The training table.
        rows: Its training rows.
        targets: Name to fitted target.
        settings: Stream to options of its modality.
        config: The run's configuration; rows of a group stay in one fold.

    Returns:
        The preprocessor with the encodings of all training rows, and those of the folds; None where none is asked for.

    Raises:
        ConfigError: If an encoding would make too many numbers.
    """
    asked = {stream: _asked(preprocessor, stream, options) for stream, options in settings.items()}
    asked = {stream: categories for stream, categories in asked.items() if categories}
    if not asked:
        return preprocessor, None
    folds = np.full(table.num_rows, -1, np.int64)
    folds[rows] = _deal(table.take(rows), config)
    training = preprocessor.schema.with_derived(table.take(rows))
    encodings = {
        stream: _fit_stream(stream, categories, training, folds[rows], targets, settings[stream])
        for stream, categories in asked.items()
    }
    modalities = {
        stream: _with_encodings(preprocessor.modalities[stream], found) for stream, found in encodings.items()
    }
    encoded = replace(preprocessor, modalities={**preprocessor.modalities, **modalities})
    return encoded, TargetEncodings(folds, modalities, encodings)


def _asked(preprocessor: Preprocessor, stream: str, options: Mapping[str, Any]) -> dict[str, Category]:
    modality = preprocessor.modalities[stream]
    if not isinstance(modality, Tabular):
        return {}
    settings = _tabular_settings(options)
    members = {name: member for name, member in modality.members.items() if isinstance(member, Category)}
    return {name: member for name, member in members.items() if settings.encoding_of(name) == "target"}


def _tabular_settings(options: Mapping[str, Any]) -> TabularSettings:
    settings = build_settings(Tabular.name, options)
    assert isinstance(settings, TabularSettings)
    return settings


def _deal(training: Table, config: RunConfig) -> Rows:
    """Deal rows to folds at random; those of a group stay together."""
    keys = np.arange(training.num_rows)
    if config.group is not None:
        texts = [group_text(cell) or f"row {row}" for row, cell in enumerate(training.columns[config.group])]
        keys = np.unique(texts, return_inverse=True)[1]
    order = np.random.default_rng(config.seed).permutation(int(keys.max(initial=-1)) + 1)
    return (order % NUM_FOLDS)[keys]


def _fit_stream(
    stream: str,
    categories: Mapping[str, Category],
    training: Table,
    folds: Rows,
    targets: Mapping[str, AnyTarget],
    options: Mapping[str, Any],
) -> dict[str, CrossFitted]:
    settings = _tabular_settings(options)
    target = _name_of_target(stream, settings.encoding_target, targets)
    names, truth, is_known = _truth(target, targets[target], training.columns[target])
    found = {}
    for name, member in categories.items():
        check_count(name, "target", len(names))
        column, _ = member.transform(training.columns[name], None)
        used = np.flatnonzero(column.present & is_known)
        means = TargetMeans(names, len(member.values), settings.smoothing)
        found[name] = cross_fit(means, column.values[used], truth[used], folds[used], NUM_FOLDS)
    return found


def _truth(name: str, target: AnyTarget, cells: Sequence[Cell]) -> Truth:
    """Return what is averaged: shares of classes (of two the second), of labels, or numbers."""
    assert isinstance(target, FLAT)
    values, is_known = target.encode(cells)
    if isinstance(target, NumberTarget):
        return [f"mean {name}"], np.asarray(values, np.float64)[:, None], is_known
    if isinstance(target, CategoryTarget):
        values = np.eye(len(target.names))[values]
    first = 1 if isinstance(target, CategoryTarget) and len(target.names) == 2 else 0
    names = [f"share of {name}={label}" for label in target.names[first:]]
    return names, np.asarray(values, np.float64)[:, first:], is_known


def _with_encodings(modality: Modality, found: Mapping[str, CrossFitted]) -> Tabular:
    """Return a modality with encodings, in the order of its columns."""
    assert isinstance(modality, Tabular)
    encodings = {**modality.encodings, **{name: crossed.encoding for name, crossed in found.items()}}
    return replace(modality, encodings={name: encodings[name] for name in modality.members if name in encodings})
