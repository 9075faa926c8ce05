"""Runs with a time limit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import tiny
from polymodal.runs.run_folder import STATE_FILE
from polymodal.training.lr_schedule import lr_factor
from polymodal.training.time_budget import POST_TRAINING_S, StepPlanner, TimeBudget, plan_num_steps


@pytest.mark.parametrize(
    ("done", "remaining_s", "expected"),
    [
        (0, 1000.0, 100),  # all requested steps
        (0, 24.0, 20),  # two epochs of ten steps and a validation of two seconds each
        (0, 25.0, 20),  # a third validation would take the rest
        (0, 27.0, 21),
        (0, 12.0, 10),
        (0, 7.5, 5),  # not even one epoch
        (0, 1.0, 0),
        (5, 7.0, 10),
        (5, 6.0, 9),
        (5, 10.0, 11),
        (15, -3.0, 15),
    ],
)
def test_steps_and_validation_fit_into_the_remaining_time(done: int, remaining_s: float, expected: int) -> None:
    assert plan_num_steps(done, remaining_s, 1.0, 2.0, 10, 100) == expected


@dataclass
class FakeClock:
    """A clock whose time is set by the test."""

    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_the_first_slow_step_is_not_counted() -> None:
    clock = FakeClock()
    planner = StepPlanner(
        budget=TimeBudget(deadline_s=POST_TRAINING_S + 100.0, evaluation_rows=0, clock=clock),
        steps_per_epoch=1000,
        max_steps=10_000,
        validation_rows=0,
        num_steps=10_000,
    )
    for step, seconds in ((1, 9.0), (2, 1.0), (3, 1.0)):
        clock.now_s += seconds
        planner.record_step(step, seconds)
    assert planner.num_steps == 3 + 89


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """Make a step take one second, validation of ten rows one, and everything else no time."""
    clock = FakeClock()
    import polymodal.training.trainer as module

    training_step, validate = module.training_step, module.validate

    def step(*given: Any) -> None:
        training_step(*given)
        clock.now_s += 1.0

    def look(network: Any, examples: Any, *rest: Any) -> Any:
        clock.now_s += len(examples) / 10
        return validate(network, examples, *rest)

    monkeypatch.setattr(module, "training_step", step)
    monkeypatch.setattr(module, "validate", look)
    return clock


def limited(monkeypatch: pytest.MonkeyPatch, clock: FakeClock, limit_s: float, rows: int = 0) -> None:
    monkeypatch.setattr(
        "polymodal.runs.run._budget", lambda *_, **__: TimeBudget(deadline_s=limit_s, evaluation_rows=rows, clock=clock)
    )


SETTINGS = {"train.epochs": 50, "train.batch_size": 4, "train.patience": 50}


@pytest.mark.parametrize("limit_s", [20.0, 40.0, 90.0])
def test_a_run_uses_its_time_and_ends_with_a_low_learning_rate(
    monkeypatch: pytest.MonkeyPatch, clock: FakeClock, limit_s: float
) -> None:
    limited(monkeypatch, clock, limit_s)
    history = tiny.train(tiny.numbers_table(), settings=SETTINGS).report_data["history"]
    assert 0.8 * limit_s < clock.now_s + POST_TRAINING_S <= 1.1 * limit_s
    steps = int(sum(entry["seconds"] for entry in history))
    assert history[-1]["learning_rate"] < 0.1 * 1e-3
    assert steps < 50 * 11


def test_a_limit_that_is_not_reached_changes_nothing(monkeypatch: pytest.MonkeyPatch, clock: FakeClock) -> None:
    settings = SETTINGS | {"train.epochs": 3}
    plain = tiny.train(tiny.numbers_table(), settings=settings)
    limited(monkeypatch, clock, 1e6)
    timed = tiny.train(tiny.numbers_table(), settings=settings)
    assert tiny.same(tiny.weights_of(timed), tiny.weights_of(plain))
    assert [entry["learning_rate"] for entry in timed.report_data["history"]] == [
        entry["learning_rate"] for entry in plain.report_data["history"]
    ]


def test_where_not_even_an_epoch_fits_training_stops_within_it(
    monkeypatch: pytest.MonkeyPatch, clock: FakeClock
) -> None:
    limited(monkeypatch, clock, 5.0 + POST_TRAINING_S)
    model = tiny.train(tiny.numbers_table(), settings=SETTINGS)
    assert len(model.report_data["history"]) == 1
    assert model.report_data["history"][0]["train_loss"] > 0
    assert model.predict(tiny.numbers_table())["kind"]


def test_evaluation_rows_are_taken_into_account(monkeypatch: pytest.MonkeyPatch, clock: FakeClock) -> None:
    limited(monkeypatch, clock, 60.0 + POST_TRAINING_S, rows=100)
    tiny.train(tiny.numbers_table(), settings=SETTINGS)
    assert clock.now_s < 60.0 - 25


def test_a_resumed_run_keeps_the_plan_and_the_time_it_has_used(
    monkeypatch: pytest.MonkeyPatch, clock: FakeClock, tmp_path: Path
) -> None:
    import polymodal.training.trainer as module

    limited(monkeypatch, clock, 40.0)
    settings, training_step = SETTINGS | {"train.checkpoint_steps": 1}, module.training_step

    def killed(*given: Any) -> None:
        if given[2].step == 15:
            raise KeyboardInterrupt
        training_step(*given)

    monkeypatch.setattr(module, "training_step", killed)
    with pytest.raises(KeyboardInterrupt):
        tiny.train(tiny.numbers_table(), settings=settings, output=tmp_path / "run")
    assert (tmp_path / "run" / STATE_FILE).exists()
    monkeypatch.setattr(module, "training_step", training_step)
    clock.now_s = 0.0
    resumed = tiny.train(tiny.numbers_table(), settings=settings, output=tmp_path / "run", resume=True)
    assert clock.now_s + 15 <= 44
    assert resumed.report_data["history"][-1]["learning_rate"] < 0.1 * 1e-3


def test_a_real_run_does_not_take_all_requested_steps() -> None:
    settings = {"train.epochs": 1_000_000, "train.patience": 1_000_000}
    history = tiny.train(tiny.numbers_table(300), time_limit=3.0, settings=settings).report_data["history"]
    assert 1 <= len(history) < 1_000_000


def test_the_learning_rate_schedule_spans_the_planned_steps() -> None:
    assert lr_factor(99, 100, 0.1) < 0.02 < lr_factor(99, 1000, 0.1)
