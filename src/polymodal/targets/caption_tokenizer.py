"""The tokenizer of captions: byte-level BPE, which decodes every text exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PADDING, END = 0, 1
NUM_SPECIAL_IDS = 2
"""Padding and end; they are not in the tokenizer's vocabulary, so that no text is encoded as one of them."""
MIN_FREQUENCY = 5
"""Minimum frequency of a merge in training: small columns get small vocabularies."""


@dataclass(frozen=True)
class CaptionTokenizer:
    """Byte-level BPE (Sennrich et al. 2016; Radford et al. 2019, section 2.2) without any normalisation.

    Every byte is in the vocabulary, so that any text can be encoded, and no two texts have the same ids.

    Example:
        >>> tokenizer = CaptionTokenizer.fit(["a red circle", "a blue circle"] * 5, 1000)
        >>> tokenizer.decode(tokenizer.encode(["A  Äffchen "])[0])
        'A  Äffchen '

    Attributes:
        json: The tokenizer in the JSON of the ``tokenizers`` library.
    """

    json: str

    @cached_property
    def _engine(self) -> Tokenizer:
        from tokenizers import Tokenizer

        return Tokenizer.from_str(self.json)

    @property
    def num_ids(self) -> int:
        """Number of ids; 0 is padding, 1 the end of a text."""
        return int(self._engine.get_vocab_size()) + NUM_SPECIAL_IDS

    @classmethod
    def fit(cls, texts: Sequence[str], vocabulary_size: int) -> CaptionTokenizer:
        """Train the tokenizer.

        Args:
            texts: Training captions.
            vocabulary_size: Maximum size of the vocabulary, including the 256 bytes.

        Returns:
            The tokenizer; the same texts give the same one.
        """
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

        engine = Tokenizer(models.BPE())
        engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        engine.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary_size,
            min_frequency=MIN_FREQUENCY,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            max_token_length=32,
            show_progress=False,
        )
        engine.train_from_iterator(texts, trainer, length=len(texts))
        return cls(engine.to_str())

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode texts as ids.

        Args:
            texts: Captions.

        Returns:
            The ids of each text, without the end.
        """
        return [
            [piece + NUM_SPECIAL_IDS for piece in found.ids] for found in self._engine.encode_batch_fast(list(texts))
        ]

    def decode(self, ids: Sequence[int]) -> str:
        """Decode ids to a text.

        Args:
            ids: Ids of a text; those after the first end or padding are ignored.

        Returns:
            The text; bytes that are not UTF-8 become U+FFFD.
        """
        pieces: list[int] = []
        for index in ids:
            if index < NUM_SPECIAL_IDS:
                break
            pieces.append(index - NUM_SPECIAL_IDS)
        return str(self._engine.decode(pieces, skip_special_tokens=False))
