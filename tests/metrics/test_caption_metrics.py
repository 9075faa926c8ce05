"""BLEU, ROUGE-L and exact match agree with the figures of their sources."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sacrebleu import corpus_bleu

from polymodal.metrics import intervals_of, score_of
from polymodal.metrics.caption_metrics import caption_quality, measure_captions, split_words

TRUTH = ["The cat is on the mat, isn't it?", "It costs 3.5 dollars &amp; 10,000 euros.", "a dog runs over the lawn"]
SAID = ["The cat sat on the mat, isn't it?", "It costs 3.5 euros & 10,000 euros", "a dog runs over the big lawn now"]


def score(truth: list[Any], said: list[str]) -> dict[str, float]:
    return score_of(measure_captions(truth, said), len(truth))


def test_corpus_bleu_is_sacrebleus() -> None:
    assert 100 * score(TRUTH, SAID)["bleu"] == pytest.approx(corpus_bleu(SAID, [TRUTH]).score)


def test_words_and_signs_are_told_apart() -> None:
    assert split_words("Hello, (world) 3.5 10-20 e-mail.") == (
        "Hello", ",", "(", "world", ")", "3.5", "10", "-", "20", "e-mail", ".",
    )  # fmt: skip
    assert split_words("我喜欢 cats") == ("我", "喜", "欢", "cats")


def test_rouge_l_is_that_of_the_papers_example() -> None:
    reference = "police killed the gunman"
    found = [score([reference], [said])["rouge_l"] for said in ("police kill the gunman", "the gunman kill police")]
    assert found == [0.75, 0.5]


def test_short_captions_are_judged_by_the_n_grams_that_they_have() -> None:
    assert score(["a red cat", "a dog"], ["a red cat", "a dog"]) == {"exact_match": 1, "bleu": 1, "rouge_l": 1}
    assert score(["a red cat"], ["a red dog"])["bleu"] == 0
    assert score(["one two three"] * 2, ["one two three", "one two"])["bleu"] == pytest.approx(np.exp(-1 / 5))


def test_an_empty_answer_scores_nothing() -> None:
    assert score(["a red cat"], [""]) == {"exact_match": 0, "bleu": 0, "rouge_l": 0}


def test_exact_match_is_to_the_letter() -> None:
    assert score(["a cat", "a cat", "a cat"], ["a cat", "A cat", "a  cat"])["exact_match"] == pytest.approx(1 / 3)
    assert caption_quality(["a cat", "a cat"], ["a cat", "a  cat"]).tolist() == [1.0, 0.5]


def test_weights_repeat_rows() -> None:
    weighted = measure_captions(TRUTH, SAID)(np.array([[2.0, 0.0, 1.0]]))
    repeated = score([TRUTH[0], TRUTH[0], TRUTH[2]], [SAID[0], SAID[0], SAID[2]])
    assert {name: float(value[0]) for name, value in weighted.items()} == pytest.approx(repeated)
    low, high = intervals_of(measure_captions(TRUTH * 20, SAID * 20), 60)["bleu"]
    assert low < score(TRUTH, SAID)["bleu"] < high


def test_of_several_references_the_best_counts() -> None:
    others = ["There was a cat on the mat.", "It costs 3.5 euros & 10,000 euros", "some dog runs over the big lawn"]
    both = [list(pair) for pair in zip(TRUTH, others, strict=True)]
    found = score(both, SAID)
    assert 100 * found["bleu"] == pytest.approx(corpus_bleu(SAID, [TRUTH, others]).score)
    assert found["exact_match"] == pytest.approx(1 / 3)
    alone = [score([truth], [said])["rouge_l"] for truth, said in zip(TRUTH, SAID, strict=True)]
    assert found["rouge_l"] >= sum(alone) / 3
    assert caption_quality(both, SAID)[1] == 1.0
    assert score([["a cat", "a dog"]], ["a dog"]) == {"exact_match": 1, "bleu": 1, "rouge_l": 1}
