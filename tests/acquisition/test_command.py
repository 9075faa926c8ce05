from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from acquisition_rows import Asked, Columns, without, write_rows
from polymodal.acquisition.acquisition import Acquisition, Labelling
from polymodal.cli.main import app
from polymodal.report.acquisition_page import write_acquisition

runner = CliRunner()


def write(columns: Columns, path: Path) -> str:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return str(path)


@pytest.fixture(scope="module")
def files(asked: Asked, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("acquire")
    asked.model.save(folder / "model")
    return {
        "model": str(folder / "model"),
        "training": write(asked.training, folder / "training.csv"),
        "lacking": write(without(write_rows(9, 1), "deciding", "noise"), folder / "lacking.csv"),
        "whole": write(write_rows(4, 1), folder / "whole.csv"),
        "folder": str(folder),
    }


def acquire(files: dict[str, str], table: str, *options: str) -> list[str]:
    return ["acquire", files["model"], files[table], "--training", files["training"], "-q", *options]


def test_files_and_json_say_the_same(files: dict[str, str]) -> None:
    orders = {}
    for ending in ("csv", "jsonl", "parquet"):
        path = f"{files['folder']}/order.{ending}"
        result = runner.invoke(app, acquire(files, "lacking", "--cost", "deciding=2", "-o", path, "--json"))
        assert result.exit_code == 0, result.output
        orders["json"] = json.loads(result.stdout)
        orders[ending] = path
    with open(orders["csv"], encoding="utf-8") as file:
        as_csv = list(csv.DictReader(file))
    as_lines = [json.loads(line) for line in Path(orders["jsonl"]).read_text(encoding="utf-8").splitlines()]
    as_parquet = pyarrow.parquet.read_table(orders["parquet"]).to_pylist()
    assert as_lines == as_parquet == orders["json"]["entries"]
    assert [(row["row"], row["stream"]) for row in as_csv] == [(str(r["row"]), r["stream"]) for r in as_lines]
    assert as_csv[-1]["spent"] == f"{orders['json']['cost']:g}" == "27"


def test_the_summary_fits_eighty_columns(files: dict[str, str]) -> None:
    result = runner.invoke(app, acquire(files, "lacking", "--budget", "12"))
    assert result.exit_code == 0, result.output
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "9 of 9 rows lack a stream" in result.stdout
    assert "6 more do not fit into the budget of 12" in " ".join(result.stdout.split())


def test_a_whole_table_is_an_empty_order(files: dict[str, str]) -> None:
    result = runner.invoke(app, acquire(files, "whole", "-o", f"{files['folder']}/none.csv"))
    assert result.exit_code == 0, result.output
    assert "There is nothing to get" in result.stdout
    assert Path(f"{files['folder']}/none.csv").read_text() == "order,row,stream,gain,cost,net,spent\n"


def test_labels_are_asked_for_too(files: dict[str, str]) -> None:
    command = ["acquire", files["model"], files["lacking"], "--label", "-q"]
    assert "There is nothing to label" in runner.invoke(app, command).stdout
    rows = {name: cells for name, cells in write_rows(7, 2).items() if name != "y"}
    table = write(rows, Path(files["folder"]) / "unlabelled.csv")
    result = runner.invoke(app, ["acquire", files["model"], table, "--label", "--budget", "3", "--json", "-q"])
    assert len(json.loads(result.stdout)["entries"]) == 3


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--cost", "deciding"], "The option --cost takes STREAM=NUMBER"),
        (["--cost", "noise=1,noise=2"], "names the stream 'noise' twice"),
        (["--cost", "nois=1"], "Did you mean 'noise'"),
        (["--cost", "noise=-1"], "must be a number of at least 0"),
        (["--budget", "-1"], "'budget' parameter"),
        (["--target", "y"], "goes with --label"),
        (["--label"], "The option --training is about absent cells"),
        (["-o", "order.txt"], "a file that ends in .csv"),
    ],
)
def test_bad_options_are_one_sentence(files: dict[str, str], options: list[str], sentence: str) -> None:
    result = runner.invoke(app, acquire(files, "lacking", *options))
    assert result.exit_code == 2
    assert sentence in result.output
    assert "Traceback" not in result.output


def test_rows_to_label_are_whole_numbers(files: dict[str, str]) -> None:
    result = runner.invoke(app, ["acquire", files["model"], files["whole"], "--label", "--budget", "2.5", "-q"])
    assert result.exit_code == 2
    assert "a number of rows, at least 1" in result.output


def test_the_page_shows_order_and_gains(asked: Asked, tmp_path: Path) -> None:
    rows = without(write_rows(6, 1), "deciding", "noise")
    found = asked.model.acquire(rows, training=asked.training, budget=9)
    write_acquisition(found, tmp_path / "cells.html")
    page = (tmp_path / "cells.html").read_text(encoding="utf-8")
    assert "Which cells to get next" in page
    assert "3 more do not fit into the budget of 9" in page
    assert page.count("<svg") == 3
    unlabelled = {name: cells for name, cells in rows.items() if name != "y"}
    write_acquisition(asked.model.choose_labels(unlabelled), tmp_path / "labels.html")
    assert "Which rows to label next: y" in (tmp_path / "labels.html").read_text(encoding="utf-8")


def test_names_on_the_page_are_escaped_and_empty_orders_have_one(tmp_path: Path) -> None:
    cells = Acquisition(
        table="<b>.csv", rows=3, rows_lacking=0, absent={}, estimator="value", unit="nats", targets=["y"], costs={},
        budget=None, price=0.0, entries=[],
    )  # fmt: skip
    labels = Labelling(
        table="t", rows=1, unlabelled=0, target="<y>", method="m", order=[], uncertainty=[], answers=[]
    )  # fmt: skip
    write_acquisition(cells, tmp_path / "cells.html")
    write_acquisition(labels, tmp_path / "labels.html")
    assert "&lt;b&gt;.csv" in (tmp_path / "cells.html").read_text(encoding="utf-8")
    assert "<y>" not in (tmp_path / "labels.html").read_text(encoding="utf-8")
