"""``polymodal cache info | clear`` and the cache's bound."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from polymodal.arrays import Column
from polymodal.cli.main import app
from polymodal.data.cache.cache import ArrayCache, parse_bytes
from polymodal.data.cache.entry import Decoded
from polymodal.errors import ConfigError

runner = CliRunner()


def make(entry: Path | None) -> Decoded:
    return Column(np.ones((100, 50), np.float32), np.ones(100, bool)), []


@pytest.fixture
def filled(private_cache: Path) -> Path:
    cache = ArrayCache.default()
    for key in ("old", "new"):
        cache.column(key, make)
    week_ago = time.time() - 7 * 86_400
    os.utime(private_cache / "old", (week_ago, week_ago))
    return private_cache


def test_info_tells_folder_entries_size_and_bound(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYMODAL_CACHE_LIMIT", "1.5 GB")
    found = json.loads(runner.invoke(app, ["cache", "info", "--json"]).stdout)
    assert found["folder"] == str(filled)
    assert found["entries"] == 2
    assert 40_000 < found["bytes"] < 60_000
    assert found["max_bytes"] == 1_500_000_000
    assert found["oldest_use"] == (filled / "old").stat().st_mtime
    shown = runner.invoke(app, ["cache", "info"]).stdout
    assert "Entries: 2" in shown
    assert "of at most 1.5 GB" in shown


def test_info_without_a_cache(private_cache: Path) -> None:
    found = json.loads(runner.invoke(app, ["cache", "info", "--json"]).stdout)
    assert (found["entries"], found["bytes"], found["oldest_use"]) == (0, 0, None)
    assert not private_cache.exists()


def test_clear_removes_what_is_old_enough(filled: Path) -> None:
    result = runner.invoke(app, ["cache", "clear", "--older-than", "6d"])
    assert result.stdout.startswith("1 entry removed")
    assert ArrayCache.default().usage().entries == 1
    column, _ = ArrayCache.default().column("new", make)
    removed = json.loads(runner.invoke(app, ["cache", "clear", "--json"]).stdout)
    assert removed["entries"] == 1
    assert ArrayCache.default().usage().entries == 0
    assert column.values.sum() == 5000, "a column that is mapped stays readable"


def test_clear_leaves_other_files_alone(filled: Path) -> None:
    (filled / "notes.txt").write_text("mine")
    (filled / "folder").mkdir()
    runner.invoke(app, ["cache", "clear"])
    assert (filled / "notes.txt").read_text() == "mine"
    assert (filled / "folder").is_dir()


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "7 years"])
def test_a_wrong_time_is_one_sentence(text: str) -> None:
    result = runner.invoke(app, ["cache", "clear", f"--older-than={text}"])
    assert result.exit_code == 2
    assert "must be a time such as 12h, 7d or 4w" in result.stderr


def test_sizes_have_units() -> None:
    assert [parse_bytes(text) for text in ("0", "12", "3kB", "1.5 GB", "2TB", "7 b")] == [
        0, 12, 3000, 1_500_000_000, 2 * 10**12, 7,
    ]  # fmt: skip
    for text in ("GB", "-1", "5 GiB", "much"):
        with pytest.raises(ConfigError, match="POLYMODAL_CACHE_LIMIT"):
            parse_bytes(text)
