"""Categories as numbers: one-hot, ordered, by the means of a target."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from polymodal.errors import ConfigError
from polymodal.modalities import Tabular, TabularSettings
from polymodal.modalities.category_encoding import TargetMeans, cross_fit
from polymodal.modalities.category_order import rank_values

CELLS: dict[str, list[Any]] = {
    "age": [1.0, 2.0, 3.0, 4.0],
    "size": ["S", "M", "S", None],
    "colour": ["red"] * 3 + ["b"],
}
KINDS: dict[str, Any] = {"age": "number", "size": "category", "colour": "category"}
NEW = {"age": [1.0] * 3, "size": ["M", "XL", None], "colour": ["red"] * 3}


def fitted(**options: Any) -> Tabular:
    return Tabular.fit(CELLS, TabularSettings(kinds=KINDS, **options), None)


def encoded(modality: Tabular, column: str) -> tuple[list[list[float]], list[list[bool]]]:
    """Return what encoders read of a column of the new rows."""
    found, _ = modality.transform(NEW, None)
    places = [place for place in modality.encoder_places if modality.fields[place].column == column]
    return found.values[:, places].tolist(), found.present[:, places].tolist()


def test_one_hot_has_a_number_for_each_value_and_zeros_for_unseen_ones() -> None:
    values, present = encoded(fitted(encoding="one_hot"), "size")
    assert values == [[0, 1], [0, 0], [0, 0]]  # S is the more frequent value
    assert present == [[True, True], [True, True], [False, False]]


def test_an_order_is_kept_and_unseen_values_count_as_absent() -> None:
    low, high = (fitted(encodings={"size": "ordinal"}, order={"size": order}) for order in (["S", "M"], ["M", "S"]))
    (first, *_), present = encoded(low, "size")
    (second, *_), _ = encoded(high, "size")
    assert first[0] > 0 > second[0]
    assert present == [[True], [False], [False]]


def test_numbers_among_values_are_sorted_as_numbers() -> None:
    assert rank_values("size", ["10", "9", "100"], None) == [1, 0, 2]
    assert rank_values("size", ["10", "9", "x"], None) == [0, 1, 2]
    assert rank_values("size", ["10", "9"], [9, 10, 11]) == [1, 0]


def test_only_what_is_asked_for_is_encoded() -> None:
    plain, some = fitted(), fitted(encodings={"size": "one_hot"})
    assert [field.name for field in plain.encoder_fields] == ["age", "size", "colour"]
    assert [field.name for field in some.encoder_fields] == ["age", "colour", "size: S", "size: M"]
    column, _ = some.transform(NEW, None)
    np.testing.assert_array_equal(column.values[:, :3], plain.transform(NEW, None)[0].values)


def test_encodings_are_plain_json() -> None:
    modality = fitted(encodings={"size": "one_hot", "colour": "ordinal"})
    again = Tabular.from_state(json.loads(json.dumps(modality.state())))
    assert encoded(again, "size") == encoded(modality, "size")
    assert encoded(again, "colour") == encoded(modality, "colour")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"encodings": {"siz": "ordinal"}}, "names 'siz', which is no category of the stream. Did you mean 'size'?"),
        ({"encodings": {"age": "one_hot"}}, "names 'age', which is no category"),
        ({"order": {"size": ["S", "M"]}}, "'size' has embedding"),
        ({"encoding": "ordinal", "order": {"size": ["S"]}}, "The order of 'size' lacks 'M'"),
        ({"encoding": "ordinal", "order": {"size": ["S", "M", "S"]}}, "names 'S' twice"),
        ({"encoding": "ordinal", "order": {"size": ["S", ["M"]]}}, "The order of 'size' is wrong"),
    ],
)
def test_what_cannot_be_encoded_is_said(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        fitted(**options)


def test_one_hot_has_a_limit() -> None:
    cells = {"code": [f"c{row}" for row in range(300)]}
    settings = TabularSettings(kinds={"code": "category"}, encoding="one_hot")
    with pytest.raises(ConfigError, match="makes 300 numbers of each 'code', at most 256"):
        Tabular.fit(cells, settings, None)
    Tabular.fit(cells, settings.model_copy(update={"max_values": 256}), None)


def test_there_must_be_a_category() -> None:
    with pytest.raises(ConfigError, match="the stream has no category"):
        Tabular.fit({"age": [1.0, 2.0]}, TabularSettings(kinds={"age": "number"}, encoding="target"), None)


def test_means_are_shrunk_towards_that_of_all_rows() -> None:
    codes, truth = np.array([1, 1, 1, 1, 2, 3]), np.array([[0.0], [0.0], [1.0], [0.0], [1.0], [1.0]])
    means = TargetMeans(["share"], 3, smoothing=2.0).fit(codes, truth)[:, 0]
    assert means.tolist() == pytest.approx([0.5, (1 + 2 * 0.5) / 6, (1 + 1) / 3, (1 + 1) / 3])


def test_a_row_does_not_see_its_own_truth() -> None:
    random = np.random.default_rng(0)
    codes, folds = random.integers(1, 40, 400), np.arange(400) % 5
    truth = random.normal(size=(400, 1))
    means = TargetMeans(["mean"], 40, smoothing=1.0)
    before = cross_fit(means, codes, truth, folds, 5)
    changed = np.where(folds[:, None] == 2, truth + 100, truth)
    np.testing.assert_array_equal(
        means.fit(codes[folds != 2], changed[folds != 2]), means.fit(codes[folds != 2], truth[folds != 2])
    )
    rows, present = np.flatnonzero(folds == 2), np.ones(80, bool)
    out_of_fold = before.of_folds[2].apply(codes[rows], present)[0][:, 0]
    seen = before.encoding.apply(codes[rows], present)[0][:, 0]
    assert abs(np.corrcoef(out_of_fold, truth[rows, 0])[0, 1]) < 0.25  # noise has nothing to learn
    assert np.corrcoef(seen, truth[rows, 0])[0, 1] > 0.25
