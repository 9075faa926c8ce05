"""The ensemble of members: weights, biases, absent streams, few rows, saved state."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from polymodal.ensemble.ensemble import PRIOR, Ensemble, MemberWeights
from polymodal.ensemble.ensemble_weights import MemberRows, fit_ensemble, member_present
from polymodal.metrics import score

CLASSES = ["a", "b", "c"]
UNIFORM = np.full(3, 1 / 3)
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Members = Mapping[str, Floats]


def labels(num_rows: int, seed: int = 0) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(3, size=num_rows)


def guess(truth: NDArray[np.int64], sharpness: float, seed: int, confidence: float = 1.0) -> Floats:
    """Probabilities that know the truth by how sharp they are; more confident than right where confidence is over 1."""
    logits = np.random.default_rng(seed).normal(size=(len(truth), 3))
    logits[np.arange(len(truth)), truth] += sharpness
    return softmax(logits * sharpness * confidence)


def softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def seen(members: Members, streams: tuple[str, ...] = ("image", "text")) -> dict[str, Mask]:
    return {stream: np.ones(len(next(iter(members.values()))), np.bool_) for stream in streams}


def rows_of(members: Members, truth: NDArray[Any], visible: dict[str, Mask] | None = None) -> MemberRows:
    return MemberRows(members, visible or seen(members), truth, np.arange(len(truth)))


def fit(members: Members, truth: NDArray[Any], prior: Any = UNIFORM, kind: str = "category") -> Ensemble:
    return fit_ensemble(kind, [rows_of(members, truth)], prior, seed=0)


def combine(ensemble: Ensemble, members: Members, prior: Any = UNIFORM, visible: Any = None) -> Floats:
    visible = visible or seen(members)
    present = {name: member_present(name, visible) for name in members}
    return ensemble.combine(members, present, prior, visible)


def loss(truth: NDArray[np.int64], prediction: Floats) -> float:
    return score("category", truth, prediction, CLASSES)["log_loss"]


def test_an_overconfident_member_is_calibrated() -> None:
    truth = labels(2_000)
    member = guess(truth, 1.0, 1, confidence=4.0)
    ensemble = fit({"fusion": member}, truth)
    combined = combine(ensemble, {"fusion": member})
    assert ensemble.pooled.weights["fusion"] == pytest.approx(0.25, abs=0.03)
    assert score("category", truth, combined, CLASSES)["ece"] < 0.03 < score("category", truth, member, CLASSES)["ece"]
    assert combined == pytest.approx(guess(truth, 1.0, 1), abs=0.07)


def test_a_shifted_prior_is_put_right() -> None:
    random = np.random.default_rng(0)
    truth = (random.random(800) < 0.08).astype(np.int64)
    evidence = random.normal(size=800) + 1.5 * truth
    balanced = 1 / (1 + np.exp(-(1.5 * evidence - 1.125)))
    member = np.stack([1 - balanced, balanced], axis=1)  # right where both classes are as frequent
    prior = np.array([0.92, 0.08])
    combined = combine(fit({"fusion": member}, truth, prior), {"fusion": member}, prior)
    assert member[:, 1].mean() > 0.25
    assert combined[:, 1].mean() == pytest.approx(truth.mean(), abs=0.02)
    assert loss(truth, combined) < loss(truth, np.tile(prior, (800, 1))) < loss(truth, member)


@pytest.mark.parametrize("num_rows", [12, 150])
def test_a_good_member_outweighs_noise(num_rows: int) -> None:
    truth, fresh = labels(num_rows), labels(2_000, seed=7)

    def members(of: NDArray[np.int64], seed: int) -> Members:
        noise = softmax(np.random.default_rng(seed).normal(size=(len(of), 3)) * 3)
        return {"fusion": guess(of, 0.0, seed), "stream:image": guess(of, 2.0, seed + 1), "stream:text": noise}

    ensemble = fit(members(truth, 1), truth)
    unseen = members(fresh, 5)
    assert ensemble.pooled.contributions["stream:image"] > (0.9 if num_rows > 100 else 0.6)
    assert loss(fresh, combine(ensemble, unseen)) < loss(fresh, unseen["stream:image"]) + 0.05


def test_members_that_know_different_things_are_pooled() -> None:
    truth, fresh = labels(300), labels(2_000, seed=7)
    members = {"fusion": guess(truth, 1.2, 1), "baseline:linear": guess(truth, 1.2, 2)}
    unseen = {"fusion": guess(fresh, 1.2, 4), "baseline:linear": guess(fresh, 1.2, 5)}
    ensemble = fit(members, truth)
    best = min(loss(fresh, member) for member in unseen.values())
    assert loss(fresh, combine(ensemble, unseen)) < best - 0.1
    assert sum(ensemble.pooled.contributions.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("num_rows", [0, 1, 9])
def test_a_handful_of_rows_chooses_nearly_equal_weights(num_rows: int) -> None:
    truth = labels(num_rows)
    members = {"fusion": guess(truth, 1.0, 1), "baseline:linear": guess(truth, 1.0, 2)}
    weights = fit(members, truth).pooled.weights
    assert weights["fusion"] == pytest.approx(weights["baseline:linear"], rel=0.35)
    assert 0.2 < sum(weights.values()) < 1.6


def test_rows_of_training_tell_the_baselines_apart() -> None:
    truth, further = labels(12), labels(600, seed=3)
    members = {"baseline:boosting": guess(truth, 0.1, 1), "baseline:linear": guess(truth, 1.0, 2)}
    baselines = {"baseline:boosting": guess(further, 0.0, 3), "baseline:linear": guess(further, 1.5, 4)}
    ensemble = fit_ensemble(
        "category", [rows_of(members, truth)], UNIFORM, 0, MemberRows(baselines, {}, further, np.arange(600))
    )
    assert ensemble.pooled.contributions["baseline:linear"] > 0.9


def test_where_nothing_can_be_learned_the_prior_decides() -> None:
    prior = np.array([0.6, 0.3, 0.1])
    truth = np.random.default_rng(1).choice(3, size=400, p=prior)
    members = {name: softmax(np.random.default_rng(place).normal(size=(400, 3))) for place, name in enumerate("ab")}
    ensemble = fit(members, truth, prior)
    assert ensemble.pooled.contributions[PRIOR] > 0.8
    assert combine(ensemble, members, prior) == pytest.approx(np.tile(prior, (400, 1)), abs=0.12)
    assert ensemble.note == "The decision uses the prior alone."


def test_each_pattern_of_absent_streams_has_its_weights() -> None:
    """Without the image the fusion only guesses; the baseline is the same with and without it."""
    truth, random = labels(400), np.random.default_rng(0)
    has_image = random.random(400) < 0.5
    sharp, blunt = guess(truth, 2.0, 1), guess(truth, 0.0, 2)
    members = {
        "fusion": np.where(has_image[:, None], sharp, blunt),
        "baseline:linear": guess(truth, 1.0, 3),
        "stream:image": sharp,
    }
    visible = {"image": has_image, "text": np.ones(400, np.bool_)}
    ensemble = fit_ensemble("category", [rows_of(members, truth, visible)], UNIFORM, 0)
    assert set(ensemble.patterns) == {frozenset(), frozenset({"image"})}
    assert ensemble.complete.contributions["fusion"] > 0.3
    without = ensemble.patterns[frozenset({"image"})]
    assert without.contributions["baseline:linear"] > 0.7
    assert without.weights["stream:image"] == 0
    assert "linear baseline" in ensemble.note.partition("Where a stream is absent it ")[2]


def test_masked_rows_count_only_where_something_was_masked() -> None:
    truth = labels(60)
    members = {"fusion": guess(truth, 1.0, 1), "stream:image": guess(truth, 1.0, 2)}
    visible = {"image": np.arange(60) % 2 == 0, "text": np.ones(60, np.bool_)}
    masked = replace(rows_of(members, truth, {**visible, "image": np.zeros(60, np.bool_)}))
    ensemble = fit_ensemble("category", [rows_of(members, truth, visible), masked], UNIFORM, 0)
    alone = fit_ensemble("category", [rows_of(members, truth, visible)], UNIFORM, 0)
    assert ensemble.pooled == alone.pooled
    assert ensemble.patterns[frozenset()] == alone.patterns[frozenset()]
    assert ensemble.patterns[frozenset({"image"})] != alone.patterns[frozenset({"image"})]


@pytest.mark.parametrize("kind", ["category", "categories", "number"])
def test_absent_members_say_nothing_and_no_member_gives_the_prior(kind: str) -> None:
    generator = np.random.default_rng(0)
    members = {name: generator.random((60, 3)) for name in ("fusion", "stream:image", "stream:text")}
    truth: NDArray[Any] = generator.integers(2, size=(60, 3))
    prior: Any = np.array([0.2, 0.3, 0.5])
    if kind == "category":
        members = {name: values / values.sum(axis=1, keepdims=True) for name, values in members.items()}
        truth = generator.integers(3, size=60)
    if kind == "number":
        members = {name: values[:, 0] for name, values in members.items()}
        truth, prior = generator.random(60), 0.3
    visible = {name: generator.random(60) < 0.5 for name in ("image", "text")}
    ensemble = fit_ensemble(kind, [rows_of(members, truth, visible)], prior, 0)
    combined = combine(ensemble, members, prior, visible)
    poisoned = {name: values.copy() for name, values in members.items()}
    for name, values in poisoned.items():
        values[~member_present(name, visible)] = np.nan
    assert (combine(ensemble, poisoned, prior, visible) == combined).all()
    assert fit_ensemble(kind, [rows_of(poisoned, truth, visible)], prior, 0) == ensemble
    nobody = ~(visible["image"] | visible["text"])
    assert nobody.any()
    assert (combined[nobody] == prior).all()
    assert np.isfinite(combined).all()


def test_the_weight_of_absent_members_goes_to_the_others() -> None:
    members = {"fusion": np.array([[0.8, 0.2]]), "stream:image": np.array([[0.4, 0.6]])}
    present = {"fusion": np.array([True]), "stream:image": np.array([False])}
    ones = {"fusion": 1.0, "stream:image": 1.0}
    pooled = MemberWeights("category", {"fusion": 0.5, "stream:image": 0.5}, fallback=ones, scale=ones)
    assert pooled.combine(members, present, np.full(2, 0.5)) == pytest.approx(np.array([[0.8, 0.2]]))


def test_numbers_follow_the_better_member() -> None:
    generator = np.random.default_rng(0)
    truth = generator.normal(10, 2, size=300)
    members = {
        "fusion": truth + generator.normal(0, 2, size=300),
        "baseline:linear": truth + generator.normal(0, 1, size=300),
    }
    ensemble = fit(members, truth, 10.0, "number")
    combined = combine(ensemble, members, 10.0)
    assert ensemble.pooled.weights["baseline:linear"] > 0.5 > ensemble.pooled.weights["fusion"]
    assert np.mean((combined - truth) ** 2) < np.mean((members["baseline:linear"] - truth) ** 2)


def test_rows_of_numbers_are_pooled_with_one_weight_a_member() -> None:
    generator = np.random.default_rng(0)
    truth = generator.normal(size=(200, 4)) * [1, 10, 100, 1000]
    noise = generator.normal(size=(200, 4)) * [1, 10, 100, 1000]
    members = {"fusion": truth + noise, "baseline:linear": truth + 0.2 * noise[::-1]}
    truth[0, 1] = np.nan  # not known: not counted
    combined = combine(fit(members, truth, np.zeros(4), "number"), members, np.zeros(4))
    assert combined.shape == (200, 4)
    errors = np.nanmean((combined - truth) ** 2, axis=0)
    assert (errors < np.nanmean((members["fusion"] - truth) ** 2, axis=0)).all()


def test_multi_label_probabilities_are_calibrated() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(1_000, 4))
    truth = (generator.random((1_000, 4)) < 1 / (1 + np.exp(-logits))).astype(np.int64)
    member = 1 / (1 + np.exp(-4 * logits))
    ensemble = fit({"fusion": member}, truth, np.full(4, 0.5), "categories")
    assert ensemble.pooled.weights["fusion"] == pytest.approx(0.25, abs=0.03)


def test_order_and_repetition_change_nothing() -> None:
    truth = labels(120)
    members = {
        "fusion": guess(truth, 1.0, 1),
        "baseline:linear": guess(truth, 1.0, 2),
        PRIOR: np.tile(UNIFORM, (120, 1)),
    }
    backwards = dict(reversed(members.items()))
    first, second = fit(members, truth), fit(backwards, truth)
    assert first == second
    assert (combine(first, members) == combine(second, backwards)).all()


def test_perfect_members_keep_finite_weights() -> None:
    truth = labels(99)
    members = {"fusion": np.eye(3)[truth], "baseline:linear": np.eye(3)[truth] * 0.94 + 0.02}
    ensemble = fit(members, truth)
    assert np.isfinite(combine(ensemble, members)).all()
    assert max(ensemble.pooled.weights.values()) < 20


def test_state_is_json_and_brings_back_the_same_numbers() -> None:
    truth = labels(60)
    members = {"fusion": guess(truth, 1.0, 1), "stream:image": guess(truth, 1.0, 2)}
    visible = {"image": np.arange(60) % 2 == 0, "text": np.ones(60, np.bool_)}
    ensemble = fit_ensemble("category", [rows_of(members, truth, visible)], UNIFORM, 0)
    again = Ensemble.from_state(json.loads(json.dumps(ensemble.state())), UNIFORM)
    assert again == ensemble
    assert (combine(again, members, visible=visible) == combine(ensemble, members, visible=visible)).all()


@pytest.mark.parametrize("kind", ["category", "categories", "number"])
def test_weights_of_earlier_versions_predict_as_they_did(kind: str) -> None:
    """They pooled logarithms themselves, not their differences to the prior, without biases."""
    random = np.random.default_rng(0)
    values = random.random((20, 3)) * 0.8 + 0.1
    members = {"fusion": values, "baseline:linear": random.random((20, 3)) * 0.8 + 0.1}
    prior: Any = np.array([0.2, 0.3, 0.5])
    weights = {"fusion": 0.9, "baseline:linear": 0.4}
    if kind == "number":
        members, prior = {name: member[:, 0] for name, member in members.items()}, 3.0
        weights = {"fusion": 0.7, "baseline:linear": 0.3}
        expected = 0.7 * members["fusion"] + 0.3 * members["baseline:linear"]
    elif kind == "category":
        members = {name: member / member.sum(axis=1, keepdims=True) for name, member in members.items()}
        expected = softmax(sum(weights[name] * np.log(member) for name, member in members.items()))
    else:
        odds = {name: np.log(member) - np.log(1 - member) for name, member in members.items()}
        expected = 1 / (1 + np.exp(-sum(weights[name] * value for name, value in odds.items())))
    ones = dict.fromkeys(weights, 1.0)
    saved = {"kind": kind, "weights": weights, "reserve": ones, "scale": ones}
    ensemble = Ensemble.from_state({"complete": saved, "incomplete": saved}, prior)
    assert combine(ensemble, members, prior) == pytest.approx(expected)


def test_the_note_names_the_shares() -> None:
    weights = {"fusion": 0.4, "baseline:linear": 0.5, "stream:image": 0.1, "stream:text": 0.0}
    ones = dict.fromkeys(weights, 1.0)
    note = MemberWeights("category", weights, fallback=ones, scale=ones).note
    assert note == (
        "The decision leans on the linear baseline for 50 %, the fusion for 40 % and the image stream for 10 %."
    )
