"""What a second run on the same rows does not do again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import polymodal
from polymodal.arrays import Column
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.schema.schema import Schema, StreamSchema
from polymodal.ensemble.baseline_cache import (
    BaselinePredictions,
    FittedBaselines,
    Fold,
    content,
    load_or_fit_baselines,
    out_of_fold_predictions,
    predict_baselines,
)
from polymodal.ensemble.cross_fitting import CrossFitted, cross_fit_baselines, deal_folds, validation_fold
from polymodal.ensemble.features import FeatureBlocks, FeatureExtractor
from polymodal.runs import baseline_fitting


def rows(num_rows: int, seed: int) -> tuple[dict[str, Column], dict[str, list[Any]], NDArray[np.int64]]:
    """Return a vector stream and a text stream that tell three classes apart, and the classes."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 3, num_rows)
    values = (truth[:, None] + random.normal(size=(num_rows, 4))).astype(np.float32)
    texts = [f"{['good', 'bad', 'fair'][kind]} {random.integers(9)}" for kind in truth]
    is_present = np.ones(num_rows, np.bool_)
    lengths = np.full(num_rows, 1, np.int64)
    columns = {
        "size": Column(values, is_present),
        "said": Column(np.zeros((num_rows, 2), np.int32), is_present, lengths),
    }
    return columns, {"said": texts}, truth


SCHEMA = Schema((), (StreamSchema("size", "vector", ("size",)), StreamSchema("said", "text", ("said",))))


class Fit:
    """Fits baselines and counts how often."""

    def __init__(self, seed: int = 0) -> None:
        self.train, self.validation, self.seed, self.count = rows(120, 1), rows(40, 2), seed, 0

    def given(self) -> Iterator[Any]:
        yield self.seed
        for columns, cells, truth in (self.train, self.validation):
            yield from (truth, *content(columns, cells, ["said"]))

    def __call__(self) -> FittedBaselines:
        self.count += 1
        (columns, cells, truth), (others, other_cells, other_truth) = self.train, self.validation
        features = FeatureExtractor.unfitted(SCHEMA, {"size": None, "said": None}, columns).fit(columns, cells)
        both = FeatureBlocks.concatenate([features.transform(columns, cells), features.transform(others, other_cells)])
        is_validation, known = np.arange(160) >= 120, np.concatenate([truth, other_truth])
        held_out = deal_folds(known, is_validation, None, self.seed)
        found = cross_fit_baselines("category", 3, both, known, held_out, self.seed, budget_s=0.1)
        pairs = zip(held_out, found.folds, strict=True)
        folds = [Fold(rows[is_validation[rows]] - 120, baselines) for rows, baselines in pairs]
        return FittedBaselines(features, {"kind": found.baselines}, {"kind": folds})

    def kept(self, cache: ArrayCache) -> FittedBaselines:
        return load_or_fit_baselines(cache, self.given(), self)


class Counting(FeatureExtractor):
    """Makes features and counts how often."""

    count = 0

    def transform_masked(self, *arguments: Any) -> Any:
        Counting.count += 1
        return super().transform_masked(*arguments)


class Ask:
    """Asks baselines about rows and counts how often it had to."""

    def __init__(self, fitted: FittedBaselines, views: list[list[str]]) -> None:
        self.fitted, self.rows, Counting.count = fitted, rows(30, 3), 0
        self.views = [frozenset(view) for view in views]

    def kept(self, cache: ArrayCache) -> list[BaselinePredictions]:
        counting = FittedBaselines(Counting(self.fitted.features.streams), self.fitted.baselines)
        return predict_baselines(counting, *self.rows[:2], self.views, cache)

    def __call__(self) -> list[BaselinePredictions]:
        return self.kept(ArrayCache(None))

    @property
    def count(self) -> int:
        return Counting.count


