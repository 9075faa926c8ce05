"""Feature functions through the whole life of a run: trained, saved, loaded, asked, refused where they cannot run."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import polymodal
import tiny
from polymodal.cli.main import app
from polymodal.data.tables.table import Table
from polymodal.errors import ConfigError, SchemaError
from polymodal.plugins import installed
from polymodal.serving.served_model import ServedModel
from polymodal.serving.settings import Limits

QUICK = [f"--set={name}={json.dumps(value)}" for name, value in tiny.QUICK.items()]
MODULE = '''
def power(columns):
    """Square."""
    return {"power": [None if cell is None else float(cell) ** 2 for cell in columns["size"]]}
'''


def power(columns: Any) -> dict[str, Any]:
    return {"power": [None if cell is None else float(cell) ** 2 for cell in columns["size"]]}


@pytest.fixture(scope="module")
def table() -> dict[str, list[Any]]:
    return tiny.numbers_table()


@pytest.fixture(scope="module")
def run(table: dict[str, list[Any]], tmp_path_factory: pytest.TempPathFactory) -> tuple[polymodal.Model, Path]:
    folder = tmp_path_factory.mktemp("features")
    with tiny.decode_cache(folder):
        return tiny.train(table, features=[power], output=folder / "run"), folder / "run"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a folder in which modules and installed packages are looked for."""
    monkeypatch.syspath_prepend(str(tmp_path))
    installed.cache_clear()
    yield tmp_path
    installed.cache_clear()
    sys.modules.pop("shop_features", None)


def write_package(site: Path) -> None:
    (site / "shop_features.py").write_text(MODULE, encoding="utf-8")
    info = site / "shop_features-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shop-features\nVersion: 1.2\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[polymodal.features]\npower = shop_features:power\n", encoding="utf-8")
    importlib.invalidate_caches()


def test_a_saved_run_keeps_the_name_and_answers_with_the_same_function(
    run: tuple[polymodal.Model, Path], table: dict[str, list[Any]]
) -> None:
    model, folder = run
    assert "power" in model.trained.preprocessor.column_names
    assert "The feature function 'power' added 'power'." in model.report_data["notices"]
    again = polymodal.load(folder, features=[power])
    expected = model.predict_proba(table)["kind"][1]
    np.testing.assert_array_equal(again.predict_proba(table)["kind"][1], expected)
    changed = {**table, "size": [cell + 1 for cell in table["size"]]}
    assert not np.array_equal(again.predict_proba(changed)["kind"][1], expected)
    assert again.evaluate(table)["rows"] == {"test": 60}
    assert "def power" not in "".join(path.read_text("utf-8") for path in folder.rglob("*.json"))


def test_a_saved_run_asks_for_its_function(run: tuple[polymodal.Model, Path], table: dict[str, list[Any]]) -> None:
    without = polymodal.load(run[1])
    with pytest.raises(ConfigError, match=r"The model asks for the feature function 'power'.*features=\[power\]"):
        without.predict(table)
    with pytest.raises(ConfigError, match="was trained without the feature function 'print'"):
        polymodal.load(run[1], features=[print])


def test_a_column_that_it_reads_is_missed_by_name(run: tuple[polymodal.Model, Path], table: Any) -> None:
    with pytest.raises(SchemaError, match="'power', table: it reads 'size', which the table lacks"):
        run[0].predict({"age": table["age"]})


def test_bundles_and_servers_refuse_by_name(run: tuple[polymodal.Model, Path], table: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"A bundle runs no Python of yours, .* the feature functions 'power'"):
        run[0].export(tmp_path / "bundle", table=table)
    with pytest.raises(ConfigError, match="A server runs no Python of yours"):
        ServedModel(run[0], "model", "1", Limits())


def test_the_command_line_imports_what_it_names_and_nothing_else(
    run: tuple[polymodal.Model, Path], table: dict[str, list[Any]], site: Path
) -> None:
    (site / "shop_features.py").write_text(MODULE, encoding="utf-8")
    data = tiny.write_csv(Table(table), site / "new.csv")
    found = CliRunner().invoke(app, ["predict", str(run[1]), str(data), "--quiet"])
    assert found.exit_code == 2
    assert "--features MODULE:power" in found.stderr
    assert "shop_features" not in sys.modules
    named = ["--features", "shop_features:power", "--quiet"]
    found = CliRunner().invoke(app, ["predict", str(run[1]), str(data), *named])
    assert found.exit_code == 0, found.output
    inspected = CliRunner().invoke(app, ["inspect", str(data), "--target", "kind", "--json", *named])
    assert "power" in [column["name"] for column in json.loads(inspected.stdout)["columns"]]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("no_such_module:power", "the module 'no_such_module' cannot be imported (ModuleNotFoundError"),
        ("shop_features:powr", "has no function 'powr'. Did you mean 'power'?"),
        ("powr", "The options ask for the feature function 'powr', which no installed package has"),
    ],
)
def test_a_wrong_name_is_one_sentence(name: str, sentence: str, table: dict[str, list[Any]], site: Path) -> None:
    (site / "shop_features.py").write_text(MODULE, encoding="utf-8")
    data = tiny.write_csv(Table(table), site / "new.csv")
    found = CliRunner().invoke(app, ["inspect", str(data), "--features", name, "--quiet"])
    assert found.exit_code == 2
    assert sentence in found.stderr
    assert "Traceback" not in found.stderr


def test_an_installed_package_is_found_by_name(table: dict[str, list[Any]], site: Path) -> None:
    write_package(site)
    listed = CliRunner().invoke(app, ["list", "features", "--json"])
    assert json.loads(listed.stdout) == {"power": {"package": "shop-features 1.2", "function": "shop_features:power"}}
    data = tiny.write_csv(Table(table), site / "rows.csv")
    options = ["--target", "kind", "--features", "power", "-o", str(site / "run"), "--quiet", *QUICK]
    trained = CliRunner().invoke(app, ["train", str(data), *options])
    assert trained.exit_code == 0, trained.output
    assert CliRunner().invoke(app, ["predict", str(site / "run"), str(data), "--quiet"]).exit_code == 0
    (site / "shop_features-1.2.dist-info" / "entry_points.txt").unlink()
    installed.cache_clear()
    found = CliRunner().invoke(app, ["predict", str(site / "run"), str(data), "--quiet"])
    assert "needs the feature function 'power' of the package shop-features 1.2" in found.stderr


def test_variants_can_do_without(table: dict[str, list[Any]]) -> None:
    variants = {"plain": {"features": []}}
    found = polymodal.compare(table, target="kind", variants=variants, features=[power], settings=tiny.QUICK)
    assert {row.variant for row in found.rows} == {"plain", "as given"}


def test_explanations_name_the_added_column(run: tuple[polymodal.Model, Path], table: dict[str, list[Any]]) -> None:
    found = run[0].explain(table, rows=[1], passes=20)
    assert "power" in json.dumps(found.to_json()["rows"])
