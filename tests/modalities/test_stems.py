"""Words are brought to their stems by the languages of the column."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from polymodal.errors import ConfigError, MissingPackageError
from polymodal.modalities import Text, TextSettings
from polymodal.modalities.languages import find_languages, language_of
from polymodal.modalities.stems import _stemmer

TEXTS = ["The dogs were running", "кошки бегали, но было очень поздно"] * 4


def fit(cells: list[Any], **options: Any) -> Text:
    return Text.fit(cells, TextSettings(**options), None)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("味道很好，送餐很快", "zh"),
        ("這家餐廳的味道真的很好", "zh"),
        ("東京に行きます。", "ja"),
        ("이것은 한국어 문장입니다", "ko"),
        ("อาหารอร่อยมาก", "th"),
        ("الطعام لذيذ جدا في هذا المطعم", "ar"),
        ("این غذا خیلی خوشمزه است", "fa"),
        ("खाना बहुत अच्छा था और सेवा भी", "hi"),
        ("еда была очень вкусной", "ru"),
        ("das Essen war sehr gut", "de"),
        ("the food was very good", "en"),
        ("la nourriture était très bonne", "fr"),
        ("🙂 👍🏽 12", ""),
    ],
)
def test_the_language_of_a_text_is_found(text: str, code: str) -> None:
    assert language_of(text) == code


def test_rare_languages_of_a_column_do_not_count() -> None:
    assert find_languages(["the food was good"] * 30 + ["das Essen war gut"] * 6 + ["еда была"]) == ["en", "de"]


def test_words_of_one_stem_are_one_token() -> None:
    fitted = fit(TEXTS, stems="auto", tokenizer="word")
    assert fitted.stems == {"LATIN": "en", "CYRILLIC": "ru"}
    again = Text.from_state(json.loads(json.dumps(fitted.state())))
    (column, _), (other, _) = (
        again.transform(["dog run", "кошка"], None),
        fitted.transform(["dogs running", "кошки"], None),
    )
    assert (column.values == other.values).all()
    assert fitted.notice("note", {"stems": "auto"}).endswith("words are brought to their stems, of en, ru.")
    assert fit(["味道很好"] * 3, stems="auto").notice("note", {"stems": "auto"}).endswith("no words are stemmed.")


@pytest.mark.parametrize(
    ("choice", "expected"),
    [("zh", r"no stems of the language 'zh'\. .* must be none, auto or some of: ar, "), ("de,en", "share a script")],
)
def test_stems_that_there_are_not_are_one_sentence(choice: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        fit(TEXTS, stems=choice)


@pytest.mark.parametrize("options", [{"pretrained": "tokenizer.json"}, {"vectors": "vectors.txt"}])
def test_stems_are_refused_where_whole_words_are_known(options: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match=r"leave .*'stems' out"):
        TextSettings(stems="en", **options)  # type: ignore[arg-type]


def test_a_model_that_needs_stems_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    state = fit(TEXTS, stems="en").state()
    monkeypatch.setitem(sys.modules, "snowballstemmer", None)
    _stemmer.cache_clear()
    with pytest.raises(MissingPackageError, match=r"snowballstemmer: pip install 'polymodal\[languages\]'\.$"):
        Text.from_state(state)
