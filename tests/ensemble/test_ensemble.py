"""The decision level calibrates, picks what helps, and is exact where members are absent."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from polymodal.ensemble.ensemble import Ensemble, MemberWeights
from polymodal.ensemble.ensemble_weights import fit_member_weights
from polymodal.metrics import score

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Members = dict[str, Floats]
CLASSES = ["a", "b", "c"]


def labels(num_rows: int = 400, seed: int = 0) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(3, size=num_rows)


def guess(truth: NDArray[np.int64], sharpness: float, seed: int, confidence: float = 1.0) -> Floats:
    """Return probabilities that are calibrated at confidence 1 and overconfident above."""
    logits = np.random.default_rng(seed).normal(size=(len(truth), 3))
    logits[np.arange(len(truth)), truth] += sharpness
    return softmax(logits * sharpness * confidence)


def softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def everywhere(members: Members) -> dict[str, Mask]:
    return {name: np.ones(len(values), dtype=np.bool_) for name, values in members.items()}


def loss(truth: NDArray[np.int64], prediction: Floats) -> float:
    return score("category", truth, prediction, CLASSES)["log_loss"]


def test_an_overconfident_member_is_calibrated() -> None:
    truth = labels(2_000)
    member = guess(truth, 1.0, 1, confidence=4.0)
    decision = fit_member_weights("category", {"fusion": member}, everywhere({"fusion": member}), truth, seed=0)
    combined = decision.combine({"fusion": member}, everywhere({"fusion": member}), np.full(3, 1 / 3))
    assert decision.weights["fusion"] == pytest.approx(0.25, abs=0.03)
    assert score("category", truth, combined, CLASSES)["ece"] < 0.03 < score("category", truth, member, CLASSES)["ece"]
    assert (combined.argmax(axis=1) == member.argmax(axis=1)).all()
    assert decision.note == "The decision uses the fusion alone."


def test_temperature_undoes_overconfidence() -> None:
    truth = labels(2_000)
    member = guess(truth, 1.0, 1, confidence=4.0)
    members, present = {"fusion": member}, {"fusion": np.ones(len(truth), dtype=bool)}
    decision = fit_member_weights("category", members, present, truth, seed=0)
    temperature = 1 / decision.weights["fusion"]
    assert temperature == pytest.approx(4.0, abs=0.4)
    calibrated = decision.combine(members, present, np.full(member.shape[1], 1 / member.shape[1]))
    assert calibrated == pytest.approx(guess(truth, 1.0, 1), abs=0.03)


def test_the_single_best_member_is_chosen_among_noise() -> None:
    truth = labels(150)
    members = {"fusion": guess(truth, 0.0, 1), "image": guess(truth, 2.0, 2), "text": guess(truth, 0.0, 3)}
    members["text"] = softmax(np.random.default_rng(9).normal(size=(150, 3)) * 3)
    decision = fit_member_weights("category", members, everywhere(members), truth, seed=0)
    assert decision.contributions["image"] > 0.9
    assert decision.note.startswith("The decision")


def test_members_that_know_different_things_are_pooled() -> None:
    truth, fresh = labels(300), labels(2_000, seed=7)
    members = {"fusion": guess(truth, 1.2, 1), "linear": guess(truth, 1.2, 2), "boosting": guess(truth, 1.2, 3)}
    unseen = {"fusion": guess(fresh, 1.2, 4), "linear": guess(fresh, 1.2, 5), "boosting": guess(fresh, 1.2, 6)}
    decision = fit_member_weights("category", members, everywhere(members), truth, seed=0)
    combined = decision.combine(unseen, everywhere(unseen), np.full(3, 1 / 3))
    assert loss(fresh, combined) < min(loss(fresh, member) for member in unseen.values()) - 0.1
    assert sum(decision.contributions.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("kind", ["category", "categories", "number"])
def test_absent_members_say_nothing_and_no_member_gives_the_prior(kind: str) -> None:
    generator = np.random.default_rng(0)
    members = {name: generator.random((60, 3)) for name in ("fusion", "image", "text")}
    truth: NDArray[np.generic] = generator.integers(2, size=(60, 3))
    prior: Floats = np.array([0.2, 0.3, 0.5])
    if kind == "category":
        members = {name: values / values.sum(axis=1, keepdims=True) for name, values in members.items()}
        truth = generator.integers(3, size=60)
    if kind == "number":
        members = {name: values[:, 0] for name, values in members.items()}
        truth, prior = generator.random(60), np.array(0.3)
    present = {name: generator.random(60) < 0.5 for name in members}
    decision = fit_member_weights(kind, members, present, truth, seed=0)
    combined = decision.combine(members, present, prior)
    poisoned = {name: values.copy() for name, values in members.items()}
    for name, values in poisoned.items():
        values[~present[name]] = np.nan
    assert (decision.combine(poisoned, present, prior) == combined).all()
    assert fit_member_weights(kind, poisoned, present, truth, seed=0) == decision
    nobody = ~np.stack(list(present.values())).any(axis=0)
    assert nobody.any()
    assert (combined[nobody] == prior).all()
    assert np.isfinite(combined).all()


def test_the_weight_of_absent_members_goes_to_the_others() -> None:
    members = {"fusion": np.array([[0.8, 0.2]]), "image": np.array([[0.4, 0.6]])}
    present = {"fusion": np.array([True]), "image": np.array([False])}
    ones = {"fusion": 1.0, "image": 1.0}
    pooled = MemberWeights("category", {"fusion": 0.5, "image": 0.5}, fallback=ones, scale=ones)
    assert pooled.combine(members, present, np.full(2, 0.5)) == pytest.approx(np.array([[0.8, 0.2]]))


def test_a_row_that_lacks_the_chosen_member_uses_the_ones_it_has() -> None:
    members = {"image": np.array([[0.9, 0.1]]), "text": np.array([[0.8, 0.2]])}
    present = {"image": np.array([False]), "text": np.array([True])}
    fallback = {"image": 1.0, "text": 0.5}
    chosen = MemberWeights("category", {"image": 1.0, "text": 0.0}, fallback=fallback, scale=fallback)
    assert chosen.combine(members, present, np.full(2, 0.5)) == pytest.approx(np.array([[2 / 3, 1 / 3]]))
    assert chosen.combine({"text": members["text"]}, present, np.full(2, 0.5)) == pytest.approx(
        np.array([[2 / 3, 1 / 3]])
    )
    assert (chosen.combine({"other": members["text"]}, present, np.full(2, 0.5)) == 0.5).all()


def test_numbers_are_averaged_with_weights_that_sum_to_one() -> None:
    generator = np.random.default_rng(0)
    truth = generator.normal(size=300)
    members = {
        "fusion": truth + generator.normal(size=300),
        "linear": truth + generator.normal(size=300) * 0.5,
        "prior": np.zeros(300),
    }
    decision = fit_member_weights("number", members, everywhere(members), truth, seed=0)
    combined = decision.combine(members, everywhere(members), 0.0)
    assert sum(decision.weights.values()) == pytest.approx(1.0)
    assert decision.weights["linear"] > 0.5 > max(decision.weights["fusion"], decision.weights["prior"])
    assert np.mean((combined - truth) ** 2) < np.mean((members["linear"] - truth) ** 2)


def of_kind(kind: str, truth: NDArray[np.int64], member: Floats) -> tuple[NDArray[np.generic], Floats]:
    """Turn class probabilities into labels, or into numbers."""
    if kind == "category":
        return truth, member
    if kind == "categories":
        return np.eye(3, dtype=np.int64)[truth], member
    return truth.astype(np.float64), member @ np.arange(3.0)


def loss_of(kind: str, truth: NDArray[np.generic], said: Floats) -> float:
    if kind == "number":
        return float(((said - truth) ** 2).mean())
    if kind == "category":
        return loss(truth.astype(np.int64), said)
    return float(-np.log(np.where(truth > 0, said, 1 - said)).mean())


@pytest.mark.parametrize("share_absent", [0.0, 0.3])
@pytest.mark.parametrize("kind", ["category", "categories", "number"])
def test_no_weights_nearby_and_no_fewer_members_fit_better(kind: str, share_absent: float) -> None:
    classes, random = labels(600), np.random.default_rng(1)
    said = {name: guess(classes, 0.6 + 0.2 * place, place + 1) for place, name in enumerate(["a", "fusion", "z"])}
    truth, _ = of_kind(kind, classes, said["a"])
    members = {name: of_kind(kind, classes, found)[1] for name, found in said.items()}
    present = {name: random.random(600) >= share_absent for name in members}
    some = np.any(list(present.values()), axis=0)
    decision = fit_member_weights(kind, members, present, truth, seed=0)

    def loss_with(weights: dict[str, float]) -> float:
        total = sum(weights.values()) if kind == "number" else 1.0
        weights = {name: weight / total for name, weight in weights.items()}
        combined = replace(decision, weights=weights).combine(members, present, np.zeros(3) if kind != "number" else 0)
        return loss_of(kind, truth[some], combined[some])

    least = loss_with(decision.weights)
    for name, weight in decision.weights.items():
        for other in (0.0, 0.8 * weight, weight + 0.05):
            assert least < loss_with({**decision.weights, name: other}) + 1e-3


def test_multi_label_probabilities_are_calibrated() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(1_000, 4))
    truth = generator.random((1_000, 4)) < 1 / (1 + np.exp(-logits))
    member = 1 / (1 + np.exp(-4 * logits))
    decision = fit_member_weights("categories", {"fusion": member}, everywhere({"fusion": member}), truth, seed=0)
    assert decision.weights["fusion"] == pytest.approx(0.25, abs=0.03)


def test_order_and_repetition_change_nothing() -> None:
    truth = labels(120)
    members = {"fusion": guess(truth, 1.0, 1), "linear": guess(truth, 1.0, 2), "image": guess(truth, 0.5, 3)}
    backwards = dict(reversed(members.items()))
    first = fit_member_weights("category", members, everywhere(members), truth, seed=0)
    second = fit_member_weights("category", backwards, everywhere(backwards), truth, seed=0)
    assert first == second
    prior = np.full(3, 1 / 3)
    forwards = first.combine(members, everywhere(members), prior)
    assert (forwards == second.combine(backwards, everywhere(backwards), prior)).all()


@pytest.mark.parametrize("num_rows", [0, 1, 9])
def test_a_handful_of_rows_changes_nothing_much(num_rows: int) -> None:
    truth = labels(num_rows)
    members = {"fusion": guess(truth, 1.0, 1), "linear": guess(truth, 1.0, 2)}
    assert fit_member_weights("category", members, everywhere(members), truth, seed=0).weights == {
        "fusion": 1,
        "linear": 0,
    }
    alone = {"linear": members["linear"], "prior": members["fusion"]}
    assert fit_member_weights("category", alone, everywhere(alone), truth, seed=0).weights == {
        "linear": 0.5,
        "prior": 0.5,
    }


def test_perfect_members_keep_finite_weights() -> None:
    truth = labels(99)
    members = {"fusion": np.eye(3)[truth], "linear": np.eye(3)[truth] * 0.94 + 0.02}
    decision = fit_member_weights("category", members, everywhere(members), truth, seed=0)
    combined = decision.combine(members, everywhere(members), np.full(3, 1 / 3))
    assert np.isfinite(combined).all()
    assert max(decision.weights.values()) < 20


def test_state_is_json_and_brings_back_the_same_numbers() -> None:
    truth = labels(60)
    members = {"fusion": guess(truth, 1.0, 1), "linear": guess(truth, 1.0, 2)}
    present = everywhere(members)
    present["linear"] = np.arange(60) % 2 == 0
    complete = fit_member_weights("category", members, everywhere(members), truth, seed=0)
    decisions = Ensemble(complete=complete, incomplete=fit_member_weights("category", members, present, truth, seed=0))
    again = Ensemble.from_state(json.loads(json.dumps(decisions.state())))
    prior = np.full(3, 1 / 3)
    assert again == decisions
    expected = decisions.combine(members, present, prior, present["linear"])
    assert (again.combine(members, present, prior, present["linear"]) == expected).all()


def test_each_row_uses_the_weights_of_its_own_kind() -> None:
    members = {"fusion": np.array([[0.9, 0.1]] * 2), "linear": np.array([[0.2, 0.8]] * 2)}
    ones = {"fusion": 1.0, "linear": 1.0}
    decisions = Ensemble(
        complete=MemberWeights("category", {"fusion": 1.0, "linear": 0.0}, ones, ones),
        incomplete=MemberWeights("category", {"fusion": 0.0, "linear": 1.0}, ones, ones),
    )
    combined = decisions.combine(members, everywhere(members), np.full(2, 0.5), np.array([True, False]))
    assert combined == pytest.approx(np.array([[0.9, 0.1], [0.2, 0.8]]))
    assert decisions.note == "The decision uses the fusion alone. Where a stream is absent it uses the linear alone."


def test_the_note_names_the_shares() -> None:
    weights = {"fusion": 0.4, "baseline:linear": 0.5, "stream:image": 0.1, "stream:text": 0.0}
    ones = dict.fromkeys(weights, 1.0)
    note = MemberWeights("category", weights, fallback=ones, scale=ones).note
    assert note == (
        "The decision leans on the linear baseline for 50 %, the fusion for 40 % and the image stream for 10 %."
    )
