"""Tests of whether two samples are of one distribution; every effect is on one scale, from 0 to 1.

An effect is a difference of probabilities of one event, and so a lower bound of the total variation distance: at least
so large a share of the rows would have to be others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MIN_EXPECTED = 5.0
"""Labels that are expected less often in either sample are pooled (Cochran 1954)."""
EXACT_PAIRS = 10_000
"""Up to so many pairs of rows the Kolmogorov-Smirnov test is exact."""
MIN_CLASSIFIED = 20
"""Fewer rows of a sample are not told apart by a classifier."""


@dataclass(frozen=True)
class TestResult:
    """The result of a test.

    Attributes:
        test: Its name.
        effect: From 0 to 1, see the module.
        p_value: Probability of a difference at least as large between samples of one distribution.
    """

    __test__ = False  # no test of the test suite

    test: str
    effect: float
    p_value: float


def compare_numbers(reference: Floats, new: Floats) -> TestResult:
    """Compare numbers by the two-sample Kolmogorov-Smirnov test.

    Args:
        reference: ``[N]``, at least one.
        new: ``[M]``, at least one.

    Returns:
        The effect is the largest difference of the distribution functions.
    """
    from scipy.stats import ks_2samp

    is_small = len(reference) * len(new) <= EXACT_PAIRS
    found = ks_2samp(reference, new, method="exact" if is_small else "asymp")
    return TestResult("Kolmogorov-Smirnov", float(found.statistic), float(min(found.pvalue, 1.0)))


def compare_counts(reference: Mapping[str, int], new: Mapping[str, int]) -> TestResult:
    """Compare labels by the chi-square test of homogeneity.

    Rare labels are pooled by the counts of both samples together, so that labels that one sample happens to lack raise
    no alarm: in a long tail there are always some.

    Args:
        reference: Label to count, at least one.
        new: Label to count, at least one.

    Returns:
        The effect is the total variation distance of the frequencies after pooling.
    """
    from scipy.stats import chi2_contingency

    counts = np.array([[sample.get(label, 0) for label in {**reference, **new}] for sample in (reference, new)])
    table = _pooled(counts)
    frequencies = table / table.sum(axis=1, keepdims=True)
    effect = float(np.abs(frequencies[0] - frequencies[1]).sum() / 2)
    p_value = float(chi2_contingency(table, correction=False).pvalue) if table.shape[1] > 1 else 1.0
    return TestResult("chi-square", effect, p_value)


def _pooled(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    expected = counts.sum(axis=0) * counts.sum(axis=1).min() / counts.sum()
    is_rare = expected < MIN_EXPECTED
    rest = counts[:, is_rare].sum(axis=1, keepdims=True)
    kept = counts[:, ~is_rare]
    return np.concatenate([kept, rest], axis=1) if rest.sum() else kept


def compare_shares(reference: tuple[int, int], new: tuple[int, int]) -> TestResult:
    """Compare two shares by Fisher's exact test.

    Args:
        reference: How many of how many.
        new: How many of how many.

    Returns:
        The effect is the difference of the shares.
    """
    from scipy.stats import fisher_exact

    (few, rows), (new_few, new_rows) = reference, new
    found = fisher_exact([[few, rows - few], [new_few, new_rows - new_few]])
    return TestResult("Fisher", abs(new_few / new_rows - few / rows), float(min(found.pvalue, 1.0)))


@dataclass(frozen=True)
class Classified:
    """The result of a classifier two-sample test.

    Attributes:
        result: The test's result.
        auc: Area under the ROC curve of telling held-out new rows from held-out reference rows.
        reference_scores: How surely the classifier takes each held-out reference row for a new one.
        new_scores: The same of the held-out new rows.
        new_rows: int64, the held-out new rows.
    """

    result: TestResult
    auc: float
    reference_scores: Floats
    new_scores: Floats
    new_rows: NDArray[np.int64]


def compare_vectors(reference: Floats, new: Floats, seed: int = 0) -> Classified | None:
    """Compare vectors by a classifier two-sample test (Lopez-Paz and Oquab 2017, arXiv 1610.06545).

    A logistic regression is fitted on a half of both samples to tell them apart, and tried on the others. Differs from
    the source: the ranks of its scores are tested (Mann-Whitney), not its accuracy, which the larger sample decides.

    Args:
        reference: ``[N, D]``.
        new: ``[M, D]``.
        seed: Deals the halves.

    Returns:
        The effect follows from the area under the ROC curve: a total variation distance of d allows at most
        ``1 - (1 - d)**2 / 2``. None with too few rows.
    """
    from scipy.stats import mannwhitneyu
    from sklearn.linear_model import LogisticRegression

    if min(len(reference), len(new)) < MIN_CLASSIFIED:
        return None
    random = np.random.default_rng(seed)
    (fitted, tried), (new_fitted, new_tried) = (_halves(len(rows), random) for rows in (reference, new))
    training = np.concatenate([reference[fitted], new[new_fitted]])
    mean, deviation = training.mean(axis=0), training.std(axis=0) + 1e-6
    truth = np.repeat([0, 1], [len(fitted), len(new_fitted)])
    model = LogisticRegression(C=1 / training.shape[1], class_weight="balanced", max_iter=200)
    model.fit((training - mean) / deviation, truth)
    scores, new_scores = (
        model.decision_function((rows - mean) / deviation) for rows in (reference[tried], new[new_tried])
    )
    found = mannwhitneyu(new_scores, scores, alternative="greater")
    auc = float(found.statistic) / (len(scores) * len(new_scores))
    effect = max(0.0, 1 - math.sqrt(2 * (1 - max(auc, 0.5))))
    return Classified(TestResult("classifier", effect, float(found.pvalue)), auc, scores, new_scores, new_tried)


def _halves(number: int, random: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    order = random.permutation(number)
    return order[: number // 2], order[number // 2 :]


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number (Holm 1979): the chance of any false alarm stays below the level.

    Args:
        p_values: One for each test.

    Returns:
        The adjusted ones, in the same order.

    Example:
        >>> holm([0.01, 0.5, 0.04])
        [0.03, 0.5, 0.08]
    """
    order = np.argsort(p_values, kind="stable")
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = float(highest)
    return adjusted
