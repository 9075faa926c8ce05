"""Estimator by a learned value: what a stream will be worth is predicted from what is present.

By how much the loss falls when streams come is measured on held-out rows. A row gets the mean for the streams that it
lacks (``mean_worth``), and what boosted trees learned to add to it from the answer and the embedding without the
streams. The expectation of that fall is the conditional mutual information of target and stream where the model is
calibrated (Gadgil, Covert & Lee 2024, arXiv 2306.03301, theorem 1). Differs from the source: the answers are those of a
model that was trained to lack streams, and the value is learned afterwards, by trees.

Shape legend: N rows, F features.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.acquisition.answers import DecodedRows, Rows, answer, flat_targets, row_vectors
from polymodal.acquisition.calibration import HeldOutLosses
from polymodal.acquisition.losses import expected_losses
from polymodal.acquisition.mean_worth import MeanWorth, pairs_to_learn
from polymodal.model.trained_model import TrainedModel
from polymodal.targets.number import NumberTarget

Floats = NDArray[np.float64]

MAX_EXAMPLES = 30_000
"""Most examples that trees are fitted on."""
NUM_DIRECTIONS = 6
"""Principal directions of the embedding that trees read."""
MAX_CLASSES = 20
"""Classes up to which trees read each one's probability."""
TREES = {
    "objective": "regression",
    "learning_rate": 0.05,
    "num_leaves": 8,
    "lambda_l2": 1.0,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "seed": 0,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}
MAX_TREES = 200
NUM_FOLDS = 5
PATIENCE = 10
MIN_LEAF_SHARE = 0.02
"""Least share of the examples in a leaf: each row gives several."""


class ValueEstimator:
    """Predicts what absent streams are worth by trees that learned it on held-out rows."""

    def __init__(self, model: TrainedModel, held_out: DecodedRows) -> None:
        """Fit the trees.

        Args:
            model: The trained model.
            held_out: Rows whose targets are all known.
        """
        self.model = model
        self.streams = list(model.network.streams)
        vectors = row_vectors(model, held_out)
        self._center = vectors.mean(axis=0)
        self._directions = np.linalg.svd(vectors - self._center, full_matrices=False)[2][:NUM_DIRECTIONS]
        self._measured = HeldOutLosses(model, held_out)
        self._means = MeanWorth(self._measured, self.streams)
        self._trees = _fit_trees(*self._examples(held_out))

    def _examples(self, held_out: DecodedRows) -> tuple[Floats, Floats, Rows]:
        """Return features, what was worth more or less than on average, and the row of each example."""
        presence = held_out.presence
        parts: list[tuple[Floats, Floats, Rows]] = []
        for absent, pairs in itertools.groupby(pairs_to_learn(self.streams), key=lambda pair: pair[0]):
            hidden = DecodedRows(held_out.without(absent), held_out.cells, held_out.table, [])
            features = self.row_features(hidden)
            for _, streams in pairs:
                rows = np.flatnonzero(np.all([presence[stream] for stream in streams], axis=0))
                if not len(rows):
                    continue
                worth = self._measured.reductions(absent, streams)[rows]
                parts.append((self.with_streams(features, streams)[rows], worth - worth.mean(), rows))
        if not parts:
            return np.zeros((0, 1)), np.zeros(0), np.zeros(0, np.int64)
        features, worth, rows = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        chosen = np.random.default_rng(0).permutation(len(worth))[:MAX_EXAMPLES]
        return features[chosen], worth[chosen], rows[chosen]

    def row_features(self, rows: DecodedRows) -> Floats:
        """Compute what trees read of rows.

        Args:
            rows: The rows, without the streams to get.

        Returns:
            float64 ``[N, F]``: which streams are there, what the answer is and how sure, where the row lies.
        """
        (found,) = answer(self.model, rows, with_baselines=False)
        presence = np.stack([rows.presence[stream] for stream in self.streams], axis=1).astype(np.float64)
        vectors = (row_vectors(self.model, rows) - self._center) @ self._directions.T
        parts: list[Floats] = [presence, vectors.astype(np.float64)]
        for name, target in flat_targets(self.model).items():
            values = found[name]
            if isinstance(target, NumberTarget):
                parts.append(((values - target.mean) / target.std)[:, None])
                continue
            top = -np.sort(-values, axis=1)[:, :2]
            parts += [expected_losses(target, values)[:, None], top]
            if values.shape[1] <= MAX_CLASSES:
                parts.append(values)
        return np.concatenate(parts, axis=1)

    def with_streams(self, features: Floats, streams: frozenset[str]) -> Floats:
        """Append which streams are to be got.

        Args:
            features: Of the rows ``[N, F]``.
            streams: The streams.

        Returns:
            float64 ``[N, F + streams]``.
        """
        asked = [float(stream in streams) for stream in self.streams]
        return np.concatenate([features, np.tile(asked, (len(features), 1))], axis=1)

    def start(self, rows: DecodedRows, absent: frozenset[str]) -> ValueGroup:
        """Prepare rows that lack the same streams.

        Args:
            rows: The rows.
            absent: The streams they lack.

        Returns:
            What tells the gains of these rows.
        """
        return ValueGroup(self, self.row_features(rows), absent)

    def predict(self, features: Floats, absent: frozenset[str], streams: frozenset[str]) -> Floats:
        """Predict what streams are worth.

        Args:
            features: Of rows that lack the same streams ``[N, F]``.
            absent: The streams they lack.
            streams: Those to get.

        Returns:
            float64 ``[N]``.
        """
        mean = self._means.of(absent, streams)
        if self._trees is None:
            return np.full(len(features), mean)
        return mean + np.asarray(self._trees.predict(self.with_streams(features, streams), num_threads=1))


class ValueGroup:
    """Rows that lack the same streams, and their features."""

    def __init__(self, estimator: ValueEstimator, features: Floats, absent: frozenset[str]) -> None:
        """Store the features."""
        self._estimator, self._features, self._absent = estimator, features, absent

    def gains(self, places: Rows, streams: frozenset[str]) -> Floats:
        """Estimate by how much the loss falls when streams are got together.

        Args:
            places: Some of the rows.
            streams: The streams.

        Returns:
            float64 ``[len(places)]``, not below 0.
        """
        return np.maximum(self._estimator.predict(self._features[places], self._absent, streams), 0.0)


def _fit_trees(features: Floats, worth: Floats, rows: Rows) -> Any:
    """Fit as many trees as are best on rows that were held out, all examples of a row in one fold; None where none is.

    Without trees every row of a pattern gets the mean, so that the stream that is best on average comes first.
    """
    import lightgbm

    settings = {**TREES, "min_data_in_leaf": max(20, round(MIN_LEAF_SHARE * len(worth)))}
    fold_of = np.random.default_rng(0).permutation(int(rows.max(initial=0)) + 1) % NUM_FOLDS
    parts = [
        (np.flatnonzero(fold_of[rows] != fold), np.flatnonzero(fold_of[rows] == fold)) for fold in range(NUM_FOLDS)
    ]
    if min(len(part) for pair in parts for part in pair) < NUM_FOLDS:
        return None
    data = lightgbm.Dataset(features, worth, params=settings, free_raw_data=False)
    stopping = lightgbm.early_stopping(PATIENCE, verbose=False)
    result: Any = lightgbm.cv(settings, data, MAX_TREES, folds=parts, callbacks=[stopping])
    errors: list[float] = result["valid l2-mean"]
    if errors[-1] >= float(np.mean(worth**2)):
        return None
    return lightgbm.train(settings, data, len(errors))
