"""A table without a target: joint embeddings, their index, and searches in it, by Python and by command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
import torch
from torch.nn import functional
from typer.testing import CliRunner

import polymodal
import tiny
from polymodal.cli.main import app
from polymodal.data.schema.schema import StreamSchema
from polymodal.data.tables.table import Table
from polymodal.errors import CellError, CheckpointError, ConfigError
from polymodal.model import chunks, search_index
from polymodal.targets import RowContext, fit_target
from polymodal.tokens import Fused, Tokens

runner = CliRunner()
LONG: dict[str, Any] = {"train.epochs": 12, "width": 32}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[polymodal.Model, Table, Path]:
    folder = tmp_path_factory.mktemp("embed")
    table = tiny.write_table(folder, rows=160, missing=0.05)
    named = ("photo", "sound", "note", "kind")
    with tiny.decode_cache(folder):
        model = tiny.train(tiny.only(table, *named), None, relevance="kind", output=folder / "run", settings=LONG)
    tiny.write_csv(tiny.only(table, *named), folder / "rows.csv")
    return model, table, folder


def test_streams_find_each_other_far_better_than_chance(world: Any) -> None:
    summary = world[0].summary()
    assert summary["targets"]["embedding"]["map"] > summary["baselines"]["embedding"]["prior"]["map"] + 0.2
    assert set(summary["pairs"]["embedding"]) == {
        f"{a} → {b}" for a in ("photo", "sound", "note") for b in ("photo", "sound", "note") if a != b
    }


def test_rows_that_share_a_cell_are_no_strangers() -> None:
    streams = ("picture", "caption")
    target = fit_target(
        "embedding", [], RowContext(streams=tuple(StreamSchema(name, "text", (name,)) for name in streams)), {"dim": 4}
    )
    head = target.build_head(8, dict.fromkeys(streams, torch.nn.Identity()))
    tokens = {name: Tokens(torch.randn(3, 1, 8), torch.ones(3, 1, dtype=torch.bool)) for name in streams}
    fused = Fused(torch.zeros(3, 8), tokens["picture"], streams=tokens)
    columns = {"picture": ["a.png", "b.png", "c.png"], "caption": ["a dog", "a dog", "a cat"]}
    truth, _ = target.encode([None] * 3, RowContext(cells=columns))
    assert truth.tolist() == [[0, 0], [1, 0], [2, 2]]
    with torch.no_grad():
        vectors, _ = head.project(tokens)
        logits = vectors[:, 0] @ vectors[:, 1].T * head.log_scale.exp() + head.bias
        signs = torch.tensor([[1, 1, -1], [1, 1, -1], [-1, -1, 1]])
        each = -functional.logsigmoid(signs * logits)
        assert torch.allclose(head.loss(fused, torch.from_numpy(truth), 0.0), (each.sum(0) + each.sum(1)) / 2)


def test_the_relevance_column_is_no_input(world: Any) -> None:
    assert "kind" not in world[0].trained.preprocessor.column_names


def test_vectors_are_units_and_absent_cells_have_none(world: Any) -> None:
    model, table, _ = world
    found = model.embed(table)
    lengths = np.linalg.norm(found.streams["photo"], axis=1)
    absent = np.array([cell is None for cell in table.columns["photo"]])
    assert absent.any()
    assert np.allclose(lengths[~absent], 1, atol=1e-5)
    assert (lengths[absent] == 0).all()
    assert found.to_columns()["embedding:photo"][int(np.flatnonzero(absent)[0])] is None
    nothing = model.embed(tiny.all_absent(table.take(np.arange(2))))
    assert not nothing.rows.any()


def test_saved_and_loaded_vectors_are_the_same(world: Any, tmp_path: Path) -> None:
    model, table, _ = world
    model.save(tmp_path / "model")
    again = polymodal.load(tmp_path / "model").embed(table)
    before = model.embed(table)
    assert np.array_equal(before.rows, again.rows)
    assert tiny.same(before.streams, again.streams)


def test_a_long_table_is_embedded_part_by_part(world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, table, folder = world
    long = tiny.only(table.take(np.arange(600) % table.num_rows), "photo", "note")
    long.columns["photo"][500] = "lost.png"
    monkeypatch.setattr(chunks, "CHUNK_ROWS", 256)
    parts = list(model.embed_batches(long))
    assert [len(part.rows) for part in parts] == [256, 256, 88]
    whole = model.embed(long)
    assert np.array_equal(np.concatenate([part.rows for part in parts]), whole.rows)
    assert [cell.row for cell in whole.broken_cells] == [501]
    assert np.allclose(whole.rows[160:180], whole.rows[:20], atol=1e-5)
    tiny.write_csv(long, folder / "long.csv")
    model.save(tmp_path / "model")
    command = ["embed", str(tmp_path / "model"), str(folder / "long.csv"), "-o", str(tmp_path / "out.parquet")]
    result = runner.invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "600 rows embedded" in result.output
    assert "row 501" in " ".join(result.output.split())
    written = pyarrow.parquet.read_table(tmp_path / "out.parquet").column("embedding").to_pylist()
    assert np.allclose([row or [0.0] * whole.rows.shape[1] for row in written], whole.rows, atol=1e-6)


def test_a_text_finds_pictures(world: Any) -> None:
    model, table, _ = world
    pictures = tiny.only(table, "photo", "kind")
    index, broken = model.index(pictures)
    assert broken == []
    hits = model.search(index, {"note": f"it {tiny.WORDS[1]} on day 3 of week 7"}, top=5)
    assert len(hits) == 5
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert sum(hit.cells["kind"] == tiny.KINDS[1] for hit in hits) >= 3
    assert all("photo" in hit.cells for hit in hits)


def test_an_index_is_written_and_read_again(world: Any, tmp_path: Path) -> None:
    model, table, _ = world
    index, _ = model.index(table)
    search_index.save_index(index, tmp_path / "index")
    again = search_index.load_index(tmp_path / "index")
    cells = {"note": table.columns["note"][3] or "it purrs"}
    assert model.search(again, cells) == model.search(index, cells)
    assert {path.suffix for path in (tmp_path / "index").iterdir()} == {".json", ".jsonl", ".safetensors"}


def test_a_large_table_is_searched_by_its_graph(world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, table, _ = world
    exact, _ = model.index(table)
    monkeypatch.setattr(search_index, "EXACT_ROWS", 100)
    index, _ = model.index(table)
    search_index.save_index(index, tmp_path / "index")
    again = search_index.load_index(tmp_path / "index")
    assert again.graph is not None
    vector = model.embed(table).rows[0]
    near, true = ([hit.row for hit in found.search(vector, 10)] for found in (again, exact))
    assert len(set(near) & set(true)) >= 8


@pytest.mark.parametrize("damage", ["index.json", "vectors.safetensors", "rows.jsonl"])
def test_a_damaged_index_is_one_sentence(world: Any, tmp_path: Path, damage: str) -> None:
    model, table, _ = world
    search_index.save_index(model.index(table)[0], tmp_path / "index")
    (tmp_path / "index" / damage).write_bytes(b"\x00broken")
    with pytest.raises(CheckpointError, match=r"damaged.*Make it again"):
        search_index.load_index(tmp_path / "index")


def test_wrong_questions_are_one_sentence(world: Any, tmp_path: Path) -> None:
    model, table, _ = world
    index, _ = model.index(table)
    with pytest.raises(ConfigError, match="the column 'colour', which the model does not know"):
        model.search(index, {"colour": "red"})
    with pytest.raises(ConfigError, match="asks for nothing"):
        model.search(index, {})
    with pytest.raises(ConfigError, match="no vectors of 'video'"):
        model.search(index, {"note": "x"}, within="video")
    with pytest.raises(CellError, match="photo"):
        model.search(index, {"photo": str(tmp_path / "nowhere.png")})
    with pytest.raises(ConfigError, match="no such column"):
        model.query_cells({"video": "x.mp4"})
    with pytest.raises(CheckpointError, match="There is no index"):
        search_index.load_index(tmp_path)
    (tmp_path / "other.txt").write_text("mine")
    with pytest.raises(ConfigError, match="something else"):
        search_index.save_index(index, tmp_path)


def test_there_is_nothing_to_predict(world: Any) -> None:
    with pytest.raises(ConfigError, match="Use `embed` or `search`"):
        world[0].predict(world[1])


def test_a_model_with_a_target_embeds_rows_too(world: Any) -> None:
    _, table, _ = world
    found = tiny.train(table, "kind").embed(table)
    assert found.streams == {}
    assert np.allclose(np.linalg.norm(found.rows, axis=1), 1, atol=1e-5)


def test_the_report_shows_what_was_found(world: Any) -> None:
    html = (world[2] / "run" / "report.html").read_text(encoding="utf-8")
    assert "From stream to stream" in html
    assert "match 1" in html


def test_the_commands(world: Any, tmp_path: Path) -> None:
    _, table, folder = world
    run, rows = str(folder / "run"), str(folder / "rows.csv")
    vectors = tmp_path / "vectors.parquet"
    assert runner.invoke(app, ["embed", run, rows, "-o", str(vectors)]).exit_code == 0
    assert pyarrow.parquet.read_table(vectors).column_names[:2] == ["embedding", "embedding:photo"]
    assert runner.invoke(app, ["index", run, rows, "-o", str(tmp_path / "index")]).exit_code == 0
    photo = next(cell for cell in table.columns["photo"] if cell)
    asked = runner.invoke(
        app, ["search", run, str(tmp_path / "index"), "--image", str(folder / photo), "--top", "3", "--json"]
    )
    assert asked.exit_code == 0, asked.output
    assert len(json.loads(asked.stdout)["hits"]) == 3
    shown = runner.invoke(app, ["search", run, str(tmp_path / "index"), "--text", "it barks at the gate"])
    assert shown.exit_code == 0
    assert "similarity" in shown.stdout
    sound = next(cell for cell in table.columns["sound"] if cell)
    for asking in (["--audio", str(folder / sound)], ["--query", f"sound={folder / sound}"]):
        found = runner.invoke(app, ["search", run, str(tmp_path / "index"), *asking, "--within", "sound", "--json"])
        assert found.exit_code == 0, found.output
        best = json.loads(found.stdout)["hits"][0]
        assert best["score"] == pytest.approx(1.0, abs=1e-3)
        assert table.columns["sound"][best["row"] - 1] == sound
    judged = runner.invoke(app, ["evaluate", run, rows, "--json"])
    assert judged.exit_code == 0, judged.output
    assert json.loads(judged.stdout)["pairs"]["embedding"]
    refused = runner.invoke(app, ["predict", run, rows])
    assert refused.exit_code == 2
