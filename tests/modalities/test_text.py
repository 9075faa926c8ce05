"""Text of several languages to tokens."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polymodal.errors import ConfigError
from polymodal.modalities import Text, TextSettings
from polymodal.modalities.stop_words import remove_words
from polymodal.modalities.text import parse_words

TEXTS = ["The red shape is a circle.", "一个红色的圆形在左边", "Is there a Blue triangle?", "naïve café 🙂"] * 5


def fit(cells: list[Any], **options: Any) -> Text:
    return Text.fit(cells, TextSettings(**options), None)


def ids(text: Text, cell: Any) -> list[int]:
    column, _ = text.transform([cell], None)
    assert column.lengths is not None
    values: list[int] = column.values[0, : column.lengths[0]].tolist()
    return values


@pytest.mark.parametrize("tokenizer", ["bpe", "wordpiece"])
def test_texts_become_tokens(tokenizer: str) -> None:
    fitted = fit(TEXTS, tokenizer=tokenizer)
    column, broken = fitted.transform([*TEXTS, "", None, " \n"], None)
    assert broken == []
    assert column.lengths is not None
    assert column.values.dtype == np.int32
    assert column.values.shape == (23, fitted.max_length)
    assert column.present.tolist() == [True] * 20 + [False] * 3
    assert column.lengths[:20].min() >= 1
    assert 0 < column.values.max() < fitted.num_ids
    for row, length in enumerate(column.lengths):
        assert not column.values[row, length:].any()
        assert 0 not in column.values[row, :length]


def test_texts_are_encoded_some_at_a_time_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fit(TEXTS)
    monkeypatch.setattr("polymodal.modalities.text.BATCH_SIZE", 3)
    parted = fit(TEXTS)
    assert parted.state() == whole.state()
    cells = [*TEXTS, None, b"\xff", "", "red"]
    (column, broken), (other, same) = parted.transform(cells, None), whole.transform(cells, None)
    assert broken == same
    assert np.array_equal(column.values, other.values)
    assert np.array_equal(column.present, other.present)


def test_case_counts_only_where_asked() -> None:
    assert ids(fit(TEXTS), "RED") == ids(fit(TEXTS), "red")
    sensitive = fit(TEXTS, lowercase=False)
    assert ids(sensitive, "RED") != ids(sensitive, "red")


def test_bpe_has_no_unknown_text() -> None:
    fitted = fit(["abc"] * 3)
    assert 1 not in ids(fitted, "漢字 ☃")
    assert 1 in ids(fit(["abc"] * 3, tokenizer="wordpiece"), "漢字")


def test_chinese_without_blanks_is_told_apart() -> None:
    fitted = fit(TEXTS)
    assert len(ids(fitted, "一个红色的圆形在左边")) < len("一个红色的圆形在左边".encode())
    assert ids(fitted, "红色") != ids(fitted, "左边")


def test_length_follows_training_and_the_limit() -> None:
    assert fit(["a b c"] * 10, max_length=64).max_length <= 8
    fitted = fit([" ".join(["word"] * 500)], max_length=32)
    assert fitted.max_length == 32
    column, _ = fitted.transform(["word " * 1000], None)
    assert column.lengths is not None
    assert column.lengths.tolist() == [32]


@pytest.mark.parametrize("cell", [5, 2.5, True])
def test_plain_values_count_as_their_text(cell: Any) -> None:
    fitted = fit(TEXTS)
    assert ids(fitted, cell) == ids(fitted, str(cell))


@pytest.mark.parametrize("cell", [[1], {"a": 1}, b"\xff\xfe", object()])
def test_what_is_no_text_is_broken(cell: Any) -> None:
    column, broken = fit(TEXTS).transform([cell], None)
    assert not column.present.any()
    assert "is not text" in broken[0].reason


@pytest.mark.parametrize("cell", ["lone \ud800 surrogate", "nul \0 inside", "\u200b", "\ufeff", "\x07"])
def test_strange_characters_do_no_harm(cell: str) -> None:
    for tokenizer in ("bpe", "wordpiece"):
        column, broken = fit([*TEXTS, cell], tokenizer=tokenizer).transform([cell], None)
        assert broken == []
        assert column.lengths is not None
        assert column.present.all()
        assert column.lengths[0] >= 1


def test_training_is_the_same_in_another_process() -> None:
    code = (
        "import sys, json; from polymodal.modalities import Text, TextSettings;"
        "print(json.dumps(Text.fit(json.load(sys.stdin), TextSettings(), None).state()))"
    )
    generator = np.random.default_rng(0)
    words = ["".join(chr(97 + code) for code in generator.integers(0, 26, 5)) for _ in range(300)]
    texts = [" ".join(generator.choice(words, 20)) for _ in range(200)]
    run = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(texts), capture_output=True, text=True, check=True
    )
    assert json.loads(run.stdout) == fit(texts).state()


def test_a_pretrained_tokenizer_is_used_as_it_is(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, processors

    tokenizer_ = Tokenizer.from_str(fit(TEXTS).tokenizer)
    tokenizer_.post_processor = processors.TemplateProcessing(single="[UNK] $A [UNK]", special_tokens=[("[UNK]", 1)])
    tokenizer_.enable_padding(length=99)
    tokenizer_.save(str(tmp_path / "tokenizer.json"))
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        fitted = fit(TEXTS, pretrained=str(path), max_length=6)
        found = ids(fitted, TEXTS[0])
        assert (len(found), found[0], found[-1]) == (6, 1, 1)


def test_a_missing_tokenizer_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tokenizer .* cannot be loaded: .* Expected a tokenizer.json"):
        fit(TEXTS, pretrained=str(tmp_path / "none.json"))


def test_words_are_removed_from_texts_without_blanks_wherever_they_stand() -> None:
    assert remove_words("味道真的很好", frozenset({"真的", "的", "good"})) == "味道很好"


def test_full_width_forms_and_styles_of_emoji_mean_the_same() -> None:
    for tokenizer in ("bpe", "wordpiece", "word"):
        fitted = fit([*TEXTS, "ABC 12 ❤ 很好"] * 2, tokenizer=tokenizer)
        assert ids(fitted, "ＡＢＣ　１２ ❤ 很好") == ids(fitted, "ABC 12 ❤ 很好")
    assert ids(fitted, "❤\ufe0f") == ids(fitted, "❤")


@pytest.mark.parametrize("tokenizer", ["bpe", "wordpiece"])
def test_a_run_without_blanks_does_not_slow_training_down(tokenizer: str) -> None:
    long = "".join(np.random.default_rng(0).choice(list("ACGT"), 60_000))
    fitted = Text.fit([long, "good stuff"] * 20, TextSettings(tokenizer=tokenizer), None)  # type: ignore[arg-type]
    assert fitted.num_ids > 200


def test_chinese_is_read_by_words_unless_asked_otherwise() -> None:
    texts = ["味道很好", "送餐太慢了", "味道不好"] * 10
    assert Text.fit(texts, TextSettings(), None) == Text.fit(texts, TextSettings(tokenizer="word"), None)
    assert Text.fit(texts, TextSettings(tokenizer="bpe"), None).num_ids > 256


def test_the_labels_of_a_list_that_are_there_are_its_words() -> None:
    assert parse_words(["a", None, "b"]) == "a, b"
    assert parse_words([None]) is None
