"""The ensemble: combines the members' predictions with weights fitted on held-out rows (numpy).

Probabilities are pooled in the logarithm, ``p ∝ π exp(b + Σ_m w_m log(p_m / π))`` with the prior π and ``w_m ≥ 0``:
the logarithmic opinion pool (Genest & Zidek 1986, section 3) or product of experts (Hinton 2002, equation 1), with the
prior as the member that has the rest of the weight. The weights need not sum to one, so that the pool calibrates as
well: with one member, w is the inverse of a temperature, and b the bias, of Guo et al. 2017, section 4.2. Numbers are
pooled likewise, ``π + Σ_m w_m (y_m - π)`` (Breiman 1996, stacked regressions, shrunk to the mean).

There is a set of weights for each pattern of absent streams that was seen or simulated in fitting, and one for all
other rows. A member that is absent in a row is left out there, and the weights of the others are rescaled to the same
total. A row without any member gets the prior.

Shape legend: M members, N rows, C classes, S streams.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.ensemble.pooling import (
    Floats,
    Mask,
    add_bias,
    pool_members,
    pooling_inputs,
    prior_values,
    to_prediction,
)

PRIOR = "baseline:prior"
"""The member that predicts the same for every row."""
STREAM = "stream:"
MIN_SHARE = 0.005
"""Smallest share of a member that is mentioned."""


@dataclass(frozen=True)
class MemberWeights:
    """Weights of the members of one target, and a bias of each class.

    Attributes:
        kind: "category", "categories" or "number".
        weights: Member to weight, in sorted order.
        fallback: Member to weight; used in rows where no member with a weight is present.
        scale: Member to how far it departs from the prior on average, in the values that are pooled.
        bias: Added to the pooled log-probability of each class, or log-odds of each label; none for numbers.
    """

    kind: str
    weights: dict[str, float]
    fallback: dict[str, float]
    scale: dict[str, float]
    bias: list[float] = field(default_factory=list)

    def combine(self, members: Mapping[str, Floats], present: Mapping[str, Mask], prior: Floats | float) -> Floats:
        """Combine the members' predictions.

        Args:
            members: Member to ``[N, C]`` probabilities, or ``[N]`` or ``[N, D]`` numbers; missing members count as
                absent.
            present: Member to bool ``[N]``, True where it has a prediction.
            prior: The prediction for rows without any member: ``[C]`` probabilities, a number, or numbers ``[D]``.

        Returns:
            float64, as the members' predictions.
        """
        shape = next(iter(members.values())).shape
        known = [name for name in self.weights if name in members]
        if not known:
            return np.broadcast_to(np.asarray(prior, dtype=np.float64), shape).copy()
        present_MN = np.stack([present[name] for name in known])
        values = pooling_inputs(self.kind, [members[name] for name in known], present_MN, prior)
        weights, fallback = (np.array([table[name] for name in known]) for table in (self.weights, self.fallback))
        pooled = prior_values(self.kind, prior) + pool_members(values, present_MN, weights, fallback)
        pooled = add_bias(self.kind, pooled, np.array(self.bias))
        combined = to_prediction(self.kind, pooled).reshape(shape)
        combined[~present_MN.any(axis=0)] = prior
        return combined

    @property
    def active_members(self) -> frozenset[str]:
        """The members that can change a prediction.

        Those with a fallback weight alone count only if no other member is present in every row that has any stream.
        """
        main = frozenset(name for name, weight in self.weights.items() if weight > 0)
        if any(not name.startswith(STREAM) for name in main):
            return main
        return main | {name for name, weight in self.fallback.items() if weight > 0} or frozenset(self.weights)

    @property
    def contributions(self) -> dict[str, float]:
        """Each member's share of the combined prediction, the prior's included, summing to one.

        Weights are multiplied with ``scale``, so that an overconfident member with a small weight is not underrated,
        nor a member that says little overrated. The prior has the weight that is left of one.
        """
        rest, scales = max(0.0, 1.0 - sum(self.weights.values())), list(self.scale.values())
        strength = {name: weight * self.scale[name] for name, weight in self.weights.items()}
        strength[PRIOR] = rest * (float(np.mean(scales)) or 1.0)
        total = sum(strength.values()) or 1.0
        return {name: value / total for name, value in sorted(strength.items(), key=lambda item: -item[1])}

    @property
    def note(self) -> str:
        """One sentence about the contributions, for the report."""
        return _note(self.contributions)

    def state(self) -> dict[str, Any]:
        """Return the weights as plain JSON; ``fallback`` is saved as ``reserve``."""
        names = ("kind", "weights", "scale", "bias")
        return {**{name: getattr(self, name) for name in names}, "reserve": self.fallback}

    @classmethod
    def from_state(cls, state: dict[str, Any], prior: Floats | float) -> MemberWeights:
        """Restore the weights.

        Args:
            state: What ``state`` returned; without a bias in models saved by earlier versions, which pooled logarithms
                themselves in place of their differences to the prior.
            prior: The target's prior.

        Returns:
            Equal weights.
        """
        if "bias" not in state:
            offset = (sum(state["weights"].values()) - 1.0) * prior_values(state["kind"], prior)
            bias = {"number": np.zeros(0), "categories": offset[..., -1] - offset[..., 0]}.get(state["kind"], offset)
            state = {**state, "bias": bias.tolist()}
        return cls(*(state[name] for name in ("kind", "weights", "reserve", "scale", "bias")))


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """The weights of one target: for each pattern of absent streams, and for all other rows.

    Attributes:
        pooled: Used where the row's absent streams have no weights of their own.
        patterns: Set of absent streams to the weights of the rows in which exactly these are absent.
    """

    pooled: MemberWeights
    patterns: dict[frozenset[str], MemberWeights] = field(default_factory=dict)

    def combine(
        self,
        members: Mapping[str, Floats],
        present: Mapping[str, Mask],
        prior: Floats | float,
        visible: Mapping[str, Mask],
    ) -> Floats:
        """Combine the members' predictions, each row with the weights of its pattern.

        Args:
            members: As for ``MemberWeights.combine``.
            present: As for ``MemberWeights.combine``.
            prior: As for ``MemberWeights.combine``.
            visible: Stream to bool ``[N]``, True where it is present.

        Returns:
            float64, as the members' predictions.
        """
        combined = np.empty(next(iter(members.values())).shape, dtype=np.float64)
        for absent, rows in rows_by_pattern(visible):
            weights = self.patterns.get(absent, self.pooled)
            of_rows = {name: values[rows] for name, values in members.items()}
            combined[rows] = weights.combine(of_rows, {name: mask[rows] for name, mask in present.items()}, prior)
        return combined

    def spread(self, members: Mapping[str, Floats], present: Mapping[str, Mask], combined: Floats) -> Floats:
        """Return how far the members that can change a prediction are from the combined number.

        Args:
            members: Member to numbers ``[N]``.
            present: Member to bool ``[N]``, True where it has a prediction.
            combined: What ``combine`` returned, ``[N]``.

        Returns:
            float64 ``[N]``: the root mean squared distance of the present ones; 0 without any.
        """
        used = sorted(self.active_members & members.keys())
        if not used:
            return np.zeros(len(combined))
        present_MN = np.stack([present[name] for name in used])
        squares = np.where(present_MN, (np.stack([members[name] for name in used]) - combined) ** 2, 0.0)
        return np.asarray(np.sqrt(squares.sum(axis=0) / np.maximum(present_MN.sum(axis=0), 1)))

    @property
    def complete(self) -> MemberWeights:
        """The weights of the rows in which every stream is present."""
        return self.patterns.get(frozenset(), self.pooled)

    @property
    def incomplete_contributions(self) -> dict[str, float]:
        """Each member's share in rows with an absent stream: the mean over the patterns."""
        of_pattern = [weights.contributions for absent, weights in self.patterns.items() if absent]
        of_pattern = of_pattern or [self.pooled.contributions]
        names = self.pooled.contributions
        shares = {name: float(np.mean([shares.get(name, 0.0) for shares in of_pattern])) for name in names}
        return dict(sorted(shares.items(), key=lambda item: -item[1]))

    @cached_property
    def active_members(self) -> frozenset[str]:
        """The members that can change a prediction of any row."""
        return self.pooled.active_members.union(*(weights.active_members for weights in self.patterns.values()))

    @property
    def note(self) -> str:
        """Sentences about the contributions in rows with all streams, and in the others."""
        note, incomplete = self.complete.note, _note(self.incomplete_contributions)
        if not any(self.patterns) or note == incomplete:
            return note
        return f"{note} Where a stream is absent it {incomplete.removeprefix('The decision ')}"

    def state(self) -> dict[str, Any]:
        """Return all weights as plain JSON."""
        patterns = [{"absent": sorted(absent), **weights.state()} for absent, weights in self.patterns.items()]
        return {"pooled": self.pooled.state(), "patterns": patterns}

    @classmethod
    def from_state(cls, state: dict[str, Any], prior: Floats | float) -> Ensemble:
        """Restore all weights.

        Args:
            state: What ``state`` returned; of earlier versions: two sets, for complete and for other rows.
            prior: The target's prior.

        Returns:
            An equal ensemble.
        """
        if "incomplete" in state:
            complete, incomplete = (MemberWeights.from_state(state[name], prior) for name in ("complete", "incomplete"))
            return cls(pooled=incomplete, patterns={frozenset(): complete})
        patterns = {frozenset(entry["absent"]): MemberWeights.from_state(entry, prior) for entry in state["patterns"]}
        return cls(pooled=MemberWeights.from_state(state["pooled"], prior), patterns=patterns)


