"""Baselines learn from cheap features of any stream, never see absent cells, and come back bit-identical."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from polymodal.arrays import Column
from polymodal.data.schema.schema import Schema, StreamSchema
from polymodal.ensemble.audio_features import audio_features
from polymodal.ensemble.baselines import Baseline
from polymodal.ensemble.cross_fitting import cross_fit_baselines, deal_folds
from polymodal.ensemble.features import FeatureBlocks, FeatureExtractor
from polymodal.ensemble.image_features import thumbnails, video_features
from polymodal.ensemble.text_features import TextGrams, choose_units
from polymodal.metrics import score

NUM_ROWS = 120
STREAMS = (
    StreamSchema("image", "image", ("image",)),
    StreamSchema("sound", "audio", ("sound",)),
    StreamSchema("note", "text", ("note",)),
    StreamSchema("vector", "vector", ("vector",)),
    StreamSchema("tabular", "tabular", ("age", "colour")),
)
FIELDS = [{"name": "age", "kind": "number", "cardinality": 0}, {"name": "colour", "kind": "category", "cardinality": 4}]
MEMBERS = [{"column": field["name"], "modality": field["kind"]} for field in FIELDS]
TABLE_STATE = {"fields": FIELDS, "members": MEMBERS}
MODALITIES = {stream.name: SimpleNamespace(state=lambda: TABLE_STATE, channels=1, num_segments=1) for stream in STREAMS}
SCHEMA = Schema(columns=(), streams=STREAMS, targets=(), ignored=())
Cells = dict[str, list[Any]]


def table(truth: NDArray[np.int64], seed: int, share_absent: float = 0.2) -> tuple[dict[str, Column], Cells]:
    """Return columns of every modality that each say something about three classes."""
    generator = np.random.default_rng(seed)
    num_rows = len(truth)

    def is_present(*shape: int) -> NDArray[np.bool_]:
        return generator.random((num_rows, *shape)) >= share_absent

    image = generator.integers(0, 60, (num_rows, 32, 24, 1)).astype(np.uint8)
    image[np.arange(num_rows), 4 + truth * 8] += 190
    sound = generator.normal(size=(num_rows, 50, 16)).astype(np.float16)
    sound[np.arange(num_rows), :, truth * 4] += 2
    lengths = generator.integers(20, 51, num_rows)
    vector = generator.normal(size=(num_rows, 5)).astype(np.float32)
    vector[:, 0] += truth
    fields = np.stack([truth + generator.normal(size=num_rows), truth + 1], axis=1).astype(np.float32)
    words = ["a small red house", "the big green tree", "one old blue car"]
    note = is_present()
    columns = {
        "image": Column(image, is_present()),
        "sound": Column(sound, is_present(), lengths),
        "note": Column(np.zeros((num_rows, 1), np.int32), note),
        "vector": Column(vector, is_present()),
        "tabular": Column(fields, is_present(2)),
    }
    said = [words[kind] if seen else None for kind, seen in zip(truth, note, strict=True)]
    return columns, {"note": said, "age": fields[:, 0].tolist()}


def labels(seed: int, num_rows: int = NUM_ROWS, num_classes: int = 3) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(num_classes, size=num_rows)


@pytest.fixture(scope="module")
def extractor() -> FeatureExtractor:
    columns, cells = table(labels(0), 0)
    return FeatureExtractor.unfitted(SCHEMA, MODALITIES, columns).fit(columns, cells)


@pytest.fixture(scope="module")
def parts(extractor: FeatureExtractor) -> list[FeatureBlocks]:
    """Return features of training, validation and test rows, seeds 0 to 2."""
    return [extractor.transform(*table(labels(seed), seed)) for seed in range(3)]


def truth_of(kind: str, seed: int) -> NDArray[Any]:
    truth = labels(seed)
    if kind == "categories":
        return np.stack([truth == 0, truth >= 1], axis=1).astype(np.float64)
    if kind == "numbers":
        numbers = np.stack([truth * 10.0, 1e4 - truth], axis=1)
        numbers[::7, 0] = np.nan
        return numbers
    return truth * 10.0 + 5.0 if kind == "number" else truth


def fit(kind: str, parts: Sequence[FeatureBlocks]) -> dict[str, Baseline]:
    num_classes = {"category": 3, "categories": 2, "number": 1, "numbers": 2}[kind]
    features, truth = FeatureBlocks.concatenate(parts[:2]), np.concatenate([truth_of(kind, 0), truth_of(kind, 1)])
    held_out = [NUM_ROWS + np.arange(start, NUM_ROWS, 2) for start in range(2)]
    fitted = cross_fit_baselines(kind, num_classes, features, truth, held_out, budget_s=0.05)
    assert [[member.name for member in fold] for fold in fitted.folds] == [[b.name for b in fitted.baselines]] * 2
    return {baseline.name: baseline for baseline in fitted.baselines}


@pytest.mark.parametrize(("kind", "metric"), [("category", "accuracy"), ("categories", "accuracy"), ("number", "r2")])
def test_every_kind_of_target_is_learned(kind: str, metric: str, parts: list[FeatureBlocks]) -> None:
    found = fit(kind, parts)
    assert list(found) == ["prior", "linear", "boosting"]
    measured = {}
    for name, baseline in found.items():
        prediction = baseline.predict(parts[2])
        assert prediction.dtype == np.float64
        assert np.isfinite(prediction).all()
        measured[name] = score(kind, truth_of(kind, 2), prediction, ["a", "b", "c"])[metric]
    assert measured["linear"] > 0.9
    assert measured["boosting"] > 0.75
    assert measured["prior"] < measured["linear"] - 0.15


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 1.7e9), (1e-12, 0.0)])
def test_numbers_of_any_size_are_learned(scale: float, offset: float, parts: list[FeatureBlocks]) -> None:
    truth = scale * np.asarray(truth_of("number", 0)) + offset
    held_out = [np.arange(start, NUM_ROWS, 2) for start in range(2)]
    fitted = cross_fit_baselines("number", 1, parts[0], truth, held_out, budget_s=0.05)
    for baseline in fitted.baselines[1:]:
        error = baseline.predict(parts[0]) - truth
        assert np.var(error) < 0.5 * truth.var(), baseline.name


def test_several_numbers_are_learned_where_they_are_known(parts: list[FeatureBlocks]) -> None:
    truth, found = truth_of("numbers", 2), fit("numbers", parts)
    known = np.where(np.isnan(truth), np.nanmean(truth, axis=0), truth)
    for name in ("linear", "boosting"):
        error = found[name].predict(parts[2]) - known
        assert (error.var(axis=0) < 0.5 * known.var(axis=0)).all()
    assert found["prior"].predict(parts[2])[0] == pytest.approx(np.nanmean(truth, axis=0), rel=0.2)


def test_many_numbers_are_predicted_by_their_components_and_get_no_trees(parts: list[FeatureBlocks]) -> None:
    weights = np.random.default_rng(0).normal(size=(2, 200))
    truth = np.stack([labels(0), labels(0) == 1], axis=1) @ weights
    held_out = deal_folds(truth, np.arange(NUM_ROWS) > 90, None, 0)
    fitted = cross_fit_baselines("numbers", 200, parts[0], truth, held_out)
    assert [baseline.name for baseline in fitted.baselines] == ["prior", "linear"]
    plain, arrays, texts = fitted.baselines[1].state()
    found = Baseline.from_state(json.loads(json.dumps(plain)), arrays, texts).predict(parts[0])
    assert (found == fitted.baselines[1].predict(parts[0])).all()
    assert ((found - truth) ** 2).mean() < 0.2 * truth.var()


def test_the_logarithm_of_a_skewed_number_is_fitted_where_it_is_better() -> None:
    held_out = deal_folds(labels(0) / 1.0, np.arange(NUM_ROWS) > 90, None, 0)
    values = np.random.default_rng(0).normal(size=(NUM_ROWS, 3)).astype(np.float32)
    features, skewed = FeatureBlocks(values, None, values), np.exp(1.5 * values[:, 0].astype(np.float64))
    for truth, is_log in ((skewed, True), (skewed - 2 * skewed.max(), False)):
        for baseline in cross_fit_baselines("number", 1, features, truth, held_out, budget_s=0.2).baselines[1:]:
            plain, _, _ = baseline.state()
            assert ("largest" in plain) == is_log
            found = baseline.predict(features)
            assert np.corrcoef(found, truth)[0, 1] > 0.4
            assert found.max() <= max(2 * truth.max(), truth.max() / 2)


@pytest.mark.parametrize("kind", ["category", "categories", "number", "numbers"])
def test_a_saved_baseline_predicts_bit_identically(kind: str, parts: list[FeatureBlocks]) -> None:
    for baseline in fit(kind, parts).values():
        plain, arrays, texts = baseline.state()
        again = Baseline.from_state(json.loads(json.dumps(plain)), arrays, texts)
        assert again.name == baseline.name
        assert (again.predict(parts[2]) == baseline.predict(parts[2])).all()


def test_fitting_again_gives_the_same_baselines(parts: list[FeatureBlocks]) -> None:
    for first, second in zip(fit("category", parts).values(), fit("category", parts).values(), strict=True):
        assert (first.predict(parts[2]) == second.predict(parts[2])).all()


def test_a_saved_extractor_makes_bit_identical_features(extractor: FeatureExtractor) -> None:
    plain, arrays = extractor.state()
    again = FeatureExtractor.from_state(json.loads(json.dumps(plain)), arrays)
    first, second = (each.transform(*table(labels(5), 5)) for each in (extractor, again))
    assert (first.dense == second.dense).all()
    assert np.array_equal(first.sparse.to_dense(), second.sparse.to_dense())
    np.testing.assert_array_equal(first.trees, second.trees)


def test_the_value_of_an_absent_cell_changes_nothing(extractor: FeatureExtractor) -> None:
    columns, cells = table(labels(6), 6, share_absent=0.5)
    poisoned = {}
    for name, column in columns.items():
        values = column.values.copy()
        values[~column.present] = 7 if values.dtype.kind in "ui" else np.nan
        poisoned[name] = Column(values, column.present, column.lengths)
    ages = [age if seen else 1e9 for age, seen in zip(cells["age"], columns["tabular"].present[:, 0], strict=True)]
    other = {"note": [cell or "the big green tree" for cell in cells["note"]], "age": ages}
    first, second = extractor.transform(columns, cells), extractor.transform(poisoned, other)
    assert (first.dense == second.dense).all()
    assert np.array_equal(first.sparse.to_dense(), second.sparse.to_dense())
    np.testing.assert_array_equal(first.trees, second.trees)
    assert np.isfinite(first.dense).all()


def test_rows_without_anything_still_get_a_prediction(extractor: FeatureExtractor, parts: list[FeatureBlocks]) -> None:
    columns, _ = table(labels(7, 4), 7)
    empty = {name: column.without(np.ones(4, np.bool_)) for name, column in columns.items()}
    features = extractor.transform(empty, {})
    for baseline in fit("category", parts).values():
        prediction = baseline.predict(features)
        assert prediction.sum(axis=1) == pytest.approx(1.0)


def test_zero_rows_give_zero_predictions(extractor: FeatureExtractor, parts: list[FeatureBlocks]) -> None:
    columns, cells = table(labels(7, 4), 7)
    none = {name: column.take(slice(0, 0)) for name, column in columns.items()}
    features = extractor.transform(none, {name: cell[:0] for name, cell in cells.items()})
    for name, baseline in fit("category", parts).items():
        if name != "boosting":
            assert baseline.predict(features).shape == (0, 3)


def test_two_classes_and_few_rows_and_no_validation_rows_work(parts: list[FeatureBlocks]) -> None:
    truth = labels(0, num_classes=2)
    few = np.arange(6)
    for rows, expected in ((np.arange(NUM_ROWS), 3), (few, 2)):
        found = cross_fit_baselines("category", 2, parts[0].take(rows), truth[rows], [], budget_s=0.05)
        assert (len(found.baselines), found.folds) == (expected, [])
        for baseline in found.baselines:
            prediction = baseline.predict(parts[2])
            assert prediction.shape == (NUM_ROWS, 2)
            assert prediction.sum(axis=1) == pytest.approx(1.0)


def test_a_class_absent_from_training_is_possible_but_unlikely(parts: list[FeatureBlocks]) -> None:
    held_out = deal_folds(labels(0), np.zeros(NUM_ROWS, np.bool_), None, 0)
    for baseline in cross_fit_baselines("category", 4, parts[0], labels(0), held_out, budget_s=0.05).baselines:
        prediction = baseline.predict(parts[2])
        assert prediction.shape == (NUM_ROWS, 4)
        assert prediction[:, 3].max() < 0.05


def test_thumbnails_average_areas() -> None:
    picture = np.zeros((1, 56, 28, 1), np.uint8)
    picture[0, :2, :2] = 255
    features, num_pixels = thumbnails(Column(picture, np.array([True])), 28)
    assert num_pixels == 28 * 14
    assert features[0, 0] == pytest.approx(1.0)
    assert features.sum() == pytest.approx(1.0)
    small = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
    assert thumbnails(Column(small, np.array([True])), 28)[0] * 255 == pytest.approx(small.reshape(1, -1))


def test_videos_are_three_frames_and_where_they_move() -> None:
    values = np.zeros((3, 6, 8, 8, 1), np.uint8)
    values[0] = np.arange(6, dtype=np.uint8)[:, None, None, None] * 10
    values[1, :, 0, 0, 0] = [0, 255, 0, 255, 99, 99]
    values[2] = 77
    column = Column(values, np.array([True, True, False]), np.array([6, 4, 6]))
    features, num_pixels = video_features(column, 8)
    assert (features.shape, num_pixels) == ((3, 4 * 64), 3 * 64)
    assert features[0].reshape(4, 64)[:, 5] * 255 == pytest.approx([0, 20, 50, 10])
    assert features[1, 0::64] == pytest.approx([0, 1, 1, 1])
    assert features[1, 1::64] == pytest.approx([0, 0, 0, 0])
    assert not features[2].any()
    trees, _ = video_features(column, 8, with_differences=True)
    assert trees[0].reshape(6, 64)[:, 5] * 255 == pytest.approx([0, 20, 50, 20, 30, 10])
    assert video_features(column.take(slice(0, 0)), 8)[0].shape == (0, 4 * 64)
    still = Column(values[:, :1], column.present, np.ones(3, np.int64))
    assert not video_features(still, 8)[0][:, 3 * 64 :].any()


def test_sounds_are_stretched_to_one_length() -> None:
    ramp = np.repeat(np.arange(20, dtype=np.float16), 2)[:, None].repeat(8, axis=1)
    values = np.full((2, 60, 8), 99, np.float16)
    values[0, :20], values[1, :40] = ramp[::2], ramp
    features, num_pixels = audio_features(Column(values, np.array([True, True]), np.array([20, 40])))
    assert features[0, :num_pixels] == pytest.approx(np.repeat(np.arange(20), 8))
    assert features[1, :num_pixels] == pytest.approx(features[0, :num_pixels])


def test_n_grams_of_two_texts_are_weighed_the_rest_is_left_out() -> None:
    texts = ["The cat sat on the mat!", "the dog sat on the cat", "a dog, a cat and a mat", "", "not a known word"]
    grams = TextGrams.fit(texts, "word")
    assert grams.grams == ["a", "cat", "dog", "mat", "on", "on the", "sat", "sat on", "the", "the cat"]
    found = grams.transform([*texts, "never seen anywhere"]).to_dense()
    assert np.linalg.norm(found, axis=1) == pytest.approx([1, 1, 1, 0, 1, 0])
    assert grams.transform([]).shape == (0, 10)


@pytest.mark.parametrize("texts", [[], [""] * 3, ["one text"], ["each word is here", "these are four others"]])
def test_texts_without_anything_in_common_have_no_n_grams(texts: list[str]) -> None:
    grams = TextGrams.fit(texts, "word")
    assert grams.transform(["one text", ""]).shape == (2, 0)
    assert len(grams.frequent) == 0


def test_n_grams_of_models_saved_as_numbers_are_read() -> None:
    arrays = {"idf": np.ones(4, np.float32), "frequent": np.zeros(1, np.int64)}
    words = {"units": "word", "longest": 2, "vocabulary": ["the", "cat"]}
    read = TextGrams.from_state(words, {**arrays, "codes": np.array([1, 2, 1 * 3 + 2, 2 * 3 + 2])})
    assert read.grams == ["the", "cat", "the cat", "cat cat"]
    letters = {"units": "character", "longest": 3, "vocabulary": ["a", " "]}
    read = TextGrams.from_state(letters, {**arrays, "codes": np.array([1, 2, 2 * 3 + 1, 2 * 9 + 1 * 3 + 2])})
    assert read.grams == ["a", " ", " a", " a "]
    assert read.transform([" A"]).to_dense()[0] == pytest.approx([0.4129, 0.6990, 0.4129, 0.4129], abs=1e-4)


@pytest.mark.parametrize(
    ("texts", "units"),
    [
        (["what is the blue shape?", "is there a red circle?"], ("word", "part")),
        (["what is the blue shape?" * 50] * 2_100, ("word",)),
        (["seven", "sevn"], ("character",)),
        (["这件衣服的质量非常好,我很喜欢。", "物流太慢了,不推荐购买。"], ("character",)),
        (["อาหารอร่อยมาก บริการดี ราคาถูก", "อาหารเย็น บริการช้า ไม่แนะนำ"], ("character",)),
        (["とても美味しかったです。また来ます。", "まずくて遅かった。もう来ません。"], ("character",)),
        (["खाना बहुत अच्छा था", "सेवा बहुत ख़राब थी"], ("word", "part")),
        (["الطعام لذيذ جدا", "الخدمة سيئة جدا"], ("word", "part")),
        ([], ("word", "part")),
    ],
)
def test_short_and_unspaced_text_is_counted_in_characters(texts: list[str], units: tuple[str, ...]) -> None:
    assert choose_units(texts) == units


def test_leaf_species_are_told_from_numbers_alone(shared_data: Path) -> None:
    tables = []
    for split in ("train", "validation", "test"):
        with (shared_data / "leaf" / f"{split}.csv").open(encoding="utf-8", newline="") as file:
            tables.append(list(csv.DictReader(file)))
    names = [f"{group}{index}" for group in ("margin", "shape", "texture") for index in range(1, 65)]
    values = [np.array([[float(row[name]) for name in names] for row in rows], np.float32) for rows in tables]
    mean, deviation = values[0].mean(axis=0), values[0].std(axis=0) + 1e-9
    columns = [Column((part - mean) / deviation, np.ones(part.shape, np.bool_)) for part in values]
    fields = [{"name": name, "kind": "number", "cardinality": 0} for name in names]
    schema = Schema(columns=(), streams=(StreamSchema("tabular", "tabular", tuple(names)),), targets=(), ignored=())
    fitted = {"tabular": SimpleNamespace(state=lambda: {"fields": fields})}
    extractor = FeatureExtractor.unfitted(schema, fitted, {"tabular": columns[0]}).fit({"tabular": columns[0]}, {})
    train, validation, test = (extractor.transform({"tabular": column}, {}) for column in columns)
    species = sorted({row["species"] for row in tables[0]})
    truths = [np.array([species.index(row["species"]) for row in rows]) for rows in tables]
    both, known = FeatureBlocks.concatenate([train, validation]), np.concatenate(truths[:2])
    held_out = [np.arange(len(truths[0]), len(known))]
    fitted = cross_fit_baselines("category", 99, both, known, held_out, budget_s=0.1)
    linear = next(baseline for baseline in fitted.baselines if baseline.name == "linear")
    assert score("category", truths[2], linear.predict(test), species)["accuracy"] >= 0.98
