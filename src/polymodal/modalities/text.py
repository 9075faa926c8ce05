"""Text: token ids of a tokenizer trained on the column, or of a pretrained one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date
from decimal import Decimal
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, PositiveInt

from polymodal.arrays import BrokenCell, Cell, Column
from polymodal.errors import ConfigError
from polymodal.modalities.base import CellReadError, Cut, Modality, quote, read_cells
from polymodal.modalities.segmentation import Segmentation
from polymodal.modalities.text_preparation import TextPreparation, choose_tokenizer
from polymodal.modalities.text_settings import TextSettings
from polymodal.modalities.tokenizer import load_tokenizer, most_frequent, split_words, train_tokenizer, word_tokenizer
from polymodal.modalities.word_vectors import WORD2VEC, WordVectors, load_word_vectors, train_word_vectors

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LENGTH_QUANTILE = 0.995
CUT_SAMPLE = 2000
BATCH_SIZE = 4096
FEW_TEXTS = 8
PLAIN = (int, float, Decimal, date, np.number, np.bool_)


@dataclass(frozen=True, kw_only=True)
class Text(Modality):
    """Texts as token ids, one tokenizer for the column.

    Attributes:
        tokenizer: The tokenizer in the JSON of the ``tokenizers`` library.
        num_ids: Token ids lie in 0..num_ids - 1.
        max_length: Tokens of a row: the 99.5th percentile of the training texts, at most the setting.
        stop_words: Words taken out before a text is cut into tokens, in lower case.
        segmentation: How scripts without blanks were cut before.
        stop_word_languages: Codes of the languages whose stop words these are.
        stems: Script to the code of the language by which its words are stemmed.
        vector_dim: Values of a word's vector; 0 where encoders learn their own from scratch.
        coverage: Share of the words in training texts, repetitions counted, that have a vector.
        vectors: float32 ``[num_ids, vector_dim]``, from which a new encoder starts; None without, and in a loaded
            model. Not part of the state: from then on the encoder's weights hold them.
    """

    tokenizer: str
    num_ids: int
    max_length: PositiveInt
    stop_words: list[str] = field(default_factory=list)
    segmentation: Segmentation = "none"
    stop_word_languages: list[str] = field(default_factory=list)
    stems: dict[str, str] = field(default_factory=dict)
    vector_dim: int = 0
    coverage: float = 0.0
    vectors: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)

    name: ClassVar[str] = "text"
    summary: ClassVar[str] = (
        "text of any language, to tokens of BPE, WordPiece or a pretrained tokenizer, or to words with vectors"
    )
    paper: ClassVar[str] = (
        "Sennrich et al. 2016 (BPE); Radford et al. 2019 (byte level); Schuster and Nakajima 2012 (WordPiece); "
        "Mikolov et al. 2013 (word2vec); Pennington et al. 2014 (GloVe)"
    )
    is_media: ClassVar[bool] = True
    Settings: ClassVar[type[BaseModel]] = TextSettings

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_str(self.tokenizer)
        tokenizer.no_padding()
        tokenizer.enable_truncation(self.max_length)
        return tokenizer

    @cached_property
    def _preparation(self) -> TextPreparation:
        return TextPreparation(**{entry.name: getattr(self, entry.name) for entry in fields(TextPreparation)})

    def prepare(self, text: str) -> str:
        """Prepare a text for the tokenizer.

        Args:
            text: Any text.

        Returns:
            The text with blanks between its words, without stop words, words as stems; as far as chosen.
        """
        return self._preparation.prepare(text)

    @classmethod
    def fit(
        cls,
        cells: Sequence[Cell],
        settings: TextSettings,
        folder: Path | None,  # noqa: ARG003  (all modalities are called alike)
        *,
        num_threads: int | None = None,  # noqa: ARG003
    ) -> Text:
        """Train a tokenizer on the cells, or load a pretrained one, measure lengths, and get the words' vectors.

        Args:
            cells: Training cells.
            settings: Options.
            folder: Not needed.
            num_threads: Not needed.

        Returns:
            The fitted modality; the same cells give the same tokenizer.

        Raises:
            ConfigError: If the pretrained tokenizer, the stop words or the word vectors cannot be read, or no word of
                the training texts has a vector.
            MissingPackageError: If a package for segmentation, stop words or stems is missing.
        """
        raw = [text for text in read_cells(cells, parse_words)[0] if text is not None]
        kind = choose_tokenizer(raw, settings)
        preparation = TextPreparation.fit(raw, kind, settings)
        texts = [preparation.prepare(text) for text in raw]
        found = None if settings.vectors is None else load_or_train_vectors(texts, settings)
        if settings.pretrained:
            tokenizer = load_tokenizer(settings.pretrained)
        else:
            tokenizer = word_tokenizer(found.words, settings) if found else train_tokenizer(texts, kind, settings)
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return cls(
            tokenizer=tokenizer.to_str(),
            num_ids=max(tokenizer.get_vocab().values(), default=0) + 1,
            max_length=_choose_length(tokenizer, texts, settings.max_length),
            segmentation=preparation.segmentation,
            stop_words=preparation.stop_words,
            stop_word_languages=preparation.stop_word_languages,
            stems=preparation.stems,
            vector_dim=0 if found is None else found.values.shape[1],
            coverage=0.0 if found is None else _coverage(tokenizer, texts),
            vectors=None if found is None else _with_special_words(found.values),
        )

    def transform(
        self,
        cells: Sequence[Cell],
        folder: Path | None,  # noqa: ARG002
        *,
        num_threads: int | None = None,  # noqa: ARG002
    ) -> tuple[Column, list[BrokenCell]]:
        """Tokenise texts.

        Args:
            cells: Text; numbers and dates count as their text.
            folder: Not needed.
            num_threads: Not needed; the tokenizer uses the machine's.

        Returns:
            int32 ``[rows, max_length]``, filled up with 0, with lengths; a text has at least one token. And the broken
            cells.
        """
        texts, broken = read_cells(cells, parse_words)
        rows = [row for row, text in enumerate(texts) if text is not None]
        encoded = _encode(self._tokenizer, (self.prepare(text) for text in texts if text is not None))
        values = np.zeros((len(cells), self.max_length), np.int32)
        lengths, present = np.zeros(len(cells), np.int64), np.zeros(len(cells), bool)
        present[rows] = True
        for row, ids in zip(rows, encoded, strict=True):
            values[row, : len(ids)] = ids
            lengths[row] = max(1, len(ids))
        return Column(values, present, lengths), broken

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Find the characters of each token of a text.

        Args:
            text: A text.

        Returns:
            First and last character (exclusive) of each token that is read; equal for special tokens. Empty where
            words are removed or stemmed, which moves the characters.
        """
        return self._preparation.original_spans(text, self._tokenizer.encode(self.prepare(text)).offsets)

    def cut(self, cells: Sequence[Cell], folder: Path | None, *, num_threads: int | None = None) -> Cut | None:  # noqa: ARG002
        """Count the texts with more tokens than are read.

        Args:
            cells: As in ``transform``; at most 2,000, evenly spread, are looked at.
            folder: Not needed.
            num_threads: Not needed.

        Returns:
            The counts.
        """
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_str(self.tokenizer)
        tokenizer.no_padding()
        tokenizer.no_truncation()
        parsed, _ = read_cells(cells[:: -(-len(cells) // CUT_SAMPLE) or 1], parse_words)
        texts = [self.prepare(text) for text in parsed if text is not None]
        num_cut = sum(len(ids) > self.max_length for ids in _encode(tokenizer, texts))
        effect = f"have more than {self.max_length:,} tokens; only the first {self.max_length:,} are used"
        is_chosen = num_cut <= 2 * (1 - LENGTH_QUANTILE) * len(texts)  # by the lengths of the texts, not by the option
        return Cut(num_cut, len(texts), effect, "" if is_chosen else "max_length")

    def notice(self, column: str, asked: Mapping[str, Any]) -> str:
        """Report what is done to the texts, and how many words have vectors.

        Args:
            column: The column's name.
            asked: Options that the user gave.

        Returns:
            Sentences for the user; empty where there is nothing to say.
        """
        told = self._preparation.notice(asked.get("stop_words", "none"), asked.get("stems", "none"))
        sentences = [f"Texts of the column {column!r}: {'; '.join(told)}."] if told else []
        return " ".join(sentences + self._vector_notice(column, asked))

    def _vector_notice(self, column: str, asked: Mapping[str, Any]) -> list[str]:
        if not self.vector_dim:
            return []
        source = "trained on them" if asked["vectors"] == WORD2VEC else f"from {asked['vectors']}"
        return [
            f"{self.num_ids - 2:,} words of the column {column!r} have vectors ({source}): "
            f"{self.coverage:.1%} of all words in its training texts."
        ]

    def state(self) -> dict[str, Any]:
        """Return the fitted state, in plain JSON types."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "vectors"}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Text:
        """Restore the modality from its state.

        Args:
            state: What ``state`` returned.

        Returns:
            The same modality.

        Raises:
            MissingPackageError: If a package is missing without which no text can be read.
        """
        text = cls(**state)
        text._preparation.check_packages()
        return text


def parse_words(cell: Cell) -> str | None:
    """Parse a cell as text; the labels of a list are joined.

    Args:
        cell: As for ``parse_text``, or a list of texts, some of which may be None.

    Returns:
        The text; None where it is blank.

    Raises:
        CellReadError: If the cell is something else.
    """
    if isinstance(cell, list | tuple) and all(isinstance(label, str | None) for label in cell):
        cell = ", ".join(filter(None, cell))
    return parse_text(cell)


def parse_text(cell: Cell) -> str | None:
    """Parse a cell as text.

    Args:
        cell: Text, UTF-8 bytes, a number or a date.

    Returns:
        The text; None where it is blank.

    Raises:
        CellReadError: If the cell is something else.
    """
    if isinstance(cell, bytes | bytearray):
        try:
            cell = cell.decode("utf-8")
        except UnicodeDecodeError:
            raise CellReadError(f"{quote(bytes(cell))} is not text in UTF-8") from None
    if not isinstance(cell, (str, *PLAIN)):
        raise CellReadError(f"{quote(cell)} is not text")
    text = str(cell)
    if text.isspace() or not text:
        return None
    return text if text.isprintable() else text.encode("utf-8", "replace").decode("utf-8")  # lone surrogates


def load_or_train_vectors(texts: Sequence[str], settings: TextSettings) -> WordVectors:
    """Load or train vectors for the words of the training texts only.

    Args:
        texts: Training texts, prepared.
        settings: Where vectors come from, the case, and how many words are kept.

    Returns:
        The most frequent words that have a vector, the most frequent first.

    Raises:
        ConfigError: If the file cannot be read or has none of the words, or gensim is needed and missing.
    """
    split = split_words(texts, settings)
    counts = Counter(word for words in split for word in words)
    if settings.vectors == WORD2VEC:
        found = train_word_vectors(
            split,
            dim=settings.word2vec_dim,
            window=settings.word2vec_window,
            epochs=settings.word2vec_epochs,
            seed=settings.word2vec_seed,
        )
    else:
        found = load_word_vectors(str(settings.vectors), counts.keys(), lowercase=settings.lowercase)
        _check_found(found, counts, settings)
    kept = most_frequent(Counter({word: counts[word] for word in found.words}), settings.vocabulary_size)
    place = {word: index for index, word in enumerate(found.words)}
    return WordVectors(kept, found.values[[place[word] for word in kept]])


def _check_found(found: WordVectors, counts: Counter[str], settings: TextSettings) -> None:
    if counts and not found.words:
        shown = ", ".join(repr(word) for word in most_frequent(counts, 5))
        raise ConfigError(
            f"Not one of the {len(counts):,} words of the training texts (such as {shown}) has a vector in "
            f"{settings.vectors}. Choose vectors of the texts' language, or leave the option 'vectors' out."
        )


def _with_special_words(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Prepend the vectors of padding (zeros) and of the unknown word (the mean of all others)."""
    special = np.zeros((2, values.shape[1]), np.float32)
    if len(values):
        special[1] = values.mean(axis=0, dtype=np.float64)
    return np.concatenate([special, values])


def _encode(tokenizer: Tokenizer, texts: Iterable[str]) -> Iterator[list[int]]:
    """Yield the ids of each text, batch by batch: the tokenizer's full encodings take a kilobyte each.

    Few texts are encoded one by one: threads of a batch would take longer to wake up.
    """
    remaining = iter(texts)
    while block := list(islice(remaining, BATCH_SIZE)):
        if len(block) <= FEW_TEXTS:
            yield from (tokenizer.encode(text).ids for text in block)
            continue
        yield from (encoding.ids for encoding in tokenizer.encode_batch_fast(block))


def _coverage(tokenizer: Tokenizer, texts: Sequence[str]) -> float:
    counts = [(len(ids), ids.count(1)) for ids in _encode(tokenizer, texts)]
    num_words, num_unknown = (sum(count) for count in zip(*counts, strict=True)) if counts else (0, 0)
    return 1.0 - num_unknown / num_words if num_words else 0.0


def _choose_length(tokenizer: Tokenizer, texts: Sequence[str], limit: int) -> int:
    if not texts:
        return min(limit, 16)
    lengths = [len(ids) for ids in _encode(tokenizer, texts)]
    return int(min(limit, max(4, np.ceil(np.quantile(lengths, LENGTH_QUANTILE)))))
