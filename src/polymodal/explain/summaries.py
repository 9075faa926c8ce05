"""What decided a target over all explained rows: means with intervals, interactions, shared and unique information.

Shape legend: N rows, K outputs, S streams, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from polymodal.explain.answers import DecodedRows, Floats, final_predictions
from polymodal.explain.explanation import TargetSummary
from polymodal.explain.information import MAX_CLASSES, MIN_CLUSTERS, decompose
from polymodal.explain.stream_values import StreamValues
from polymodal.model.inference_network import StreamMask
from polymodal.model.trained_model import TrainedModel
from polymodal.targets import AnyTarget, CategoryTarget

NUM_RESAMPLES = 1000
MIN_ROWS = 20
"""Fewest rows with both streams of which information is decomposed."""
MAX_STREAMS = 6
"""Most streams, the most important ones, of which pairs are decomposed."""
ESTIMATOR = (
    "In bits, over rows that have both streams: the decomposition of Bertschinger et al. 2014, as in Liang et al. "
    "2023, of what the model believes. A stream is represented by the final answer where it alone is present, in "
    f"clusters (as many as classes, at least {MIN_CLUSTERS}), both by the answer where both are. The truth is not "
    "asked."
)

Interval = dict[str, float]


def pair_name(first: str, second: str) -> str:
    """Return how a pair of streams is written.

    Args:
        first: A stream.
        second: A later one.

    Returns:
        "first × second".
    """
    return f"{first} × {second}"


def summarise(
    target: str,
    values: StreamValues,
    rows: NDArray[np.int64],
    information: Sequence[Mapping[str, object]],
    information_note: str,
) -> TargetSummary:
    """Summarise the stream values of one target.

    Args:
        target: The target.
        values: Of K outputs.
        rows: int64 ``[K]``, the row of each output; several outputs of a row count as their mean.
        information: The decomposed pairs.
        information_note: What they are.

    Returns:
        The summary.
    """
    importance_NS = _row_means(np.abs(values.shapley), rows)
    pairs = list(combinations(range(len(values.streams)), 2))
    known = ~np.isnan(values.interactions).any(axis=(1, 2))
    interactions_NSS = _row_means(values.interactions[known], rows[known])
    return TargetSummary(
        target=target,
        rows=len(importance_NS),
        importance={stream: _interval(importance_NS[:, s]) for s, stream in enumerate(values.streams)},
        interactions={
            pair_name(values.streams[i], values.streams[j]): _interval(interactions_NSS[:, i, j])
            for i, j in pairs
            if len(interactions_NSS)
        },
        information=[dict(entry) for entry in information],
        information_note=information_note,
    )


def _row_means(values: Floats, rows: NDArray[np.int64]) -> Floats:
    """Return the mean over the outputs of each row."""
    unique, of_output = np.unique(rows, return_inverse=True)
    sums = np.zeros((len(unique), *values.shape[1:]))
    np.add.at(sums, of_output.reshape(-1), values)
    counts = np.bincount(of_output.reshape(-1), minlength=len(unique))
    return np.asarray(sums / counts.reshape(-1, *[1] * (values.ndim - 1)))


def _interval(values_N: Floats) -> Interval:
    """Return the mean with its 95 % percentile bootstrap interval (Efron & Tibshirani 1993, chapter 13)."""
    drawn = np.random.default_rng(0).integers(len(values_N), size=(NUM_RESAMPLES, len(values_N)))
    low, high = np.percentile(values_N[drawn].mean(axis=1), [2.5, 97.5])
    return {"mean": float(values_N.mean()), "low": float(low), "high": float(high)}


def chosen_streams(values: StreamValues) -> list[str]:
    """Return the streams of which pairs are decomposed.

    Args:
        values: Stream values of a target.

    Returns:
        At most ``MAX_STREAMS``, the most important ones, in the model's order.
    """
    order = np.argsort(-np.abs(values.shapley).mean(axis=0), kind="stable")[:MAX_STREAMS]
    return [values.streams[index] for index in sorted(order.tolist())]


def _is_decomposed(target: AnyTarget) -> bool:
    return isinstance(target, CategoryTarget) and len(target.names) <= MAX_CLASSES


class PairAnswers:
    """Final answers of rows where one stream, or two, are present, collected chunk by chunk."""

    def __init__(self, model: TrainedModel, targets: Sequence[str]) -> None:
        """Start without rows.

        Args:
            model: The trained model.
            targets: The explained targets; of those, classes are decomposed.
        """
        self.model = model
        self.targets = [name for name in targets if _is_decomposed(model.targets[name])]
        self.streams: Sequence[str] = ()
        self._found: dict[tuple[str, frozenset[str]], list[Floats]] = {}
        self._visible: list[NDArray[np.bool_]] = []

    def add(self, decoded: DecodedRows, streams: Sequence[str]) -> None:
        """Predict the next rows.

        Args:
            decoded: The rows.
            streams: Of which pairs are decomposed; the same ones each time.
        """
        self.streams = streams
        if not self.targets or len(streams) < 2:
            return
        shown = [frozenset(pair) for size in (1, 2) for pair in combinations(streams, size)]
        masks: list[StreamMask] = [frozenset(self.model.network.streams) - streams_ for streams_ in shown]
        for streams_, predictions in zip(shown, final_predictions(self.model, decoded, masks), strict=True):
            for name in self.targets:
                self._found.setdefault((name, streams_), []).append(predictions[name])
        self._visible.append(decoded.visible(self.model.network.streams))

    def information(self, target: str) -> tuple[list[dict[str, object]], str]:
        """Decompose the information of each pair about a target.

        Args:
            target: The target.

        Returns:
            An entry a pair, as in ``TargetSummary.information``, and what they are or why there are none.
        """
        if target not in self.targets:
            return [], f"Not decomposed: this needs a target with one class a row, of at most {MAX_CLASSES} classes."
        if len(self.streams) < 2:
            return [], "Not decomposed: this needs two streams."
        entries = [entry for pair in combinations(self.streams, 2) if (entry := self._entry(target, *pair))]
        if not entries:
            return [], f"Not decomposed: this needs {MIN_ROWS} rows in which two streams are present."
        return entries, ESTIMATOR

    def _entry(self, target: str, first: str, second: str) -> dict[str, object] | None:
        order, visible = list(self.model.network.streams), np.concatenate(self._visible)
        both = visible[:, order.index(first)] & visible[:, order.index(second)]
        if both.sum() < MIN_ROWS:
            return None
        alone = ({first}, {second}, {first, second})
        found = decompose(*(np.concatenate(self._found[target, frozenset(shown)])[both] for shown in alone))
        return {
            "pair": [first, second],
            "redundancy": found.redundancy,
            "unique": list(found.unique),
            "synergy": found.synergy,
            "total": found.total,
        }
