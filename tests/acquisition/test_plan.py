from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from polymodal.acquisition.mean_worth import MeanWorth, pairs_to_learn
from polymodal.acquisition.neighbours import class_counts, class_fillings, nearest_fillings
from polymodal.acquisition.plan import Entry, bundle_entries, make_plan


def entries(row: int, *pairs: tuple[str, float, float]) -> list[Entry]:
    return [Entry(row, stream, gain, cost) for stream, gain, cost in pairs]


def test_rows_and_streams_are_ordered_by_gain_per_cost() -> None:
    rows = [entries(1, ("a", 1.0, 1.0), ("b", 0.1, 1.0)), entries(2, ("a", 1.5, 2.0)), entries(3, ("c", 0.01, 0.0))]
    plan = make_plan(rows)
    assert [(entry.row, entry.stream) for entry in plan.entries] == [(3, "c"), (1, "a"), (2, "a"), (1, "b")]
    assert [entry.spent for entry in plan.entries] == [0.0, 1.0, 3.0, 4.0]


def test_a_stream_that_pays_off_with_a_later_one_is_bundled_with_it() -> None:
    synergy, single = entries(1, ("a", 0.0, 1.0), ("b", 2.0, 1.0)), entries(2, ("a", 0.5, 1.0))
    assert len(bundle_entries(synergy)) == 1
    assert [entry.row for entry in make_plan([synergy, single]).entries] == [1, 1, 2]
    assert [entry.row for entry in make_plan([synergy, single], budget=1.0).entries] == [2]


def test_a_later_stream_is_not_got_without_the_earlier_one() -> None:
    rows = [entries(1, ("a", 9.0, 5.0), ("b", 0.5, 1.0)), entries(2, ("b", 0.1, 1.0))]
    plan = make_plan(rows, budget=2.0)
    assert [(entry.row, entry.stream) for entry in plan.entries] == [(2, "b")]
    assert (plan.over_budget, plan.not_worth) == (2, 0)


def test_a_budget_of_nothing_takes_what_is_free() -> None:
    plan = make_plan([entries(1, ("a", 1.0, 0.0)), entries(2, ("a", 1.0, 1.0))], budget=0.0)
    assert [entry.row for entry in plan.entries] == [1]


def test_classes_get_fillings_by_their_probability() -> None:
    assert class_counts(np.array([0.7, 0.299, 0.001]), 8) == [(0, 5), (1, 2)]
    assert class_counts(np.array([1.0, 0.0]), 4) == [(0, 4)]
    assert sum(count for _, count in class_counts(np.full(99, 1 / 99), 8)) == 8


def test_fillings_are_near_and_have_the_streams() -> None:
    similarity = np.array([[0.9, 0.8, 0.1, 0.7]], np.float32)
    usable = np.array([False, True, True, True])
    near = nearest_fillings(similarity, usable, 2)
    assert near.rows.tolist() == [[1, 3]]
    of_class = class_fillings(similarity, usable, 4, np.array([[0.8, 0.2]]), np.array([0, 0, 1, 0]))
    weights = {row: of_class.weights[0][of_class.rows[0] == row].sum() for row in (1, 2, 3)}
    assert weights == pytest.approx({1: 0.4, 3: 0.4, 2: 0.2})


def test_many_streams_are_learned_from_a_sample_of_their_sets() -> None:
    streams = [f"s{number}" for number in range(12)]
    pairs = pairs_to_learn(streams)
    assert len(pairs) <= 96
    assert all(got <= absent for absent, got in pairs)
    assert len(pairs_to_learn(streams[:3])) == 19


class Measured:
    """Losses of two hundred rows: ``a`` is worth 1 in every pattern, ``b`` nothing, but for the noise of rows."""

    def __init__(self) -> None:
        self.rows = SimpleNamespace(presence={name: np.ones(200, np.bool_) for name in "ab"})

    def reductions(self, absent: frozenset[str], streams: frozenset[str]) -> np.ndarray:
        noise = np.random.default_rng(sum(map(ord, "".join(sorted(absent | streams))))).normal(0, 3, 200)
        return 1.0 * ("a" in streams) + noise


def test_uncertain_means_are_shrunk_towards_what_all_pairs_say() -> None:
    measured = Measured()
    means = MeanWorth(measured, ["a", "b"])  # type: ignore[arg-type]
    pairs = pairs_to_learn(["a", "b"])
    truth = np.array([1.0 * ("a" in got) for _, got in pairs])
    own = np.array([measured.reductions(*pair).mean() for pair in pairs])
    shrunk = np.array([means.of(*pair) for pair in pairs])
    assert np.abs(shrunk - truth).mean() < np.abs(own - truth).mean()
