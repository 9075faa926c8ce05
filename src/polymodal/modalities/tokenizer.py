"""Tokenizers: trained on a column's texts, made of a list of words, or loaded (the ``tokenizers`` library)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polymodal.errors import ConfigError
from polymodal.modalities.text_settings import TextSettings, TokenizerKind

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LONGEST_WORD = 100
PADDING, UNKNOWN = "[PAD]", "[UNK]"
LETTERS = r"\w+"
WORDS = rf"{LETTERS}?(?=n't\b)|n't\b|'(?:s|re|ve|ll|d|m)\b|{LETTERS}|[^\w\s\p{{Cf}}]"
"""What the tokenizer ``word`` takes for a word: runs of letters and digits, single marks, and English contractions
cut as in the Penn Treebank (do n't, it 's), as the texts were that GloVe was trained on. Texts of scripts without
blanks are segmented before."""
EMOJI_STYLE = "\ufe0f"
"""Follows a sign that is shown as an emoji; the same signs without it mean the same."""


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


def train_tokenizer(texts: Sequence[str], kind: TokenizerKind, settings: TextSettings) -> Tokenizer:
    """Train a tokenizer; the same texts give the same one.

    Args:
        texts: Training texts, segmented.
        kind: Which tokenizer.
        settings: Size and case.

    Returns:
        A tokenizer with ``[PAD]`` as 0 and ``[UNK]`` as 1.
    """
    if kind == "word":
        return word_tokenizer(_frequent_words(texts, settings), settings)
    return (_train_wordpiece if kind == "wordpiece" else _train_bpe)(texts, settings)


def _train_bpe(texts: Sequence[str], settings: TextSettings) -> Tokenizer:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    steps = [normalizers.NFKC(), normalizers.Lowercase()] if settings.lowercase else [normalizers.NFKC()]
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [_cut_long_runs(), pre_tokenizers.ByteLevel(add_prefix_space=True)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocabulary_size,
        min_frequency=2,
        special_tokens=[PADDING, UNKNOWN],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=32,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer, length=len(texts))
    return tokenizer


def _cut_long_runs() -> Any:
    """Cut runs without a blank, such as sequences of DNA: training takes quadratic time in the length of a word."""
    from tokenizers import Regex, pre_tokenizers

    return pre_tokenizers.Split(Regex(rf"\S{{{LONGEST_WORD}}}"), behavior="isolated")


def _train_wordpiece(texts: Sequence[str], settings: TextSettings) -> Tokenizer:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN, max_input_chars_per_word=100))
    bert = normalizers.BertNormalizer(lowercase=settings.lowercase)
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), bert])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([_cut_long_runs(), pre_tokenizers.BertPreTokenizer()])
    trainer = trainers.WordPieceTrainer(
        vocab_size=settings.vocabulary_size,
        min_frequency=2,
        special_tokens=[PADDING, UNKNOWN],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer, length=len(texts))
    return tokenizer


def word_tokenizer(words: Sequence[str], settings: TextSettings) -> Tokenizer:
    """Build a tokenizer of whole words.

    Args:
        words: Its vocabulary; every other word is unknown.
        settings: The case.

    Returns:
        A tokenizer with ``[PAD]`` as 0, ``[UNK]`` as 1, and the words from 2 on in their order.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    vocabulary = {PADDING: 0, UNKNOWN: 1} | {word: place for place, word in enumerate(words, start=2)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    steps = [normalizers.NFKC(), normalizers.Replace("’", "'"), normalizers.Replace(EMOJI_STYLE, "")]
    tokenizer.normalizer = normalizers.Sequence(steps + ([normalizers.Lowercase()] if settings.lowercase else []))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True)
    return tokenizer


def split_words(texts: Sequence[str], settings: TextSettings) -> list[list[str]]:
    """Split texts into words as ``word_tokenizer`` does.

    Args:
        texts: Any texts, segmented.
        settings: The case.

    Returns:
        The words of each text.
    """
    tokenizer = word_tokenizer([], settings)
    normal = (tokenizer.normalizer.normalize_str(text) for text in texts)
    return [[word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)] for text in normal]


def most_frequent(counts: Mapping[str, int], limit: int) -> list[str]:
    """Choose the words of a vocabulary.

    Args:
        counts: Word to its number of occurrences.
        limit: Ids of the vocabulary, two of which are padding and the unknown word.

    Returns:
        The most frequent words first; equally frequent ones by the alphabet.
    """
    return sorted(counts, key=lambda word: (-counts[word], word))[: limit - 2]


def _frequent_words(texts: Sequence[str], settings: TextSettings) -> list[str]:
    counts = Counter(word for words in split_words(texts, settings) for word in words)
    twice = Counter({word: count for word, count in counts.items() if count > 1})
    return most_frequent(twice, settings.vocabulary_size)
