"""What a stress test found: scores under every kind of noise and combination of absent streams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its interval.

    Attributes:
        value: The figure; None where it is undefined on these rows.
        interval: 95 % bootstrap interval over rows; None where it is undefined.
    """

    value: float | None
    interval: list[float] | None = None


@dataclass(frozen=True, kw_only=True)
class NoiseCurve:
    """Scores under one kind of noise in one stream, the other streams clean.

    Attributes:
        stream: The stream.
        kind: Name of the corruption.
        scores: Member to the primary metric at each severity; None where it is undefined.
        error: Member to the corruption error: clean score minus mean score over the severities, in the metric's
            direction, so that a positive number is a loss.
    """

    stream: str
    kind: str
    scores: dict[str, list[float | None]]
    error: dict[str, Estimate]


@dataclass(frozen=True, kw_only=True)
class Absence:
    """Scores with some streams absent in every row.

    Attributes:
        absent: The streams.
        scores: Member to the primary metric; None where it is undefined.
        error: Member to clean score minus score, in the metric's direction.
    """

    absent: list[str]
    scores: dict[str, float | None]
    error: dict[str, Estimate]


@dataclass(frozen=True, kw_only=True)
class TargetStress:
    """The stress test of one target.

    Attributes:
        metric: The primary metric.
        higher_is_better: Its direction.
        rows: Rows whose truth is known.
        members: What was scored: ``final``, ``fusion`` and each baseline.
        clean: Member to its score on the cells as they are.
        noisy: Member to its mean score over all streams, kinds and severities.
        mean_error: Member to the mean corruption error: the mean of the errors of all curves.
        curves: One for each stream and kind, the largest error of the final answer first.
        missing: One for each combination, the largest error of the final answer first.
    """

    metric: str
    higher_is_better: bool
    rows: int
    members: list[str]
    clean: dict[str, Estimate]
    noisy: dict[str, Estimate]
    mean_error: dict[str, Estimate]
    curves: list[NoiseCurve]
    missing: list[Absence]


@dataclass(frozen=True, kw_only=True)
class StressReport:
    """A stress test of a model on a table.

    Attributes:
        table: Name of the table.
        rows: Rows that were used.
        table_rows: Rows of the table.
        severities: The severities, of 1 to 5.
        kinds: Kind to its ``modality``, ``title``, ``unit`` and ``levels`` at those severities.
        streams: Stream to its modality.
        targets: Target to what was found.
        notices: Sentences for the user: what was sampled, cut, left out.
        seed: Fixes the noise.
        seconds: How long it took.
    """

    table: str
    rows: int
    table_rows: int
    severities: list[int]
    kinds: dict[str, dict[str, Any]]
    streams: dict[str, str]
    targets: dict[str, TargetStress]
    notices: list[str] = field(default_factory=list)
    seed: int = 0
    seconds: float = 0.0

    def state(self) -> dict[str, Any]:
        """Return the report as plain JSON."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> StressReport:
        """Make the report again from its state.

        Args:
            state: What ``state`` returned.

        Returns:
            The same report.
        """
        return cls(**{**state, "targets": {name: _target_from(found) for name, found in state["targets"].items()}})


def _estimates(states: Mapping[str, Mapping[str, Any]]) -> dict[str, Estimate]:
    return {name: Estimate(**state) for name, state in states.items()}


def _target_from(state: Mapping[str, Any]) -> TargetStress:
    figures = {name: _estimates(state[name]) for name in ("clean", "noisy", "mean_error")}
    curves = [NoiseCurve(**{**curve, "error": _estimates(curve["error"])}) for curve in state["curves"]]
    missing = [Absence(**{**entry, "error": _estimates(entry["error"])}) for entry in state["missing"]]
    return TargetStress(**{**state, **figures, "curves": curves, "missing": missing})
