"""Members of the ensembles of numeric structured targets: vectors, series, images.

They are the network (``fusion``), the network with all other streams masked (``stream:NAME``) and the baselines
(``baseline:NAME``). Predictions are kept in the form of the column and pooled as numbers, some rows at a time.

Shape legend: N rows, D numbers, K numbers that are sampled, M members.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from polymodal.ensemble.ensemble import STREAM, Ensemble
from polymodal.targets import AnyTarget
from polymodal.targets.numeric import NumericTarget
from polymodal.targets.structured import (
    RowContext,
    StructuredPrediction,
    StructuredPredictions,
    to_structured_predictions,
)

BLOCK_NUMBERS = 2**22
"""Most numbers of all members that are pooled at once."""
CHUNK_NUMBERS = 2**24
"""Most numbers of all members and masks that are predicted at once, as Python numbers of 32 bytes."""
FITTED_NUMBERS = 2 * 10**7
"""Most numbers of all members, rows and masks that an ensemble is fitted on."""
SAMPLED_NUMBERS = 256
"""Most numbers of a row that an ensemble is fitted on: those of one row err together, so more say little."""

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def lone_masks(
    streams: Sequence[str], targets: Mapping[str, AnyTarget], needed: Mapping[str, frozenset[str]] | None
) -> dict[str, frozenset[str]]:
    """Return the stream masks under which the network predicts the members ``stream:NAME`` of numeric targets.

    Args:
        streams: The network's streams; with one alone, that member would be the network itself.
        targets: Name to target.
        needed: Target to the members that are needed; None means all of them.

    Returns:
        Stream to all others; only those that are needed.
    """
    numeric = [name for name, target in targets.items() if isinstance(target, NumericTarget)]
    if len(streams) < 2 or not numeric:
        return {}
    asked = None if needed is None else frozenset().union(*(needed[name] for name in numeric))
    return {s: frozenset(streams) - {s} for s in streams if asked is None or f"{STREAM}{s}" in asked}


def member_rows(streams: Sequence[str], targets: Mapping[str, AnyTarget], num_masks: int) -> int | None:
    """Choose the most rows that are predicted with all members at once.

    Args:
        streams: The network's streams.
        targets: Name to target.
        num_masks: Stream masks to predict under.

    Returns:
        At least 1; None without numeric targets.
    """
    sizes = [len(target.prior_numbers) for target in targets.values() if isinstance(target, NumericTarget)]
    num_predictions = num_masks * 3 + len(streams)
    return max(1, CHUNK_NUMBERS // (sum(sizes) * num_predictions)) if sizes else None


def numeric_members(
    target: NumericTarget,
    context: RowContext,
    fused: Sequence[StructuredPrediction] | None,
    alone: Mapping[str, Sequence[StructuredPrediction]],
    baselines: Mapping[str, Floats],
) -> dict[str, StructuredPredictions]:
    """Collect the members' predictions of a numeric target.

    Args:
        target: The target.
        context: The raw cells of the rows.
        fused: The network's, one a row; None where it was not needed.
        alone: Stream to the network's with all others masked.
        baselines: Baseline to numbers ``[N, D]``.

    Returns:
        Member to predictions ``[N]``.
    """
    return {
        **({} if fused is None else {"fusion": target.postprocess(fused, context)}),
        **{f"{STREAM}{stream}": target.postprocess(found, context) for stream, found in alone.items()},
        **{f"baseline:{name}": target.from_numbers(numbers) for name, numbers in baselines.items()},
    }


def combine_numbers(
    target: NumericTarget,
    ensemble: Ensemble,
    members: Mapping[str, StructuredPredictions],
    present: Mapping[str, Mask],
    visible: Mapping[str, Mask],
) -> StructuredPredictions:
    """Combine the members' predictions of a numeric target.

    Args:
        target: The target.
        ensemble: Its weights.
        members: Member to predictions ``[N]``.
        present: Member to bool ``[N]``, True where it has a prediction.
        visible: Stream to bool ``[N]``, True where it is present and not masked.

    Returns:
        ``[N]``; the prior where no stream is present.
    """
    used, prior = ensemble.active_members & members.keys(), target.prior_numbers

    def combine(rows: slice) -> StructuredPredictions:
        numbers = {member: target.prediction_numbers(members[member][rows]) for member in sorted(used)}
        of_rows = [{name: mask[rows] for name, mask in masks.items()} for masks in (present, visible)]
        return target.from_numbers(ensemble.combine(numbers, of_rows[0], prior, of_rows[1]))

    has_any = np.any(list(visible.values()), axis=0)
    combined = _in_blocks(combine, len(has_any), len(used) * len(prior))
    return np.where(has_any, combined, to_structured_predictions([target.prior] * len(has_any)))


def _in_blocks(convert: Callable[[slice], NDArray[Any]], num_rows: int, numbers_of_row: int) -> NDArray[Any]:
    """Convert rows block by block and concatenate what becomes of them."""
    step = max(1, BLOCK_NUMBERS // max(numbers_of_row, 1))
    return np.concatenate([convert(slice(start, start + step)) for start in range(0, max(num_rows, 1), step)])


def prior_of(target: AnyTarget) -> Floats:
    """Return the prior as ensembles pool it.

    Args:
        target: A flat or a numeric target.

    Returns:
        float64: probabilities ``[C]``, one number ``[]``, or numbers ``[D]``.
    """
    return target.prior_numbers if isinstance(target, NumericTarget) else np.asarray(target.prior, np.float64)


@dataclass(frozen=True)
class SampledNumbers:
    """Some of a target's numbers, the same of each row: what its ensemble is fitted on.

    Attributes:
        target: The target.
        indices: int64 ``[K]``, places among the D numbers.
    """

    target: NumericTarget
    indices: NDArray[np.int64]

    @classmethod
    def draw(cls, target: NumericTarget, num_predictions: int, seed: int) -> Self:
        """Draw the numbers.

        Args:
            target: The target.
            num_predictions: Predictions of all members, rows and masks together.
            seed: Seed of the sample.

        Returns:
            All numbers where they are few.
        """
        size = len(target.prior_numbers)
        number = min(size, SAMPLED_NUMBERS, max(1, FITTED_NUMBERS // max(num_predictions, 1)))
        return cls(target, np.sort(np.random.default_rng(seed).choice(size, number, replace=False)))

    @property
    def prior(self) -> Floats:
        """The prior ``[K]``."""
        return self.target.prior_numbers[self.indices]

    def of_truth(self, truth: NDArray[Any]) -> Floats:
        """Return the numbers of encoded cells ``[N, ...]``, float64 ``[N, K]``, NaN where a row lacks one."""
        return self._take(self.target.truth_numbers, truth)

    def of_predictions(self, predictions: StructuredPredictions) -> Floats:
        """Return the numbers of predictions ``[N]``, float64 ``[N, K]``."""
        return self._take(self.target.prediction_numbers, predictions)

    def _take(self, to_numbers: Callable[[NDArray[Any]], Floats], rows: NDArray[Any]) -> Floats:
        size = len(self.target.prior_numbers)
        return _in_blocks(lambda block: to_numbers(rows[block])[:, self.indices], len(rows), size)
