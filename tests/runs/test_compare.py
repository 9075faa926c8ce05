"""``polymodal compare`` and ``polymodal.compare``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import polymodal
import tiny
from polymodal.cli import options
from polymodal.cli.main import app
from polymodal.errors import ConfigError
from polymodal.fusion import FUSIONS
from polymodal.model.build import build_network
from polymodal.report.comparison import RunResult, TargetResult, describe_budgets, sorted_rows, summarise
from polymodal.runs.compare import GIVEN, compare

STREAMS = {"stream": {"measures": ["size", "age"], "look": ["colour"]}}
SETTINGS = {**tiny.QUICK, **STREAMS}
FEW = ["sum", "vote", "stacking"]
runner = CliRunner()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    return tiny.write_csv(tiny.Table(tiny.numbers_table(120)), folder / "animals.csv")


@pytest.fixture(scope="module")
def compared(data: Path) -> tuple[polymodal.Comparison, Path]:
    folder = data.parent / "found"
    with tiny.decode_cache(data.parent):
        return compare(data, target="kind", fusions=FEW, seeds=[0, 1], settings=SETTINGS, output=folder), folder


def no_more_runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let every further run fail, and note whose it was."""
    asked: list[str] = []

    def execute(tables: Any, config: Any, *rest: Any, **named: Any) -> None:
        asked.append(config.fusion.name)
        raise ConfigError("no more runs")

    monkeypatch.setattr("polymodal.runs.compare.execute", execute)
    return asked


def test_every_variant_has_a_row_with_all_there_is_to_say(compared: Any) -> None:
    found, _ = compared
    assert {row.variant for row in found.rows} == set(FEW)
    assert [row.score for row in found.rows] == sorted((row.score for row in found.rows), reverse=True)
    assert found.best() == found.rows[0]
    for row in found.rows:
        assert row.fusion == row.variant
        assert row.level == FUSIONS[row.fusion].level
        assert row.seeds == [0, 1]
        assert len(row.scores) == 2
        assert row.score == pytest.approx(sum(row.scores) / 2)
        reach = 12.7062 * row.spread / 2**0.5  # Student's t with one degree of freedom
        assert row.interval == pytest.approx([max(row.score - reach, 0), min(row.score + reach, 1)], abs=1e-4)
        assert row.reference == "sum"
        assert (row.lead is None) == (row.variant == "sum")
        assert len(row.curve) == 1
        assert row.epochs == 1
        assert row.best_stream in ("measures", "look")
        assert row.train_seconds > 0
        assert row.predict_ms > 0
    sizes = {row.variant: row.fusion_parameters for row in found.rows}
    assert sizes["sum"] > sizes["stacking"] > sizes["vote"] == 0


def test_the_folder_holds_a_table_and_a_page(compared: Any) -> None:
    found, folder = compared
    assert json.loads((folder / "compare.json").read_text()) == json.loads(json.dumps(found.to_dict()))
    page = (folder / "compare.html").read_text()
    for row in found.rows:
        assert f'<th scope="row">{row.variant}<span' in page
        for run in row.folders:
            assert f'href="{run}/report.html"' in page
            assert polymodal.load(folder / run).report_data["history"]
            assert (folder / run / "report.html").is_file()
    assert "3 variants on the same rows" in page
    assert "It is the same for all." in page
    assert "src=" not in page.replace('src="data:', "")