def rows_by_pattern(visible: Mapping[str, Mask]) -> Iterator[tuple[frozenset[str], NDArray[np.int64]]]:
    """Group rows by the streams that are absent.

    Args:
        visible: Stream to bool ``[N]``, True where it is present.

    Yields:
        The absent streams, and the indices of the rows in which exactly these are absent.
    """
    streams, visible_NS = list(visible), np.stack(list(visible.values()), axis=1)
    if len(visible_NS) and (visible_NS == visible_NS[0]).all():  # as mostly: nothing is to be sorted
        yield frozenset(np.array(streams)[~visible_NS[0]].tolist()), np.arange(len(visible_NS))
        return
    patterns, of_row = np.unique(visible_NS, axis=0, return_inverse=True)
    for index, pattern in enumerate(patterns):
        absent = frozenset(stream for stream, is_visible in zip(streams, pattern, strict=True) if not is_visible)
        yield absent, np.flatnonzero(of_row.reshape(-1) == index)


def _note(contributions: Mapping[str, float]) -> str:
    shares = {_member_phrase(name): share for name, share in contributions.items() if share >= MIN_SHARE}
    parts = [f"{name} for {share:.0%}".replace("%", " %") for name, share in shares.items()]
    if len(parts) == 1:
        return f"The decision uses {next(iter(shares))} alone."
    return f"The decision leans on {', '.join(parts[:-1])} and {parts[-1]}."


def _member_phrase(member: str) -> str:
    """Return "the linear baseline" for "baseline:linear", "the image stream" for "stream:image"."""
    if member == PRIOR:
        return "the prior"
    sort, _, name = member.partition(":")
    return f"the {name} {sort}" if name else f"the {member}"
