"""Models of a table whose class one stream decides."""

from __future__ import annotations

import pytest

from acquisition_rows import Asked, train


@pytest.fixture(scope="session")
def asked() -> Asked:
    """Train a classifier."""
    return train(160)


@pytest.fixture(scope="session")
def asked_number() -> Asked:
    """Train a regressor."""
    return train(120, number=True)
