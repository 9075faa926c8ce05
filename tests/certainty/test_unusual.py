"""Unusual rows: p-values that mean what they say, whatever streams a row has."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import binom

from polymodal.certainty.unusual import SpaceName, UnusualRows, nearest_distances

IMAGE, SOUND = SpaceName("image", "embedding"), SpaceName("sound", "embedding")
MEASURES = SpaceName("image", "measures")


def ordinary(rows: int, seed: int, missing: float = 0.0) -> dict[SpaceName, np.ndarray]:
    random = np.random.default_rng(seed)
    vectors = {IMAGE: random.normal(0, 1, (rows, 6)), SOUND: random.normal(3, 2, (rows, 4))}
    for values in vectors.values():
        values[random.random(rows) < missing] = np.nan
    return vectors


def fitted(seed: int = 0, held_out: int = 199, missing: float = 0.0) -> UnusualRows:
    return UnusualRows.fit(ordinary(200, seed, missing), ordinary(held_out, seed + 1000, missing))


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_of_ordinary_rows_a_share_p_has_a_p_value_of_p_or_less(missing: float) -> None:
    p_values = [fitted(seed, missing=missing).p_values(ordinary(1, seed + 5000, missing))[0] for seed in range(150)]
    for level in (0.05, 0.2):
        assert np.sum(np.array(p_values) <= level) <= binom.ppf(0.999, 150, level)
    assert np.sum(np.array(p_values) <= 0.5) >= binom.ppf(0.001, 150, 0.35)  # not cautious beyond use


def test_a_far_row_has_the_least_p_value_and_a_nearer_one_a_larger() -> None:
    unusual = fitted()
    rows = {IMAGE: np.array([[0.0] * 6, [2.0] * 6, [9.0] * 6]), SOUND: np.full((3, 4), 3.0)}
    p_values = unusual.p_values(rows)
    assert p_values[2] == unusual.least_p_value == 1 / 200
    assert p_values[0] > p_values[1] > p_values[2]


def test_a_missing_stream_does_not_make_a_row_unusual() -> None:
    unusual = fitted()
    rows = ordinary(400, 77)
    rows[SOUND][:] = np.nan
    assert (unusual.p_values(rows) <= 0.05).mean() < 0.1
    nothing = {IMAGE: np.full((2, 6), np.nan), SOUND: np.full((2, 4), np.nan)}
    assert unusual.p_values(nothing).tolist() == [1.0, 1.0]


def test_one_bad_stream_is_found_also_where_held_out_rows_never_have_all_streams() -> None:
    held_out = ordinary(198, 4)
    held_out[IMAGE][::2], held_out[SOUND][1::2] = np.nan, np.nan
    unusual = UnusualRows.fit(ordinary(200, 3), held_out)
    rows = ordinary(40, 5)
    rows[SOUND][0] = 60.0
    p_values = unusual.p_values(rows)
    assert p_values[0] == pytest.approx(2 * 1 / 100)
    assert (p_values[1:] <= 0.05).sum() <= 8


def test_measures_have_one_scale_and_may_be_unknown() -> None:
    random = np.random.default_rng(0)
    training, held_out = ({MEASURES: random.normal((640, 0.5), (40, 0.02), (300, 2))} for _ in range(2))
    unusual = UnusualRows.fit(training, held_out)
    rows = {MEASURES: np.array([[640, 0.5], [640, 0.8], [np.nan, 0.5]])}
    usual, bright, unknown = unusual.p_values(rows)
    assert bright < 0.01 < min(usual, unknown)


def test_the_state_gives_the_same_p_values_and_is_checked() -> None:
    unusual, rows = fitted(missing=0.3), ordinary(20, 9)
    plain, arrays = unusual.state()
    assert all(np.isfinite(values).all() for values in arrays.values())
    restored = UnusualRows.from_state(json.loads(json.dumps(plain)), arrays)
    assert np.array_equal(restored.p_values(rows), unusual.p_values(rows))
    with pytest.raises(ValueError, match="do not fit"):
        UnusualRows.from_state(plain, arrays | {"0.centre": np.zeros(3, np.float32)})


def test_held_out_rows_have_even_p_values_among_themselves() -> None:
    p_values = fitted().held_out_p_values()
    assert len(p_values) == 199
    assert np.allclose(np.sort(p_values), np.arange(1, 200) / 199)


def test_a_space_without_training_rows_is_left_out() -> None:
    training, held_out = ordinary(50, 0), ordinary(50, 1)
    training[SOUND][:] = np.nan
    unusual = UnusualRows.fit(training, held_out)
    assert [space.name for space in unusual.spaces] == [IMAGE]


def test_distances_to_the_nearest_row() -> None:
    reference = np.array([[0.0, 0.0], [3.0, 4.0]])
    assert nearest_distances(np.array([[0.0, 1.0], [3.0, 4.0], [6.0, 8.0]]), reference) == pytest.approx([1, 0, 5])
