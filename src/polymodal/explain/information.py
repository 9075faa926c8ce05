"""What two streams say of a class alone, in common and only together: partial information decomposition (numpy only).

The decomposition is that of Bertschinger et al. 2014 (Entropy 16, definition 4), which Liang et al. 2023 (arXiv
2302.12247, section 3.1) use for multimodal data: unique information is the smallest ``I_q(Y; X1 | X2)`` over all
distributions q with the marginals ``p(x1, y)`` and ``p(x2, y)``; redundancy and synergy follow from it.

Where the source discretises features and counts labels, this estimator asks the model: a stream is replaced by the
final answer where it alone is present, ``p(y | x1)``, which says all that the stream says of y, and ``p(y | x1, x2)``
is the answer where both are. What is decomposed is therefore what the model believes, in bits; no truth is needed.

Shape legend: N rows, C classes, K clusters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_CLUSTERS = 8
"""How many different answers of a stream are told apart; as many as there are classes, if those are more."""
MAX_CLASSES = 100
"""Most classes that are decomposed: the time grows with their third power."""
ROUNDS = 200
COUPLING_ROUNDS = 50
LLOYD_ROUNDS = 20
TOLERANCE_BITS = 1e-6
TOLERANCE = 1e-9

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Information:
    """A decomposition in bits; the four parts sum to the information of both streams.

    Attributes:
        redundancy: What either stream says.
        unique: What only the first says, and only the second.
        synergy: What only both say together.
    """

    redundancy: float
    unique: tuple[float, float]
    synergy: float

    @property
    def total(self) -> float:
        """The information of both streams."""
        return self.redundancy + sum(self.unique) + self.synergy


def decompose(first_NC: Floats, second_NC: Floats, joint_NC: Floats) -> Information:
    """Decompose the information of two streams about a class.

    Args:
        first_NC: Probabilities of the classes where the first stream alone is present.
        second_NC: The same of the second stream.
        joint_NC: The same where both are.

    Returns:
        The parts, none of them below zero: where the model is less certain with both streams than with one, the
        synergy is zero.

    Example:
        >>> half, sure = np.full((2, 2), 0.5), np.eye(2)
        >>> decompose(half, half, sure).synergy
        1.0
    """
    classes = joint_NC.mean(axis=0)
    marginals = [_cluster_marginals(predictions, classes) for predictions in (first_NC, second_NC)]
    alone = [information_bits(marginal) for marginal in marginals]
    least = smallest_joint_information(*marginals)
    unique = (max(0.0, least - alone[1]), max(0.0, least - alone[0]))
    redundancy = max(0.0, min(alone[0] - unique[0], alone[1] - unique[1]))
    total = float(_entropy(classes) - _entropy(joint_NC).mean())
    synergy = max(0.0, total - redundancy - sum(unique))
    return Information(redundancy, unique, synergy)


def information_bits(joint_KC: Floats) -> float:
    """Compute the mutual information of a joint distribution.

    Args:
        joint_KC: Probabilities, summing to one.

    Returns:
        Bits, at least 0.
    """
    used = joint_KC > 0
    logs = [np.log2(np.where(used, values, 1.0)) for values in _with_marginals(joint_KC)]
    return max(0.0, float((joint_KC * (logs[0] - logs[1] - logs[2])).sum()))


def _with_marginals(joint_KC: Floats) -> tuple[Floats, Floats, Floats]:
    rows, columns = joint_KC.sum(axis=1, keepdims=True), joint_KC.sum(axis=0, keepdims=True)
    return joint_KC, np.broadcast_to(rows, joint_KC.shape), np.broadcast_to(columns, joint_KC.shape)


def smallest_joint_information(first_KC: Floats, second_KC: Floats) -> float:
    """Compute the smallest ``I_q(Y; X1, X2)`` over all q with the given marginals.

    Alternating minimisation of the divergence from q to ``r(x1, x2) p(y)`` (Banerjee et al. 2018, arXiv 1709.07487,
    algorithm 1): q is, class by class, the coupling that is nearest to r (iterative proportional fitting), and r the
    mean of the couplings. Both sets are convex, so that it converges to the minimum.

    Args:
        first_KC: Marginal ``p(x1, y)``.
        second_KC: Marginal ``p(x2, y)``, with the same ``p(y)``.

    Returns:
        Bits.
    """
    classes = first_KC.sum(axis=0)
    rows, columns = (_shares(marginal, classes).T for marginal in (first_KC, second_KC))
    mean = first_KC.sum(axis=1)[:, None] * second_KC.sum(axis=1)
    before = np.inf
    for _ in range(ROUNDS):
        couplings = _couple(mean, rows, columns)
        mean = np.einsum("c,cij->ij", classes, couplings)
        bits = information_bits((couplings * classes[:, None, None]).reshape(len(classes), -1).T)
        if before - bits < TOLERANCE_BITS:
            break
        before = bits
    return bits


def _couple(mean_KK: Floats, rows_CK: Floats, columns_CK: Floats) -> Floats:
    """Return, for each class, the coupling of two marginals that is nearest to a joint distribution."""
    left, right = np.ones_like(rows_CK), np.ones_like(columns_CK)
    for _ in range(COUPLING_ROUNDS):
        right = _ratio(columns_CK, left @ mean_KK)
        before, left = left, _ratio(rows_CK, right @ mean_KK.T)
        if np.abs(left - before).max() < TOLERANCE * np.abs(left).max():
            break
    return left[:, :, None] * mean_KK * right[:, None, :]


def _ratio(wanted: Floats, found: Floats) -> Floats:
    return np.divide(wanted, found, out=np.zeros_like(wanted), where=found > 0)


def _shares(marginal_KC: Floats, classes_C: Floats) -> Floats:
    return _ratio(marginal_KC, np.broadcast_to(classes_C, marginal_KC.shape))


def _cluster_marginals(predictions_NC: Floats, classes_C: Floats) -> Floats:
    """Return the joint distribution of a stream's clusters and the classes, with the given frequencies of classes."""
    clusters = _clusters(predictions_NC)
    sums = np.zeros((clusters.max() + 1, predictions_NC.shape[1]))
    np.add.at(sums, clusters, predictions_NC)
    joint, shares = sums / len(clusters), np.bincount(clusters) / len(clusters)
    joint[joint < TOLERANCE**2] = 0.0
    for _ in range(ROUNDS):
        joint *= _ratio(shares, joint.sum(axis=1))[:, None]
        joint *= _ratio(classes_C, joint.sum(axis=0))
    return np.asarray(joint / joint.sum())


