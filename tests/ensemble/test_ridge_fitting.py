"""Ridge regression of several numbers, some of them unknown."""

from __future__ import annotations

import numpy as np
import pytest

from polymodal.ensemble.features import FeatureBlocks
from polymodal.ensemble.ridge_fitting import fit_ridge
from polymodal.ensemble.sparse_rows import SparseRows


@pytest.mark.parametrize("is_exact", [True, False])
def test_linear_numbers_are_found_from_rows_that_know_them(is_exact: bool) -> None:
    random = np.random.default_rng(0)
    dense = random.normal(size=(120, 6)).astype(np.float32)
    truth = dense @ random.normal(size=(6, 3)) + [5.0, 0.0, -2.0] + random.normal(0, 0.05, (120, 3))
    given = np.where(random.random(truth.shape) < 0.3, np.nan, truth)
    blocks = FeatureBlocks(dense, None if is_exact else SparseRows.empty(120, 0), dense)
    found = fit_ridge(blocks, given, 90).predict(blocks)
    assert np.abs(found[90:] - truth[90:]).mean() < 0.2


def test_noise_is_predicted_by_about_its_mean() -> None:
    random = np.random.default_rng(1)
    dense = random.normal(size=(80, 40)).astype(np.float32)
    truth = random.normal(3, 1, (80, 2))
    found = fit_ridge(FeatureBlocks(dense, None, dense), truth, 50).predict(FeatureBlocks(dense, None, dense))
    assert found[50:].std() < 0.3
    assert found.mean() == pytest.approx(3, abs=0.3)
