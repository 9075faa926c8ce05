"""``polymodal explain``: what is printed, written and refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import tiny
from polymodal.cli import options
from polymodal.cli.explanation_tables import print_explanation
from polymodal.cli.main import app
from polymodal.data.tables.table import Table
from polymodal.errors import ConfigError
from polymodal.explain.explanation import CellParts, Change, Explanation, Part, RowExplanation, TargetSummary

runner = CliRunner()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Train a run in a folder, beside its table."""
    folder = tmp_path_factory.mktemp("explained")
    with tiny.decode_cache(folder):
        path = tiny.write_csv(Table(tiny.numbers_table(40)), folder / "train.csv")
        streams = {"measured": ["size", "age"], "seen": ["colour"]}
        tiny.train(str(path), "kind", stream=streams, output=folder / "run")
        yield folder


def explain(folder: Path, *arguments: str) -> tuple[int, str, str]:
    result = runner.invoke(app, ["explain", str(folder / "run"), str(folder / "train.csv"), "-q", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_json_is_the_explanation(run: Path) -> None:
    code, out, _ = explain(run, "--rows", "2-3", "--streams-only", "--json")
    found = json.loads(out)
    assert code == 0
    assert [row["row"] for row in found["rows"]] == [2, 3]
    assert found["streams"] == {"measured": ["size", "age"], "seen": ["colour"]}
    row = found["rows"][0]
    assert sum(row["streams"].values()) == pytest.approx(row["value"] - row["prior"], abs=1e-6)
    assert row["cells"] == []
    assert {change["kind"] for change in row["changes"]} & {"nearest_row", "swap"}, "the training table is still there"


def test_a_folder_gets_page_and_json(run: Path, tmp_path: Path) -> None:
    code, out, _ = explain(run, "--rows", "1", "-o", str(tmp_path / "why"))
    assert code == 0
    assert str(tmp_path / "why") in out
    assert json.loads((tmp_path / "why" / "explanation.json").read_text())["table"] == "train.csv"
    assert "<html" in (tmp_path / "why" / "explanation.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--rows", "41"], "has no row 41"),
        (["--rows", "3-1"], "row numbers and ranges such as 1,5-9"),
        (["--stream", "heard"], "no stream 'heard'"),
        (["--target", "sort"], "no target 'sort'"),
        (["--training", "nowhere.csv"], "no file"),
    ],
)
def test_errors_are_one_sentence(run: Path, arguments: list[str], sentence: str) -> None:
    code, out, err = explain(run, *arguments)
    assert (code, out) == (2, "")
    assert sentence in err
    assert len(err.strip().splitlines()) == 1


def test_rows_are_numbers_and_ranges() -> None:
    assert options.parse_rows(None) is None
    assert options.parse_rows("1,5-7, 9 ") == [1, 5, 6, 7, 9]
    for wrong in ("", "a", "1-", "0x1", "3-2"):
        with pytest.raises(ConfigError, match="--rows"):
            options.parse_rows(wrong)


def test_tables_fit_eighty_columns(capsys: pytest.CaptureFixture[str]) -> None:
    streams = [f"a stream with a long name {number}" for number in range(20)]
    spread = {"mean": 0.1234, "low": 0.1, "high": 0.2}
    pairs = {f"{streams[0]} × {other}": spread for other in streams[1:]}
    information = [
        {"pair": streams[:2], "redundancy": 0.1, "unique": [0.2, 0.3], "synergy": 0.4, "total": 1.0},
    ]
    summary = TargetSummary("[label]", 200, dict.fromkeys(streams, spread), pairs, information, "as estimated")
    row = RowExplanation(
        1_234,
        "[label]",
        "a long answer " * 5,
        "a long answer " * 5,
        value=0.9,
        prior=0.5,
        truth="another",
        streams=dict.fromkeys(streams, -0.02),
        standard_errors=dict.fromkeys(streams, 0.01),
        cells=[CellParts(streams[0], "column [1]", "words", "occlusion", [Part("word", {"start": 0, "end": 4}, 0.2)])],
        changes=[Change("swap", streams[0], 7, "another", 0.1)],
    )
    print_explanation(Explanation("t.csv", {}, {"[label]": "probability"}, [summary], [row], ["one notice"]))
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "[label]" in out
    assert "column [1]" in out
    assert "and 8 more streams" in out
    assert "Note: one notice" in out
