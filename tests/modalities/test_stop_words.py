"""Stop words: which there are, and that they leave the texts."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from polymodal.errors import ConfigError, MissingPackageError
from polymodal.modalities import Text, TextSettings
from polymodal.modalities.languages import _weights, frequent_words
from polymodal.modalities.stop_words import load_stop_words, remove_words


def fit(cells: list[Any], **options: Any) -> Text:
    return Text.fit(cells, TextSettings(**options), None)


def test_the_english_list_is_plain_and_spares_negations() -> None:
    words = load_stop_words("english")
    assert len(words) >= 150
    assert words == sorted(set(words))
    assert all(word == word.strip().lower() for word in words)
    assert {"the", "and", "of", "it's"} <= set(words)
    assert not {"not", "no", "nor", "never", "don't", "isn't", "without"} & set(words)
    assert load_stop_words("none") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The cat is on the mat.", "cat mat."),
        ("THE THEORY, and the other", "THEORY,"),
        ("It’s not the best", "not best"),
        ("don't isn't", "don't isn't"),
        ("of\n the", ""),
        ("一个红色的圆", "一个红色的圆"),
    ],
)
def test_stop_words_leave_a_text(text: str, expected: str) -> None:
    assert remove_words(text, set(load_stop_words("english"))) == expected


def test_without_stop_words_a_text_keeps_its_white_space() -> None:
    assert remove_words(" a\n  b ", set()) == " a\n  b "


@pytest.mark.parametrize("tokenizer", ["bpe", "wordpiece", "word"])
def test_every_tokenizer_goes_without_them(tokenizer: str) -> None:
    texts = ["The red shape is a circle", "red shape circle"] * 3
    fitted = fit(texts, stop_words="english", tokenizer=tokenizer)
    column, broken = fitted.transform([*texts[:2], "it is the", None], None)
    assert broken == []
    assert column.lengths is not None
    assert (column.values[0] == column.values[1]).all()
    assert column.present.tolist() == [True, True, True, False]
    assert column.lengths[2] == 1
    again = Text.from_state(json.loads(json.dumps(fitted.state())))
    assert (again.transform(texts, None)[0].values == fitted.transform(texts, None)[0].values).all()
    assert fit(texts).stop_words == []


def test_a_list_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("\ufeff# colours\nRed\n\nblue\nl’eau\n", encoding="utf-8")
    assert load_stop_words(str(path)) == ["blue", "l'eau", "red"]
    fitted = fit(["a red circle"] * 3, stop_words=str(path), tokenizer="word")
    path.unlink()
    assert "red" not in fitted.tokenizer
    assert fitted.transform(["RED circle a"], None)[0].lengths.tolist() == [2]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"# nothing\n\n", r"The list of stop words .* holds no word\. Expected one word a line\."),
        (b"the\nof the\n", r"words\.txt, line 2, holds 'of the'\. Expected one word"),
        (b"the,of\n", r"line 1, holds 'the,of'"),
        (
            b"\xff\xfe",
            r"'stop_words' parameter of the modality 'text' must be none, auto, english, codes .*not in utf-8",
        ),
    ],
)
def test_a_list_that_is_none_is_one_sentence(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "words.txt").write_bytes(content)
    with pytest.raises(ConfigError, match=expected):
        fit(["a text"], stop_words=str(tmp_path / "words.txt"))


def test_an_unknown_list_is_named_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"must be none, auto, english, codes .*no such file.*Got 'klingon' instead"):
        fit(["a text"], stop_words="klingon")


def test_stop_words_of_languages_spare_negations() -> None:
    for code, removed, kept in (
        ("zh", {"的", "我们"}, {"不", "没有", "好"}),
        ("de", {"und", "die"}, {"nicht", "kein"}),
        ("ru", {"и", "на"}, {"не", "без"}),
        ("hi", {"और", "है"}, {"नहीं"}),
        ("ko", {"그리고"}, {"0"}),
    ):
        words = set(load_stop_words(code, [code]))
        assert removed <= words
        assert not kept & words
    assert load_stop_words("en", ["en"]) == load_stop_words("english")


def test_a_column_is_rid_of_the_stop_words_of_its_languages() -> None:
    texts = ["我们觉得这个味道真的很好", "Die Suppe war nicht mit dem Salat"] * 5
    fitted = fit(texts, stop_words="auto", tokenizer="word")
    assert sorted(fitted.stop_word_languages) == ["de", "zh"]
    assert fitted.prepare("Die Suppe war nicht gut") == "Suppe nicht gut"
    assert "我们" not in fitted.prepare(texts[0]).split()
    assert "味道" in fitted.prepare(texts[0]).split()
    assert "stop words are taken out, of " in fitted.notice("review", {"stop_words": "auto"})
    alone = fit(texts, stop_words="de,fr")
    assert alone.stop_word_languages == ["de", "fr"]


def test_a_language_without_a_list_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match=r"no list of stop words of the language 'xx'\. There are: af, .*zh"):
        fit(["a text"], stop_words="de,xx")


def test_without_the_lists_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stopwordsiso", None)
    frequent_words.cache_clear()
    _weights.cache_clear()
    with pytest.raises(
        MissingPackageError, match=r"need the package stopwordsiso: pip install 'polymodal\[languages\]'"
    ):
        fit(["a text"], stop_words="auto")
