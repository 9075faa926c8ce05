"""Metrics agree with scikit-learn, leave out what is undefined, and their intervals are quick and sound."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import sklearn.metrics as reference
from numpy.typing import NDArray

from polymodal import metrics
from polymodal.metrics.calibration import calibration_bins
from polymodal.metrics.classification import confusion, positive_class

Floats = NDArray[np.float64]


def guesses(num_rows: int, num_classes: int, seed: int = 0, sharpness: float = 2.0) -> tuple[NDArray[np.int64], Floats]:
    """Return true classes and probabilities that lean towards them."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(num_classes, size=num_rows)
    logits = generator.normal(size=(num_rows, num_classes))
    logits[np.arange(num_rows), truth] += sharpness
    return truth, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def names(num_classes: int) -> list[str]:
    return [f"class{index}" for index in range(num_classes)]


def test_several_classes_score_as_in_scikit_learn() -> None:
    truth, prediction = guesses(500, 5)
    guess = prediction.argmax(axis=1)
    expected = {
        "accuracy": reference.accuracy_score(truth, guess),
        "balanced_accuracy": reference.balanced_accuracy_score(truth, guess),
        "macro_f1": reference.f1_score(truth, guess, average="macro"),
        "f1": reference.f1_score(truth, guess, average="macro"),
        "precision": reference.precision_score(truth, guess, average="macro"),
        "recall": reference.recall_score(truth, guess, average="macro"),
        "roc_auc": reference.roc_auc_score(truth, prediction, multi_class="ovr"),
        "average_precision": reference.average_precision_score(np.eye(5)[truth], prediction),
        "log_loss": reference.log_loss(truth, prediction),
    }
    got = metrics.score("category", truth, prediction, names(5))
    assert set(got) == {*expected, "ece"}
    assert {name: got[name] for name in expected} == pytest.approx(expected)
    assert all(type(value) is float for value in got.values())


@pytest.mark.parametrize("positive", [0, 1])
def test_two_classes_score_the_positive_one(positive: int) -> None:
    truth, prediction = guesses(300, 2)
    prediction = prediction.round(1)  # ties
    classes = ["yes", "no"] if positive == 0 else ["no", "yes"]
    guess, scores = prediction.argmax(axis=1) == positive, prediction[:, positive]
    is_positive = truth == positive
    got = metrics.score("category", truth, prediction, classes)
    assert got["f1"] == pytest.approx(reference.f1_score(is_positive, guess))
    assert got["precision"] == pytest.approx(reference.precision_score(is_positive, guess))
    assert got["recall"] == pytest.approx(reference.recall_score(is_positive, guess))
    assert got["roc_auc"] == pytest.approx(reference.roc_auc_score(is_positive, scores))
    assert got["average_precision"] == pytest.approx(reference.average_precision_score(is_positive, scores))
    assert got["macro_f1"] == pytest.approx(reference.f1_score(truth, prediction.argmax(axis=1), average="macro"))


def test_multi_label_scores_as_in_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    truth = generator.random((200, 4)) < 0.3
    prediction = np.clip(truth * 0.4 + generator.random((200, 4)) * 0.6, 0, 1)
    guess = prediction >= 0.5
    got = metrics.score("categories", truth, prediction, names(4))
    expected = {
        "accuracy": reference.accuracy_score(truth, guess),
        "macro_f1": reference.f1_score(truth, guess, average="macro"),
        "f1": reference.f1_score(truth, guess, average="micro"),
        "precision": reference.precision_score(truth, guess, average="micro"),
        "recall": reference.recall_score(truth, guess, average="micro"),
        "roc_auc": reference.roc_auc_score(truth, prediction),
        "average_precision": reference.average_precision_score(truth, prediction),
        "log_loss": np.mean([reference.log_loss(truth[:, i], prediction[:, i]) for i in range(4)]),
    }
    assert {name: got[name] for name in expected} == pytest.approx(expected)
    assert metrics.score("categories", truth.astype(np.float64), prediction, names(4)) == got


def test_numbers_score_as_in_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    truth = generator.normal(5.0, 1.0, 100)
    prediction = truth + generator.normal(size=100)
    assert metrics.score("number", truth, prediction) == pytest.approx(
        {
            "rmse": reference.root_mean_squared_error(truth, prediction),
            "mae": reference.mean_absolute_error(truth, prediction),
            "mape": reference.mean_absolute_percentage_error(truth, prediction),
            "r2": reference.r2_score(truth, prediction),
        }
    )


