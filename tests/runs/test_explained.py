"""An explanation in a notebook, in a folder, and in the report of a run."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import polymodal
import tiny
from polymodal.cli.main import app
from polymodal.data.tables.table import Table
from polymodal.errors import ConfigError
from polymodal.runs.explained import ShownExplanation

COLUMNS = ("photo", "note", "trace", "size", "colour", "kind")


@pytest.fixture(scope="module")
def run_folder(table: Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that explains itself."""
    folder = tmp_path_factory.mktemp("explained") / "run"
    small = Table({name: table.columns[name] for name in COLUMNS}, folder=table.folder, name="small")
    polymodal.fit(small, target="kind", preset="fast", settings=tiny.QUICK, output=folder, explain=True)
    return folder


@pytest.fixture(scope="module")
def explanation(run_folder: Path, table: Table) -> ShownExplanation:
    """A row with a cell in each column, and another, explained."""
    whole = [row for row in range(1, 81) if all(table.columns[name][row - 1] is not None for name in COLUMNS)]
    return polymodal.load(run_folder).explain(table, rows=whole[:2], training=table.take([0, 1, 2, 3]), passes=30)


def pages(shown: str) -> list[str]:
    return [html.unescape(page) for page in re.findall(r'srcdoc="([^"]*)"', shown)]


def test_notebook_shows_one_page_that_needs_nothing_else(explanation: ShownExplanation) -> None:
    shown = explanation._repr_html_()
    (page,) = pages(shown)
    assert shown.startswith("<iframe ")
    assert 'sandbox="allow-scripts"' in shown
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    assert page.startswith("<!doctype html>")
    assert page.count('class="explained-row') == 2
    assert ">unreadable<" not in page


def test_every_kind_of_parts_has_its_drawing(explanation: ShownExplanation) -> None:
    kinds = {cell.kind for row in explanation.rows for cell in row.cells}
    page = explanation.to_html()
    assert kinds == {"regions", "words", "time_channels", "columns"}
    assert all(f'class="explained {kind} ' in page for kind in kinds)


def test_explanation_knows_its_table_but_does_not_write_or_print_it(explanation: ShownExplanation) -> None:
    assert explanation.source.num_rows == 80
    assert "source" not in explanation.to_json()
    assert "source" not in repr(explanation)
    assert json.loads(json.dumps(explanation.to_json()))["rows"][0]["streams"]


def test_saved_folder_holds_page_and_figures(explanation: ShownExplanation, tmp_path: Path) -> None:
    explanation.save(tmp_path / "why")
    assert (tmp_path / "why" / "explanation.html").stat().st_size > 10_000
    names = {path.name for path in (tmp_path / "why" / "figures").iterdir()}
    assert "importance-kind.svg" in names
    assert sum(name.endswith("streams.svg") for name in names) == 2
    assert sum(name.endswith("photo.png") for name in names) == 2


def test_report_explains_right_and_wrong_rows(run_folder: Path) -> None:
    record = json.loads((run_folder / "metrics.json").read_text(encoding="utf-8"))["record"]
    rows = record["explanation"]["rows"]
    assert 2 <= len(rows) <= 4
    assert record["explanation"]["summaries"][0]["rows"] >= len(rows)
    assert record["seconds"]["explain"] > 0
    page = (run_folder / "report.html").read_text(encoding="utf-8")
    assert page.count('class="explained-row') == len(rows)
    assert '<a href="#why">Why</a>' in page
    assert ">unreadable<" not in page
    assert polymodal.load(run_folder).report_data["config"]["explain"] is True


def test_command_writes_the_folder_and_refuses_another(run_folder: Path, table: Table, tmp_path: Path) -> None:
    data = tmp_path / "new.jsonl"
    cells: list[dict[str, Any]] = [{name: table.columns[name][row] for name in ("note", "size")} for row in range(3)]
    data.write_text("\n".join(map(json.dumps, cells)), encoding="utf-8")
    common = ["explain", str(run_folder), str(data), "--rows", "1-2", "--passes", "10", "-q", "-o"]
    done = CliRunner().invoke(app, [*common, str(tmp_path / "why")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "why" / "explanation.html").is_file()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    assert CliRunner().invoke(app, [*common, str(tmp_path / "mine")]).exit_code == 2
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_only_what_has_a_target_is_explained(table: Table) -> None:
    small = Table({name: table.columns[name] for name in ("note", "size")}, folder=None, name="small")
    model = polymodal.fit(small, preset="fast", settings=tiny.QUICK, explain=True)
    with pytest.raises(ConfigError, match="no target to explain"):
        model.explain(small)
