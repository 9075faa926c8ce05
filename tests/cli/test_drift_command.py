"""``polymodal drift`` and ``predict --unusual``: what is printed and written, and the exit codes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import drift_tables
import polymodal
import tiny
from polymodal.cli.main import app
from polymodal.data.tables.table import Table

runner = CliRunner()
INPUTS = ("size", "colour", "note")


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drift") / "run"
    settings = {"train.batch_size": 64, "validation_share": 0.25, "test_share": 0.0}
    table = tiny.only(drift_tables.make_table(160, seed=0, name="train"), *INPUTS, "kind")
    tiny.train(table, "kind", settings=settings, modality={"note": "text"}, output=folder)
    return folder


def write_tables(folder: Path) -> tuple[str, str]:
    """Write a table of the same distribution, and one with a shifted number and a new label."""
    table = tiny.only(drift_tables.make_table(120, seed=9), *INPUTS)
    sizes = [None if size is None else size + 20 for size in table.columns["size"]]
    colours = ["violet" if row % 2 else colour for row, colour in enumerate(table.columns["colour"])]
    shifted = Table({**table.columns, "size": sizes, "colour": colours})
    paths = [tiny.write_csv(each, folder / name) for each, name in ((table, "same.csv"), (shifted, "shifted.csv"))]
    return str(paths[0]), str(paths[1])


def test_the_table_names_what_has_drifted_within_80_columns(run_folder: Path, tmp_path: Path) -> None:
    same, shifted = write_tables(tmp_path)
    result = runner.invoke(app, ["drift", str(run_folder), shifted, "-o", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("Drift in size, ")
    assert "new: 'violet'" in result.stdout
    assert all(len(line) <= 80 for line in result.stdout.splitlines() if not line.startswith("Page: "))
    assert (tmp_path / "out" / "drift.html").is_file()
    assert json.loads((tmp_path / "out" / "drift.json").read_text())["is_drifted"] is True
    assert "No drift" in runner.invoke(app, ["drift", str(run_folder), same, "-q"]).stdout


def test_json_and_exit_codes_for_pipelines(run_folder: Path, tmp_path: Path) -> None:
    same, shifted = write_tables(tmp_path)
    result = runner.invoke(app, ["drift", str(run_folder), shifted, "--json", "--fail-on-drift", "-q"])
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["comparisons"][0]["column"] == "size"
    assert runner.invoke(app, ["drift", str(run_folder), same, "--fail-on-drift", "-q"]).exit_code == 0


@pytest.mark.parametrize(
    ("cells", "options", "expected"),
    [
        ({"other": ["1", "2"]}, [], "has no input column of the model"),
        ({"size": []}, [], "no rows"),
        ({"size": ["1"]}, ["--alpha", "2"], "'alpha' parameter of drift must be above 0 and below 1"),
        ({"size": ["1"]}, ["-o", "FILE"], "is a file"),
    ],
)
def test_bad_input_is_one_sentence(
    run_folder: Path, tmp_path: Path, cells: dict[str, list[str]], options: list[str], expected: str
) -> None:
    data = tiny.write_csv(Table(cells), tmp_path / "new.csv")
    options = [str(data) if option == "FILE" else option for option in options]
    result = runner.invoke(app, ["drift", str(run_folder), str(data), *options, "-q"])
    assert result.exit_code == 2
    assert expected in result.stderr
    assert "Traceback" not in result.stderr


def test_predict_adds_a_column_of_p_values(run_folder: Path, tmp_path: Path) -> None:
    _, shifted = write_tables(tmp_path)
    output = tmp_path / "predictions.csv"
    result = runner.invoke(app, ["predict", str(run_folder), shifted, "--unusual", "-o", str(output), "-q"])
    assert result.exit_code == 0, result.output
    assert "unusual at 5%" in result.stderr
    with output.open() as file:
        values = [float(row["unusual"]) for row in csv.DictReader(file)]
    assert len(values) == 120
    assert all(0 < value <= 1 for value in values)
    assert polymodal.load(run_folder).predictions(shifted).unusual is None
