"""Metrics of texts: captions and transcripts (numpy only).

Shape legend: N rows, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from polymodal.arrays import Cell
from polymodal.metrics.caption_metrics import measure_captions
from polymodal.metrics.edit_distance import error_rates
from polymodal.metrics.weighted import Floats, Measure, MetricFunction, Weighted


@dataclass(frozen=True, eq=False)
class TextRows:
    """Rows of a text each.

    Attributes:
        truth: Of each row a text, or a list of several, ``[N]``.
        found: Texts ``[N]``.
        measure: Computes the metrics that are counted together.
    """

    truth: Sequence[Cell]
    found: Sequence[Cell]
    measure: Measure

    def weighted(self, weights: Floats) -> WeightedTexts:
        """Weigh the rows.

        Args:
            weights: ``[R, N]``.

        Returns:
            The data that the metrics are computed from.
        """
        return WeightedTexts(self, weights)


class WeightedTexts(Weighted[TextRows]):
    """Metrics of texts that are counted together."""

    @cached_property
    def measured(self) -> dict[str, Floats]:
        """Metric to its values ``[R]``."""
        return self.rows.measure(self.weights)


def caption_rows(truth: Sequence[Cell], found: Sequence[Cell]) -> TextRows:
    """Prepare captions, for ``exact_match``, ``bleu`` and ``rouge_l``.

    Args:
        truth: Of each row a text, or a list of several, ``[N]``.
        found: Texts ``[N]``.

    Returns:
        The data that the metrics are computed from.
    """
    return TextRows(truth, found, measure_captions(truth, found))


def transcript_rows(truth: Sequence[Cell], found: Sequence[Cell]) -> TextRows:
    """Prepare transcripts, for ``exact_match``, ``wer`` and ``cer``.

    Args:
        truth: Texts ``[N]``.
        found: Texts ``[N]``.

    Returns:
        The data that the metrics are computed from.
    """
    true, said = [str(text) for text in truth], [str(text) for text in found]
    return TextRows(true, said, error_rates(true, said))


def measured(name: str) -> MetricFunction:
    """Return the function that reads one of the metrics that are counted together.

    Args:
        name: The metric.

    Returns:
        From ``WeightedTexts`` to its values ``[R]``.
    """

    def read(texts: WeightedTexts) -> Floats:
        return texts.measured[name]

    return read