def test_undefined_metrics_are_left_out_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one_class = metrics.score("category", np.zeros(10, np.int64), np.tile([0.8, 0.2], (10, 1)), ["no", "yes"])
        constant = metrics.score("number", np.zeros(4), np.ones(4))
        metrics.intervals("category", np.zeros(10, np.int64), np.tile([0.8, 0.2], (10, 1)), ["no", "yes"])
    assert set(one_class) == {"accuracy", "balanced_accuracy", "macro_f1", "log_loss", "ece"}
    assert set(constant) == {"rmse", "mae"}
    assert metrics.score("category", np.zeros(0, np.int64), np.zeros((0, 3)), names(3)) == {}
    assert metrics.intervals("number", np.zeros(0), np.zeros(0)) == {}


def test_classes_that_never_occur_do_not_lower_the_averages() -> None:
    truth = np.array([0, 1, 0, 1])
    prediction = np.eye(5)[truth] * 0.9 + 0.02
    got = metrics.score("category", truth, prediction, names(5))
    assert got["macro_f1"] == got["balanced_accuracy"] == got["roc_auc"] == got["average_precision"] == 1.0


@pytest.mark.parametrize(
    ("classes", "positive"),
    [(["0", "1"], 1), (["yes", "no"], 0), (["True", "False"], 0), (["Positive", "negative"], 0), (["b", "a"], 0)],
)
def test_positive_class(classes: list[str], positive: int) -> None:
    assert positive_class(classes) == positive


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    truth = np.array([0] * 6 + [1] * 4)
    prediction = np.tile([0.9, 0.1], (10, 1))
    assert metrics.score("category", truth, prediction, names(2))["ece"] == pytest.approx(0.3)
    (only,) = calibration_bins("category", truth, prediction)
    assert only == pytest.approx({"confidence": 0.9, "accuracy": 0.6, "count": 10})


def test_confusion_has_the_truth_in_rows() -> None:
    truth, prediction = guesses(200, 4)
    assert (confusion(truth, prediction) == reference.confusion_matrix(truth, prediction.argmax(axis=1))).all()


@pytest.mark.parametrize("num_classes", [2, 4])
def test_intervals_hold_the_score_and_match_plain_resampling(num_classes: int) -> None:
    truth, prediction = guesses(120, num_classes)
    classes = names(num_classes)
    got = metrics.intervals("category", truth, prediction, classes, seed=1, num_resamples=400)
    generator = np.random.default_rng(5)
    drawn = [generator.integers(120, size=120) for _ in range(400)]
    plain = [metrics.score("category", truth[rows], prediction[rows], classes) for rows in drawn]
    for name, value in metrics.score("category", truth, prediction, classes).items():
        expected = np.percentile([part[name] for part in plain], [2.5, 97.5])
        assert got[name] == pytest.approx(list(expected), abs=0.04 if name != "log_loss" else 0.1)
        if name != "ece":  # a resample is never better calibrated than the rows themselves: biased upwards
            assert got[name][0] <= value <= got[name][1]


def test_intervals_repeat_with_their_seed() -> None:
    truth, prediction = guesses(80, 3)
    first, second, other = (metrics.intervals("category", truth, prediction, names(3), seed=s) for s in (0, 0, 1))
    assert first == second
    assert first != other


def test_intervals_of_many_rows_are_narrow_and_of_every_metric() -> None:
    few, many = (metrics.intervals("category", *guesses(rows, 13), names(13)) for rows in (100, 2_000))
    assert set(many) == set(metrics.score("category", *guesses(2_000, 13), names(13)))
    assert np.diff(many["accuracy"]) < 0.5 * np.diff(few["accuracy"])


def test_primary_metric_follows_the_balance_of_the_classes() -> None:
    assert metrics.primary_metric("number") == "rmse"
    assert metrics.primary_metric("categories", names(4)) == "macro_f1"
    assert metrics.primary_metric("category", names(4), 0.4) == "accuracy"
    assert metrics.primary_metric("category", names(2), 0.95) == "roc_auc"
    assert metrics.primary_metric("category", names(4), 0.95) == "macro_f1"
