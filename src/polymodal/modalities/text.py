"""Text: token ids of a tokenizer trained on the column, or of a pretrained one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, Field

from polymodal.arrays import BrokenCell, Cell, Column
from polymodal.errors import ConfigError
from polymodal.modalities.base import CellReadError, Settings, quote, read_cells

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PADDING, UNKNOWN = "[PAD]", "[UNK]"
LENGTH_QUANTILE = 0.995
PLAIN = (int, float, Decimal, date, np.number, np.bool_)


class TextSettings(Settings):
    """Options of text.

    Attributes:
        vocabulary_size: Tokens that a tokenizer is trained to have at most.
        max_length: Tokens of a text at most; the rest is cut off.
        tokenizer: Which kind is trained on the column: byte-level BPE, or WordPiece.
        lowercase: Whether upper and lower case are the same.
        pretrained: A ``tokenizer.json``, or the folder that holds it; it is used as it is, and
            nothing is trained.
    """

    vocabulary_size: int = Field(default=8000, ge=300, le=200_000)
    max_length: int = Field(default=256, ge=4, le=8192)
    tokenizer: Literal["bpe", "wordpiece"] = "bpe"
    lowercase: bool = True
    pretrained: str | None = None


@dataclass(frozen=True, kw_only=True)
class Text:
    """Texts as token ids, one tokenizer for the column.

    Attributes:
        tokenizer: The tokenizer in the JSON of the ``tokenizers`` library.
        num_ids: Token ids lie in 0..num_ids - 1.
        max_length: Tokens of a row: the 99.5th percentile of the training texts, at most the setting.
    """

    tokenizer: str
    num_ids: int
    max_length: int

    name: ClassVar[str] = "text"
    summary: ClassVar[str] = "text of any language, to tokens of byte-level BPE, WordPiece or a pretrained tokenizer"
    paper: ClassVar[str] = "Sennrich et al. 2016 (BPE); Radford et al. 2019 (byte level); Schuster and Nakajima 2012"
    is_media: ClassVar[bool] = True
    Settings: ClassVar[type[BaseModel]] = TextSettings

    @cached_property
    def _engine(self) -> Tokenizer:
        from tokenizers import Tokenizer

        engine = Tokenizer.from_str(self.tokenizer)
        engine.no_padding()
        engine.enable_truncation(self.max_length)
        return engine

    @classmethod
    def fit(
        cls,
        cells: Sequence[Cell],
        settings: TextSettings,
        folder: Path | None,  # noqa: ARG003  (all modalities are called alike)
        *,
        num_threads: int = 2,  # noqa: ARG003
    ) -> Text:
        """Train a tokenizer on the cells, or load a pretrained one, and measure lengths.

        Args:
            cells: Training cells.
            settings: Options.
            folder: Not needed.
            num_threads: Not needed.

        Returns:
            The fitted modality; the same cells give the same tokenizer.

        Raises:
            ConfigError: If the pretrained tokenizer cannot be read.
        """
        parsed, _ = read_cells(cells, parse_text)
        texts = [text for text in parsed if text is not None]
        engine = load_tokenizer(settings.pretrained) if settings.pretrained else train_tokenizer(texts, settings)
        engine.no_padding()
        engine.no_truncation()
        return cls(
            tokenizer=engine.to_str(),
            num_ids=max(engine.get_vocab().values(), default=0) + 1,
            max_length=_choose_length(engine, texts, settings.max_length),
        )

    def transform(
        self,
        cells: Sequence[Cell],
        folder: Path | None,  # noqa: ARG002
        *,
        num_threads: int = 2,  # noqa: ARG002
    ) -> tuple[Column, list[BrokenCell]]:
        """Turn texts into token ids.

        Args:
            cells: Text; numbers and dates count as their text.
            folder: Not needed.
            num_threads: Not needed; the tokenizer uses the machine's.

        Returns:
            int32 ``[rows, max_length]``, filled up with 0, with lengths; a text has at least one token. And the broken
            cells.
        """
        texts, broken = read_cells(cells, parse_text)
        rows = [row for row, text in enumerate(texts) if text is not None]
        encoded = self._engine.encode_batch_fast([text for text in texts if text is not None])
        values = np.zeros((len(cells), self.max_length), np.int32)
        lengths, present = np.zeros(len(cells), np.int64), np.zeros(len(cells), bool)
        present[rows] = True
        for row, encoding in zip(rows, encoded, strict=True):
            values[row, : len(encoding.ids)] = encoding.ids
            lengths[row] = max(1, len(encoding.ids))
        return Column(values, present, lengths), broken

    def state(self) -> dict[str, Any]:
        """Return what was fitted, in plain JSON types."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Text:
        """Make the modality again from its state.

        Args:
            state: What ``state`` returned.

        Returns:
            The same modality.
        """
        return cls(**state)


def parse_text(cell: Cell) -> str | None:
    """Read a cell as text.

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


def load_tokenizer(path: str) -> Tokenizer:
    """Load a pretrained tokenizer.

    Args:
        path: A ``tokenizer.json`` or the folder that holds it.

    Returns:
        The tokenizer.

    Raises:
        ConfigError: If there is none.
    """
    from tokenizers import Tokenizer

    file = Path(path) / "tokenizer.json" if Path(path).is_dir() else Path(path)
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises a bare Exception
        raise ConfigError(f"The tokenizer {file} cannot be loaded: {error}. Expected a tokenizer.json.") from None


def train_tokenizer(texts: Sequence[str], settings: TextSettings) -> Tokenizer:
    """Train a tokenizer; the same texts give the same one.

    Args:
        texts: Training texts.
        settings: Kind, size and case.

    Returns:
        A tokenizer with ``[PAD]`` as 0 and ``[UNK]`` as 1.
    """
    return (_train_bpe if settings.tokenizer == "bpe" else _train_wordpiece)(texts, settings)


def _train_bpe(texts: Sequence[str], settings: TextSettings) -> Tokenizer:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    engine = Tokenizer(models.BPE())
    steps = [normalizers.NFC(), normalizers.Lowercase()] if settings.lowercase else [normalizers.NFC()]
    engine.normalizer = normalizers.Sequence(steps)
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocabulary_size,
        min_frequency=2,
        special_tokens=[PADDING, UNKNOWN],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=32,
        show_progress=False,
    )
    engine.train_from_iterator(texts, trainer, length=len(texts))
    return engine


def _train_wordpiece(texts: Sequence[str], settings: TextSettings) -> Tokenizer:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    engine = Tokenizer(models.WordPiece(unk_token=UNKNOWN, max_input_chars_per_word=100))
    engine.normalizer = normalizers.BertNormalizer(lowercase=settings.lowercase)
    engine.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=settings.vocabulary_size,
        min_frequency=2,
        special_tokens=[PADDING, UNKNOWN],
        show_progress=False,
    )
    engine.train_from_iterator(texts, trainer, length=len(texts))
    return engine


def _choose_length(engine: Tokenizer, texts: Sequence[str], limit: int) -> int:
    if not texts:
        return min(limit, 16)
    lengths = [len(encoding.ids) for encoding in engine.encode_batch_fast(list(texts))]
    return int(min(limit, max(4, np.ceil(np.quantile(lengths, LENGTH_QUANTILE)))))
