"""The target caption: a text in each row, decoded token by token."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from polymodal.arrays import Cell
from polymodal.errors import ConfigError, SchemaError
from polymodal.metrics import Measure, measure_rows
from polymodal.metrics.caption_metrics import caption_quality
from polymodal.metrics.text import caption_rows
from polymodal.modalities.base import read_cells
from polymodal.modalities.json_text import load_list
from polymodal.modalities.text import parse_text
from polymodal.targets.beam_search import BeamSearch, decode_steps
from polymodal.targets.caption_tokenizer import END, PADDING, CaptionTokenizer
from polymodal.targets.predictions import Outputs, Step
from polymodal.targets.structured import (
    RowContext,
    StructuredPrediction,
    StructuredTarget,
    TargetSettings,
)

if TYPE_CHECKING:
    from torch import nn

    from polymodal.targets.structured_head import StructuredHead

MAX_LENGTH = 256
MAX_CAPTIONS = 16
FIELDS = ("max_length", "frequent", "share", "num_cut", "num_several", "num_captions")
"""Fields of the state that are plain numbers or texts."""


class CaptionSettings(TargetSettings):
    """Options of captions.

    Attributes:
        vocabulary_size: Maximum number of BPE tokens; the vocabulary is smaller where few merges are frequent.
        max_length: Maximum number of tokens, including the end; None: that of the longest training caption, up to 256.
        depth: Decoder layers.
        num_heads: Attention heads; the width must be a multiple of it.
        dropout: Dropout probability.
        decode: ``greedy`` decoding or ``beam`` search.
        beam_width: Hypotheses that beam search keeps at each step.
        length_penalty: Exponent of the length normalisation of beam search; 0 favours short texts.
    """

    vocabulary_size: int = Field(default=4000, ge=256, le=100_000)
    max_length: int | None = Field(default=None, ge=2, le=2048)
    depth: int = Field(default=2, ge=1, le=24)
    num_heads: int = Field(default=4, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    decode: Literal["greedy", "beam"] = "greedy"
    beam_width: int = Field(default=4, ge=2, le=64)
    length_penalty: float = Field(default=0.6, ge=0, le=4)


def parse_captions(cell: Cell) -> list[str] | None:
    """Read the captions of a row.

    Args:
        cell: A text, or several captions of one row as a list or as JSON of one.

    Returns:
        The texts, blank ones left out; None where there is none.

    Raises:
        CellReadError: If the cell is something else.
    """
    several = _list_of_texts(cell)
    texts = [text for text in map(parse_text, [cell] if several is None else several) if text is not None]
    return texts or None


def _list_of_texts(cell: Cell) -> list[str] | None:
    """Return several captions of one row; None of a cell that is one text."""
    if isinstance(cell, str) and cell.lstrip().startswith("["):
        try:
            cell = load_list(cell)
        except ValueError:
            return None
    is_list = isinstance(cell, list | tuple) and all(isinstance(text, str) for text in cell)
    return list(cell) if is_list else None


@dataclass(frozen=True, kw_only=True)
class CaptionTarget(StructuredTarget):
    """A column with a text in each row, predicted with case, spaces and punctuation.

    Attributes:
        tokenizer: Tokenizer trained on the training captions.
        max_length: Maximum number of tokens of a prediction, including the end.
        frequent: The most frequent training caption.
        share: Its share of the training captions.
        num_cut: Number of truncated training captions.
        settings: Options.
        num_several: Number of training rows with several captions.
        num_captions: C, the most captions of a training row, at most 16; the others of a row are not learned from.
    """

    tokenizer: CaptionTokenizer
    max_length: int
    frequent: str
    share: float
    num_cut: int
    settings: CaptionSettings
    num_several: int = 0
    num_captions: int = 1

    kind: ClassVar[str] = "caption"
    has_confidence: ClassVar[bool] = True
    primary_metric: ClassVar[str] = "exact_match"
    Settings: ClassVar[type[TargetSettings]] = CaptionSettings

    @classmethod
    def fit(cls, cells: Sequence[Cell], context: RowContext, settings: CaptionSettings) -> Self:  # noqa: ARG003
        """Train the tokenizer and find the maximum length and the most frequent caption.

        Args:
            cells: Cells of the training rows.
            context: Not needed.
            settings: Options.

        Returns:
            The fitted target.

        Raises:
            SchemaError: If all captions are equal.
            ConfigError: If an option of beam search is set with greedy decoding.
        """
        _check_decode(settings)
        rows = [captions for captions in read_cells(cells, parse_captions)[0] if captions is not None]
        texts = [text for captions in rows for text in captions]
        counts = Counter(texts)
        if len(counts) < 2:
            raise SchemaError("A caption target needs two different texts or more. Found fewer.")
        tokenizer = CaptionTokenizer.fit(texts, settings.vocabulary_size)
        lengths = np.array([len(ids) + 1 for ids in tokenizer.encode(texts)])
        max_length = settings.max_length or min(int(lengths.max()), MAX_LENGTH)
        frequent, count = min(counts.items(), key=lambda item: (-item[1], item[0]))
        return cls(
            tokenizer=tokenizer,
            max_length=max_length,
            frequent=frequent,
            share=count / len(texts),
            num_cut=int((lengths > max_length).sum()),
            settings=settings,
            num_several=sum(len(captions) > 1 for captions in rows),
            num_captions=min(max(map(len, rows)), MAX_CAPTIONS),
        )

    def notices(self) -> list[str]:
        """Return how many training rows have several captions, and how many captions were truncated."""
        several = [
            f"{self.num_several:,} training rows have several captions; an epoch learns from one of each row, drawn at "
            f"random from up to {self.num_captions}, and answers are judged against all"
        ]
        return (several if self.num_several else []) + self._cut_notices()

    def _cut_notices(self) -> list[str]:
        if not self.num_cut:
            return []
        return [
            f"{self.num_cut:,} training captions have more than {self.max_length:,} tokens and were truncated. "
            "The option max_length sets another limit"
        ]

    def encode(self, cells: Sequence[Cell], context: RowContext) -> tuple[NDArray[Any], NDArray[np.bool_]]:  # noqa: ARG002
        """Encode texts as ids; a text that is too long is truncated and has no end.

        Args:
            cells: Cells of any rows.
            context: Not needed.

        Returns:
            int64 ``[N, max_length]``, ids and the end, padded with 0, or ``[N, C, max_length]`` where training rows
            have several captions, all 0 for each that a row lacks; and a mask, bool ``[N]``.
        """
        rows, _ = read_cells(cells, parse_captions)
        known = np.array([captions is not None for captions in rows], dtype=np.bool_).reshape(-1)
        truth = np.full((len(cells), self.num_captions, self.max_length), PADDING, dtype=np.int64)
        places = [(row, place) for row, texts in enumerate(rows) for place in range(self._num_read(texts))]
        encoded = self.tokenizer.encode([(rows[row] or [])[place] for row, place in places])
        for (row, place), ids in zip(places, encoded, strict=True):
            marked = [*ids, END][: self.max_length]
            truth[row, place, : len(marked)] = marked
        return truth if self.num_captions > 1 else truth[:, 0], known

    def _num_read(self, captions: Sequence[str] | None) -> int:
        return min(len(captions or ()), self.num_captions)

    def invalid_cells(self, cells: Sequence[Cell], context: RowContext) -> list[tuple[int, str]]:  # noqa: ARG002
        """List the cells that hold no text.

        Args:
            cells: Cells of any rows.
            context: Not needed.

        Returns:
            Row index and reason.
        """
        _, broken = read_cells(cells, parse_captions)
        return [(cell.row - 1, cell.reason) for cell in broken]

    def build_head(self, width: int, encoders: Mapping[str, nn.Module]) -> StructuredHead:  # noqa: ARG002
        """Build the decoder.

        Args:
            width: W.
            encoders: Not used.

        Returns:
            The head.
        """
        from polymodal.targets.caption_head import CaptionHead

        options = self.settings
        return CaptionHead(
            self.read_outputs,
            self.tokenizer.num_ids,
            width,
            depth=options.depth,
            num_heads=options.num_heads,
            dropout=options.dropout,
            max_length=self.max_length,
            num_candidates=self._beam_width,
        )

    @property
    def _beam_width(self) -> int:
        return self.settings.beam_width if self.settings.decode == "beam" else 1

    def read_outputs(self, outputs: Outputs, step: Step | None = None) -> list[StructuredPrediction]:
        """Decode a text for each row, greedily or by beam search.

        Args:
            outputs: The first step: see ``CaptionHead.outputs``.
            step: A further step: see ``CaptionHead.step``.

        Returns:
            Texts; the confidence is the geometric mean of the ids' probabilities.

        Raises:
            ValueError: If there is no step.
        """
        if step is None:
            raise ValueError("Captions are decoded step by step. Pass the step of the head as well.")
        search = BeamSearch(
            beam_width=self._beam_width,
            max_length=self.max_length,
            end=END,
            padding=PADDING,
            length_penalty=self.settings.length_penalty,
        )
        ids, log_mean = decode_steps(outputs, step, search)
        confidences = np.minimum(np.exp(log_mean), 1.0).tolist()
        return [
            StructuredPrediction(self.tokenizer.decode(row), confidence)
            for row, confidence in zip(ids.tolist(), confidences, strict=True)
        ]

    def references(self, cells: Sequence[Cell], context: RowContext) -> list[Cell]:  # noqa: ARG002
        """Return the true texts, not truncated.

        Args:
            cells: Cells of rows in which the truth is known.
            context: Not needed.

        Returns:
            A text, or a list of several, for each row.
        """
        rows = [parse_captions(cell) for cell in cells]
        return [captions[0] if captions and len(captions) == 1 else captions for captions in rows]

    def measure(self, truth: Sequence[Cell], predictions: Sequence[Cell]) -> Measure:
        """Compute what exact match, BLEU and ROUGE-L need of each row.

        Args:
            truth: Of each row a text, or a list of several.
            predictions: Texts.

        Returns:
            A function of row weights ``[R, N]``.
        """
        return measure_rows(self.kind, caption_rows(truth, predictions))

    def row_scores(self, truth: Sequence[Cell], predictions: Sequence[Cell]) -> NDArray[np.float64]:
        """Score each row by the words in common with the truth.

        Args:
            truth: Of each row a text, or a list of several.
            predictions: Texts.

        Returns:
            1 where the text is one of the truth, else at most 0.5, ``[N]``.
        """
        return caption_quality(truth, predictions)

    @property
    def prior(self) -> StructuredPrediction:
        """The most frequent training caption."""
        return StructuredPrediction(self.frequent, self.share)

    def state(self) -> dict[str, Any]:
        """Return the fitted fields as plain JSON."""
        fields = {name: getattr(self, name) for name in FIELDS}
        return {**fields, "tokenizer": self.tokenizer.json, "settings": self.settings.model_dump()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from ``state``.

        Args:
            state: What ``state`` returned.

        Returns:
            The same target.
        """
        fields = {name: state[name] for name in FIELDS if name in state}  # early versions of 0.1 lack some
        return cls(
            **fields, tokenizer=CaptionTokenizer(state["tokenizer"]), settings=CaptionSettings(**state["settings"])
        )


def _check_decode(settings: CaptionSettings) -> None:
    given = sorted({"beam_width", "length_penalty"} & settings.model_fields_set)
    if settings.decode == "greedy" and given:
        raise ConfigError(
            f"The option {given[0]!r} of the target kind 'caption' belongs to the beam search. Set decode=beam as well."
        )
