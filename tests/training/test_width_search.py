"""The choice of the network's width under a time limit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import polymodal
import tiny
from polymodal.runs.run_folder import STATE_FILE
from polymodal.training import trainer, width_search
from polymodal.training.time_budget import POST_TRAINING_S, TimeBudget
from polymodal.training.width_search import WidthChoice

SETTINGS = {"train.epochs": 20, "train.batch_size": 16, "train.patience": 50, "baselines": False, "num_threads": 1}
STEPS = 4 * 20
"""Of 60 training rows."""


class Clock:
    """Make a step take time in proportion to a power of the network's width, and everything else no time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, power: float = 1.0) -> None:
        self.now_s, self.widths, self.power = 0.0, list[int](), power
        training_step = trainer.training_step

        def step(*given: Any) -> None:
            training_step(*given)
            self.widths.append(given[0].network.width)
            self.now_s += (given[0].network.width / 128) ** self.power

        for module in (trainer, width_search):
            monkeypatch.setattr(module, "training_step", step)

    def limit(self, monkeypatch: pytest.MonkeyPatch, limit_s: float) -> None:
        budget = TimeBudget(deadline_s=limit_s + POST_TRAINING_S, evaluation_rows=0, clock=lambda: self.now_s)
        monkeypatch.setattr("polymodal.runs.run._budget", lambda *_, **__: budget)


def fit(time_limit: float | None = 60.0, **settings: Any) -> polymodal.Model:
    arguments: dict[str, Any] = {"settings": SETTINGS | settings, "time_limit": time_limit}
    return polymodal.fit(tiny.numbers_table(), target="kind", validation=tiny.numbers_table(20), **arguments)


@pytest.mark.parametrize(
    ("limit_s", "power", "width"),
    [
        (1000.0, 1.0, 128),  # time for everything
        (55.0, 1.0, 128),  # for more than half
        (33.0, 1.0, 64),  # for half at half the width
        (12.0, 1.0, 32),  # for half at no width, and each one has time for twice as much
        (12.0, 0.5, 128),  # a narrower one has time for less than half as much again
    ],
)
def test_the_width_depends_on_the_time(
    monkeypatch: pytest.MonkeyPatch, limit_s: float, power: float, width: int
) -> None:
    clock = Clock(monkeypatch, power)
    clock.limit(monkeypatch, limit_s)
    model = fit()
    assert model.report_data["config"]["width"] == width
    assert model.trained.network.width == width
    assert clock.now_s <= 1.1 * limit_s
    notices = [notice for notice in model.report_data["notices"] if notice.startswith("The time limit leaves")]
    assert bool(notices) == (width < 128)


def test_where_time_suffices_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    short = {"train.epochs": 4}
    plain = fit(time_limit=None, **short)
    Clock(monkeypatch).limit(monkeypatch, 1000.0)
    assert tiny.same(tiny.weights_of(fit(**short)), tiny.weights_of(plain))


def test_trial_networks_use_gradient_accumulation_too(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch).limit(monkeypatch, 1000.0)
    accumulation_steps: list[int] = []
    step = width_search.training_step

    def recorded(*given: Any) -> None:
        accumulation_steps.append(given[2].accumulation_steps)
        step(*given)

    monkeypatch.setattr(width_search, "training_step", recorded)
    monkeypatch.setattr(trainer, "accumulation_steps_that_fit", lambda *_: 4)
    fit(**{"train.epochs": 2})
    assert set(accumulation_steps) == {4}


def test_a_requested_width_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    clock.limit(monkeypatch, 12.0)
    assert fit(width=96).report_data["config"]["width"] == 96
    assert set(clock.widths) == {96}


@pytest.mark.exhaustive
def test_a_resumed_run_keeps_its_width(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clock = Clock(monkeypatch)
    clock.limit(monkeypatch, 33.0)
    arguments: dict[str, Any] = {
        "settings": SETTINGS | {"train.checkpoint_steps": 1},
        "time_limit": 60.0,
        "output": tmp_path / "run",
        "validation": tiny.numbers_table(20),
    }
    step = trainer.training_step

    def killed(*given: Any) -> None:
        if given[2].step == 15:
            raise KeyboardInterrupt
        step(*given)

    monkeypatch.setattr(trainer, "training_step", killed)
    with pytest.raises(KeyboardInterrupt):
        polymodal.fit(tiny.numbers_table(), target="kind", **arguments)
    assert (tmp_path / "run" / STATE_FILE).exists()
    monkeypatch.setattr(trainer, "training_step", step)
    clock.now_s, clock.widths = 0.0, []
    clock.limit(monkeypatch, 1000.0)  # time for the widest, were it asked again
    resumed = polymodal.fit(tiny.numbers_table(), target="kind", resume=True, **arguments)
    assert resumed.report_data["config"]["width"] == 64
    assert set(clock.widths) == {64}


def test_a_notice_names_both_widths() -> None:
    assert WidthChoice(128, {128: 9.0}).notices == []
    assert WidthChoice(64, {}).notices == []
    (notice,) = WidthChoice(64, {128: 3.04, 64: 6.0, 32: 7.0}).notices
    assert "width 128 about 3.0 epochs; one of width 64, which has time for 6.0" in notice
