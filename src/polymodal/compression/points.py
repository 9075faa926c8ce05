"""The points of a compression: every model that was tried, with its score, bytes and milliseconds."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polymodal.compression.limits import Limits
from polymodal.metrics import metric_of

ORIGINAL = "original"


@dataclass(frozen=True, kw_only=True)
class TargetScore:
    """The score of one target.

    Attributes:
        metric: The target's primary metric.
        value: Its value.
        interval: ``[low, high]``, 95 %; None where the metric has none.
        drop: Points lost against the original; below 0 where it is better.
    """

    metric: str
    value: float
    interval: list[float] | None
    drop: float = 0.0

    def against(self, original: TargetScore) -> TargetScore:
        """Return the score with the drop against another one.

        Args:
            original: The score of the original.

        Returns:
            A copy.
        """
        return dataclasses.replace(self, drop=points_lost(self.metric, original.value, self.value))


def points_lost(metric: str, before: float, after: float) -> float:
    """Return how many points are lost from one score to another.

    A metric from 0 to 1 loses hundredths; any other loses per cent of its value before.

    Args:
        metric: Name of the metric.
        before: The original's score.
        after: The other score.

    Returns:
        Points; below 0 where the score is better.
    """
    entry = metric_of(metric)
    loss = before - after if entry.higher_is_better else after - before
    return 100.0 * loss if entry.zero_to_one else 100.0 * loss / max(abs(before), 1e-12)


@dataclass(frozen=True, kw_only=True)
class Point:
    """One model that was tried.

    Attributes:
        name: Its name, which no other point has.
        method: ``original``, ``members``, ``distilled``, ``pruned``, ``exported`` or ``int8``.
        description: What was done, in a sentence.
        scores: Target to its score on validation rows.
        num_bytes: Bytes on disk of what is deployed.
        ms: Median milliseconds of one row by ``Model.predict``, warm.
        network_ms: The same of the network alone; None where it is not run.
        parameters: Parameters of the network.
        format: What is deployed: ``model`` (PyTorch) or ``bundle`` (ONNX).
    """

    name: str
    method: str
    description: str
    scores: dict[str, TargetScore]
    num_bytes: int
    ms: float
    network_ms: float | None
    parameters: int
    format: str = "model"

    @property
    def drop(self) -> float:
        """Points lost by the target that loses most."""
        return max(score.drop for score in self.scores.values())

    def to_json(self) -> dict[str, Any]:
        """Return the point as plain JSON."""
        return {**dataclasses.asdict(self), "drop": self.drop}


@dataclass(frozen=True, kw_only=True)
class Compression:
    """A finished compression.

    Attributes:
        source: Path or title of the original.
        limits: What was asked for.
        points: Every model that was tried, the original first; scores are of validation rows.
        chosen: Name of the point that was chosen; None where none keeps the limits.
        front: Names of the points that no other one beats in score, bytes and milliseconds.
        sentence: What was chosen, or which limit failed and what came nearest.
        rows: Split to its number of rows.
        test: ``original`` and ``chosen`` to target to its score on test rows; empty without test rows.
        notices: What was dropped, left out or guessed.
        seconds: How long it took.
        command: The command line, if there was one.
        folder: What was written; None where nothing was.
    """

    source: str
    limits: Limits
    points: list[Point]
    chosen: str | None
    front: list[str]
    sentence: str
    rows: dict[str, int]
    test: dict[str, dict[str, TargetScore]] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    seconds: float = 0.0
    command: str | None = None
    folder: Path | None = None

    @property
    def original(self) -> Point:
        """The model that was compressed."""
        return self.points[0]

    @property
    def chosen_point(self) -> Point | None:
        """The point that was chosen."""
        return next((point for point in self.points if point.name == self.chosen), None)

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain JSON."""
        values = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
        test = {who: {t: dataclasses.asdict(s) for t, s in scores.items()} for who, scores in self.test.items()}
        return values | {
            "limits": dataclasses.asdict(self.limits),
            "points": [point.to_json() for point in self.points],
            "test": test,
            "folder": None if self.folder is None else str(self.folder),
        }
