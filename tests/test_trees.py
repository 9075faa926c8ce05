"""Boosted trees read without LightGBM say what LightGBM says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from polymodal.baseline_features import FeatureBlocks
from polymodal.baselines import Boosting, fit_baselines

ROWS = 300


def features_of(random: np.random.Generator) -> FeatureBlocks:
    """Return features with missing values, zeros and columns that hold nothing else."""
    from scipy.sparse import csr_matrix

    values = random.normal(size=(ROWS, 6)).astype(np.float32)
    values[:, 1] = values[:, 1].round()
    values[random.random((ROWS, 6)) < 0.2] = np.nan
    values[:, 2] = np.where(np.isnan(values[:, 2]), 0, values[:, 2])
    values[:, 3] = np.nan
    return FeatureBlocks(np.zeros((ROWS, 1), np.float32), csr_matrix((ROWS, 0), dtype=np.float32), values)


def truth_of(kind: str, num_classes: int, values: np.ndarray, random: np.random.Generator) -> np.ndarray:
    filled = np.nan_to_num(values, nan=2.0)
    score = filled[:, 0] + np.abs(filled[:, 1]) + random.normal(0, 0.3, ROWS)
    if kind == "number":
        return score.astype(np.float64)
    if kind == "categories":
        return np.stack([score > 1, filled[:, 2] > 0, filled[:, 4] > 1], axis=1).astype(np.int64)
    return np.digitize(score, np.quantile(score, np.arange(1, num_classes) / num_classes))


@pytest.mark.parametrize(("kind", "num_classes"), [("number", 1), ("category", 2), ("category", 4), ("categories", 3)])
def test_trees_say_what_lightgbm_says(kind: str, num_classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    features = features_of(random)
    truth = truth_of(kind, num_classes, features.trees, random)
    rows = np.arange(ROWS)
    train, held_out = rows[:200], rows[200:]
    fitted = fit_baselines(
        kind, num_classes, features.take(train), truth[train], features.take(held_out), truth[held_out]
    )
    boosting: Any = next(found for found in fitted if isinstance(found, Boosting))
    monkeypatch.setattr("polymodal.baselines.FEW_ROWS", 0)
    expected = boosting.predict(features)
    monkeypatch.setattr("polymodal.baselines.FEW_ROWS", ROWS)
    monkeypatch.setattr("polymodal.baselines.FEW_LEAVES", 10**9)
    np.testing.assert_allclose(boosting.predict(features), expected, rtol=1e-12, atol=1e-12)
    assert boosting.predict(features.take(rows[:0])).shape == expected[:0].shape
