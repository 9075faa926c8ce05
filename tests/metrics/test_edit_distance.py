"""Edit distances and error rates against known cases and a plain table."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest

from polymodal.metrics.edit_distance import edit_distance, error_rates, word_differences
from polymodal.metrics.metrics import intervals_of, score_of


@pytest.mark.parametrize(
    ("first", "second", "distance"),
    [
        ("", "", 0),
        ("", "abc", 3),
        ("abc", "", 3),
        ("kitten", "sitting", 3),
        ("intention", "execution", 5),
        ("Saturday", "Sunday", 3),
        ("ab", "ba", 2),
        ("straße", "strasse", 2),
        (["one", "two"], ["two", "one"], 2),
        (["one", "two", "two"], ["one", "two"], 1),
    ],
)
def test_known_distances(first: str, second: str, distance: int) -> None:
    assert edit_distance(first, second) == edit_distance(second, first) == distance


def by_table(first: str, second: str) -> int:
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, start=1):
        before, row[0] = row[0], i
        for j, b in enumerate(second, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


def test_random_texts_have_the_distance_of_the_plain_table() -> None:
    chance = random.Random(0)
    for _ in range(300):
        first, second = ("".join(chance.choices("abc", k=chance.randrange(90))) for _ in range(2))
        assert edit_distance(first, second) == by_table(first, second)


def test_thousands_of_rows_take_a_moment() -> None:
    chance = random.Random(0)
    texts = ["".join(chance.choices("abcdefghij   ", k=100)) for _ in range(4000)]
    started = time.process_time()
    score_of(error_rates(texts, texts[::-1]), len(texts))
    assert time.process_time() - started < 8


def test_error_rates_are_of_the_whole_set_of_rows() -> None:
    truth, found = ["one two three four", "five"], ["one two tree four", "six seven"]
    scores = score_of(error_rates(truth, found), 2)
    assert scores["wer"] == pytest.approx((1 + 2) / 5)
    assert scores["cer"] == pytest.approx((1 + edit_distance("five", "six seven")) / (18 + 4))
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
