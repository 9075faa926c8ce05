"""Texts of boosted trees: whole ones predict the same bits, cut and changed ones never reach LightGBM."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzzing import QUICK, examples
from polymodal.ensemble.tree_text import load_booster, read_trees

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
def test_a_whole_text_predicts_the_same_bits(text: str) -> None:
    expected = lightgbm.Booster(model_str=text)
    assert np.array_equal(load_booster(text).predict(X), expected.predict(X))
    assert read_trees(text).num_features == 4
    assert read_trees(text).num_outputs == expected.num_model_per_iteration()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("end of trees", "", "does not go from 'tree' to 'end of trees'"),
        ("\ntree_sizes=", "\ntree_sizes=9 ", "other sizes than it says"),
        ("\nmax_feature_idx=3", "\nmax_feature_idx=1", "a split reads a feature that is not there"),
        ("\nmax_feature_idx=3", "\nmax_feature_idx=x", "max_feature_idx holds no integers"),
        ("\nnum_class=3", "\nnum_class=4", "do not fit each other"),
        ("num_class:3", "num_class:9", "its objective is none, or of another number of classes"),
    ],
)
def test_a_damaged_text_is_one_clause(old: str, new: str, message: str) -> None:
    assert old in TEXTS[2]
    with pytest.raises(ValueError, match=message):
        load_booster(TEXTS[2].replace(old, new))


def test_every_cut_text_is_refused_or_lacks_parameters_only() -> None:
    text = TEXTS[0]
    for length in range(0, text.index("end of trees") + 12, 37):
        with pytest.raises(ValueError):  # noqa: PT011 - any clause
            read_trees(text[:length])


def _check(data: st.DataObject) -> None:
    """Change a text: LightGBM gets it only if its trees can be followed, which does not end the process."""
    text = data.draw(st.sampled_from(TEXTS))
    start = data.draw(st.integers(0, len(text) - 1))
    end = min(len(text), start + data.draw(st.integers(0, 60)))
    other = data.draw(st.integers(0, len(text) - 1))
    new = data.draw(st.sampled_from(["", text[other : other + 40], *ODD_NUMBERS, chr(data.draw(st.integers(1, 300)))]))
    try:
        booster = load_booster(text[:start] + new + text[end:])
    except ValueError:
        return
    if booster.num_feature() == X.shape[1]:
        booster.predict(X[:3], num_threads=1)


@QUICK
@given(data=st.data())
def test_changed_texts_never_end_the_process(data: st.DataObject) -> None:
    _check(data)


@pytest.mark.exhaustive
@examples(2_000)
@given(data=st.data())
def test_many_changed_texts_never_end_the_process(data: st.DataObject) -> None:
    _check(data)
