"""The ensemble: combines the members' predictions with weights fitted on validation rows (numpy).

Probabilities are pooled in the logarithm, ``p ∝ exp(Σ_m w_m log p_m)`` with ``w_m ≥ 0``: the logarithmic opinion
pool (Genest & Zidek 1986, section 3) or product of experts (Hinton 2002, equation 1). The weights need not sum
to one, so that the pool calibrates as well: with one member, w is the inverse of the temperature of Guo et al.
2017, equation 9. Numbers are averaged with weights that sum to one (Breiman 1996, stacked regressions).

A member that is absent in a row is left out there, and the weights of the others are rescaled to the same total. A row
without any member gets the prior.

Shape legend: M members, N rows, C classes; labels of a multi-label target count as rows of two classes each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

FUSION = "fusion"
"""The member towards which weights are regularised, if there is one."""

MIN_PROBABILITY = 1e-12


@dataclass(frozen=True)
class MemberWeights:
    """Weights of the members of one target.

    Attributes:
        kind: "category", "categories" or "number".
        weights: Member to weight, in sorted order.
        fallback: Member to the weight it has alone; used in rows where no member with a weight is present.
        scale: Member to the mean standard deviation of its log-probabilities over the classes; 1 for numbers.
    """

    kind: str
    weights: dict[str, float]
    fallback: dict[str, float]
    scale: dict[str, float]

    def combine(self, members: Mapping[str, Floats], present: Mapping[str, Mask], prior: Floats | float) -> Floats:
        """Combine the members' predictions.

        Args:
            members: Member to ``[N, C]`` probabilities or ``[N]`` numbers; missing members count as absent.
            present: Member to bool ``[N]``, True where it has a prediction.
            prior: The prediction for rows without any member: ``[C]`` probabilities, or a number.

        Returns:
            float64 ``[N, C]`` or ``[N]``.
        """
        known = [name for name in self.weights if name in members]
        if not known:
            shape = next(iter(members.values())).shape
            return np.broadcast_to(np.asarray(prior, dtype=np.float64), shape).copy()
        present_MN = np.stack([present[name] for name in known])
        values = pooling_inputs(self.kind, [members[name] for name in known], present_MN)
        main, fallback = ([table[name] for name in known] for table in (self.weights, self.fallback))
        pooled = pool_members(values, present_MN, np.array(main), np.array(fallback), sum(self.weights.values()))
        combined = _to_prediction(self.kind, pooled)
        combined[~present_MN.any(axis=0)] = prior
        return combined

    @property
    def active_members(self) -> frozenset[str]:
        """The members that can change a prediction.

        Those with a fallback weight alone count only if no other member is present in every row that has any stream.
        """
        main = frozenset(name for name, weight in self.weights.items() if weight > 0)
        if any(not name.startswith("stream:") for name in main):
            return main
        return main | {name for name, weight in self.fallback.items() if weight > 0} or frozenset(self.weights)

    @property
    def contributions(self) -> dict[str, float]:
        """Each member's share of the combined prediction, summing to one.

        Weights are multiplied with ``scale``, so that an overconfident member with a small weight is not underrated,
        nor a member with equal probabilities of all classes overrated.
        """
        strength = {name: weight * self.scale[name] for name, weight in self.weights.items()}
        total = sum(strength.values())
        if total <= 0:
            strength, total = self.weights, sum(self.weights.values())
        return {name: value / total for name, value in sorted(strength.items(), key=lambda item: -item[1])}

    @property
    def note(self) -> str:
        """One sentence about the contributions, for the report."""
        contributions = {_member_phrase(name): share for name, share in self.contributions.items() if share >= 0.005}
        parts = [f"{name} for {share:.0%}".replace("%", " %") for name, share in contributions.items()]
        if len(parts) == 1:
            return f"The decision uses {next(iter(contributions))} alone."
        return f"The decision leans on {', '.join(parts[:-1])} and {parts[-1]}."

    def state(self) -> dict[str, Any]:
        """Return the weights as plain JSON; ``fallback`` is saved as ``reserve``."""
        return {"kind": self.kind, "weights": self.weights, "reserve": self.fallback, "scale": self.scale}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> MemberWeights:
        """Restore the weights.

        Args:
            state: What ``state`` returned.

        Returns:
            Equal weights.
        """
        return cls(state["kind"], state["weights"], state["reserve"], state["scale"])


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """Two sets of weights: for rows with all streams, and for rows that lack some.

    Attributes:
        complete: Used where every stream is present.
        incomplete: Used where any stream is absent.
    """

    complete: MemberWeights
    incomplete: MemberWeights

    def combine(
        self, members: Mapping[str, Floats], present: Mapping[str, Mask], prior: Floats | float, complete: Mask
    ) -> Floats:
        """Combine the members' predictions, each row with its set of weights.

        Args:
            members: As for ``MemberWeights.combine``.
            present: As for ``MemberWeights.combine``.
            prior: As for ``MemberWeights.combine``.
            complete: bool ``[N]``, True where every stream of the row is present.

        Returns:
            float64 ``[N, C]`` or ``[N]``.
        """
        if complete.all():
            return self.complete.combine(members, present, prior)
        partial = self.incomplete.combine(members, present, prior)
        if not complete.any():
            return partial
        whole = self.complete.combine(members, present, prior)
        return np.where(complete if whole.ndim == 1 else complete[:, None], whole, partial)

    @property
    def active_members(self) -> frozenset[str]:
        """The members that can change a prediction of any row."""
        return self.complete.active_members | self.incomplete.active_members

    @property
    def note(self) -> str:
        """Sentences about the contributions in rows with all streams, and in the others."""
        if self.complete.contributions == self.incomplete.contributions:
            return self.complete.note
        lower = self.incomplete.note.removeprefix("The decision ")
        return f"{self.complete.note} Where a stream is absent it {lower}"

    def state(self) -> dict[str, Any]:
        """Return both sets of weights as plain JSON."""
        return {"complete": self.complete.state(), "incomplete": self.incomplete.state()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Ensemble:
        """Restore both sets of weights.

        Args:
            state: What ``state`` returned.

        Returns:
            An equal ensemble.
        """
        return cls(**{name: MemberWeights.from_state(state[name]) for name in ("complete", "incomplete")})


def pool_members(values: Floats, present_MN: Mask, weights: Floats, fallback: Floats, total: float) -> Floats:
    """Return ``Σ_m w_m values_m`` over the present members of each row, their weights summing to the total.

    Rows where no member with a weight is present use the mean of the present members' fallback weights.

    Args:
        values: Output of ``pooling_inputs``, ``[M, N, ...]``.
        present_MN: bool ``[M, N]``.
        weights: float64 ``[M]``.
        fallback: float64 ``[M]``.
        total: Sum of a row's weights.

    Returns:
        float64 ``[N, ...]``.
    """
    available = present_MN * weights[:, None]
    sums = available.sum(axis=0)
    rescaled = available * (total / np.where(sums > 0, sums, 1.0))
    fallbacks = present_MN * fallback[:, None] / np.maximum(present_MN.sum(axis=0), 1)
    used = np.where(sums > 0, rescaled, fallbacks)
    return np.asarray((used.reshape(used.shape + (1,) * (values.ndim - 2)) * values).sum(axis=0))


def pooling_inputs(kind: str, members: list[Floats], present_MN: Mask) -> Floats:
    """Convert predictions to the values that are pooled; zero where a member is absent.

    Args:
        kind: "category", "categories" or "number".
        members: Probabilities ``[N, C]`` or numbers ``[N]``.
        present_MN: bool ``[M, N]``.

    Returns:
        Log-probabilities ``[M, N, C]``, or ``[M, N, C, 2]`` of labels (wrong, right), or numbers ``[M, N, 1]``.
    """
    stacked = np.stack([np.asarray(member, dtype=np.float64) for member in members])
    if kind == "number":
        values = stacked[..., None]
    elif kind == "categories":
        values = np.stack([_log(1.0 - stacked), _log(stacked)], axis=-1)
    else:
        values = _log(stacked)
    return np.where(present_MN.reshape(present_MN.shape + (1,) * (values.ndim - 2)), values, 0.0)


def _to_prediction(kind: str, pooled: Floats) -> Floats:
    if kind == "number":
        return pooled[..., 0].copy()
    probabilities = np.exp(log_softmax(pooled))
    return probabilities[..., 1].copy() if kind == "categories" else probabilities


def _member_phrase(member: str) -> str:
    """Return "the linear baseline" for "baseline:linear", "the image stream" for "stream:image"."""
    sort, _, name = member.partition(":")
    return f"the {name} {sort}" if name else f"the {member}"


def _log(probabilities: Floats) -> Floats:
    return np.log(np.clip(probabilities, MIN_PROBABILITY, 1.0))


def log_softmax(values: Floats) -> Floats:
    """Compute the log-softmax over the last axis.

    Args:
        values: float64 ``[..., K]``.

    Returns:
        float64 ``[..., K]``.
    """
    shifted = values - values.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))
