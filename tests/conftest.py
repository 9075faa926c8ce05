"""Shared fixtures of the test suite."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import polymodal
import tiny
from polymodal.data.tables.table import Table

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of small real datasets, or skip."""
    folder = Path(os.environ.get("POLYMODAL_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the real datasets are not here: no folder {folder} (set POLYMODAL_DATA)")
    return folder


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test a decode cache of its own."""
    folder = tmp_path / "polymodal-cache"
    monkeypatch.setenv("POLYMODAL_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session", autouse=True)
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give what is made for several tests one decode cache."""
    with tiny.decode_cache(tmp_path_factory.mktemp("shared")):
        yield


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """Write the small table of every modality."""
    return tiny.write_table(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def model(table: Table) -> polymodal.Model:
    """Train a model of every stream, flat target and baseline, for tests that only ask it something."""
    return tiny.train(table, tiny.TARGETS, settings={"baselines": True, "train.epochs": 4})