def spoil(folder: Path) -> None:
    """Change a byte in the midst of the one entry."""
    (values,) = folder.glob("*/values.npy")
    bytes_ = bytearray(values.read_bytes())
    bytes_[len(bytes_) // 2] ^= 255
    values.write_bytes(bytes_)


def same(one: list[BaselinePredictions], other: list[BaselinePredictions]) -> bool:
    return all(
        np.array_equal(values, b["kind"][name])
        for a, b in zip(one, other, strict=True)
        for name, values in a["kind"].items()
    )


def test_baselines_are_fitted_once_and_come_back_bit_identical(tmp_path: Path) -> None:
    fit, cache = Fit(), ArrayCache(tmp_path)
    fitted = [fit.kept(cache), fit.kept(cache), Fit()()]
    assert fit.count == 1
    said = [Ask(found, [[], ["size"], ["said"]])() for found in fitted]
    assert list(said[0][0]["kind"]) == ["prior", "linear", "boosting"]
    assert same(said[0], said[1])
    assert same(said[0], said[2])


def test_validation_rows_are_predicted_by_baselines_that_did_not_see_them(tmp_path: Path) -> None:
    cache, masks = ArrayCache(tmp_path), [frozenset[str](), frozenset({"size"})]
    Fit().kept(cache)
    fit = Fit()
    fitted, (columns, cells, _) = fit.kept(cache), fit.validation
    assert sorted(np.concatenate([fold.rows for fold in fitted.folds["kind"]])) == list(range(40))
    whole = out_of_fold_predictions(fitted, columns, cells, masks)
    refitted = predict_baselines(fitted, columns, cells, masks, ArrayCache(None))
    fold = fitted.folds["kind"][1]
    blocks = fitted.features.transform_masked(columns, cells, masks)
    for found, full, features in zip(whole, refitted, blocks, strict=True):
        for baseline in fold.baselines:
            expected = baseline.predict(features.take(fold.rows))
            np.testing.assert_allclose(found["kind"][baseline.name][fold.rows], expected, rtol=1e-6)
            assert (found["kind"][baseline.name] != full["kind"][baseline.name]).any()
    part = {name: column.take(slice(30, 40)) for name, column in columns.items()}
    last = out_of_fold_predictions(fitted, part, {"said": cells["said"][30:]}, masks, first_row=30)
    assert last[1]["kind"]["linear"] == pytest.approx(whole[1]["kind"]["linear"][30:], rel=1e-5)
    unknown = replace(fitted, folds={"kind": []})
    assert same(out_of_fold_predictions(unknown, columns, cells, masks), refitted)


@pytest.mark.parametrize(
    ("num_rows", "sizes"), [(3, [1] * 3), (23, [5, 5, 5, 4, 4]), (6_000, [2_000] * 3), (16_000, [1_000])]
)
def test_rows_are_dealt_to_folds_of_one_size(num_rows: int, sizes: list[int]) -> None:
    truth, is_validation = np.arange(num_rows) % 4, np.arange(num_rows) >= num_rows - 1_000
    folds = deal_folds(truth, is_validation, None, 0)
    assert sorted((len(fold) for fold in folds), reverse=True) == sizes
    if len(folds) > 1:
        assert sorted(row for fold in folds for row in fold) == list(range(num_rows))
    for fold in folds if num_rows > 3 else []:
        assert len(set(truth[fold])) == 4
        assert is_validation[fold].any()


def test_rows_of_a_group_are_in_one_fold_and_rows_in_order_of_time_are_one() -> None:
    groups = [f"g{row % 7}" for row in range(50)]
    is_validation = np.arange(50) >= 40
    folds = deal_folds(np.arange(50) / 50, is_validation, groups, 0)
    assert len(folds) == 5
    assert sum(len({groups[row] for row in fold}) for fold in folds) == 7
    (fold,) = validation_fold(is_validation)
    assert list(fold) == list(range(40, 50))
    assert deal_folds(np.zeros(10), is_validation[:10], ["one"] * 10, 0) == []


def change(fit: Fit, place: str) -> None:
    """Change one thing that the fit depends on."""
    columns, cells, truth = fit.train
    if place == "seed":
        fit.seed = 1
    elif place == "truth":
        truth[0] = (truth[0] + 1) % 3
    elif place == "text":
        cells["said"][5] += "!"
    elif place == "value":
        columns["size"].values[0, 0] += 1
    elif place == "present":
        columns["said"].present[0] = False
    elif place == "lengths":
        columns["said"] = replace(columns["said"], lengths=np.full(120, 2, np.int64))
    else:
        fit.validation = rows(40, 4)


@pytest.mark.parametrize("place", ["seed", "truth", "text", "value", "present", "lengths", "validation"])
def test_anything_that_the_fit_depends_on_changes_the_key(tmp_path: Path, place: str) -> None:
    cache, fit = ArrayCache(tmp_path), Fit()
    Fit().kept(cache)
    change(fit, place)
    fit.kept(cache)
    assert fit.count == 1


def test_damaged_baselines_are_fitted_again(tmp_path: Path) -> None:
    fit, cache = Fit(), ArrayCache(tmp_path)
    fit.kept(cache)
    spoil(tmp_path)
    assert [baseline.name for baseline in fit.kept(cache).baselines["kind"]] == ["prior", "linear", "boosting"]
    assert fit.count == 2


def test_baselines_are_asked_once_about_the_same_rows(tmp_path: Path) -> None:
    ask, cache = Ask(Fit()(), [[], ["size"]]), ArrayCache(tmp_path)
    assert same(ask.kept(cache), ask.kept(cache))
    assert ask.count == 1
    spoil(tmp_path)
    assert same(ask.kept(cache), ask())
    assert ask.count == 3


@pytest.mark.parametrize("place", ["baselines", "views", "rows", "text"])
def test_anything_that_an_answer_depends_on_changes_the_key(tmp_path: Path, place: str) -> None:
    cache, fitted = ArrayCache(tmp_path), Fit()()
    Ask(fitted, [[], ["size"]]).kept(cache)
    ask = Ask(Fit(1)() if place == "baselines" else fitted, [["size"], []] if place == "views" else [[], ["size"]])
    if place == "rows":
        ask.rows = rows(30, 5)
    if place == "text":
        ask.rows[1]["said"][0] = "fair"
    ask.kept(cache)
    assert ask.count == 1


def test_without_a_cache_baselines_are_fitted_and_asked_and_nothing_is_kept() -> None:
    fit, cache = Fit(), ArrayCache(None)
    ask = Ask(fit.kept(cache), [[]])
    fit.kept(cache)
    assert same(ask.kept(cache), ask.kept(cache))
    assert (fit.count, ask.count) == (2, 2)


def test_a_second_run_on_the_same_rows_neither_fits_nor_asks_baselines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYMODAL_CACHE", str(tmp_path / "cache"))
    counted: list[str] = []

    def counting(*arguments: Any) -> CrossFitted:
        counted.append("fit")
        return cross_fit_baselines(*arguments)

    def transforming(self: FeatureExtractor, *arguments: Any) -> Any:
        counted.append("features")
        return transform(self, *arguments)

    transform = FeatureExtractor.transform_masked
    monkeypatch.setattr(baseline_fitting, "cross_fit_baselines", counting)
    monkeypatch.setattr(FeatureExtractor, "transform_masked", transforming)
    random = np.random.default_rng(0)
    kind = random.integers(0, 3, 90)
    table = {"size": (kind + random.random(90)).tolist(), "kind": [f"k{k}" for k in kind]}
    settings = {"train.epochs": 1, "width": 16, "num_threads": 1}
    first = polymodal.fit(table, target="kind", settings=settings).summary()
    asked = len(counted)
    assert counted.count("fit") == 1
    assert asked > 1
    assert polymodal.fit(table, target="kind", settings=settings).summary()["baselines"] == first["baselines"]
    assert len(counted) == asked
