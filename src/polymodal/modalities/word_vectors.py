"""Word vectors: loaded from a file, or trained on the column's own texts.

Formats, each plain or compressed by gzip (``.gz``):

- word2vec text: a line with the number of words and of values, then one line a word;
- word2vec binary: the same first line, then each word, a blank and its values as little-endian float32;
- GloVe text: one line a word, without a first line.

Shape legend: V words, D values of a word.
"""

from __future__ import annotations

import gzip
import re
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from io import BufferedReader
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polymodal.errors import ConfigError

WORD2VEC = "word2vec"
"""The value of the setting ``vectors`` that means: train them on the column."""
MAX_DIM = 10_000
MAX_WORD_BYTES = 10_000
MAX_LINE_BYTES = MAX_WORD_BYTES + 32 * MAX_DIM
MIN_COUNT = 2
NEGATIVE = 5
"""Words drawn against each true neighbour while vectors are trained."""
GZIP_MAGIC = b"\x1f\x8b"
File = gzip.GzipFile | BufferedReader
FORMATS = "word2vec text, word2vec binary, or GloVe text, plain or .gz"


@dataclass(frozen=True)
class WordVectors:
    """Words and their vectors.

    Attributes:
        words: V different words.
        values: float32 ``[V, D]``, finite.
    """

    words: list[str]
    values: NDArray[np.float32]


class _UnreadableError(Exception):
    """A file that is not readable as word vectors; the message is the reason."""


def load_word_vectors(path: str, wanted: Set[str], *, lowercase: bool) -> WordVectors:
    """Read the vectors of the requested words; the rest of the file is skipped, and takes no memory.

    Args:
        path: The file.
        wanted: Words whose vectors are read.
        lowercase: Whether the wanted words are in lower case and the file's words count as such; a word that stands
            there in lower case is preferred to one that does not.

    Returns:
        The wanted words that are there, in the file's order; of a word that stands there twice, the first.

    Raises:
        ConfigError: If the file cannot be read or is in none of the formats.
    """
    try:
        with _open(Path(path)) as file:
            dim, records = _records(file, lambda word: _key(word, lowercase) in wanted)
            return _collect(records, dim, lowercase)
    except _UnreadableError as error:
        raise ConfigError(f"The word vectors {path} cannot be read: {error}. Expected {FORMATS}.") from None
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"The word vectors {path} cannot be read: {reason}. Expected {FORMATS}.") from None


def _open(path: Path) -> File:
    with path.open("rb") as file:
        is_compressed = file.read(2) == GZIP_MAGIC
    return gzip.open(path, "rb") if is_compressed else path.open("rb")


IsWanted = Callable[[str], bool]
Record = tuple[str, NDArray[np.float32]]


def _records(file: File, is_wanted: IsWanted) -> tuple[int, Iterator[Record]]:
    """Detect the format from the first lines; return D and an iterator over the requested words."""
    first = file.readline(MAX_LINE_BYTES)
    if not first.strip():
        raise _UnreadableError("it is empty" if not first else "its first line is blank")
    header = re.fullmatch(rb"\s*(\d+)\s+(\d+)\s*", first)
    if header is None:
        dim = _check_dim(len(first.split()) - 1)
        _numbers(first.split()[1:], 1)
        return dim, _text_records(chain([first], file), dim, is_wanted, start=1)
    dim, start = _check_dim(int(header[2])), file.tell()
    is_text = _looks_like_text(file.read(MAX_LINE_BYTES), dim)
    file.seek(start)
    if is_text:
        return dim, _text_records(file, dim, is_wanted, start=2)
    return dim, _binary_records(file, dim, int(header[1]), is_wanted)


def _check_dim(dim: int) -> int:
    if not 1 <= dim <= MAX_DIM:
        raise _UnreadableError(f"its first line tells of {dim:,} values a word, not 1 to {MAX_DIM:,}")
    return dim


def _looks_like_text(content: bytes, dim: int) -> bool:
    """Return whether the first word is followed by as many numbers as declared."""
    texts = content.lstrip().partition(b"\n")[0].split()[-dim:]
    try:
        return len([float(text) for text in texts]) == dim
    except ValueError:
        return False


