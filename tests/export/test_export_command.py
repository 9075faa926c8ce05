"""``polymodal export``: the bundle predicts as the run does, without a trace of its machine; refusals are sentences."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from typer.testing import CliRunner

import polymodal
import tiny
from polymodal.bundle.load_bundle import read_bundle_info
from polymodal.cli.main import app
from polymodal.errors import ConfigError
from polymodal.export import parity
from polymodal.export.licenses import card_head, license_of
from polymodal.export.parity import check_parity
from polymodal.progress import SilentProgress

runner = CliRunner()


def refused(*arguments: Any) -> str:
    """Return the one sentence with which a command ends."""
    result = runner.invoke(app, [*map(str, arguments), "-q"])
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr


def test_a_bundle_predicts_and_embeds_as_its_run_does(run: Path, bundle: Path, table: Path) -> None:
    first, second = polymodal.load(run, "cpu"), polymodal.load(bundle)
    assert first.predict(table) == second.predict(table)
    (names, before), (same_names, after) = first.predict_proba(table)["kind"], second.predict_proba(table)["kind"]
    assert names == same_names
    assert np.abs(before - after).max() < 1e-4
    assert np.abs(first.embed(table).rows - second.embed(table).rows).max() < 1e-4


def test_the_command_line_predicts_with_a_bundle(run: Path, bundle: Path, table: Path, tmp_path: Path) -> None:
    for name, model in (("run", run), ("bundle", bundle)):
        result = runner.invoke(app, ["predict", str(model), str(table), "-o", str(tmp_path / f"{name}.csv"), "-q"])
        assert result.exit_code == 0, result.output
    first, second = ((tmp_path / f"{name}.csv").read_text().splitlines() for name in ("run", "bundle"))
    assert [line.split(",")[0] for line in first] == [line.split(",")[0] for line in second]


def test_bundle_json_says_what_the_files_are(bundle: Path) -> None:
    info = read_bundle_info(bundle)
    graphs = [onnx.load(path) for path in sorted((bundle / "graphs").glob("*.onnx"))]
    assert info.ir_version == max(graph.ir_version for graph in graphs)
    assert info.opset == max(entry.version for graph in graphs for entry in graph.opset_import if not entry.domain)
    assert info.inputs == {"size": "number", "colour": "category", "note": "text"}
    assert info.outputs == {"kind": "category"}
    assert info.split == "test"
    assert 0 <= info.metrics["kind"]["accuracy"] <= 1
    assert info.parity["rows"] == 40
    assert info.parity["largest"]["kind"] < 1e-4


def test_no_path_of_the_machine_is_in_a_bundle(run: Path, bundle: Path, table: Path) -> None:
    traces = [str(table.parent), str(run.parent), str(Path(polymodal.__file__).parent), "/a/b.csv"]
    for path in (path for path in bundle.rglob("*") if path.is_file()):
        content = path.read_bytes()
        assert not [trace for trace in traces if trace.encode() in content], path
    assert json.loads((bundle / "model.json").read_text())["record"]["command"] == "c b.csv"


def test_the_card_is_one_that_the_hub_reads(bundle: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    card = hub.ModelCard.load(bundle / "README.md")
    assert card.data.library_name == "polymodal"
    assert card.data.license == "unknown"
    scores = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert scores["accuracy"] == read_bundle_info(bundle).metrics["kind"]["accuracy"]
    assert "| animals.csv | test | 8 |" in card.text
    assert "graphs/fusion.onnx" in card.text


def test_a_card_may_be_edited_and_no_other_file(bundle: Path, table: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(bundle, tmp_path / "bundle")
    (copy / "README.md").write_text("mine")
    polymodal.load(copy)
    (copy / "bundle.json").write_text((copy / "bundle.json").read_text() + " ")
    assert "bundle.json has" in refused("predict", copy, table)


@pytest.mark.usefixtures("written")
def test_torch_reads_the_programs_without_polymodal(run: Path, tmp_path: Path) -> None:
    result = runner.invoke(app, ["export", str(run), "-o", str(tmp_path / "b"), "--format", "torch", "--json", "-q"])
    assert result.exit_code == 0, result.output
    info = read_bundle_info(tmp_path / "b")
    assert info.programs == ("encoder-0.pt2", "encoder-1.pt2", "fusion.pt2")
    note = torch.export.load(tmp_path / "b" / "graphs" / f"encoder-{info.encoders['note']}.pt2").module()
    tokens, present = note(values=torch.ones(2, 3, dtype=torch.int32), lengths=torch.tensor([3, 1]))
    assert tokens.shape[0] == present.shape[0] == 2
    assert tokens.shape[2] == info.fusion.width


@pytest.mark.usefixtures("written")
def test_a_bundle_that_answers_otherwise_is_not_written(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polymodal.export.export_bundle.load_bundle", lambda _: _changed(run))
    assert "answers otherwise than the run" in refused("export", run, "-o", tmp_path / "bundle")
    assert not list(tmp_path.iterdir())


def _changed(run: Path) -> Any:
    """Return the model of a run with another network."""
    trained = polymodal.load(run, "cpu").trained
    with torch.no_grad():
        for weight in trained.network.parameters():
            weight.add_(0.3)
    return trained


def test_rows_of_slow_models_are_compared_as_far_as_the_time_goes(run: Path, table: Path) -> None:
    trained = polymodal.load(run, "cpu").trained
    rows = polymodal.data.tables.table.read_table(table)
    seconds = iter(range(0, 10**6, int(parity.BUDGET_S)))
    found = check_parity(trained, trained, rows, SilentProgress(), clock=lambda: float(next(seconds)))
    assert (found.rows, found.of_rows) == (parity.FIRST_ROWS, 40)


def test_refusals_are_sentences(run: Path, bundle: Path, table: Path, tmp_path: Path) -> None:
    assert "needs the run folder of this model" in refused("export", bundle, "-o", tmp_path / "b", "--table", table)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.png").write_bytes(b"")
    assert "holds something else than a bundle" in refused("export", run, "-o", tmp_path / "mine")
    assert "is a file" in refused("export", run, "-o", table)
    (tmp_path / "empty.csv").write_text("size,colour,note\n")
    assert "no rows" in refused("export", run, "-o", tmp_path / "b", "--table", tmp_path / "empty.csv")
    assert str(tmp_path / "absent.csv") in refused(
        "export", run, "-o", tmp_path / "b", "--table", tmp_path / "absent.csv"
    )
    assert not (tmp_path / "b").exists()


def test_a_model_of_a_table_in_memory_asks_for_rows(tmp_path: Path) -> None:
    model = tiny.train(tiny.numbers_table())
    with pytest.raises(ConfigError, match="trained on a table in memory"):
        model.export(tmp_path / "bundle")
    with pytest.raises(ConfigError, match="format"):
        model.export(tmp_path / "bundle", table=tiny.numbers_table(), format="pickle")  # type: ignore[arg-type]


def test_licences_are_read_from_the_head_of_a_card(tmp_path: Path) -> None:
    assert license_of(str(tmp_path)) is None
    (tmp_path / "config.json").write_text('{"license": "mit"}')
    assert license_of(str(tmp_path)) == "mit"
    (tmp_path / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Card")
    assert license_of(str(tmp_path)) == "apache-2.0"
    assert card_head("---\n- [\n---\n") == {}
    assert card_head("# no head") == {}
