"""Estimator by a learned value: what a stream will be worth is predicted from what is present.

Boosted trees learn the measured reduction of the loss of held-out rows, with and without a stream, from the answer and
the embedding without it. The expectation of that reduction is the conditional mutual information of target and stream
where the model is calibrated (Gadgil, Covert & Lee 2024, arXiv 2306.03301, theorem 1). Differs from the source: the
answers are those of a model that was trained to lack streams, and the value is learned afterwards, by trees.

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
from polymodal.model.trained_model import TrainedModel
from polymodal.targets.number import NumberTarget

Floats = NDArray[np.float64]

MAX_ENUMERATED = 4
"""Streams up to which every pattern of absent streams and every set of them to get is learned from."""
DRAWN_PAIRS = 96
"""Pairs of a pattern and a set to get that are drawn for more streams."""
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
    "min_data_in_leaf": 20,
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
NUM_TREES = 100


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
        self._trees = self._fit(held_out)

    def _fit(self, held_out: DecodedRows) -> Any:
        import lightgbm

        measured, presence = HeldOutLosses(self.model, held_out), held_out.presence
        parts: list[tuple[Floats, Floats]] = []
        for absent, pairs in itertools.groupby(pairs_to_learn(self.streams), key=lambda pair: pair[0]):
            hidden = DecodedRows(held_out.without(absent), held_out.cells, held_out.table, [])
            features = self.row_features(hidden)
            for _, streams in pairs:
                has = np.all([presence[stream] for stream in streams], axis=0)
                worth = measured.reductions(absent, streams)
                parts.append((self.with_streams(features, streams)[has], worth[has]))
        features, worth = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        chosen = np.random.default_rng(0).permutation(len(worth))[:MAX_EXAMPLES]
        return lightgbm.train(TREES, lightgbm.Dataset(features[chosen], worth[chosen]), NUM_TREES)

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

    def start(self, rows: DecodedRows, absent: frozenset[str]) -> ValueGroup:  # noqa: ARG002
        """Prepare rows that lack the same streams.

        Args:
            rows: The rows.
            absent: The streams they lack; the features have them.

        Returns:
            What tells the gains of these rows.
        """
        return ValueGroup(self, self.row_features(rows))

    def predict(self, features: Floats) -> Floats:
        """Predict what streams are worth, float64 ``[N]``, from features with the streams to get."""
        return np.asarray(self._trees.predict(features, num_threads=1))


class ValueGroup:
    """Rows that lack the same streams, and their features."""

    def __init__(self, estimator: ValueEstimator, features: Floats) -> None:
        """Store the features."""
        self._estimator, self._features = estimator, features

    def gains(self, places: Rows, streams: frozenset[str]) -> Floats:
        """Estimate by how much the loss falls when streams are got together.

        Args:
            places: Some of the rows.
            streams: The streams.

        Returns:
            float64 ``[len(places)]``, not below 0.
        """
        estimator = self._estimator
        return np.maximum(estimator.predict(estimator.with_streams(self._features[places], streams)), 0.0)


def pairs_to_learn(streams: list[str]) -> list[tuple[frozenset[str], frozenset[str]]]:
    """List patterns of absent streams with sets of them to get: all of few streams, a sample of many.

    Args:
        streams: The model's streams.

    Returns:
        Absent streams and those to get; pairs of one pattern stand together.
    """
    if len(streams) <= MAX_ENUMERATED:
        return [(absent, got) for absent in subsets(streams) for got in subsets(sorted(absent))]
    random, drawn = np.random.default_rng(0), []
    for stream in itertools.islice(itertools.cycle(streams), DRAWN_PAIRS):
        others = [name for name in streams if name != stream]
        absent = frozenset([stream, *(name for name in others if random.random() < 0.5)])
        got = frozenset([stream, *(name for name in sorted(absent) if random.random() < 0.3)])
        drawn.append((absent, got))
    return sorted(drawn, key=lambda pair: (sorted(pair[0]), sorted(pair[1])))


def subsets(streams: list[str]) -> list[frozenset[str]]:
    """Return all sets of streams but the empty one."""
    sizes = range(1, len(streams) + 1)
    return [frozenset(found) for size in sizes for found in itertools.combinations(streams, size)]
