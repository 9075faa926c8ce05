"""N-grams of texts weigh what scikit-learn says they do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from fuzzing import QUICK
from polymodal.ensemble.sparse_rows import SparseRows
from polymodal.ensemble.text_features import CLEAN, LENGTHS, WORD, TextGrams, split_grams

ANALYZERS = {"word": "word", "character": "char", "part": "char_wb"}
TEXTS = ["A red hat, a blue hat!", "red  shoes?\tand red hats", "", "  ", "a", "blue shoes ¿no?", "海の写真 海", "写真"]
RANDOM = np.random.default_rng(0)


def _vectorizer(units: str, **options: object) -> TfidfVectorizer:
    pattern = WORD.pattern if units == "word" else None
    given = {"analyzer": ANALYZERS[units], "preprocessor": CLEAN[units], "token_pattern": pattern}
    return TfidfVectorizer(**given, ngram_range=LENGTHS[units], sublinear_tf=True, dtype=np.float32, **options)


@pytest.mark.parametrize("units", ANALYZERS)
def test_fitted_weights_are_those_of_scikit_learn(units: str) -> None:
    expected, grams = _vectorizer(units, min_df=2), TextGrams.fit(TEXTS, units)
    weights = expected.fit_transform(TEXTS)
    assert grams.grams == expected.get_feature_names_out().tolist()
    new = [*TEXTS, "hat hat hat red", "unseen"]
    np.testing.assert_allclose(grams.transform(TEXTS).to_dense(), weights.toarray(), rtol=1e-6)
    np.testing.assert_allclose(grams.transform(new).to_dense(), expected.transform(new).toarray(), rtol=1e-6)
    assert grams.transform([]).shape == (0, len(grams.grams))


@pytest.mark.parametrize("units", ANALYZERS)
@QUICK
@given(text=st.text(alphabet="ab1 é!?_\n\t海", max_size=30))
def test_any_text_is_split_as_scikit_learn_splits_it(units: str, text: str) -> None:
    assert sorted(split_grams(text, units)) == sorted(_vectorizer(units).build_analyzer()(text))


def test_words_keep_their_marks_and_wide_letters_are_letters() -> None:
    assert split_grams("हिन्दी ＡＢＣ 👍", "word")[:3] == ["हिन्दी", "abc", "👍"]
    saved, arrays = TextGrams.fit(["हिन्दी खाना"] * 2, "word").state()
    assert "हिन्दी" in TextGrams.from_state(saved, arrays).grams
    early = {"units": "word", "grams": ["abc"]}
    read = TextGrams.from_state(early, {"idf": np.ones(1, np.float32), "frequent": np.zeros(0, np.int64)})
    assert read.transform(["ABC", "ＡＢＣ"]).to_dense()[:, 0].tolist() == [1.0, 0.0]


@pytest.fixture
def rows() -> SparseRows:
    dense = np.where(RANDOM.random((7, 5)) < 0.6, 0, RANDOM.normal(size=(7, 5))).astype(np.float32)
    dense[[0, 3, 6]] = 0
    values, (places, columns) = dense[dense != 0], np.nonzero(dense)
    return SparseRows(values, columns, np.searchsorted(places, np.arange(8)), 5)


@pytest.mark.parametrize("block_values", [1, 9, 2**20])
def test_sparse_rows_calculate_as_scipy_does(
    rows: SparseRows, block_values: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polymodal.ensemble.sparse_rows.BLOCK_VALUES", block_values)
    expected, weights = rows.to_scipy(), RANDOM.normal(size=(5, 3)).astype(np.float32)
    np.testing.assert_allclose(rows.dot(weights), expected @ weights, rtol=1e-5)
    assert np.array_equal(rows.to_dense(), expected.toarray())
    assert np.array_equal(rows.select(np.array([1, 4])).to_dense(), expected[:, [1, 4]].toarray())
    assert rows.select(np.zeros(0, np.int64)).shape == (7, 0)
    for chosen in (np.array([6, 1, 1, 3]), np.arange(7) % 2 == 0, np.zeros(0, np.int64)):
        assert np.array_equal(rows.take(chosen).to_dense(), expected[chosen].toarray())
    beside = SparseRows.side_by_side([rows, rows.take(np.arange(7)[::-1])])
    assert np.array_equal(beside.to_dense(), np.concatenate([rows.to_dense(), rows.to_dense()[::-1]], axis=1))
    below = SparseRows.concatenate([rows, rows.take(np.array([1]))])
    assert np.array_equal(below.to_dense(), np.concatenate([rows.to_dense(), rows.to_dense()[[1]]]))
