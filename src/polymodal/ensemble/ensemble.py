"""The decision level: members' predictions pooled with weights learned on validation rows, in ``weighing`` (numpy).

Probabilities are pooled in the logarithm, ``p ∝ exp(Σ_m w_m log p_m)`` with ``w_m ≥ 0``: the logarithmic opinion
pool (Genest & Zidek 1986, section 3) or product of experts (Hinton 2002, equation 1). The weights need not sum
to one, so that the pool calibrates as well: with one member, w is the inverse of the temperature of Guo et al.
2017, equation 9. Numbers are averaged with weights that sum to one (Breiman 1996, stacked regressions).

A member that is absent in a row says nothing there, and the weights of the others are raised so that their total
stays the same. A row without any member gets the prior.

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
"""The member that the weights are pulled towards, where there is one of this name."""

SMALLEST = 1e-12


@dataclass(frozen=True)
class MemberWeights:
    """Weights of the members of one target.

    Attributes:
        kind: "category", "categories" or "number".
        weights: Member to weight, in sorted order.
        reserve: Member to the weight it has alone; used in rows in which no member with a weight is present.
        scale: Member to the usual spread of its log-probabilities over the classes; 1 for numbers.
    """

    kind: str
    weights: dict[str, float]
    reserve: dict[str, float]
    scale: dict[str, float]

    def combine(self, members: Mapping[str, Floats], present: Mapping[str, Mask], prior: Floats | float) -> Floats:
        """Pool the members' predictions.

        Args:
            members: Member to ``[N, C]`` probabilities or ``[N]`` numbers; one that is not given counts as absent.
            present: Member to bool ``[N]``, True where it has something to say.
            prior: The prediction for rows without any member: ``[C]`` probabilities, or a number.

        Returns:
            float64 ``[N, C]`` or ``[N]``.
        """
        known = [name for name in self.weights if name in members]
        if not known:
            shape = next(iter(members.values())).shape
            return np.broadcast_to(np.asarray(prior, dtype=np.float64), shape).copy()
        there = np.stack([present[name] for name in known])
        values = views_of(self.kind, [members[name] for name in known], there)
        main, spare = ([table[name] for name in known] for table in (self.weights, self.reserve))
        pooled = pool(values, there, np.array(main), np.array(spare), sum(self.weights.values()))
        combined = _finish(self.kind, pooled)
        combined[~there.any(axis=0)] = prior
        return combined

    @property
    def in_use(self) -> frozenset[str]:
        """The members that can change a prediction.

        Those with a reserve alone count only if none of the others is there in every row that has any stream.
        """
        main = frozenset(name for name, weight in self.weights.items() if weight > 0)
        if any(not name.startswith("stream:") for name in main):
            return main
        return main | {name for name, weight in self.reserve.items() if weight > 0} or frozenset(self.weights)

    @property
    def shares(self) -> dict[str, float]:
        """Each member's part of the decision, summing to one.

        A weight counts times the usual spread of what it weighs, so that an overconfident member with a small
        weight does not look unimportant, nor a member that says the same of every class important.
        """
        strength = {name: weight * self.scale[name] for name, weight in self.weights.items()}
        total = sum(strength.values())
        if total <= 0:
            strength, total = self.weights, sum(self.weights.values())
        return {name: value / total for name, value in sorted(strength.items(), key=lambda item: -item[1])}

    @property
    def note(self) -> str:
        """One sentence: what the decision leans on."""
        shares = {_described(name): share for name, share in self.shares.items() if share >= 0.005}
        parts = [f"{name} for {share:.0%}".replace("%", " %") for name, share in shares.items()]
        if len(parts) == 1:
            return f"The decision uses {next(iter(shares))} alone."
        return f"The decision leans on {', '.join(parts[:-1])} and {parts[-1]}."

    def state(self) -> dict[str, Any]:
        """Return the decision as plain JSON."""
        return {"kind": self.kind, "weights": self.weights, "reserve": self.reserve, "scale": self.scale}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> MemberWeights:
        """Make the decision again.

        Args:
            state: What ``state`` returned.

        Returns:
            An equal decision.
        """
        return cls(**state)


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
        """Pool the members' predictions, each row with its own set of weights.

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
    def in_use(self) -> frozenset[str]:
        """The members that can change a prediction of any row."""
        return self.complete.in_use | self.incomplete.in_use

    @property
    def note(self) -> str:
        """What the decision leans on, in rows with all streams and in the others."""
        if self.complete.shares == self.incomplete.shares:
            return self.complete.note
        lower = self.incomplete.note.removeprefix("The decision ")
        return f"{self.complete.note} Where a stream is absent it {lower}"

    def state(self) -> dict[str, Any]:
        """Return both decisions as plain JSON."""
        return {"complete": self.complete.state(), "incomplete": self.incomplete.state()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Ensemble:
        """Make both decisions again.

        Args:
            state: What ``state`` returned.

        Returns:
            Equal decisions.
        """
        return cls(**{name: MemberWeights.from_state(state[name]) for name in ("complete", "incomplete")})


def pool(values: Floats, there: Mask, weights: Floats, spare: Floats, total: float) -> Floats:
    """Return ``Σ_m w_m values_m`` over the present members of each row, their weights summing to the total.

    Rows in which no member with a weight is present use the spare weights: their mean over the members that are.

    Args:
        values: What ``views_of`` returned, ``[M, N, ...]``.
        there: bool ``[M, N]``.
        weights: float64 ``[M]``.
        spare: float64 ``[M]``.
        total: What a row's weights sum to.

    Returns:
        float64 ``[N, ...]``.
    """
    available = there * weights[:, None]
    sums = available.sum(axis=0)
    raised = available * (total / np.where(sums > 0, sums, 1.0))
    spares = there * spare[:, None] / np.maximum(there.sum(axis=0), 1)
    used = np.where(sums > 0, raised, spares)
    return np.asarray((used.reshape(used.shape + (1,) * (values.ndim - 2)) * values).sum(axis=0))


def views_of(kind: str, members: list[Floats], there: Mask) -> Floats:
    """Return what is pooled; zero where a member is absent.

    Args:
        kind: "category", "categories" or "number".
        members: Probabilities ``[N, C]`` or numbers ``[N]``.
        there: bool ``[M, N]``.

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
    return np.where(there.reshape(there.shape + (1,) * (values.ndim - 2)), values, 0.0)


def _finish(kind: str, pooled: Floats) -> Floats:
    if kind == "number":
        return pooled[..., 0].copy()
    probabilities = np.exp(log_softmax(pooled))
    return probabilities[..., 1].copy() if kind == "categories" else probabilities


def _described(member: str) -> str:
    """Return "the linear baseline" for "baseline:linear", "the image stream" for "stream:image"."""
    sort, _, name = member.partition(":")
    return f"the {name} {sort}" if name else f"the {member}"


def _log(probabilities: Floats) -> Floats:
    return np.log(np.clip(probabilities, SMALLEST, 1.0))


def log_softmax(values: Floats) -> Floats:
    """Return the logarithms of probabilities in proportion to the exponentials of values.

    Args:
        values: float64 ``[..., K]``.

    Returns:
        float64 ``[..., K]``.
    """
    shifted = values - values.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))
