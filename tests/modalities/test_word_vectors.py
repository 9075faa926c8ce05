"""Word vectors: every format that others write them in, and vectors trained on the column."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from polymodal.errors import ConfigError
from polymodal.modalities import Text, TextSettings, build_settings
from polymodal.modalities.word_vectors import load_word_vectors

Vectors = Mapping[str, NDArray[np.float32]]
WORDS = ("the", "red", "shape", "is", "circle", ".", "n't", "zebra")
VECTORS: Vectors = {
    word: np.random.default_rng(place).normal(size=6).astype(np.float32) for place, word in enumerate(WORDS)
}
TEXTS = ["The red shape is a circle.", "It isn't red", None, "the RED, red shape"]


def glove(vectors: Vectors) -> bytes:
    return b"".join(word.encode() + b" " + numbers(vector) + b"\n" for word, vector in vectors.items())


def numbers(vector: NDArray[np.float32]) -> bytes:
    return " ".join(f"{value:.9g}" for value in vector).encode()


def header(vectors: Vectors) -> bytes:
    return f"{len(vectors)} {len(next(iter(vectors.values())))}\n".encode()


def word2vec_text(vectors: Vectors) -> bytes:
    return header(vectors) + glove(vectors)


def word2vec_binary(vectors: Vectors, end: bytes = b"\n") -> bytes:
    records = (word.encode() + b" " + vector.tobytes() + end for word, vector in vectors.items())
    return header(vectors) + b"".join(records)


FORMATS = {
    "glove": glove(VECTORS),
    "word2vec-text": word2vec_text(VECTORS),
    "word2vec-binary": word2vec_binary(VECTORS),
    "word2vec-binary-unbroken": word2vec_binary(VECTORS, b""),
}
FORMATS |= {f"{name}-gz": gzip.compress(content) for name, content in FORMATS.items()}
every_format = pytest.mark.parametrize("content", FORMATS.values(), ids=list(FORMATS))


def write(folder: Path, content: bytes) -> str:
    (folder / "vectors").write_bytes(content)
    return str(folder / "vectors")


def fit(cells: list[Any], **options: Any) -> Text:
    return Text.fit(cells, TextSettings(**options), None)


def ids(text: Text, cell: Any) -> list[int]:
    column, _ = text.transform([cell], None)
    assert column.lengths is not None
    values: list[int] = column.values[0, : column.lengths[0]].tolist()
    return values


def vocabulary(text: Text) -> dict[str, int]:
    found: dict[str, int] = json.loads(text.tokenizer)["model"]["vocab"]
    return found


@every_format
def test_every_format_gives_the_same_vectors(tmp_path: Path, content: bytes) -> None:
    fitted = fit(TEXTS, vectors=write(tmp_path, content))
    places = vocabulary(fitted)
    assert fitted.vectors is not None
    assert fitted.vectors.shape == (fitted.num_ids, 6) == (len(places), fitted.vector_dim)
    for word in set(places) - {"[PAD]", "[UNK]"}:
        np.testing.assert_allclose(fitted.vectors[places[word]], VECTORS[word], rtol=1e-6)


@every_format
def test_only_words_of_the_training_texts_are_kept(tmp_path: Path, content: bytes) -> None:
    fitted = fit(TEXTS, vectors=write(tmp_path, content))
    assert list(vocabulary(fitted)) == ["[PAD]", "[UNK]", "red", "is", "shape", "the", ".", "circle", "n't"]
    assert ids(fitted, "zebra is RED") == [1, 3, 2]
    assert fitted.coverage == pytest.approx(13 / 16)  # a, it and the comma have none
    assert fit(TEXTS, vectors=write(tmp_path, content), vocabulary_size=300).num_ids == 9


def test_padding_is_zero_and_the_unknown_word_is_the_mean(tmp_path: Path) -> None:
    fitted = fit(TEXTS, vectors=write(tmp_path, glove(VECTORS)))
    assert fitted.vectors is not None
    assert not fitted.vectors[0].any()
    np.testing.assert_allclose(fitted.vectors[1], fitted.vectors[2:].mean(axis=0), atol=1e-6)


def test_contractions_are_cut_as_in_the_penn_treebank() -> None:
    words = ["do", "n't", "it", "'s", "we", "'ll", "cat", "dogs", "'", "can"]
    fitted = fit([" ".join(words * 2)], tokenizer="word")
    shown = {place: word for word, place in vocabulary(fitted).items()}
    text = "It’s we'll don't can't 'cat' dogs'"
    assert [shown[place] for place in ids(fitted, text)] == (
        ["it", "'s", "we", "'ll", "do", "n't", "[UNK]", "n't", "'", "cat", "'", "dogs", "'"]
    )


def test_case_of_the_file_is_ignored_where_the_texts_case_is(tmp_path: Path) -> None:
    cased = {"Red": np.ones(3, np.float32), "red": np.zeros(3, np.float32) + 2, "Shape": np.ones(3, np.float32) * 3}
    path = write(tmp_path, glove(cased))
    fitted = fit(TEXTS, vectors=path)
    assert fitted.vectors is not None
    assert fitted.vectors[vocabulary(fitted)["red"]].tolist() == [2, 2, 2]
    assert fitted.vectors[vocabulary(fitted)["shape"]].tolist() == [3, 3, 3]
    assert set(vocabulary(fit(["Red red RED"], vectors=path, lowercase=False))) == {"[PAD]", "[UNK]", "Red", "red"}


def test_the_state_holds_no_vectors_and_needs_no_file(tmp_path: Path) -> None:
    fitted = fit(TEXTS, vectors=write(tmp_path, glove(VECTORS)))
    (tmp_path / "vectors").unlink()
    again = Text.from_state(json.loads(json.dumps(fitted.state())))
    assert "vectors" not in fitted.state()
    assert again.vectors is None
    assert (again, again.vector_dim) == (fitted, 6)
    assert ids(again, TEXTS[0]) == ids(fitted, TEXTS[0])


def test_words_with_blanks_in_glove_are_skipped(tmp_path: Path) -> None:
    content = b". . . " + numbers(VECTORS["red"]) + b"\n" + glove(VECTORS)
    found = load_word_vectors(
        write(tmp_path, b"a " + numbers(VECTORS["is"]) + b"\n" + content), {".", "red"}, lowercase=True
    )
    assert found.words == ["red", "."]
    np.testing.assert_allclose(found.values[1], VECTORS["."], rtol=1e-6)


def test_a_word_that_stands_there_twice_has_its_first_vector(tmp_path: Path) -> None:
    path = write(tmp_path, b"red 1 2\nred 3 4\n")
    assert load_word_vectors(path, {"red"}, lowercase=True).values.tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "it is empty"),
        (b"\n\n", "its first line is blank"),
        (b"no numbers here\n", "line 1 holds something else than one word and numbers"),
        (b"word\n", "tells of 0 values a word"),
        (b"9 999999999\nred 1\n", "tells of 999,999,999 values a word, not 1 to 10,000"),
        (b"is 1 2 3\nred 1 2\n", "line 2 holds 2 values, the first one 3"),
        (b"is 1 2\nred 1 x\n", "line 2 holds something else"),
        (b"is 1 2\nred 1 nan\n", "line 2 holds values that are NaN or infinite"),
        (b"is 1 2\nred 1 1e99\n", "line 2 holds values that are NaN or infinite"),
        (word2vec_binary(VECTORS)[:-9], "it ends within word 8 of 8"),
        (word2vec_binary(VECTORS)[:-31], "it ends before word 8"),
        (b"1 2\nred " + np.array([np.nan, 1], np.float32).tobytes(), "word 1 holds values that are NaN"),
        (gzip.compress(glove(VECTORS))[:-40], "Compressed file ended|ended before"),
        (b"\x1f\x8bnonsense", "Unknown compression method"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "tells of 0 values"),
    ],
)
def test_a_file_that_is_no_word_vectors_is_one_sentence(tmp_path: Path, content: bytes, expected: str) -> None:
    with pytest.raises(ConfigError, match=rf"^The word vectors .*vectors cannot be read: (.*{expected}).*") as caught:
        fit(TEXTS, vectors=write(tmp_path, content))
    assert str(caught.value).endswith("Expected word2vec text, word2vec binary, or GloVe text, plain or .gz.")


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.txt cannot be read: No such file or directory\. Expected word2vec"):
        fit(TEXTS, vectors=str(tmp_path / "none.txt"))


def test_vectors_of_other_words_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, glove({"rot": VECTORS["red"], "kreis": VECTORS["circle"]}))
    with pytest.raises(ConfigError, match=r"^Not one of the 10 words of the training texts \(such as 'red', .*Choose"):
        fit(TEXTS, vectors=path)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"vectors": "x", "tokenizer": "bpe"},
            r"'vectors' of modality 'text' is wrong: word vectors need the tokenizer",
        ),
        ({"vectors": "x", "pretrained": "y"}, r"word vectors cannot be used with a pretrained tokenizer or checkpoint"),
        ({"tokenizer": "words"}, r"option 'tokenizer' of modality 'text' is wrong"),
        ({"word2vec_dim": 0}, r"option 'word2vec_dim' of modality 'text' is wrong"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        build_settings("text", options)


def corpus() -> list[str]:
    """Texts in which the names of two kinds of things stand among different words."""
    random = np.random.default_rng(0)
    kinds = {("cat", "dog", "owl", "cow"): "{0} sleeps and eats", ("car", "bus", "van", "tram"): "drive {0} on roads"}
    chosen = [list(kinds.items())[random.integers(2)] for _ in range(400)]
    return [pattern.format(names[random.integers(4)]) for names, pattern in chosen]


def test_words_used_alike_get_like_vectors() -> None:
    pytest.importorskip("gensim")
    fitted = fit(corpus(), vectors="word2vec", word2vec_dim=16, word2vec_epochs=20)
    assert fitted.vectors is not None
    assert (fitted.vector_dim, fitted.coverage) == (16, 1.0)
    assert fitted.vectors.shape == (fitted.num_ids, 16)
    unit = fitted.vectors[2:] / np.linalg.norm(fitted.vectors[2:], axis=1, keepdims=True)
    place = {word: index - 2 for word, index in vocabulary(fitted).items()}
    likeness = unit @ unit.T
    among = np.mean([likeness[place["cat"], place[other]] for other in ("dog", "owl", "cow")])
    across = np.mean([likeness[place["cat"], place[other]] for other in ("car", "bus", "van", "tram")])
    assert among > across + 0.2


def test_training_vectors_is_the_same_in_another_process() -> None:
    pytest.importorskip("gensim")
    code = (
        "import sys, json; from polymodal.modalities import Text, TextSettings;"
        "settings = TextSettings(vectors='word2vec', word2vec_dim=8, word2vec_seed=3);"
        "print(json.dumps(Text.fit(json.load(sys.stdin), settings, None).vectors.tolist()))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    run = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(corpus()),
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    here = fit(corpus(), vectors="word2vec", word2vec_dim=8, word2vec_seed=3).vectors
    assert here is not None
    assert json.loads(run.stdout) == here.tolist()
    other = fit(corpus(), vectors="word2vec", word2vec_dim=8, word2vec_seed=4).vectors
    assert other is not None
    assert not np.array_equal(other, here)


@pytest.mark.parametrize("cells", [[], [None, ""], ["every word once"]])
def test_training_vectors_on_almost_nothing(cells: list[Any]) -> None:
    pytest.importorskip("gensim")
    fitted = fit(cells, vectors="word2vec", word2vec_dim=4)
    assert fitted.vectors is not None
    assert (fitted.vectors.tolist(), fitted.num_ids) == ([[0] * 4] * 2, 2)
    assert ids(fitted, "anything at all") == [1, 1, 1]


def test_without_gensim_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gensim.models", None)
    with pytest.raises(ConfigError, match=r"need the package gensim\. Install it: pip install 'polymodal\[word2vec\]'"):
        fit(TEXTS, vectors="word2vec")


def test_whole_words_without_vectors() -> None:
    fitted = fit(TEXTS, tokenizer="word")
    assert list(vocabulary(fitted)) == ["[PAD]", "[UNK]", "red", "is", "shape", "the"]
    assert (fitted.vector_dim, fitted.vectors) == (0, None)
