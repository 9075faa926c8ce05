"""The smallest model within the limits is chosen, and where there is none the sentence names the limit."""

from __future__ import annotations

import math

from polymodal.compression.choice import choose, describe_choice, pareto_front
from polymodal.compression.limits import Limits
from polymodal.compression.points import Point, TargetScore, points_lost


def point(name: str, drop: float, num_bytes: int, ms: float = 1.0) -> Point:
    score = TargetScore(metric="accuracy", value=0.9 - drop / 100, interval=None, drop=drop)
    return Point(
        name=name,
        method="original",
        description=name,
        scores={"kind": score},
        num_bytes=num_bytes,
        ms=ms,
        network_ms=None,
        parameters=1,
    )


POINTS = [point("original", 0, 1000, 4), point("good", 0.4, 300, 2), point("small", 3, 100), point("beaten", 4, 200)]


def test_the_front_has_what_no_other_beats() -> None:
    assert pareto_front(POINTS) == ["original", "good", "small"]


def test_the_smallest_within_the_limits_is_chosen() -> None:
    assert choose(POINTS, Limits()) is POINTS[1]
    assert choose(POINTS, Limits(max_drop=5)) is POINTS[2]


def test_a_score_that_is_no_number_is_never_chosen() -> None:
    assert choose([*POINTS, point("broken", math.nan, 1)], Limits()) is POINTS[1]


def test_a_limit_that_cannot_be_met_is_named_with_what_came_nearest() -> None:
    limits = Limits(max_bytes=200)
    assert choose(POINTS, limits) is None
    sentence = describe_choice(POINTS, None, limits)
    assert "'good'" in sentence
    assert "--size is 200 bytes" in sentence


def test_the_choice_is_told_beside_the_original() -> None:
    sentence = describe_choice(POINTS, POINTS[1], Limits())
    assert sentence.startswith("'good' is 3.3 times smaller")
    assert "2.0 times faster" in sentence
    assert "0.40 points" in sentence


def test_points_are_hundredths_of_shares_and_per_cent_of_errors() -> None:
    assert math.isclose(points_lost("accuracy", 0.9, 0.88), 2.0)
    assert math.isclose(points_lost("rmse", 2.0, 2.1), 5.0)
    assert points_lost("rmse", 2.0, 1.9) < 0