def test_finished_runs_are_not_repeated(compared: Any, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, folder = compared
    asked = no_more_runs(monkeypatch)
    again = compare(data, target="kind", fusions=FEW, seeds=[0, 1], settings=SETTINGS, output=folder)
    assert again.rows == found.rows
    with pytest.raises(ConfigError, match="no more runs"):
        compare(data, target="kind", fusions=[*FEW, "concat"], seeds=[0, 1], settings=SETTINGS, output=folder)
    assert asked == ["concat"]


@pytest.mark.parametrize("change", ["options", "cells"])
def test_other_options_or_cells_are_other_runs(
    change: str, compared: Any, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder = compared
    asked = no_more_runs(monkeypatch)
    settings = SETTINGS | ({"train.epochs": 2} if change == "options" else {})
    before = data.read_bytes()
    if change == "cells":
        tiny.write_csv(tiny.with_cell(polymodal.read_table(data), "age", 0, "9"), data)
    try:
        with pytest.raises(ConfigError, match="no more runs"):
            compare(data, target="kind", fusions=["sum"], seeds=[0, 1], settings=settings, output=folder)
    finally:
        data.write_bytes(before)
    assert asked == ["sum"]


def test_variants_are_compared_with_the_options_as_given() -> None:
    variants = {"plain steps": {"train.label_smoothing": 0.0}, "gated": {"fusion.name": "gated"}}
    found = compare(tiny.numbers_table(), target="kind", variants=variants, settings=SETTINGS)
    assert {row.variant: row.fusion for row in found.rows} == {
        GIVEN: "transformer",
        "plain steps": "transformer",
        "gated": "gated",
    }
    assert all(row.spread is None and len(row.interval) == 2 for row in found.rows)


def test_the_same_encoders_start_from_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def execute(tables: Any, config: Any, *rest: Any, data_module: Any, **more: Any) -> Any:
        import torch

        torch.manual_seed(config.seed)
        network = build_network(config, data_module.preprocessor.modalities, data_module.targets)
        started.append({name: value.numpy() for name, value in network.own_encoders.state_dict().items()})
        raise ConfigError("stop")

    monkeypatch.setattr("polymodal.runs.compare.execute", execute)
    for fusion in ("sum", "film"):
        with pytest.raises(ConfigError, match="stop"):
            compare(tiny.numbers_table(), target="kind", fusions=[fusion], settings=SETTINGS)
    assert tiny.same(*started)


def test_fusions_that_cannot_answer_are_left_out_of_all_and_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = no_more_runs(monkeypatch)
    table, settings = tiny.numbers_table(), {**tiny.QUICK, "stream": {}}
    with pytest.raises(ConfigError, match=r"The variant 'evidential': .* category only"):
        compare(table, target="size", fusions=["sum", "evidential"], settings=settings)
    assert asked == []
    monkeypatch.undo()
    monkeypatch.setattr("polymodal.runs.compare.FUSIONS", {name: FUSIONS[name] for name in ("sum", "evidential")})
    found = compare(table, target="size", fusions="all", settings=settings)
    assert [row.variant for row in found.rows] == ["sum"]
    assert found.notes[0].startswith("evidential was left out: The fusion 'evidential' predicts targets of the kind")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fusions": ["sum", "mixture"]}, r"'fusions' parameter .*all, or some of: transformer, .* Got 'mixture'"),
        ({"fusions": ["sum"], "variants": {"sum": {}}}, r"Two variants are called 'sum'"),
        ({"seeds": []}, r"'seeds' parameter of a comparison must be one whole number or several"),
        ({"seeds": [1, 1]}, r"'seeds' parameter .*several different ones. Got \[1, 1\]"),
        ({"variants": {"x": {"train.epoch": 3}}}, r"The variant 'x': There is no option 'train.epoch'"),
        (
            {"variants": {"x": {"fusion.hyperparameters": {"colour": 1}}}},
            r"The variant 'x': .*'hyperparameters' parameter",
        ),
    ],
)
def test_wrong_requests_are_refused_before_the_first_run(
    arguments: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = no_more_runs(monkeypatch)
    with pytest.raises(ConfigError, match=message):
        compare(tiny.numbers_table(), target="kind", settings=SETTINGS, **arguments)
    assert asked == []


def test_a_comparison_takes_the_options_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    configs = []

    def execute(tables: Any, config: Any, *rest: Any, **named: Any) -> Any:
        configs.append(config)
        raise ConfigError("stop")

    monkeypatch.setattr("polymodal.runs.compare.execute", execute)
    options: dict[str, Any] = {
        "preset": "fast",
        "encoder": {"tabular": "piecewise"},
        "drop": ["size"],
        "settings": {**SETTINGS, "stream": {}},
    }
    with pytest.raises(ConfigError, match="stop"):
        compare(tiny.numbers_table(), target="kind", fusions=["sum"], **options)
    (config,) = configs
    assert (config.preset, config.encoder["tabular"].name, config.drop) == ("fast", "piecewise", ("size",))
    with pytest.raises(TypeError, match=r"compare\(\) got an unexpected keyword argument 'seed'. Did you mean 'seeds'"):
        compare(tiny.numbers_table(), target="kind", seed=3)


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(ConfigError, match=r"holds something else than a comparison. Choose another --output"):
        compare(tiny.numbers_table(), target="kind", fusions=["sum"], settings=SETTINGS, output=tmp_path)
    with pytest.raises(ConfigError, match=r"letters.txt is a file. Choose another --output"):
        compare(tiny.numbers_table(), target="kind", settings=SETTINGS, output=tmp_path / "letters.txt")


def test_lower_is_better_where_it_is() -> None:
    def result(seed: int, fused: float) -> RunResult:
        target = TargetResult("rmse", False, fused, None, fused, {"a": 3.0 + seed, "b": 3.2})
        return RunResult("sum", "feature", seed, "test", 9, 1, 2, 3, 1.0, 1.0, {"size": target})

    rows = [*summarise("worse", [result(0, 2.0), result(1, 4.0)]), *summarise("better", [result(0, 1.0)])]
    found = sorted_rows(rows, {"size": False})
    assert [row.variant for row in found] == ["better", "worse"]
    assert found[1].spread == pytest.approx(2**0.5)
    assert (found[1].best_stream, found[1].best_stream_score) == ("b", 3.2)


def test_leads_over_the_first_variant_are_paired() -> None:
    def result(seed: int, fused: float, samples: list[float]) -> RunResult:
        target = TargetResult("rmse", False, fused, None, fused, {}, samples)
        return RunResult("sum", "feature", seed, "test", 9, 1, 2, 3, 1.0, 1.0, {"size": target})

    first = [result(seed, 2.0 + 10 * seed, [2.0, 3.0]) for seed in (0, 1, 2)]
    other = [result(seed, 1.5 + 10 * seed - 0.1 * seed, [1.5, 2.5]) for seed in (0, 1, 2)]
    (row,) = summarise("other", other, "first", first)
    assert row.lead == pytest.approx(0.6)
    assert row.lead_interval == pytest.approx([0.6 - 4.3027 * 0.1 / 3**0.5, 0.6 + 4.3027 * 0.1 / 3**0.5], abs=1e-3)
    (one,) = summarise("other", other[:1], "first", first[:1])
    assert (one.lead, one.lead_interval) == (0.5, [0.5, 0.5])
    (own,) = summarise("first", first, "first", first)
    assert (own.lead, own.lead_interval) == (None, None)


def test_another_budget_is_stated() -> None:
    def result(budget: str) -> RunResult:
        return RunResult("sum", "feature", 0, "test", 9, 1, 2, 3, 1.0, 1.0, {}, budget)

    assert describe_budgets({"a": [result("at most 3 epochs")], "b": [result("at most 3 epochs")]}).endswith(
        "not tuned; at most 3 epochs. It is the same for all."
    )
    assert describe_budgets({"a": [result("3 epochs")], "b": [result("3 epochs")], "c": [result("9 epochs")]}).endswith(
        "Another budget: c (9 epochs)."
    )


def test_the_command_hands_everything_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, compared: Any) -> None:
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "polymodal.runs.compare.compare", lambda table, **named: calls.append({"table": table, **named}) or compared[0]
    )
    monkeypatch.chdir(tmp_path)
    arguments = ["compare", "t.csv", "--target", "a", "--fusions", "sum, film", "--seeds", "0,3", "--test", "e.csv"]
    arguments += ["--variant", "long: train.epochs=9, settings.x.size=[1,2]", "--group", "g", "--preset", "fast"]
    arguments += ["--share", "s=c*", "--encoder", "x=vit", "--time-limit", "2m", "--set", "baselines=true", "--json"]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    (call,) = calls
    assert json.loads(result.stdout)["rows"][0]["variant"] == compared[0].best().variant
    expected = {
        "table": "t.csv",
        "target": ("a",),
        "fusions": ["sum", "film"],
        "variants": {"long": {"train.epochs": 9, "settings.x.size": [1, 2]}},
        "seeds": [0, 3],
        "validation": None,
        "test": "e.csv",
        "group": "g",
        "preset": "fast",
        "share": {"s": ("c*",)},
        "encoder": {"x": "vit"},
        "time_limit": 120.0,
        "settings": {"baselines": True},
        "output": Path("runs/compare-t"),
    }
    assert {name: call[name] for name in expected} == expected


def test_the_command_prints_the_best_first(data: Path, compared: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polymodal.runs.compare.compare", lambda table, **named: compared[0])
    lines = runner.invoke(app, ["compare", str(data), "--target", "kind"]).stdout.splitlines()
    shown = [line.replace("▶", " ").split()[0] for line in lines if line[3:].startswith(tuple(FEW))]
    assert shown == [row.variant for row in compared[0].rows]
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("text", ["long", "long:", ":train.epochs=3", "long: epochs"])
def test_a_variant_needs_a_name_and_options(text: str) -> None:
    with pytest.raises(ConfigError, match=r"'--variant' parameter of the command line must be of the form"):
        options.parse_variants([text])


def test_seeds_are_whole_numbers() -> None:
    assert options.parse_seeds("0, 1 2") == [0, 1, 2]
    with pytest.raises(ConfigError, match=r"'--seeds' .* whole numbers divided by commas, such as 0,1,2. Got 'one'"):
        options.parse_seeds("one")
