"""A run is compressed: smaller, nearly as good, every point listed, and the same by Python and by the command line."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

import polymodal
from polymodal import ConfigError, SchemaError
from polymodal.cli.main import app
from polymodal.compression.points import Compression

CONTENTS = {"model", "networks", "compression.html", "compression.json", "pareto.svg"}


def test_the_chosen_model_is_much_smaller_and_keeps_the_score(found: Compression) -> None:
    chosen = found.chosen_point
    assert chosen is not None
    assert chosen.num_bytes < found.original.num_bytes / 4
    assert chosen.drop <= 10.0
    assert found.test["chosen"]["kind"].value >= 0.9


def test_every_method_has_its_points(found: Compression) -> None:
    names = [point.name for point in found.points]
    assert names[0] == "original"
    assert len(set(names)) == len(names)
    assert {"network only", "student-16", "student-16, network only", "linear only"} <= set(names)
    assert {point.method for point in found.points} == {"original", "members", "distilled"}
    for point in found.points:
        assert point.num_bytes > 0
        assert point.ms > 0
        assert point.scores["kind"].interval is not None
    alone = next(point for point in found.points if point.name == "linear only")
    assert alone.network_ms is None


def test_narrower_students_are_smaller(found: Compression) -> None:
    of = {point.name: point for point in found.points if point.name.endswith("network only")}
    assert of["student-16, network only"].num_bytes < of["network only"].num_bytes
    assert of["student-16, network only"].parameters < of["network only"].parameters


def test_the_folder_holds_the_model_the_page_and_the_points(found: Compression) -> None:
    assert found.folder is not None
    assert {path.name for path in found.folder.iterdir()} == CONTENTS
    written = json.loads((found.folder / "compression.json").read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(found.to_json()))
    page = (found.folder / "compression.html").read_text(encoding="utf-8")
    for point in found.points:
        assert f">{point.name}<" in page
    assert (found.folder / "pareto.svg").read_text(encoding="utf-8").startswith("<svg xmlns=")


def test_it_says_what_the_compressed_model_lacks(found: Compression) -> None:
    assert any("polymodal drift" in notice for notice in found.notices)


def test_python_and_the_command_line_answer_the_same(found: Compression, rows_path: Path, tmp_path: Path) -> None:
    assert found.folder is not None
    model = polymodal.load(found.folder)
    answers = model.predict(rows_path)["kind"]
    assert model.predict_sets(rows_path, 0.9)["kind"]
    output = tmp_path / "answers.csv"
    result = CliRunner().invoke(app, ["predict", str(found.folder), str(rows_path), "-o", str(output), "-q"])
    assert result.exit_code == 0, result.output
    with output.open(encoding="utf-8", newline="") as file:
        assert [row["kind"] for row in csv.DictReader(file)] == answers


@pytest.mark.exhaustive
def test_other_limits_use_the_networks_again(found: Compression, run: Path, tmp_path: Path) -> None:
    assert found.folder is not None
    shutil.copytree(found.folder, tmp_path / "again")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "again" / "networks").rglob("*.safetensors")}
    options = ["--size", "1kB", "--max-drop", "10%", "--method", "distilled", "-o", str(tmp_path / "again"), "--json"]
    result = CliRunner().invoke(app, ["compress", str(run), *options, "-q"])
    assert result.exit_code == 2
    shown = json.loads(result.stdout)
    assert shown["chosen"] is None
    assert "--size is 1 kB" in shown["sentence"]
    assert shown["sentence"] in result.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (tmp_path / "again" / "model").is_dir()  # that of the looser limits is kept


def test_rows_can_be_named_and_networks_are_pruned(run: Path, rows_path: Path, tmp_path: Path) -> None:
    polymodal.fit(
        polymodal.read_table(rows_path),
        target="kind",
        output=tmp_path / "memory",
        settings={"train.epochs": 2, "width": 16, "baselines": False},
    )
    with pytest.raises(ConfigError, match=r"table in memory.*--table"):
        polymodal.compress(tmp_path / "memory")
    found = polymodal.compress(tmp_path / "memory", table=rows_path, max_drop=100, methods=["pruned"])
    assert [point.name for point in found.points] == ["original", "pruned-50", "pruned-25"]
    sizes = [point.parameters for point in found.points]
    assert sizes[0] > sizes[1] > sizes[2]
    assert found.chosen == "pruned-25"
    assert any("was given" in notice for notice in found.notices)
    assert found.folder is not None
    assert len(polymodal.load(found.folder).predict(rows_path)["kind"]) == 160


def test_models_without_targets_are_refused(rows_path: Path, tmp_path: Path) -> None:
    settings = {"train.epochs": 1, "width": 16}
    polymodal.fit(str(rows_path), output=tmp_path / "space", drop=("kind",), settings=settings)
    result = CliRunner().invoke(app, ["compress", str(tmp_path / "space"), "-q"])
    assert result.exit_code == 2
    assert "has no target" in result.stderr
    assert "Traceback" not in result.stderr


def test_too_few_rows_are_refused(run: Path, rows_path: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.csv"
    short.write_text("\n".join(rows_path.read_text(encoding="utf-8").splitlines()[:13]), encoding="utf-8")
    with pytest.raises(SchemaError, match=r"at least 8 are needed"):
        polymodal.compress(run, table=short, output=tmp_path / "out")
    assert not (tmp_path / "out" / "model").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--size", "5 parsecs"], "--size takes a number of bytes"),
        (["--method", "magic"], "must be one of: members, pruned, distilled, int8"),
        (["--table", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_wrong_options_are_one_sentence(run: Path, tmp_path: Path, options: list[str], sentence: str) -> None:
    result = CliRunner().invoke(app, ["compress", str(run), "-o", str(tmp_path / "out"), "-q", *options])
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert not (tmp_path / "out").exists()


def test_folders_of_others_are_left_alone(run: Path, tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear reader", encoding="utf-8")
    with pytest.raises(ConfigError, match="holds something else"):
        polymodal.compress(run, output=tmp_path)
