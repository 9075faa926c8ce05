"""Error rates and word differences against known cases."""

from __future__ import annotations

import numpy as np
import pytest

from polymodal.metrics import intervals_of, score_of
from polymodal.metrics.edit_distance import error_rates, word_differences


def test_error_rates_are_of_the_whole_set_of_rows() -> None:
    truth, found = ["one two three four", "five"], ["one two tree four", "six seven"]
    scores = score_of(error_rates(truth, found), 2)
    assert scores["wer"] == pytest.approx((1 + 2) / 5)
    assert scores["cer"] == pytest.approx((1 + 6) / (18 + 4))
    assert scores["exact_match"] == 0
    assert score_of(error_rates(truth, ["", ""]), 2)["wer"] == 1
    assert score_of(error_rates(["a"], ["b c d"]), 1)["wer"] == 3


def test_a_row_drawn_twice_counts_twice() -> None:
    measured = error_rates(["a b", "c"], ["a b", "d"])(np.array([[1.0, 1.0], [0.0, 2.0], [2.0, 0.0]]))
    assert measured["wer"].tolist() == [pytest.approx(1 / 3), 1.0, 0.0]
    assert measured["exact_match"].tolist() == [0.5, 0.0, 1.0]
    low, high = intervals_of(error_rates(["a b", "c"] * 20, ["a b", "d"] * 20), 40)["wer"]
    assert low < 1 / 3 < high


def test_differences_are_shown_word_by_word() -> None:
    assert word_differences("one two three", "one too three") == [
        ("same", "one"),
        ("missed", "two"),
        ("added", "too"),
        ("same", "three"),
    ]
    assert word_differences("one two", "") == [("missed", "one two")]
    assert word_differences("one", "one") == [("same", "one")]
    assert word_differences("", "one") == [("added", "one")]
