"""Distributions of counts are SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from polymodal.metrics.counts import (
    beta_binomial,
    binomial,
    count_quantile,
    least_share,
    mean_ranks,
    rank_correlation,
)


@pytest.mark.parametrize(("total", "share"), [(0, 0.5), (1, 0.3), (40, 0.9), (3_000, 0.95), (7, 0.0), (7, 1.0)])
def test_binomial_probabilities_and_quantiles_are_those_of_scipy(total: int, share: float) -> None:
    expected, found = stats.binom(total, share), binomial(total, share)
    np.testing.assert_allclose(found, expected.pmf(np.arange(total + 1)), rtol=1e-9, atol=1e-300)
    for tail in (0.025, 0.5, 0.975):
        assert count_quantile(found, tail) == expected.ppf(tail)


@pytest.mark.parametrize(("total", "hits", "misses"), [(0, 1, 1), (20, 1, 30), (500, 91, 10), (2_000, 5, 400)])
def test_beta_binomial_probabilities_and_quantiles_are_those_of_scipy(total: int, hits: int, misses: int) -> None:
    expected, found = stats.betabinom(total, hits, misses), beta_binomial(total, hits, misses)
    np.testing.assert_allclose(found, expected.pmf(np.arange(total + 1)), rtol=1e-8)
    for tail in (0.025, 0.975):
        assert count_quantile(found, tail) == expected.ppf(tail)


@pytest.mark.parametrize(("hits", "total"), [(0, 5), (5, 5), (1, 1), (90, 100), (1_999, 2_000)])
def test_the_bound_of_clopper_and_pearson_is_that_of_scipy(hits: int, total: int) -> None:
    expected = stats.beta.ppf(0.01, hits, total - hits + 1) if hits else 0.0
    assert least_share(hits, total, 0.01) == pytest.approx(expected, rel=1e-9)


def test_ranks_are_those_of_scipy() -> None:
    values, others = np.array([3.0, 1, 3, -2, 1, 1, 9]), np.array([1.0, 2, 2, 0, 5, 1, 4])
    assert np.array_equal(mean_ranks(values), stats.rankdata(values))
    assert rank_correlation(values, others) == pytest.approx(stats.spearmanr(values, others).statistic)
