"""What is done to a text before a tokenizer reads it: segmentation, stop words, stems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from polymodal.modalities.scripts import UNSPACED
from polymodal.modalities.segmentation import UNSPACED_RUN, Segmentation, Span, load_jieba, segment, word_spans
from polymodal.modalities.stems import check_stemmers, choose_stemmers, stem_words
from polymodal.modalities.stop_words import NONE, load_stop_words, remove_words, stop_word_languages
from polymodal.modalities.text_settings import TextSettings, TokenizerKind

SAMPLE = 1000
TOLD = {
    "characters": "those without blanks between words are cut into characters",
    "bigrams": "those without blanks between words are cut into characters and pairs of neighbouring characters",
    "jieba": "those without blanks between words are cut into Chinese words by jieba",
}


def choose_tokenizer(texts: Sequence[str], settings: TextSettings) -> TokenizerKind:
    """Choose a tokenizer.

    Args:
        texts: Training texts.
        settings: Options; what they leave open is chosen.

    Returns:
        ``word`` where there are word vectors, or most letters are Chinese or Japanese; else ``bpe``.
    """
    if settings.tokenizer is not None:
        return settings.tokenizer
    return "word" if settings.vectors is not None or _are_unspaced(texts) else "bpe"


def _are_unspaced(texts: Sequence[str]) -> bool:
    sample = "".join(_sample(texts))
    letters = sum(map(str.isalpha, sample))
    return letters > 0 and 2 * len(UNSPACED.findall(sample)) > letters


def _sample(texts: Sequence[str]) -> Sequence[str]:
    return texts[:: max(1, len(texts) // SAMPLE)]


def _choose_segmentation(texts: Sequence[str], kind: TokenizerKind, settings: TextSettings) -> Segmentation:
    if settings.segmentation != "auto":
        return settings.segmentation
    is_needed = kind == "word" and any(map(UNSPACED_RUN.search, _sample(texts)))
    return "bigrams" if is_needed else "none"


@dataclass(frozen=True, kw_only=True)
class TextPreparation:
    """Fitted preparation of the texts of a column.

    Attributes:
        segmentation: How texts without blanks are cut.
        stop_words: Words taken out, in lower case.
        stop_word_languages: Codes of the languages whose stop words these are; empty for a list without a language.
        stems: Script to the code of the language by which its words are stemmed.
    """

    segmentation: Segmentation
    stop_words: list[str]
    stop_word_languages: list[str]
    stems: dict[str, str]

    @classmethod
    def fit(cls, texts: Sequence[str], kind: TokenizerKind, settings: TextSettings) -> TextPreparation:
        """Choose what is done by the training texts.

        Args:
            texts: Training texts.
            kind: Their tokenizer.
            settings: Options.

        Returns:
            The preparation.

        Raises:
            ConfigError: If the stop words cannot be read, or there are no stop words or stems of a language.
            MissingPackageError: If a package of an extra is missing.
        """
        languages = stop_word_languages(settings.stop_words, texts)
        found = cls(
            segmentation="none" if settings.pretrained else _choose_segmentation(texts, kind, settings),
            stop_words=load_stop_words(settings.stop_words, languages),
            stop_word_languages=languages,
            stems=choose_stemmers(settings.stems, texts),
        )
        found.check_packages()
        return found

    def check_packages(self) -> None:
        """Check that the packages are there without which no text can be read.

        Raises:
            MissingPackageError: If one is missing.
        """
        if self.segmentation == "jieba":
            load_jieba()
        check_stemmers(self.stems)

    @cached_property
    def _removed(self) -> frozenset[str]:
        return frozenset(self.stop_words)

    def prepare(self, text: str) -> str:
        """Prepare a text for the tokenizer.

        Args:
            text: Any text.

        Returns:
            The text with blanks between its words, without stop words, words as stems; as far as chosen.
        """
        segmented = segment(text, self.segmentation)
        kept = remove_words(segmented, self._removed, is_segmented=self.segmentation != "none")
        return stem_words(kept, self.stems)

    def original_spans(self, text: str, spans: Sequence[Span]) -> list[Span]:
        """Convert places in a prepared text to places in the text it was.

        Args:
            text: The text.
            spans: First and last character (exclusive) of parts of ``prepare(text)``.

        Returns:
            The same parts in the text; empty where words are taken out or stemmed, which moves the characters.
        """
        if self.stop_words or self.stems:
            return []
        if self.segmentation == "none":
            return list(spans)
        places = [place for start, stop in word_spans(text, self.segmentation) for place in range(start, stop + 1)] or [
            0
        ]
        return [(places[start], places[max(start, stop - 1)] + (stop > start)) for start, stop in spans]

    def notice(self, asked_stop_words: str, asked_stems: str) -> list[str]:
        """Tell what is done to the texts.

        Args:
            asked_stop_words: The option ``stop_words``.
            asked_stems: The option ``stems``.

        Returns:
            Clauses about the texts of a column.
        """
        told = [TOLD[self.segmentation]] if self.segmentation != "none" else []
        if asked_stop_words == "auto" or self.stop_word_languages:
            languages = ", ".join(self.stop_word_languages) or "no language that was recognised"
            told.append(f"{len(self.stop_words):,} stop words are taken out, of {languages}")
        if asked_stems != NONE:
            languages = ", ".join(self.stems.values())
            told.append(f"words are brought to their stems, of {languages}" if languages else "no words are stemmed")
        return told
