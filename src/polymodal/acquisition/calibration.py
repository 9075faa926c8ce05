"""What streams were worth on held-out rows, and the scale that estimated gains get from it.

On held-out rows everything is known: the loss with and without a stream is measured, not estimated. The baselines are
left out of these answers, since those of a run are fitted on its validation rows too.

Shape legend: N rows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from polymodal.acquisition.answers import Answers, DecodedRows, answer, flat_targets
from polymodal.acquisition.losses import losses
from polymodal.model.trained_model import TrainedModel

Floats = NDArray[np.float64]
Estimate = Callable[[DecodedRows, Answers, frozenset[str]], Floats]
"""From rows that lack streams, their answers and the streams to get, to the estimated reduction of the loss."""

CALIBRATION_ROWS = 64
"""Most held-out rows that a scale is fitted on: each of them has to be filled as well."""
CALIBRATED_PATTERNS = 12
"""Most patterns of absent streams with scales of their own; later ones get the mean of these."""
SHRINKAGE = 0.05
"""Weight of a scale of 1, as a share of the rows' squared gains."""


class HeldOutLosses:
    """The losses of held-out rows under any set of hidden streams, measured once each."""

    def __init__(self, model: TrainedModel, rows: DecodedRows) -> None:
        """Encode the targets.

        Args:
            model: The trained model.
            rows: Rows whose targets are all known.
        """
        self.model, self.rows = model, rows
        self._truth = {name: target.encode(rows.cells[name])[0] for name, target in flat_targets(model).items()}
        self._losses: dict[frozenset[str], Floats] = {}

    def under(self, hidden: frozenset[str]) -> Floats:
        """Return the loss of each row, summed over the targets, float64 ``[N]``.

        Args:
            hidden: Streams to hide.

        Returns:
            The losses without the baselines.
        """
        if hidden not in self._losses:
            (found,) = answer(self.model, self.rows, [hidden], with_baselines=False)
            targets = flat_targets(self.model).items()
            self._losses[hidden] = np.sum([losses(t, found[name], self._truth[name]) for name, t in targets], axis=0)
        return self._losses[hidden]

    def reductions(self, absent: frozenset[str], streams: frozenset[str]) -> Floats:
        """Return by how much each row's loss fell when streams came to those that are there.

        Args:
            absent: Streams that were absent before.
            streams: Some of them, that are got.

        Returns:
            float64 ``[N]``; negative where the answer became worse.
        """
        return np.asarray(self.under(absent) - self.under(absent - streams))


class Calibration:
    """Scales of estimated gains: for each pattern of absent streams and each of them, fitted when first asked for."""

    def __init__(self, model: TrainedModel, rows: DecodedRows) -> None:
        """Take a sample of the rows.

        Args:
            model: The trained model.
            rows: Held-out rows whose targets are all known.
        """
        places = np.random.default_rng(0).permutation(len(rows))[:CALIBRATION_ROWS]
        self._measured = HeldOutLosses(model, rows.take(np.sort(places)))
        self._scales: dict[tuple[frozenset[str], str], float] = {}

    def scale(self, absent: frozenset[str], streams: frozenset[str], estimate: Estimate) -> float:
        """Return the factor of the gain of streams: the mean of theirs.

        Args:
            absent: Streams that are absent.
            streams: Those that are got.
            estimate: Estimates gains.

        Returns:
            At least 0.
        """
        return float(np.mean([self._of_stream(absent, stream, estimate) for stream in sorted(streams)]))

    def _of_stream(self, absent: frozenset[str], stream: str, estimate: Estimate) -> float:
        key = (absent, stream)
        if key not in self._scales:
            patterns = {pattern for pattern, _ in self._scales}
            if absent not in patterns and len(patterns) >= CALIBRATED_PATTERNS:
                known = [scale for (_, name), scale in self._scales.items() if name == stream]
                return float(np.mean(known or list(self._scales.values())))
            self._scales[key] = self._fit(absent, frozenset([stream]), estimate)
        return self._scales[key]

    def _fit(self, absent: frozenset[str], streams: frozenset[str], estimate: Estimate) -> float:
        """Fit realised to estimated reductions by least squares through zero, shrunk towards 1."""
        rows = self._measured.rows
        hidden = DecodedRows(rows.without(absent), rows.cells, rows.table, [])
        (now,) = answer(self._measured.model, hidden, with_baselines=False)
        has_stream = np.all([rows.presence[stream] for stream in streams], axis=0)
        estimated = np.maximum(estimate(hidden, now, streams), 0.0)[has_stream]
        realised = self._measured.reductions(absent, streams)[has_stream]
        weight = float((estimated**2).sum())
        if weight < 1e-9:
            return 1.0
        return max(0.0, (float((estimated * realised).sum()) + SHRINKAGE * weight) / ((1 + SHRINKAGE) * weight))
