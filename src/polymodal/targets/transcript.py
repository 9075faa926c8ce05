"""The target transcript: speech recognition with connectionist temporal classification.

Shape legend: B rows of the batch, T steps, V units with the blank, L units of a text, W width, N rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from rapidfuzz.distance import Levenshtein

from polymodal.arrays import Cell
from polymodal.errors import ConfigError, SchemaError
from polymodal.metrics import Measure, measure_rows
from polymodal.metrics.text import transcript_rows
from polymodal.modalities import CellReadError
from polymodal.targets.ctc_decoding import greedy_decode, prefix_beam_search, text_log_likelihoods
from polymodal.targets.lexicon import Lexicon
from polymodal.targets.predictions import Outputs, Step
from polymodal.targets.structured import (
    RowContext,
    StructuredPrediction,
    StructuredTarget,
    TargetSettings,
)
from polymodal.targets.units import BLANK, UnitKind, Units, read_transcript

if TYPE_CHECKING:
    from torch import nn

    from polymodal.targets.structured_head import StructuredHead

MIN_DISTINCT_TEXTS = 2
MAX_UNSEEN_SHARE = 0.005
"""Decoding is constrained to the training words where the estimated share of unseen words is at most this."""
MIN_STEPS = 800
"""In about its first hundred steps a network trained with CTC predicts blanks only."""
MAX_FRAMES = 3000
SEGMENT_S = 30.0
"""30 s at a hop of 10 ms; at a longer hop, which other targets use for long clips, words get lost."""


class TranscriptSettings(TargetSettings):
    """Options of a transcript.

    Attributes:
        units: Output units: ``characters`` or ``subwords``.
        num_subwords: Maximum number of subwords.
        stream: The stream whose time steps are read; None: the first that gives steps.
        depth: GRU layers over the steps.
        dropout: Dropout probability between these layers.
        decode: ``greedy`` decoding or ``beam`` search; None: ``beam`` with a lexicon, else ``greedy``.
        beam_width: Prefixes that beam search keeps.
        lexicon: Whether decoding is constrained to the words of the training texts; None: where hardly any word
            occurs only once in them.
    """

    units: UnitKind = "characters"
    num_subwords: int = Field(default=100, ge=2, le=20_000)
    stream: str | None = None
    depth: int = Field(default=2, ge=1, le=8)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    decode: Literal["greedy", "beam"] | None = None
    beam_width: int = Field(default=16, ge=1, le=1000)
    lexicon: bool | None = None


@dataclass(frozen=True, kw_only=True)
class TranscriptTarget(StructuredTarget):
    """A column of texts that are spoken in an audio stream of the same row.

    Attributes:
        units: The output units.
        words: The lexicon: words of the training texts; empty where decoding is not constrained.
        settings: The options it was fitted with.
    """

    units: Units
    words: list[str]
    settings: TranscriptSettings

    kind: ClassVar[str] = "transcript"
    has_confidence: ClassVar[bool] = True
    details: ClassVar[frozenset[str]] = frozenset({"audio"})
    min_steps: ClassVar[int] = MIN_STEPS
    primary_metric: ClassVar[str] = "wer"
    Settings: ClassVar[type[TargetSettings]] = TranscriptSettings

    @classmethod
    def fit(cls, cells: Sequence[Cell], context: RowContext, settings: TranscriptSettings) -> Self:  # noqa: ARG003
        """Fit the output units and the lexicon.

        Args:
            cells: Cells of the training rows.
            context: Not used.
            settings: The options.

        Returns:
            The fitted target.

        Raises:
            ConfigError: If a lexicon is set with greedy decoding.
            SchemaError: If all texts are equal.
        """
        if settings.lexicon and settings.decode == "greedy":
            raise ConfigError(
                "A lexicon constrains beam search, not greedy decoding. Set decode=beam, or leave the lexicon out."
            )
        texts = [text for text in map(_read, cells) if text is not None]
        if len(set(texts)) < MIN_DISTINCT_TEXTS:
            raise SchemaError("A transcript target needs two different texts or more. Found fewer.")
        counts = Counter(word for text in texts for word in text.split())
        is_closed = settings.decode != "greedy" and unseen_word_share(counts) <= MAX_UNSEEN_SHARE
        words = sorted(counts) if settings.lexicon or (settings.lexicon is None and is_closed) else []
        return cls(units=Units.fit(texts, settings.units, settings.num_subwords), words=words, settings=settings)

    @property
    def is_greedy(self) -> bool:
        """Whether decoding is greedy."""
        return (self.settings.decode or ("beam" if self.words else "greedy")) == "greedy"

    def stream_settings(self, stream: str, modality: str) -> Mapping[str, Any]:  # noqa: ARG002
        """Return a number of frames that is enough for segments of long clips at a short hop.

        Args:
            stream: The stream's name.
            modality: Its modality.

        Returns:
            ``max_frames`` and ``segment_s`` of audio streams.
        """
        return {"max_frames": MAX_FRAMES, "segment_s": SEGMENT_S} if modality in self.details else {}

    def notices(self) -> list[str]:
        """Return that decoding is constrained to the training words, where it is.

        Returns:
            One sentence or none.
        """
        if not self.words:
            return []
        return [
            f"predictions are constrained to the {len(self.words)} words of the training texts "
            "(the option lexicon=false allows others)"
        ]

    @cached_property
    def _lexicon(self) -> Lexicon | None:
        return Lexicon(self.words, self.units.symbols) if self.words else None

    def encode(self, cells: Sequence[Cell], context: RowContext) -> tuple[NDArray[Any], NDArray[np.bool_]]:  # noqa: ARG002
        """Encode the texts as ids of units.

        Args:
            cells: Cells of any rows.
            context: Not used.

        Returns:
            int64 ``[N, L]``, padded with 0, and a mask, bool ``[N]``. Characters that no training text has are left
            out of the loss, but count as errors in the metrics.
        """
        texts = [_read(cell) for cell in cells]
        ids = [[] if text is None else self.units.encode(text) for text in texts]
        return _pad_ids(ids), np.array([text is not None for text in texts], dtype=np.bool_).reshape(-1)

    def invalid_cells(self, cells: Sequence[Cell], context: RowContext) -> list[tuple[int, str]]:  # noqa: ARG002
        """List the cells that hold no text or an empty one.

        Args:
            cells: Cells of any rows.
            context: Not used.

        Returns:
            Row index and reason.
        """
        found = ((row, _problem(cell)) for row, cell in enumerate(cells))
        return [(row, reason) for row, reason in found if reason is not None]

    def build_head(self, width: int, encoders: Mapping[str, nn.Module]) -> StructuredHead:
        """Build the layers over the time steps of the stream.

        Args:
            width: W.
            encoders: Stream to encoder; those that give steps have ``step_frames`` above 0.

        Returns:
            The head.

        Raises:
            ConfigError: If no stream gives steps, or the one that is named gives none.
        """
        from polymodal.targets.transcript_head import TranscriptHead

        able = {stream: int(getattr(encoder, "step_frames", 0)) for stream, encoder in encoders.items()}
        able = {stream: frames for stream, frames in able.items() if frames}
        if not able:
            raise ConfigError(
                "A transcript is predicted from the time steps of audio, but no column holds audio. "
                "If the texts are classes, use `--modality COLUMN=category`."
            )
        stream = self.settings.stream or next(iter(able))
        if stream not in able:
            raise ConfigError(
                f"The stream {stream!r} has no time steps to predict a transcript from. Choose: {', '.join(able)}."
            )
        return TranscriptHead(
            self.read_outputs,
            len(self.units.symbols) + 1,
            width,
            stream,
            able[stream],
            depth=self.settings.depth,
            dropout=self.settings.dropout,
        )

    def read_outputs(self, outputs: Outputs, step: Step | None = None) -> list[StructuredPrediction]:  # noqa: ARG002
        """Decode the texts.

        Args:
            outputs: ``log_probabilities`` ``[B, T, V]`` and ``num_steps``, int64 ``[B]``, the steps in use.
            step: Not used.

        Returns:
            A text a row; empty, without a confidence, where the stream is absent. The confidence is the probability of
            the text as a geometric mean over its units.
        """
        log_BTV, num_steps = outputs["log_probabilities"], outputs["num_steps"]
        found = self._search_all(log_BTV, num_steps)
        likelihoods = text_log_likelihoods(log_BTV, num_steps, found)
        confidences = np.exp(likelihoods / np.array([max(len(ids), 1) for ids in found]))
        return [
            StructuredPrediction(self.units.decode(ids), float(confidence) if steps else None)
            for ids, confidence, steps in zip(found, confidences, num_steps, strict=True)
        ]

    def _search_all(self, log_BTV: NDArray[np.float32], num_steps: NDArray[np.int64]) -> list[list[int]]:
        if self.is_greedy:
            best_BT = log_BTV.argmax(axis=2).tolist()
            return [greedy_decode(best_T[:steps]) for best_T, steps in zip(best_BT, num_steps, strict=True)]
        shares_BTV = np.exp(log_BTV).astype(np.float64)
        return [self.search(shares_TV[:steps]) for shares_TV, steps in zip(shares_BTV, num_steps, strict=True)]

    def search(self, shares_TV: NDArray[np.float64]) -> list[int]:
        """Run the beam search.

        Args:
            shares_TV: Probabilities ``[T, V]`` of the steps in use.

        Returns:
            Ids of the units of the most probable text.
        """
        lexicon = self._lexicon
        found = prefix_beam_search(
            shares_TV, self.settings.beam_width, None if lexicon is None else lexicon.constraint()
        )
        if lexicon is None:
            return list(found[0])
        for ids in found:
            if lexicon.has_only_known_words(self.units.decode(ids)):
                return list(ids)
        return self.units.encode(lexicon.keep_known_words(self.units.decode(found[0])))

    def references(self, cells: Sequence[Cell], context: RowContext) -> list[Cell]:  # noqa: ARG002
        """Return the true texts, with all their characters.

        Args:
            cells: Cells of rows in which the truth is known.
            context: Not used.

        Returns:
            Texts.
        """
        return [read_transcript(cell) for cell in cells]

    def measure(self, truth: Sequence[Cell], predictions: Sequence[Cell]) -> Measure:
        """Compute what word and character error rates and exact match need of each row.

        Args:
            truth: Texts.
            predictions: Texts.

        Returns:
            A function of row weights ``[R, N]``.
        """
        return measure_rows(self.kind, transcript_rows(truth, predictions))

    def row_scores(self, truth: Sequence[Cell], predictions: Sequence[Cell]) -> NDArray[np.float64]:
        """Score each row by the normalised edit similarity of the characters.

        Args:
            truth: Texts.
            predictions: Texts.

        Returns:
            1 without an error, 0 where the edits are as many as the characters, ``[N]``.
        """
        pairs = [(str(true), str(predicted)) for true, predicted in zip(truth, predictions, strict=True)]
        return np.array([Levenshtein.normalized_similarity(true, predicted) for true, predicted in pairs])

    @property
    def prior(self) -> StructuredPrediction:
        """The empty text."""
        return StructuredPrediction("")

    def state(self) -> dict[str, Any]:
        """Return the fitted fields as plain JSON."""
        return {"units": asdict(self.units), "words": self.words, "settings": self.settings.model_dump()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from ``state``.

        Args:
            state: What ``state`` returned.

        Returns:
            The same target.
        """
        return cls(
            units=Units(**state["units"]),
            words=list(state["words"]),
            settings=TranscriptSettings(**state["settings"]),
        )


def unseen_word_share(counts: Mapping[str, int]) -> float:
    """Estimate the probability that a further word is unseen: Good 1953, equation 9 (Good-Turing).

    Args:
        counts: Word to how often it occurs.

    Returns:
        The share of words that occur once among all occurrences.
    """
    return sum(count == 1 for count in counts.values()) / max(sum(counts.values()), 1)


def _read(cell: Cell) -> str | None:
    try:
        return read_transcript(cell)
    except CellReadError:
        return None


def _problem(cell: Cell) -> str | None:
    try:
        read_transcript(cell)
    except CellReadError as error:
        return str(error)
    return None


def _pad_ids(texts: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Return ids padded with 0: int64 ``[N, L]``; L is 1 or more."""
    ids = np.full((len(texts), max(map(len, texts), default=0) or 1), BLANK, dtype=np.int64)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = text
    return ids
