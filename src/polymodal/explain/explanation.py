"""What an explanation consists of: plain values, as ``polymodal explain --json`` prints them and its page shows them.

Every number explains one scalar of the *final* answer of a row (decision level, baselines and all): the probability of
the class or label that is explained, a predicted number, or the confidence of one item of a structured prediction.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

PartKind = Literal["words", "regions", "seconds_bands", "time_channels", "points", "columns", "boxes", "dimensions"]
"""What the parts of a cell are.

``words``: spans of a text. ``regions``: rectangles of a picture or of a video's frames. ``seconds_bands``: seconds ×
frequency bands of a sound. ``time_channels``: times × channels of a series. ``points``: groups of points of a cloud.
``columns``: columns of a stream of numbers, categories and dates. ``dimensions``: ranges of a vector.
"""


@dataclass(frozen=True)
class Part:
    """One part of a cell, and what it did to the answer.

    Attributes:
        label: What a reader calls it: a word, a column's name, "0.4 - 0.6 s, 1 - 2 kHz".
        place: Where it is, as plain JSON: ``words``: ``{"start", "end"}`` in characters; ``regions``: ``{"box": [left,
            top, right, bottom]}`` in shares of the picture, of a video ``"seconds": [start, end]`` too;
            ``seconds_bands``: ``{"seconds": [start, end], "hertz": [low, high]}``; ``time_channels``: ``{"steps":
            [start, end], "channel": name or number}``; ``points``: ``{"box": [[low], [high]]}`` in the cloud's units;
            ``columns``: ``{"column": name}``; ``dimensions``: ``{"range": [start, end]}``.
        value: How much the explained scalar rises because of it; negative where it speaks against the answer.
    """

    label: str
    place: dict[str, Any]
    value: float


@dataclass(frozen=True)
class CellParts:
    """The parts of one cell, or of a stream of several columns.

    Attributes:
        stream: The stream.
        column: The column, or None where the parts are columns.
        kind: What the parts are.
        method: "occlusion", "owen", "shapley" or "integrated_gradients".
        parts: In the order of their place.
        passes: Network passes that were spent.
    """

    stream: str
    column: str | None
    kind: PartKind
    method: str
    parts: list[Part]
    passes: int = 0


@dataclass(frozen=True)
class Change:
    """One way in which the answer would have been another.

    Attributes:
        kind: "nearest_row" (a training row with another answer), "swap" (one stream taken from a training row) or
            "absent" (one stream taken away).
        stream: The stream that is swapped or absent; None of a nearest row.
        row: Number of the training row, from 1, or None.
        answer: The answer it gives.
        value: The explained scalar there.
        cells: Column to the cell of the training row, as plain JSON, of a stream's or all input columns.
    """

    kind: Literal["nearest_row", "swap", "absent"]
    stream: str | None
    row: int | None
    answer: Any
    value: float
    cells: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RowExplanation:
    """Why one row got its answer for one target.

    Attributes:
        row: Number of the row in the table, from 1.
        target: The target.
        answer: The prediction, as ``Model.predict`` returns it.
        explained: What the scalar is: a class or label, "value", or an item of a structured prediction.
        value: The explained scalar: a probability, a number or a confidence.
        prior: The same with every stream absent.
        truth: The known answer, or None.
        streams: Stream to its Shapley value; they sum to ``value - prior``. An absent stream has zero.
        standard_errors: Stream to the standard error of its value; zeros where all presence masks were used.
        interactions: Pairs of streams, written "a × b", to their Shapley interaction index.
        absent: Streams that are absent in the row.
        cells: What is inside the streams, most important stream first; empty where only streams were asked for.
        changes: What would change the answer.
        neighbours: Row numbers (from 1) of the nearest training rows with the same answer.
    """

    row: int
    target: str
    answer: Any
    explained: str
    value: float
    prior: float
    truth: Any = None
    streams: dict[str, float] = field(default_factory=dict)
    standard_errors: dict[str, float] = field(default_factory=dict)
    interactions: dict[str, float] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    cells: list[CellParts] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    neighbours: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class TargetSummary:
    """What decided one target over all explained rows.

    Attributes:
        target: The target.
        rows: How many rows were explained.
        importance: Stream to ``{"mean", "low", "high"}`` of its absolute Shapley value, with a 95 % interval.
        interactions: Pairs of streams, "a × b", to ``{"mean", "low", "high"}`` of their interaction index.
        information: Partial information decomposition of each pair of streams, in bits: ``{"pair": [a, b],
            "redundancy", "unique": [of a, of b], "synergy", "total"}``; empty where it is not estimated.
        information_note: How it was estimated, or why it was not.
    """

    target: str
    rows: int
    importance: dict[str, dict[str, float]]
    interactions: dict[str, dict[str, float]] = field(default_factory=dict)
    information: list[dict[str, Any]] = field(default_factory=list)
    information_note: str = ""


@dataclass(frozen=True)
class Explanation:
    """The explanation of some rows of a table.

    Attributes:
        table: The table's name.
        streams: Stream to the names of its columns.
        units: Target to "probability", "confidence" or the unit of a number, "value".
        summaries: One for each target.
        rows: One for each row and target, rows in the table's order.
        notices: What was left out, sampled or cannot be explained, a sentence each.
        seconds: How long it took.
    """

    table: str
    streams: dict[str, list[str]]
    units: dict[str, str]
    summaries: list[TargetSummary]
    rows: list[RowExplanation]
    notices: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the explanation as plain JSON values, key by key as the attributes."""
        return dataclasses.asdict(self)


def box_name(box: Mapping[str, Any]) -> str:
    """Name one predicted box, as ``RowExplanation.explained`` does.

    Args:
        box: ``{"label", "box"}``.

    Returns:
        Its label and its corners.
    """
    place = ", ".join(f"{float(corner):.0f}" for corner in box["box"])
    return f"{box['label']} at {place}"
