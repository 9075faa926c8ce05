"""A tiny trained model and servers of it on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

import tiny
from loopback import running
from polymodal.model.search_index import save_index
from polymodal.runs.model import Model, load
from polymodal.serving.settings import ServerSettings

COLUMNS = ("photo", "sound", "note", "code", "size", "colour", "day")


@pytest.fixture(scope="session")
def serving_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a model, and index its rows: ``run`` and ``index``."""
    folder = tmp_path_factory.mktemp("serving")
    table = tiny.only(tiny.write_table(folder, rows=60), *COLUMNS, *tiny.TARGETS)
    model = tiny.train(table, tiny.TARGETS, output=folder / "run")
    save_index(model.index(table)[0], folder / "index")
    return folder


@pytest.fixture(scope="session")
def loaded(serving_folder: Path) -> Model:
    """The same model, called without a server."""
    return load(serving_folder / "run", "cpu")


@pytest.fixture(scope="session")
def settings(serving_folder: Path) -> ServerSettings:
    """Settings of a server on a free port."""
    return ServerSettings(
        model=serving_folder / "run", index=serving_folder / "index", port=0, device="cpu", is_quiet=True
    )


@pytest.fixture(scope="session")
def address(settings: ServerSettings) -> Iterator[str]:
    """The address of a running server."""
    with running(settings) as found:
        yield found


@pytest.fixture
def client(address: str) -> Iterator[httpx.Client]:
    """A client of the server."""
    with httpx.Client(base_url=address, timeout=60) as found:
        yield found


@pytest.fixture(scope="session")
def example(address: str) -> dict[str, Any]:
    """A row that the model takes."""
    return dict(httpx.get(f"{address}/schema").json()["example"])


@pytest.fixture
def changed(settings: ServerSettings) -> Callable[..., ServerSettings]:
    """Return the settings with some replaced."""
    return lambda **changes: replace(settings, **changes)
