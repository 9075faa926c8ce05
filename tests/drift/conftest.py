"""One trained model for all tests of drift."""

from __future__ import annotations

import pytest

import drift_tables
import polymodal


@pytest.fixture(scope="package")
def drift_model() -> polymodal.Model:
    """Train a quick model."""
    return drift_tables.train_model()
