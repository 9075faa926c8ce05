"""The scikit-learn estimators: the rules of scikit-learn, on columns of any kind."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from polymodal import ConfigError, MultimodalClassifier, MultimodalRegressor, SchemaError

NUM_ROWS = 80
QUICK = {"preset": "fast", "epochs": 3, "settings": {"baselines": False}}


def make_rows() -> tuple[dict[str, list], list[str], list[float]]:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, NUM_ROWS)
    sizes = [None if random.random() < 0.2 else float(label + random.normal(0, 0.3)) for label in labels]
    notes = [f"{'bright sunny' if label else 'grey rainy'} day number {i % 7}" for i, label in enumerate(labels)]
    X = {"size": sizes, "note": notes, "colour": ["red" if random.random() < 0.5 else "blue" for _ in labels]}
    return X, ["warm" if label else "cold" for label in labels], [float(label) * 10 + 5 for label in labels]


X, LABELS, NUMBERS = make_rows()


@pytest.fixture(scope="module")
def classifier() -> MultimodalClassifier:
    return MultimodalClassifier(**QUICK).fit(X, LABELS)


def test_classifier_learns(classifier):
    assert classifier.score(X, LABELS) > 0.8
    assert list(classifier.classes_) == ["cold", "warm"]
    assert classifier.n_features_in_ == 3
    assert list(classifier.feature_names_in_) == ["size", "note", "colour"]


def test_probabilities_are_in_the_order_of_the_classes(classifier):
    probabilities = classifier.predict_proba(X)
    assert probabilities.shape == (NUM_ROWS, 2)
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert (classifier.classes_[probabilities.argmax(axis=1)] == classifier.predict(X)).all()


def test_sets_are_in_the_order_of_the_classes(classifier):
    included = classifier.predict_set(X, 0.8)
    assert included.shape == (NUM_ROWS, 2)
    assert included[np.arange(NUM_ROWS), classifier.predict_proba(X).argmax(axis=1)].all()


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_dataframes_give_the_same_answers(classifier, frame):
    assert np.allclose(classifier.predict_proba(frame(X)), classifier.predict_proba(X))


def test_an_array_is_read_by_position(classifier):
    array = np.array(list(X.values()), dtype=object).T
    with pytest.warns(UserWarning, match="^X does not have valid feature names, but MultimodalClassifier was fitted"):
        assert np.allclose(classifier.predict_proba(array), classifier.predict_proba(X))
    with pytest.raises(ValueError, match="X has 2 features, but MultimodalClassifier is expecting 3"), _unnamed():
        classifier.predict(array[:, :2])


def _unnamed():
    return pytest.warns(UserWarning, match="valid feature names")


@pytest.mark.parametrize("frame", [dict, pd.DataFrame, pl.DataFrame])
def test_names_must_be_those_of_fit_in_the_same_order(classifier, frame):
    with pytest.raises(ValueError, match=r"seen at fit time, yet now missing:\n- colour\n- size"):
        classifier.predict(frame({"note": X["note"]}))
    with pytest.raises(ValueError, match=r"unseen at fit time:\n- Size"):
        classifier.predict(frame({"Size" if name == "size" else name: cells for name, cells in X.items()}))
    with pytest.raises(ValueError, match="must be in the same order"):
        classifier.predict(frame({name: X[name] for name in reversed(X)}))


@pytest.mark.parametrize("labels", [[True, False], [2.0, 7.0], [3, -1]])
def test_classes_keep_their_values(labels):
    y = np.asarray([labels[label == "warm"] for label in LABELS])
    fitted = MultimodalClassifier(**QUICK).fit(X, y)
    assert fitted.predict(X).dtype == y.dtype
    assert fitted.score(X, y) > 0.8


def test_regressor_learns_from_an_array():
    random = np.random.default_rng(0)
    array = random.normal(size=(NUM_ROWS, 2))
    array[::5, 1] = np.nan
    fitted = MultimodalRegressor(preset="fast", epochs=20).fit(array, 3 * array[:, 0])
    assert fitted.score(array, 3 * array[:, 0]) > 0.7
    assert not hasattr(fitted, "feature_names_in_")
    with pytest.raises(ValueError, match="X has 1 features, but MultimodalRegressor is expecting 2"):
        fitted.predict(array[:, :1])
    numbered = pd.DataFrame(array)  # scikit-learn takes names that are no text for none
    assert np.allclose(fitted.predict(numbered), fitted.predict(array))
    with pytest.warns(UserWarning, match="^X has feature names, but MultimodalRegressor was fitted without"):
        assert np.allclose(fitted.predict(numbered.rename(columns=str)), fitted.predict(array))


def test_regressor_predicts_numbers():
    fitted = MultimodalRegressor(**QUICK).fit(X, NUMBERS)
    predicted = fitted.predict(X)
    low, high = fitted.predict_interval(X, 0.5).T
    assert ((low <= predicted) & (predicted <= high)).all()
    assert predicted.dtype == np.float64
    assert predicted.shape == (NUM_ROWS,)


def test_parameters_are_only_stored_and_can_be_cloned():
    encoder = {"note": "gru"}
    estimator = MultimodalClassifier(fusion="gated", encoder=encoder, epochs=5, seed=7)
    assert estimator.encoder is encoder
    copy = clone(estimator)
    assert copy.get_params() == estimator.get_params()
    assert copy.set_params(fusion="concat").fusion == "concat"
    assert is_classifier(estimator)
    assert is_regressor(MultimodalRegressor())


def test_not_fitted_is_said():
    with pytest.raises(NotFittedError):
        MultimodalClassifier().predict(X)


def test_cross_validation_grid_search_and_pipeline():
    frame, y = pd.DataFrame(X), np.asarray(LABELS)
    pipeline = Pipeline([("same", FunctionTransformer()), ("model", MultimodalClassifier(**QUICK))])
    assert cross_val_score(pipeline, frame, y, cv=2).mean() > 0.6
    search = GridSearchCV(MultimodalClassifier(**QUICK), {"fusion": ["concat", "gated"]}, cv=2).fit(frame, y)
    assert search.best_params_["fusion"] in {"concat", "gated"}
    assert search.predict(frame).shape == (NUM_ROWS,)


def test_the_seed_fixes_the_result():
    first, second = (MultimodalClassifier(**QUICK, seed=3).fit(X, LABELS).predict_proba(X) for _ in range(2))
    assert np.array_equal(first, second)


def test_wrong_arguments_are_one_sentence():
    with pytest.raises(SchemaError, match="y holds one class only, \\['a'\\]"):
        MultimodalClassifier().fit(X, ["a"] * NUM_ROWS)
    with pytest.raises(ConfigError, match=r"as long as X \(80 rows\)\. Got '3 values'"):
        MultimodalClassifier().fit(X, ["a", "b", "a"])
    with pytest.raises(ConfigError, match=r"must be one value a row"):
        MultimodalRegressor().fit(X, [[1, 2]] * NUM_ROWS)
    with pytest.raises(ConfigError, match="an array \\[rows, columns\\]"):
        MultimodalRegressor().fit(np.zeros(3), [1, 2, 3])


@pytest.mark.parametrize(
    ("y", "reason"),
    [
        (["a", None] * 20, "known in every row. Got 'None in row 1'"),
        ([1.0, np.nan] * 20, "known in every row. Got 'nan in row 1'"),
        (np.array([1, "a"] * 20, object), "labels that can be sorted.* Got 'int and str'"),
        ([[1, 2]] * 40, "one value a row"),
    ],
)
def test_targets_that_scikit_learn_refuses_are_value_errors(y, reason):
    with pytest.raises(ValueError, match=reason):
        MultimodalClassifier().fit({"size": list(range(40))}, y)
