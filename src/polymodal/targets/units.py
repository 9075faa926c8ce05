"""The output units of transcripts: characters or subwords of the training texts."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Self

from polymodal.arrays import Cell
from polymodal.modalities import CellReadError
from polymodal.modalities.text import parse_text

if TYPE_CHECKING:
    from tokenizers import Tokenizer

UnitKind = Literal["characters", "subwords"]
BLANK = 0
"""Id of the CTC blank; those of the units start at 1."""
WORD_START = "▁"


def read_transcript(cell: Cell) -> str | None:
    """Read a cell as a transcript.

    Args:
        cell: Text or number.

    Returns:
        The text in Unicode normal form C with single spaces; None where the cell is absent.

    Raises:
        CellReadError: If the cell holds no text, or one without a visible character.
    """
    if cell is None:
        return None
    text = " ".join(unicodedata.normalize("NFC", parse_text(cell) or "").split())
    if all(unicodedata.category(character).startswith(("C", "Z")) for character in text):
        raise CellReadError("holds an empty transcript")
    return text


@dataclass(frozen=True)
class Units:
    """The units of a column's transcripts.

    Attributes:
        kind: ``characters`` or ``subwords``.
        symbols: Text of each unit, in the order of their ids from 1.
        tokenizer: The subwords' tokenizer in the JSON of the ``tokenizers`` library; else empty.
    """

    kind: UnitKind
    symbols: list[str]
    tokenizer: str = ""

    @classmethod
    def fit(cls, texts: Sequence[str], kind: UnitKind, num_subwords: int) -> Self:
        """Fit the units on the training texts.

        Args:
            texts: Training texts.
            kind: ``characters`` or ``subwords``.
            num_subwords: Maximum number of subwords; every character is one in any case.

        Returns:
            The units; the same texts give the same ones.
        """
        if kind == "characters":
            return cls(kind, sorted(set("".join(texts))))
        engine = _train_subwords(texts, num_subwords)
        ordered = sorted(engine.get_vocab().items(), key=lambda pair: pair[1])
        return cls(kind, [piece.replace(WORD_START, " ") for piece, _ in ordered], engine.to_str())

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {symbol: index + 1 for index, symbol in enumerate(self.symbols)}

    @cached_property
    def _characters(self) -> frozenset[str]:
        return frozenset("".join(self.symbols))

    @cached_property
    def _engine(self) -> Tokenizer:
        from tokenizers import Tokenizer

        return Tokenizer.from_str(self.tokenizer)

    def encode(self, text: str) -> list[int]:
        """Encode a text; characters that no training text has are dropped.

        Args:
            text: From ``read_transcript``.

        Returns:
            Ids, 1 or more each.
        """
        text = " ".join("".join(character for character in text if character in self._characters).split())
        if self.kind == "characters":
            return [self._ids[character] for character in text]
        return [index + 1 for index in self._engine.encode(text).ids] if text else []

    def decode(self, ids: Sequence[int]) -> str:
        """Decode ids to a text.

        Args:
            ids: 1 or more each.

        Returns:
            The text with single spaces.
        """
        return " ".join("".join(self.symbols[index - 1] for index in ids).split())


def _train_subwords(texts: Sequence[str], num_subwords: int) -> Tokenizer:
    """Byte-pair encoding (Sennrich et al. 2016, arXiv 1508.07909) with a marker at the start of each word."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    engine = Tokenizer(models.BPE())
    engine.pre_tokenizer = pre_tokenizers.Metaspace(replacement=WORD_START, prepend_scheme="always")
    trainer = trainers.BpeTrainer(vocab_size=num_subwords, min_frequency=2, show_progress=False)
    engine.train_from_iterator(texts, trainer, length=len(texts))
    return engine
