"""Options of text, which its tokenizers and word vectors read as well."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from polymodal.modalities.base import Settings

TokenizerKind = Literal["bpe", "wordpiece", "word"]


class TextSettings(Settings):
    """Options of text.

    Attributes:
        vocabulary_size: Tokens that a tokenizer is trained to have at most.
        max_length: Tokens of a text at most; the rest is cut off.
        tokenizer: Which kind is trained on the column: byte-level BPE, WordPiece, or whole words. None means ``bpe``,
            or ``word`` where there are word vectors, or where most letters are Chinese or Japanese.
        segmentation: How scripts without blanks (Chinese, Japanese, Thai, Lao, Burmese, Khmer) are cut into words:
            ``none``, ``characters``, ``bigrams`` (characters and pairs of neighbouring ones), or ``jieba`` (Chinese
            words; the other scripts as bigrams). ``auto`` means ``bigrams`` for the tokenizer ``word``, else ``none``.
        lowercase: Whether upper and lower case are the same.
        pretrained: A ``tokenizer.json``, or the folder that holds it; it is used as it is, and
            nothing is trained.
        stop_words: Words taken out first: ``none``, ``english``, ``auto`` (those of the languages of the training
            texts), codes of languages in ISO 639-1 (``zh``, ``de,fr``), or the path of a list with one word a line.
        stems: Whether words are brought to their stems: ``none``, ``auto`` (by the languages of the training texts), or
            codes of languages (``en``, ``en,ru``).
        vectors: What encoders start from: a file of word vectors (word2vec text or binary, or GloVe; plain or .gz),
            or ``word2vec`` to train them on the column's training texts. None starts from random ones.
        word2vec_dim: Values of a vector that is trained on the column.
        word2vec_window: Words to each side that count as neighbours while vectors are trained.
        word2vec_epochs: Passes over the texts while vectors are trained.
        word2vec_seed: Fixes the training of vectors; a run gives its own seed.
    """

    vocabulary_size: int = Field(default=8000, ge=300, le=200_000)
    max_length: int = Field(default=256, ge=4, le=8192)
    tokenizer: TokenizerKind | None = None
    lowercase: bool = True
    segmentation: Literal["auto", "none", "characters", "bigrams", "jieba"] = "auto"
    pretrained: str | None = None
    stop_words: str = "none"
    stems: str = "none"
    vectors: str | None = None
    word2vec_dim: int = Field(default=100, ge=2, le=1000)
    word2vec_window: int = Field(default=5, ge=1, le=50)
    word2vec_epochs: int = Field(default=10, ge=1, le=1000)
    word2vec_seed: int = Field(default=0, ge=0, lt=2**32)

    @field_validator("pretrained")
    @classmethod
    def _check_pretrained(cls, pretrained: str | None, info: ValidationInfo) -> str | None:
        """Check that nothing cuts the texts of a pretrained tokenizer, which does so itself."""
        if pretrained is not None and info.data.get("segmentation") not in ("auto", "none"):
            raise ValueError("a pretrained tokenizer or checkpoint segments texts itself; leave 'segmentation' out")
        return pretrained

    @field_validator("stems")
    @classmethod
    def _check_stems(cls, stems: str, info: ValidationInfo) -> str:
        """Check that stems are not looked up where whole words are known."""
        if stems != "none" and info.data.get("pretrained") is not None:
            raise ValueError("a pretrained tokenizer or checkpoint knows whole words, not stems; leave 'stems' out")
        return stems

    @field_validator("vectors")
    @classmethod
    def _check_words(cls, vectors: str | None, info: ValidationInfo) -> str | None:
        """Check that word vectors are used with the tokenizer of whole words."""
        if vectors is not None and info.data.get("pretrained") is not None:
            raise ValueError("word vectors cannot be used with a pretrained tokenizer or checkpoint; choose one")
        if vectors is not None and info.data.get("tokenizer") not in (None, "word"):
            raise ValueError("word vectors need the tokenizer 'word'; leave the option 'tokenizer' out")
        if vectors not in (None, "word2vec") and info.data.get("stems", "none") != "none":
            raise ValueError("a file of word vectors knows whole words, not stems; leave the option 'stems' out")
        return vectors
