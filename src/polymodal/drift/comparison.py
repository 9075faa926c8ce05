"""What a comparison of two tables consists of: plain values, as ``polymodal drift --json`` prints them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

Subject = Literal["input", "target", "prediction", "stream", "rows"]
"""What is compared: an input column, a target's true values, its predictions, a stream's embeddings, whole rows."""


@dataclass(frozen=True)
class Chart:
    """Two distributions to draw.

    Attributes:
        kind: "numbers" or "shares".
        unit: Unit of the numbers, or empty.
        edges: Edges of the bins of numbers, one more than bins; the few numbers beyond them are in the outer bins.
        labels: Labels of shares.
        reference: Share of the reference rows in each bin or label.
        new: The same of the new rows.
    """

    kind: Literal["numbers", "shares"]
    unit: str
    edges: list[float]
    labels: list[str]
    reference: list[float]
    new: list[float]


@dataclass(frozen=True)
class Comparison:
    """One test of one measure.

    Attributes:
        column: The column, target or stream.
        subject: What it is.
        modality: What the column holds.
        measure: What is compared: "value", "missing", "length", "brightness", "embedding", "unusual", ...
        test: The test's name.
        effect: From 0 to 1: at least so large a share of the rows would have to be others.
        p_value: Of this test by itself.
        adjusted_p_value: Corrected for the number of all tests.
        is_drifted: Whether it is below alpha and the effect is large enough.
        sentence: What has changed, in a clause.
        chart: Both distributions.
        new_values: Labels that no training row has, with the share of the new rows, most frequent first.
        example_rows: Numbers, from 1, of new rows that are least like the reference.
    """

    column: str
    subject: Subject
    modality: str
    measure: str
    test: str
    effect: float
    p_value: float
    sentence: str
    chart: Chart
    adjusted_p_value: float = 1.0
    is_drifted: bool = False
    new_values: list[tuple[str, float]] = field(default_factory=list)
    example_rows: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Drift:
    """How a new table differs from the one that a model was trained on.

    Attributes:
        table: The new table's name.
        rows: Its rows.
        compared_rows: How many of them were compared, drawn at random.
        reference: Name of the training table.
        reference_rows: How many of its rows are remembered.
        alpha: The most probable share of tables like the training one in which anything is called drifted.
        min_effect: Smaller effects are no drift, however many rows show them.
        comparisons: All tests, the worst first: drifted ones by effect, then the others by p-value.
        notices: What was sampled, left out or cannot be compared, a sentence each.
        created: When, in ISO 8601.
        seconds: How long it took.
    """

    table: str
    rows: int
    compared_rows: int
    reference: str
    reference_rows: int
    alpha: float
    min_effect: float
    comparisons: list[Comparison]
    notices: list[str]
    created: str
    seconds: float

    @property
    def drifted(self) -> list[Comparison]:
        """The comparisons that have drifted, the largest effect first."""
        return [found for found in self.comparisons if found.is_drifted]

    @property
    def is_drifted(self) -> bool:
        """Whether anything has drifted."""
        return bool(self.drifted)

    @property
    def sentence(self) -> str:
        """The verdict in a sentence."""
        tests = f"{len(self.comparisons):,} test{'s' * (len(self.comparisons) != 1)}"
        if not self.drifted:
            return f"No drift: none of {tests} finds {self.table} different from the training rows."
        named = list(dict.fromkeys(found.column for found in self.drifted))
        more = f" and {len(named) - 3} more" if len(named) > 3 else ""
        return f"Drift in {', '.join(named[:3])}{more}: {len(self.drifted):,} of {tests} find a difference."

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values, key by key as the attributes; ``is_drifted`` and ``sentence`` too."""
        return {"is_drifted": self.is_drifted, "sentence": self.sentence, **dataclasses.asdict(self)}