def _text_records(lines: Iterable[bytes], dim: int, is_wanted: IsWanted, start: int) -> Iterator[Record]:
    """Split requested lines from the end: some words of GloVe contain blanks, and are skipped."""
    for number, line in enumerate(lines, start):
        head = line.split(None, 1)[:1]
        if not head or not is_wanted(head[0].decode("utf-8", "replace")):
            continue
        parts = line.strip().rsplit(None, dim)
        if len(parts) != dim + 1:
            raise _UnreadableError(f"line {number:,} holds {len(parts) - 1} values, the first one {dim}")
        if parts[0] == head[0]:
            yield parts[0].decode("utf-8", "replace"), _numbers(parts[1:], number)


def _numbers(texts: list[bytes], number: int) -> NDArray[np.float32]:
    try:
        with np.errstate(over="ignore"):
            vector = np.array([float(text) for text in texts], np.float64).astype(np.float32)
    except ValueError:
        raise _UnreadableError(f"line {number:,} holds something else than one word and numbers") from None
    return _finite(vector, f"line {number:,}")


def _finite(vector: NDArray[np.float32], where: str) -> NDArray[np.float32]:
    if not np.isfinite(vector).all():
        raise _UnreadableError(f"{where} holds values that are NaN or infinite")
    return vector


def _binary_records(file: File, dim: int, num_words: int, is_wanted: IsWanted) -> Iterator[Record]:
    for number in range(1, num_words + 1):
        word = _read_word(file, number)
        values = file.read(4 * dim)
        if len(values) < 4 * dim:
            raise _UnreadableError(f"it ends within word {number:,} of {num_words:,}")
        if is_wanted(word):
            yield word, _finite(np.frombuffer(values, "<f4").astype(np.float32), f"word {number:,}")


def _read_word(file: File, number: int) -> str:
    word = bytearray()
    while (byte := file.read(1)) != b" ":
        if not byte or len(word) > MAX_WORD_BYTES:
            raise _UnreadableError(f"it ends before word {number:,}" if not byte else f"word {number:,} has no end")
        if byte != b"\n":  # some writers end each record with one
            word += byte
    return word.decode("utf-8", "replace")


def _key(word: str, lowercase: bool) -> str:
    """Return a word of the file as the tokenizer of words writes it."""
    normal = unicodedata.normalize("NFKC", word)
    return normal.lower() if lowercase else normal


def _collect(records: Iterator[Record], dim: int, lowercase: bool) -> WordVectors:
    found: dict[str, NDArray[np.float32]] = {}
    exact: set[str] = set()
    for word, values in records:
        key = _key(word, lowercase)
        if key not in exact and (word == key or key not in found):
            found[key] = values
        if word == key:
            exact.add(key)
    return WordVectors(list(found), np.array(list(found.values()), np.float32).reshape(len(found), dim))


def train_word_vectors(texts: Sequence[Sequence[str]], *, dim: int, window: int, epochs: int, seed: int) -> WordVectors:
    """Train word2vec vectors: skip-gram with negative sampling.

    Source: Mikolov et al. 2013, arXiv 1301.3781, section 3.2 (skip-gram), and arXiv 1310.4546, equation 4
    (negative sampling). One thread, so that the same texts and seed give the same vectors.

    Args:
        texts: Words of each text; words that occur once get no vector.
        dim: D.
        window: Words to each side that count as neighbours.
        epochs: Passes over the texts.
        seed: Fixes all draws.

    Returns:
        The words that occur at least twice, the most frequent first.

    Raises:
        ConfigError: If the package gensim is missing.
    """
    try:
        from gensim.models import Word2Vec
    except ImportError:
        raise ConfigError(
            "Word vectors trained on the column need the package gensim. Install it: "
            "pip install 'polymodal[word2vec]', or give a file of word vectors."
        ) from None
    model = Word2Vec(
        vector_size=dim,
        window=window,
        min_count=MIN_COUNT,
        sg=1,
        negative=NEGATIVE,
        seed=seed,
        workers=1,
        epochs=epochs,
    )
    model.build_vocab(texts)
    if not len(model.wv):
        return WordVectors([], np.zeros((0, dim), np.float32))
    model.train(texts, total_examples=model.corpus_count, epochs=epochs)
    return WordVectors(list(model.wv.index_to_key), np.asarray(model.wv.vectors, np.float32))