def _clusters(points_NC: Floats) -> NDArray[np.int64]:
    """Cluster rows by Lloyd's algorithm, from centres far from each other (Gonzalez 1985); equal rows stay together."""
    unique, of_row, counts = np.unique(points_NC.round(9), axis=0, return_inverse=True, return_counts=True)
    centres = [int(np.argmax(counts))]
    nearest = _squared(unique, unique[centres[:1]])[:, 0]
    most = max(MIN_CLUSTERS, points_NC.shape[1])
    while len(centres) < most and nearest.max() > TOLERANCE:
        centres.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, _squared(unique, unique[centres[-1:]])[:, 0])
    means = unique[centres]
    for _ in range(LLOYD_ROUNDS):
        places = _squared(unique, means).argmin(axis=1)
        _, places = np.unique(places, return_inverse=True)  # an empty cluster is dropped
        sums = np.zeros((places.max() + 1, unique.shape[1]))
        np.add.at(sums, places, unique * counts[:, None])
        means = sums / np.bincount(places, counts)[:, None]
    return np.asarray(places[of_row.reshape(-1)], dtype=np.int64)


def _squared(points: Floats, centres: Floats) -> Floats:
    return np.asarray(((points[:, None, :] - centres[None, :, :]) ** 2).sum(axis=2))


def _entropy(probabilities: Floats) -> Floats:
    safe = np.where(probabilities > 0, probabilities, 1.0)
    return np.asarray(-(probabilities * np.log2(safe)).sum(axis=-1))
