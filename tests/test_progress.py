"""What is written of progress: which lines, when, and where they go."""

from __future__ import annotations

import logging

import pytest

from polymodal.progress import (
    BroadcastProgress,
    LineProgress,
    LoggingProgress,
    SilentProgress,
    format_line,
    format_seconds,
)


class Clock:
    """A clock that stands still until it is moved."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def progress(clock: Clock, lines: list[str]) -> LineProgress:
    return LineProgress(lambda text, level: lines.append(text), clock)


def test_a_phase_writes_its_begin_and_where_it_is_every_ten_seconds(
    progress: LineProgress, clock: Clock, lines: list[str]
) -> None:
    with progress.phase("training", 100) as phase:
        phase.advance(0)
        clock.now_s = 9.0
        phase.advance(25, note="validation loss 0.5")
        progress.tick()
        clock.now_s = 10.0
        assert progress.tick() == 10.0
        progress.tick()
    assert lines == [
        "training: 0 of 100",
        "training: 25 of 100, 10 s, about 30 s left, validation loss 0.5",
        "training: done in 10 s",
    ]


def test_steps_before_a_resumed_run_do_not_count_for_the_estimate(
    progress: LineProgress, clock: Clock, lines: list[str]
) -> None:
    with progress.phase("training", 100) as phase:
        phase.advance(50)
        clock.now_s = 20.0
        phase.advance(10)
        progress.tick()
    assert lines[1] == "training: 60 of 100, 20 s, about 1 min 20 s left"


def test_a_plan_may_change(progress: LineProgress, clock: Clock, lines: list[str]) -> None:
    with progress.phase("training", 100) as phase:
        phase.advance(1, total=20)
        clock.now_s = 10.0
        phase.advance(9)
        progress.tick()
    assert lines[1] == "training: 10 of 20, 10 s, about 11 s left"


def test_any_other_line_puts_the_next_one_off(progress: LineProgress, clock: Clock, lines: list[str]) -> None:
    with progress.phase("judging", None):
        clock.now_s = 8.0
        progress.log("epoch 1")
        clock.now_s = 12.0
        assert progress.tick() == 6.0
        clock.now_s = 18.0
        progress.tick()
    assert lines == ["judging", "epoch 1", "judging, 18 s", "judging: done in 18 s"]


def test_a_phase_inside_another_adds_to_its_lines(progress: LineProgress, clock: Clock, lines: list[str]) -> None:
    with progress.phase("predicting", 50) as outer:
        outer.advance(20)
        with progress.phase("pretrained text", 8) as inner:
            inner.advance(2)
            clock.now_s = 10.0
            progress.tick()
    assert lines[:2] == ["predicting: 0 of 50", "predicting: 20 of 50, 10 s; pretrained text: 2 of 8, 10 s"]


def test_a_phase_that_fails_is_not_done(progress: LineProgress, clock: Clock, lines: list[str]) -> None:
    def fail() -> None:
        with progress.phase("training", 3):
            clock.now_s = 60.0
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert lines == ["training: 0 of 3"]


def test_without_a_listener_no_phase_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="polymodal"), LoggingProgress().phase("training", 3) as phase:
        phase.advance()
    assert caplog.records == []


def test_lines_are_log_records(caplog: pytest.LogCaptureFixture) -> None:
    progress = LoggingProgress()
    with caplog.at_level(logging.INFO, logger="polymodal"), progress.phase("training", 3):
        progress.message("half way")
        progress.log("rows were dropped", logging.WARNING)
    assert [(record.name, record.levelname, record.message) for record in caplog.records] == [
        ("polymodal", "INFO", "training: 0 of 3"),
        ("polymodal", "INFO", "half way"),
        ("polymodal", "WARNING", "rows were dropped"),
    ]


def test_several_reporters_get_the_same(progress: LineProgress, lines: list[str]) -> None:
    both = BroadcastProgress([progress, SilentProgress()])
    with both.phase("decoding", 2) as phase:
        phase.advance(1, note="photo")
        both.message("one")
        both.log("two")
    assert lines == ["decoding: 0 of 2", "one", "two"]


def test_lines_of_files_have_the_time_and_mark_notices() -> None:
    assert format_line("rows were dropped", logging.WARNING)[19:] == " Note: rows were dropped"
    assert format_line("epoch 1", logging.INFO)[19:] == " epoch 1"


def test_durations_are_readable() -> None:
    assert [format_seconds(s) for s in (0.42, 7.26, 83.4, 3725)] == ["0.42 s", "7.3 s", "1 min 23 s", "1 h 02 min"]
