"""``polymodal stress`` and ``evaluate --stress``: what they print and write, and what bad names say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import polymodal
import tiny
from polymodal.cli.main import app
from polymodal.data.tables.table import Table

runner = CliRunner()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("stress")
    path = tiny.write_csv(Table(tiny.numbers_table(60)), folder / "new.csv")
    tiny.train(str(path), output=folder / "run")
    return folder / "run", path


def test_stress_prints_tables_and_writes_a_page_and_json(run: tuple[Path, Path], tmp_path: Path) -> None:
    model, data = run
    arguments = ["stress", str(model), str(data), "--kinds", "number_*", "--severities", "1,5", "--rows", "20"]
    result = runner.invoke(app, [*arguments, "-o", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "kind: accuracy of 20 rows under noise" in result.output
    assert "number_units" in result.output
    assert "Note: Used were 20 of the 60 rows with truth, drawn at random." in result.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["stress.html", "stress.json"]
    written = json.loads((tmp_path / "out" / "stress.json").read_text(encoding="utf-8"))
    printed = json.loads(runner.invoke(app, [*arguments, "--json", "-q"]).stdout)
    assert printed["targets"] == written["targets"]
    assert printed["severities"] == [1, 5]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--kinds", "number_nois"], "There is no kind of noise 'number_nois'. Did you mean 'number_noise'?"),
        (["--streams", "photo"], "The model has no stream 'photo' to put noise into. Its streams are: tabular."),
        (["--severities", "a"], "The '--severities' parameter of the command line must be whole numbers"),
        (["--severities", "6"], "The 'severities' parameter of a stress test must be whole numbers from 1 to 5."),
    ],
)
def test_what_does_not_exist_is_one_sentence(run: tuple[Path, Path], arguments: list[str], sentence: str) -> None:
    result = runner.invoke(app, ["stress", *map(str, run), *arguments, "-q"])
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert "Traceback" not in result.output


def test_evaluate_has_the_stress_test_if_asked(run: tuple[Path, Path]) -> None:
    plain = json.loads(runner.invoke(app, ["evaluate", *map(str, run), "--json", "-q"]).stdout)
    asked = json.loads(runner.invoke(app, ["evaluate", *map(str, run), "--stress", "--json", "-q"]).stdout)
    assert "stress" not in plain
    assert asked["stress"]["targets"]["kind"]["curves"]
    result = runner.invoke(app, ["evaluate", *map(str, run), "--stress", "-q"])
    assert "Noise in one stream, the worst for the final answer first" in result.output


def test_the_python_method_gives_the_same(run: tuple[Path, Path]) -> None:
    model, data = run
    found = polymodal.load(model).stress(data, kinds=["category"])
    printed = json.loads(runner.invoke(app, ["stress", *map(str, run), "--kinds", "category", "--json", "-q"]).stdout)
    assert json.loads(json.dumps(found.state()["targets"])) == printed["targets"]
