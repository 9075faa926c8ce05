"""Shared fixtures of the test suite."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

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


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    """Write the small table of every modality once a file of tests, with a decode cache of its own."""
    folder = tmp_path_factory.mktemp("tiny")
    with tiny.decode_cache(folder):
        yield tiny.write_table(folder)
