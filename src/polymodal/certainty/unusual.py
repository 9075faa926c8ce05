"""How unusual a row is: its distance from the nearest training row, in spaces of its streams, as a conformal p-value.

Distances to the nearest training row are those of Sun et al. 2022 (arXiv 2204.06507) with k = 1. Each stream that is
there is judged in two spaces: the embedding of its encoder, and what is measured of its cells (brightness, loudness,
length, unseen categories). Differs from the source: embeddings are not normalised, as their length tells black
pictures from others. p-values are those of conformal anomaly detection (Laxhammar and Falkman 2014; Bates et al. 2023,
arXiv 2104.08279): the share of held-out rows that are at least as far away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MIN_ROWS = 20
"""Fewer held-out rows with the same streams do not calibrate their largest score; each stream by itself does then."""
TAIL = 0.9
MIN_SPREAD = 0.02
BLOCK_VALUES = 2**22
NOISE = 1e-3
"""Smaller scores are rounding errors of distances of zero."""
MAX_VALUE = 6e4
"""References are stored in float16."""


class SpaceName(NamedTuple):
    """The name of a space.

    Attributes:
        stream: The stream.
        kind: "embedding" or "measures".
    """

    stream: str
    kind: str


Vectors = Mapping[SpaceName, Floats]
"""Space to float64 ``[rows, D]``, NaN in rows in which the stream is absent."""


@dataclass(frozen=True)
class Space:
    """A space of one stream.

    Attributes:
        name: Stream and kind.
        centre: float32 ``[D]``, the median of training rows.
        scale: float32 ``[D]``, by which differences from it are divided.
        reference: float16 ``[N, D]``, training rows, scaled.
        location: 0.9 quantile of the logarithm of held-out rows' distances.
        spread: By how much those beyond exceed it on average.
    """

    name: SpaceName
    centre: NDArray[np.float32]
    scale: NDArray[np.float32]
    reference: NDArray[np.float16]
    location: float = 0.0
    spread: float = 1.0

    @classmethod
    def fit(cls, name: SpaceName, training: Floats, held_out: Floats) -> Space:
        """Fit a space.

        Args:
            name: Stream and kind.
            training: ``[N, D]``, NaN where absent.
            held_out: ``[M, D]``, NaN where absent.

        Returns:
            The space; measures are brought to one scale, embeddings keep theirs.
        """
        known = training[~np.isnan(training).all(axis=1)]
        centre, scale = np.zeros(known.shape[1]), np.ones(known.shape[1])
        if name.kind == "measures" and len(known):
            low, centre, high = np.nan_to_num(np.nanquantile(known, (0.05, 0.5, 0.95), axis=0))
            scale = np.where(high > low, high - low, np.maximum(np.abs(centre), 1.0)) / 3
        unfitted = cls(
            name, centre.astype(np.float32), scale.astype(np.float32), np.zeros((0, known.shape[1]), np.float16)
        )
        reference = np.clip(unfitted._scaled(known), -MAX_VALUE, MAX_VALUE).astype(np.float16)
        fitted = cls(name, unfitted.centre, unfitted.scale, reference)
        found = fitted.scores(held_out)
        found = found[~np.isnan(found)]
        if not len(found):
            return fitted
        location = float(np.quantile(found, TAIL))
        spread = float(np.maximum(found[found >= location] - location, 0).mean())
        return cls(name, fitted.centre, fitted.scale, reference, location, max(spread, MIN_SPREAD))

    @property
    def is_whole(self) -> bool:
        """Whether its arrays fit each other."""
        width = self.reference.shape[-1:]
        fits = self.reference.ndim == 2 and self.centre.shape == self.scale.shape == width
        return fits and self.spread > 0 and bool((self.scale > 0).all())

    def _scaled(self, vectors: Floats) -> Floats:
        """Scale vectors; measures are compressed beyond the range of training rows, unknown ones are in its middle."""
        scaled = (vectors - self.centre) / self.scale
        return np.nan_to_num(np.arcsinh(scaled)) if self.name.kind == "measures" else scaled

    def scores(self, vectors: Floats) -> Floats:
        """Score rows.

        Args:
            vectors: ``[rows, D]``, NaN where absent.

        Returns:
            ``[rows]``: the logarithm of the distance, in units of the held-out rows' spread; NaN where absent. In all
            spaces a score of x is about as seldom, as the tail beyond a high quantile is nearly exponential.
        """
        present = ~np.isnan(vectors).all(axis=1)
        scores = np.full(len(vectors), np.nan)
        if len(self.reference) and present.any():
            distances = nearest_distances(self._scaled(vectors[present]), self.reference.astype(np.float64))
            floor = 1e-3 * np.sqrt(self.reference.shape[1])
            scores[present] = (np.log(distances + floor) - self.location) / self.spread
        return scores


@dataclass(frozen=True)
class UnusualRows:
    """Tells how unusual rows are.

    Attributes:
        spaces: The spaces, one or two of each stream.
        calibration: float32 ``[M, spaces]``, scores of held-out rows, NaN where a stream is absent.

    Example:
        >>> random, name = np.random.default_rng(0), SpaceName("x", "embedding")
        >>> rows = random.normal(size=(600, 4))
        >>> unusual = UnusualRows.fit({name: rows[:300]}, {name: rows[300:]})
        >>> [round(float(p), 2) for p in unusual.p_values({name: np.array([[0.0] * 4, [9.0] * 4])})]
        [0.85, 0.0]
    """

    spaces: list[Space]
    calibration: NDArray[np.float32]

    @classmethod
    def fit(cls, training: Vectors, held_out: Vectors) -> UnusualRows:
        """Fit on training rows and calibrate on held-out rows.

        Args:
            training: Vectors of training rows, a bounded sample.
            held_out: Vectors of rows that nothing was fitted on.

        Returns:
            The fitted object; spaces in which no training row has a vector are left out.
        """
        fitted = [
            Space.fit(name, vectors, held_out.get(name, np.zeros((0, vectors.shape[1]))))
            for name, vectors in training.items()
        ]
        spaces = [space for space in fitted if len(space.reference)]
        unfitted = cls(spaces, np.zeros((0, len(spaces)), np.float32))
        return cls(spaces, unfitted.scores(held_out).astype(np.float32))

    @property
    def least_p_value(self) -> float:
        """The least p-value that a row can have: with few held-out rows it is not small."""
        return 1 / (1 + int((~np.isnan(self.calibration).all(axis=1)).sum()))

    def scores(self, vectors: Vectors) -> Floats:
        """Score rows in each space.

        Args:
            vectors: Their vectors; a space that is left out counts as absent.

        Returns:
            ``[rows, spaces]``, NaN where a stream is absent.
        """
        num_rows = len(next(iter(vectors.values()), ()))
        absent = np.full((num_rows, 1), np.nan)
        found = [space.scores(vectors.get(space.name, absent)) for space in self.spaces]
        return np.stack(found, axis=1) if found else np.zeros((num_rows, 0))

    def p_values(self, vectors: Vectors) -> Floats:
        """Compute how unusual rows are.

        Args:
            vectors: Their vectors.

        Returns:
            ``[rows]``: the share of held-out rows that are at least as unusual in the streams that the row has, the
            row itself counted; 1 in a row without any stream. Of rows like those of training at most a share p has a
            p-value of p or less.
        """
        scores = self.scores(vectors)
        result = np.ones(len(scores))
        patterns, inverse = np.unique(~np.isnan(scores), axis=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            rows = np.flatnonzero(inverse.reshape(-1) == number)
            if pattern.any():
                result[rows] = self._p_values_of(scores[np.ix_(rows, pattern)], pattern)
        return result

    def _p_values_of(self, scores: Floats, pattern: NDArray[np.bool_]) -> Floats:
        """Compare the largest score of rows with that of held-out rows in the same spaces."""
        calibration = self.calibration[:, pattern].astype(np.float64)
        complete = calibration[~np.isnan(calibration).any(axis=1)]
        if len(complete) >= MIN_ROWS or pattern.sum() == 1:
            return _shares(complete.max(axis=1), scores.max(axis=1))
        alone = [_shares(c[~np.isnan(c)], s) for c, s in zip(calibration.T, scores.T, strict=True)]
        return np.asarray(np.minimum(1.0, len(alone) * np.min(alone, axis=0)))

    def held_out_p_values(self) -> Floats:
        """Return the p-values of the held-out rows, each compared with the others."""
        scores = self.calibration.astype(np.float64)
        known = [row for row, there in enumerate(~np.isnan(scores)) if there.any()]
        return np.array([self._p_value_without(row) for row in known])

    def _p_value_without(self, row: int) -> float:
        others = UnusualRows(self.spaces, np.delete(self.calibration, row, axis=0))
        scores = self.calibration[row].astype(np.float64)
        pattern = ~np.isnan(scores)
        return float(others._p_values_of(scores[None, pattern], pattern)[0])

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return everything as plain JSON and named arrays."""
        arrays: dict[str, NDArray[Any]] = {
            "calibration": np.nan_to_num(self.calibration),
            "is_calibrated": ~np.isnan(self.calibration),
        }
        plain = []
        for place, space in enumerate(self.spaces):
            plain.append({**space.name._asdict(), "location": space.location, "spread": space.spread})
            arrays |= {f"{place}.{name}": getattr(space, name) for name in ("centre", "scale", "reference")}
        return {"spaces": plain}, arrays

    @classmethod
    def from_state(cls, state: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> UnusualRows:
        """Restore it.

        Args:
            state: The plain part of ``state``.
            arrays: Its arrays.

        Returns:
            An object that gives the same p-values.

        Raises:
            ValueError: If its parts do not fit each other.
        """
        spaces = []
        for place, plain in enumerate(state["spaces"]):
            own = {name: arrays[f"{place}.{name}"] for name in ("centre", "scale", "reference")}
            name = SpaceName(plain["stream"], plain["kind"])
            spaces.append(Space(name, **own, location=plain["location"], spread=plain["spread"]))
        calibration, is_calibrated = arrays["calibration"], arrays["is_calibrated"]
        fits = calibration.shape == is_calibrated.shape == (len(calibration), len(spaces))
        if not fits or not all(space.is_whole for space in spaces):
            raise ValueError("the arrays of unusual rows do not fit each other")
        return cls(spaces, np.where(is_calibrated, calibration, np.float32(np.nan)))


def _shares(calibration: Floats, scores: Floats) -> Floats:
    """Return the share of calibration rows with at least each score, the row itself counted."""
    ordered = np.sort(_without_noise(calibration))
    at_least = len(ordered) - np.searchsorted(ordered, _without_noise(scores), side="left")
    return np.asarray((1 + at_least) / (1 + len(ordered)))


def _without_noise(scores: Floats) -> NDArray[np.float32]:
    """Take tiny scores for zeros, so that rows equal to training rows tie, whatever computed their embeddings."""
    single = scores.astype(np.float32)
    return np.where(np.abs(single) < NOISE, np.float32(0), single)


def nearest_distances(vectors: Floats, reference: Floats) -> Floats:
    """Compute Euclidean distances to the nearest reference vector.

    Args:
        vectors: ``[rows, D]``.
        reference: ``[N, D]``, at least one.

    Returns:
        ``[rows]``.
    """
    squares = (reference**2).sum(axis=1)
    step = max(1, BLOCK_VALUES // len(reference))
    found = [
        ((block**2).sum(axis=1) + (squares - 2 * block @ reference.T).min(axis=1))
        for block in (vectors[start : start + step] for start in range(0, len(vectors), step))
    ]
    return np.sqrt(np.maximum(np.concatenate(found) if found else np.zeros(0), 0.0))
