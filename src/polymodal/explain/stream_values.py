"""Shapley values of the streams of rows: which coalitions of present streams are asked, and what they make.

Rows in which the same streams are present are asked together, under the same masks. Streams that are absent in a row
have the value zero there.

Shape legend: K outputs, S streams, Q coalitions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.explain.answers import DecodedRows, Floats, masked_values
from polymodal.explain.outputs import Output
from polymodal.explain.shapley import (
    MAX_EXACT,
    Coalitions,
    SampledCoalitions,
    all_coalitions,
    shapley_interactions,
    shapley_values,
)
from polymodal.model.trained_model import TrainedModel

ARRAYS = ("value", "prior", "shapley", "errors", "interactions", "present")


@dataclass(frozen=True)
class StreamValues:
    """What the streams did to outputs.

    Attributes:
        streams: The model's streams, in their order.
        value: float64 ``[K]``, the explained scalar.
        prior: float64 ``[K]``, the same with every stream absent.
        shapley: float64 ``[K, S]``; sums to ``value - prior``.
        errors: float64 ``[K, S]``, standard errors; zeros where all coalitions were asked.
        interactions: float64 ``[K, S, S]``; NaN where they were not computed.
        present: bool ``[K, S]``, where a stream is present in the output's row.
    """

    streams: tuple[str, ...]
    value: Floats
    prior: Floats
    shapley: Floats
    errors: Floats
    interactions: Floats
    present: NDArray[np.bool_]

    def take(self, outputs: NDArray[np.int64]) -> StreamValues:
        """Return the values of some outputs.

        Args:
            outputs: Indices from 0.

        Returns:
            Their values.
        """
        return StreamValues(self.streams, **{name: getattr(self, name)[outputs] for name in ARRAYS})

    @staticmethod
    def concatenate(parts: Sequence[StreamValues]) -> StreamValues:
        """Concatenate outputs.

        Args:
            parts: At least one, of the same streams.

        Returns:
            All of them.
        """
        arrays: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ARRAYS}
        return StreamValues(parts[0].streams, **arrays)

    @property
    def is_sampled(self) -> NDArray[np.bool_]:
        """Where permutations were sampled: bool ``[K]``."""
        return np.asarray(self.present.sum(axis=1) > MAX_EXACT)


def stream_values(
    model: TrainedModel, decoded: DecodedRows, outputs: Sequence[Output], places: Sequence[int], seed: int = 0
) -> StreamValues:
    """Compute the Shapley values of all streams.

    Args:
        model: The trained model.
        decoded: The rows.
        outputs: What is explained, K of them.
        places: For each output the row of ``decoded``, from 0.
        seed: Fixes the permutations of rows with more than ``MAX_EXACT`` present streams.

    Returns:
        Values, standard errors and interactions.
    """
    streams, rows = model.network.streams, np.asarray(places, np.int64)
    present = decoded.visible(streams)[rows]
    count, width = present.shape
    result = StreamValues(
        streams,
        value=np.zeros(count),
        prior=np.zeros(count),
        shapley=np.zeros((count, width)),
        errors=np.zeros((count, width)),
        interactions=np.zeros((count, width, width)),
        present=present,
    )
    for players, chosen in _groups(present):
        of_group = [outputs[index] for index in chosen.tolist()]
        used, inside = np.unique(rows[chosen], return_inverse=True)
        game = _Game(model, decoded.take(used), of_group, inside.reshape(-1), players)
        _fill(result, game, chosen, seed)
    return result


def _groups(present_KS: NDArray[np.bool_]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return groups of players and the outputs that they play for, so that few coalitions are asked.

    Streams that are absent in some rows may play with the others: they change nothing there, and get exactly zero. So
    all rows with too many players share sampled coalitions, and rows of many patterns share all coalitions.
    """
    everyone, few = np.arange(present_KS.shape[1]), present_KS.sum(axis=1) <= MAX_EXACT
    patterns, of_output = np.unique(present_KS[few], axis=0, return_inverse=True)
    if len(everyone) <= MAX_EXACT and (2 ** patterns.sum(axis=1)).sum() > 2 ** len(everyone):
        return [(everyone, np.arange(len(present_KS)))]
    chosen = [np.flatnonzero(few)[of_output.reshape(-1) == index] for index in range(len(patterns))]
    groups = [(np.flatnonzero(pattern), outputs) for pattern, outputs in zip(patterns, chosen, strict=True)]
    return groups if few.all() else [*groups, (everyone, np.flatnonzero(~few))]


@dataclass(frozen=True)
class _Game:
    """Outputs of rows in which the players are the same."""

    model: TrainedModel
    decoded: DecodedRows
    outputs: Sequence[Output]
    places: NDArray[np.int64]
    players: NDArray[np.int64]

    def ask(self, coalitions: Coalitions) -> Floats:
        """Return the value of each coalition, ``[Q, outputs]``."""
        streams = self.model.network.streams
        names = [streams[player] for player in self.players]
        masks = [
            frozenset(streams) - {name for name, joins in zip(names, coalition, strict=True) if joins}
            for coalition in coalitions.tolist()
        ]
        return masked_values(self.model, self.decoded, self.outputs, self.places, masks)


def _fill(result: StreamValues, game: _Game, chosen: NDArray[np.int64], seed: int) -> None:
    places = np.ix_(chosen, game.players)
    if len(game.players) <= MAX_EXACT:
        values = game.ask(all_coalitions(len(game.players)))
        if len(game.players):
            result.shapley[places] = shapley_values(values).T
            pairs = np.ix_(chosen, game.players, game.players)
            result.interactions[pairs] = shapley_interactions(values).transpose(2, 0, 1)
        result.prior[chosen], result.value[chosen] = values[0], values[-1]
        return
    sample = SampledCoalitions.draw(len(game.players), seed)
    values = game.ask(sample.coalitions)
    shapley, errors = sample.values(values)
    result.shapley[places], result.errors[places] = shapley.T, errors.T
    result.interactions[chosen] = np.nan
    result.prior[chosen], result.value[chosen] = values[sample.path[0, 0]], values[sample.path[0, -1]]
