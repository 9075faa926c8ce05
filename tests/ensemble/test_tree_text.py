"""Texts of boosted trees: whole ones predict as LightGBM does, cut and changed ones are refused."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzzing import QUICK, examples
from polymodal.ensemble.boosted_trees import BoostedTrees
from polymodal.ensemble.tree_text import read_trees

RANDOM = np.random.default_rng(0)
X = np.where(RANDOM.random((120, 4)) < 0.2, np.nan, RANDOM.normal(size=(120, 4)))


def _train(objective: str, truth: np.ndarray, **params: int) -> str:
    given = {"objective": objective, "verbosity": -1, "num_leaves": 5, "min_data_in_leaf": 5, "num_threads": 1}
    return str(lightgbm.train({**given, **params}, lightgbm.Dataset(X, truth), 4).model_to_string())


TEXTS = [
    _train("regression", np.nan_to_num(X[:, 0])),
    _train("binary", (np.nan_to_num(X[:, 1]) > 0).astype(int)),
    _train("multiclass", np.arange(120) % 3, num_class=3),
    _train("regression", np.zeros(120)),
]
ODD_NUMBERS = ["-1", "0", "7", "-6", "1000000000", "9" * 20, "nan", "", "1e5", "٣"]


@pytest.mark.parametrize("text", TEXTS, ids=["regression", "binary", "multiclass", "one leaf"])
def test_a_whole_text_predicts_as_lightgbm_does(text: str) -> None:
    expected = lightgbm.Booster(model_str=text)
    np.testing.assert_allclose(BoostedTrees.from_text(text).predict(X), expected.predict(X), rtol=1e-14)
    assert read_trees(text).num_features == 4
    assert read_trees(text).num_outputs == expected.num_model_per_iteration()


@pytest.mark.parametrize("options", [{}, {"zero_as_missing": True}, {"use_missing": False}, {"boosting": "rf"}])
@pytest.mark.parametrize("num_rows", [1, 3, 120])
def test_absent_values_and_zeros_go_where_lightgbm_sends_them(options: dict[str, object], num_rows: int) -> None:
    cells = np.where(RANDOM.random(X.shape) < 0.3, 0.0, X)
    bagging = {"bagging_freq": 1, "bagging_fraction": 0.7, "verbosity": -1, "num_leaves": 9, "min_data_in_leaf": 3}
    truth = np.nan_to_num(cells).sum(axis=1)
    booster = lightgbm.train({"num_threads": 1, **bagging, **options}, lightgbm.Dataset(cells, truth), 20)
    found = BoostedTrees.from_text(booster.model_to_string()).predict(cells[:num_rows])
    assert np.array_equal(found, booster.predict(cells[:num_rows]))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("end of trees", "", "does not go from 'tree' to 'end of trees'"),
        ("\ntree_sizes=", "\ntree_sizes=9 ", "other sizes than it says"),
        ("\nmax_feature_idx=3", "\nmax_feature_idx=1", "a split reads a feature that is not there"),
        ("\nmax_feature_idx=3", "\nmax_feature_idx=x", "max_feature_idx holds no integers"),
        ("\nnum_class=3", "\nnum_class=4", "do not fit each other"),
        ("num_class:3", "num_class:9", "its objective is another one, or of another number of classes"),
    ],
)
def test_a_damaged_text_is_one_clause(old: str, new: str, message: str) -> None:
    assert old in TEXTS[2]
    with pytest.raises(ValueError, match=message):
        BoostedTrees.from_text(TEXTS[2].replace(old, new))


def test_every_cut_text_is_refused_or_lacks_parameters_only() -> None:
    text = TEXTS[0]
    for length in range(0, text.index("end of trees") + 12, 37):
        with pytest.raises(ValueError):  # noqa: PT011 - any clause
            read_trees(text[:length])


def _check(data: st.DataObject) -> None:
    """Change a text: it is refused, or its trees can be followed."""
    text = data.draw(st.sampled_from(TEXTS))
    start = data.draw(st.integers(0, len(text) - 1))
    end = min(len(text), start + data.draw(st.integers(0, 60)))
    other = data.draw(st.integers(0, len(text) - 1))
    new = data.draw(st.sampled_from(["", text[other : other + 40], *ODD_NUMBERS, chr(data.draw(st.integers(1, 300)))]))
    try:
        trees = BoostedTrees.from_text(text[:start] + new + text[end:])
    except ValueError:
        return
    if trees.trees.num_features == X.shape[1]:
        trees.predict(X[:3])


@QUICK
@given(data=st.data())
def test_changed_texts_can_be_followed_or_are_refused(data: st.DataObject) -> None:
    _check(data)


@pytest.mark.exhaustive
@examples(2_000)
@given(data=st.data())
def test_many_changed_texts_can_be_followed_or_are_refused(data: st.DataObject) -> None:
    _check(data)
