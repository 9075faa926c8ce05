"""A small run and its bundle, shared by the tests of bundles."""

from __future__ import annotations

from pathlib import Path

import pytest

import tiny
from polymodal.data.tables.table import Table
from shipped import Shipped


@pytest.fixture(scope="session")
def shipped(table: Table, tmp_path_factory: pytest.TempPathFactory) -> Shipped:
    """Train on a text and a table, with all that a model can have besides, and export it."""
    folder = tmp_path_factory.mktemp("shipped")
    rows = tiny.only(table, "note", "size", "colour", "day", "kind", "weight")
    settings = {"baselines": True, "train.epochs": 4}
    model = tiny.train(rows, ["kind", "weight"], fusion="attention", output=folder / "run", settings=settings)
    model.export(folder / "bundle", table=rows)
    assert table.folder is not None
    path = tiny.write_csv(rows, Path(table.folder) / "shipped.csv")
    return Shipped(model, folder / "run", folder / "bundle", rows, path)
