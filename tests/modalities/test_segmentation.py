"""Scripts without blanks are cut into words: by characters and bigrams, or by jieba."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from polymodal.errors import MissingPackageError
from polymodal.modalities import Text, TextSettings
from polymodal.modalities.segmentation import _jieba, segment

REVIEWS = ["味道真的很好，送餐很快", "送餐太慢了，味道不好", "味道不错，服务很好"] * 4


def fit(cells: list[Any], **options: Any) -> Text:
    return Text.fit(cells, TextSettings(**options), None)


def vocabulary(fitted: Text) -> set[str]:
    return set(json.loads(fitted.tokenizer)["model"]["vocab"])


@pytest.mark.parametrize(
    ("text", "segmentation", "expected"),
    [
        ("味道很好!", "none", "味道很好!"),
        ("味道很好!", "characters", "味 道 很 好 !"),
        ("味道很好!", "bigrams", "味 味道 道 道很 很 很好 好 !"),
        ("味道很好!", "jieba", "味道 很 好 !"),
        ("味道iPhone很好", "jieba", "味道 iPhone 很 好"),
        ("這家餐廳的味道", "jieba", "這家 餐廳 的 味道"),
        ("これは本", "characters", "こ れ は 本"),
        ("本です", "jieba", "本 本で で です す"),
        ("コーヒー", "bigrams", "コーヒー"),
        ("สวัสดี", "characters", "ส วั ส ดี"),
        ("한국어 문장", "bigrams", "한국어 문장"),
        ("مرحبا हिन्दी text 🙂", "bigrams", "مرحبا हिन्दी text 🙂"),
        ("", "bigrams", ""),
    ],
)
def test_scripts_without_blanks_are_cut(text: str, segmentation: Any, expected: str) -> None:
    assert segment(text, segmentation) == expected


def test_the_tokenizer_of_words_and_word_vectors_cut_chinese() -> None:
    assert {"味道", "味", "很好"} <= vocabulary(fit(REVIEWS, tokenizer="word"))
    by_jieba = fit(REVIEWS, tokenizer="word", segmentation="jieba")
    assert "味道" in vocabulary(by_jieba)
    assert "味" not in vocabulary(by_jieba)
    vectors = fit(REVIEWS, vectors="word2vec", segmentation="jieba", word2vec_dim=4, word2vec_epochs=1)
    assert vectors.coverage > 0.8
    notice = by_jieba.notice("review", {})
    assert (
        notice
        == "Texts of the column 'review': those without blanks between words are cut into Chinese words by jieba."
    )
    assert fit(["some words", "more words"] * 4, tokenizer="word").notice("review", {}) == ""


@pytest.mark.parametrize("segmentation", ["characters", "bigrams", "jieba"])
def test_a_saved_text_cuts_as_it_was_fitted(segmentation: str) -> None:
    fitted = fit(REVIEWS, tokenizer="word", segmentation=segmentation)
    again = Text.from_state(json.loads(json.dumps(fitted.state())))
    assert (again.transform(REVIEWS, None)[0].values == fitted.transform(REVIEWS, None)[0].values).all()


def test_tokens_are_found_again_in_the_text() -> None:
    text = "ok 味道很好!"
    for segmentation in ("characters", "bigrams", "jieba"):
        spans = fit([*REVIEWS, text, text], tokenizer="word", segmentation=segmentation).token_spans(text)
        found = [text[start:stop] for start, stop in spans]
        assert found == segment(text, segmentation).split()  # type: ignore[arg-type]


def test_a_model_that_needs_jieba_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    state = fit(REVIEWS, segmentation="jieba").state()
    monkeypatch.setitem(sys.modules, "rjieba", None)
    _jieba.cache_clear()
    with pytest.raises(MissingPackageError, match=r"by jieba, .* rjieba: pip install 'polymodal\[chinese\]'\.$"):
        Text.from_state(state)
    assert fit(REVIEWS).segmentation == "bigrams"


def test_a_pretrained_tokenizer_cuts_texts_itself() -> None:
    with pytest.raises(ValidationError, match="segments texts itself; leave 'segmentation' out"):
        TextSettings(pretrained="tokenizer.json", segmentation="jieba")
