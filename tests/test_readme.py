"""What the README says works: its commands and its Python run, in order, on the demo's tables."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

import tiny
from polymodal.cli.main import app
from polymodal.demo import write_tables

REPOSITORY = Path(__file__).resolve().parents[1]
ROWS = 120
SHORT = ["--set", "train.epochs=2"]
"""Added to the commands that train: that they run is tested here, what they learn elsewhere."""
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def commands() -> list[str]:
    lines = "".join(blocks("console") + blocks("bash")).splitlines()
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    write_tables(folder / "demo", num_rows=ROWS)
    return folder


@pytest.fixture
def workplace(tables, monkeypatch) -> Path:
    monkeypatch.chdir(tables)
    monkeypatch.setenv("POLYMODAL_CACHE", str(tables / "cache"))
    monkeypatch.setattr("polymodal.ensemble.boosting.BUDGET_S", tiny.TREES_BUDGET_S)
    return tables


@pytest.mark.slow
def test_commands_run_in_order(workplace):
    found = commands()
    assert len(found) >= 5
    for command in found:
        name, *arguments = shlex.split(command)
        assert name == "polymodal"
        result = CliRunner().invoke(app, arguments + SHORT * (arguments[0] in ("train", "compare")))
        assert result.exit_code == 0, f"{command}\n{result.output}"
    assert (workplace / "runs/digits/report.html").is_file()
    assert len((workplace / "answers.csv").read_text().splitlines()) == 1 + ROWS * 297 // 1797


@pytest.mark.slow
@pytest.mark.parametrize("code", blocks("python"))
@pytest.mark.usefixtures("workplace")
def test_python_runs(code):
    exec(code.replace('preset="fast"', 'preset="fast", settings={"train.epochs": 2}'), {})


def test_every_command_is_mentioned():
    for command in app.registered_commands:
        assert f"polymodal {command.name}" in README


def test_every_option_named_exists():
    text = " ".join(
        CliRunner().invoke(app, [command.name, "--help"], env={"COLUMNS": "200"}).stdout
        for command in app.registered_commands
    )
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README)) - {"--help", "--index-url"}
    assert {option for option in named if option not in text} == set()


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (REPOSITORY / target).exists(), target


def test_make_goals_named_exist():
    goals = re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    for goal in re.findall(r"make ([a-z][a-z-]+)", README + (REPOSITORY / "CONTRIBUTING.md").read_text()):
        assert goal in goals or goal in {"for", "check", "test"}
