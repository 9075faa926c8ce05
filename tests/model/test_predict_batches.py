"""Prediction in parts: the same bits however a table is read, in constant memory, whole files or none."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from typer.testing import CliRunner

import polymodal
import tiny
from polymodal.cli.main import app
from polymodal.data.tables.table import Table
from polymodal.errors import CellError, ConfigError, TableError
from polymodal.model import chunks, inference_network, predict
from polymodal.model.inference_network import NO_MASK
from polymodal.model.predictions import Predictions, join_predictions

runner = CliRunner()
FEATURES = ("photo", "note", "code", "size", "colour", "day", "trace")
ROWS = 700


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("parts")
    with tiny.decode_cache(folder):
        yield folder


@pytest.fixture(scope="module")
def model(folder: Path) -> polymodal.Model:
    table = tiny.only(tiny.write_table(folder), *FEATURES, *tiny.TARGETS)
    return tiny.train(table, tiny.TARGETS, fusion="attention", output=folder / "run")


@pytest.fixture(scope="module")
def advised(folder: Path) -> polymodal.Model:
    """Return a model with baselines, of which some have a say."""
    table = tiny.only(tiny.write_table(folder), "note", "size", "colour", "day", *tiny.TARGETS)
    return tiny.train(table, tiny.TARGETS, settings={"baselines": True}, output=folder / "advised")


@pytest.fixture(scope="module")
def rows(folder: Path) -> Table:
    """Return more rows than are predicted at once; two cells are broken, and one column turns from numbers to words."""
    table = tiny.only(tiny.write_table(folder), *FEATURES)
    many = table.take(np.arange(ROWS) % table.num_rows)
    many = tiny.with_cell(tiny.with_cell(many, "size", 3, "large"), "photo", 650, "photos/none.png")
    tiny.write_csv(many, folder / "rows.csv")
    return many


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_ROWS", 256)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def assert_same(first: Predictions, second: Predictions) -> None:
    assert tiny.same(first.values, second.values)
    assert tiny.same(first.weights, second.weights)
    assert first.labels == second.labels
    assert first.broken_cells == second.broken_cells
    assert first.to_columns() == second.to_columns()


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("num_rows", [1, 7, 1000, None])
def test_parts_of_any_size_are_the_whole(
    model: polymodal.Model, rows: Table, folder: Path, num_rows: int | None
) -> None:
    whole = model.predictions(rows, weights=True)
    parts = list(model.predict_batches(folder / "rows.csv", rows=num_rows, weights=True))
    assert max(map(len, parts)) == min(num_rows or 256, 256)
    assert_same(join_predictions(parts), whole)
    assert [cell.row for cell in whole.broken_cells] == [4, 651]


def test_windows_change_nothing_but_rounding(
    model: polymodal.Model, rows: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = model.predictions(rows)
    monkeypatch.setattr(chunks, "CHUNK_ROWS", 256)
    second = model.predictions(rows)
    assert first.broken_cells == second.broken_cells
    assert all(np.allclose(second.values[name], values, atol=1e-5) for name, values in first.values.items())


@pytest.mark.usefixtures("small_windows")
def test_a_file_is_read_only_as_far_as_it_is_predicted(
    model: polymodal.Model, rows: Table, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    padded = rows.columns | {"unused": ["x" * 9000] * ROWS}  # so that not all fits into one block
    lines = [json.dumps(dict(zip(padded, cells, strict=True))) for cells in zip(*padded.values(), strict=True)]
    path.write_text("\n".join([*lines, "not JSON"]))
    parts = model.predict_batches(path)
    assert len(next(parts)) == len(next(parts)) == 256
    with pytest.raises(TableError, match=r"Row 701 of rows\.jsonl"):
        next(parts)


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_the_command_writes_what_python_says(
    model: polymodal.Model, rows: Table, folder: Path, tmp_path: Path, ending: str
) -> None:
    path = tmp_path / f"out{ending}"
    command = ["predict", str(folder / "run"), str(folder / "rows.csv"), "-o", str(path), "--weights"]
    result = runner.invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "700 rows predicted" in result.stdout
    assert "row 651, column 'photo'" in result.stderr
    expected = model.predictions(rows, weights=True).to_columns()
    if ending == ".parquet":
        assert pyarrow.parquet.read_table(path).to_pydict() == expected
    elif ending == ".jsonl":
        said = [json.loads(line) for line in path.read_text().splitlines()]
        assert {name: [row[name] for row in said] for name in expected} == expected
    else:
        said = read_csv(path)
        assert [row["kind"] for row in said] == expected["kind"]
        assert [row["tags"] for row in said] == ["|".join(labels) for labels in expected["tags"]]
        assert np.allclose([float(row["weight"]) for row in said], expected["weight"], rtol=1e-6)
    on_screen = runner.invoke(app, ["predict", str(folder / "run"), str(folder / "rows.csv"), "--weights"])
    if ending == ".csv":
        assert on_screen.stdout == path.read_text()


@pytest.mark.usefixtures("small_windows", "model")
def test_a_row_that_is_broken_late_leaves_the_old_file(rows: Table, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "late.csv").write_text((folder / "rows.csv").read_text() + "one field\n")
    out = tmp_path / "out.csv"
    out.write_text("old")
    result = runner.invoke(app, ["predict", str(folder / "run"), str(tmp_path / "late.csv"), "-o", str(out)])
    assert result.exit_code == 2
    assert "Row 701 of late.csv has 1 field, expected 7" in result.stderr
    assert out.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["late.csv", "out.csv"]


@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_stopped_command_leaves_nothing(
    model: polymodal.Model, rows: Table, folder: Path, tmp_path: Path, kill: int, ending: str, monkeypatch: Any
) -> None:
    first = model.predictions(rows.take(range(5)))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it

    def stopped(self: Any, *_: Any, **__: Any) -> Iterator[Predictions]:
        yield first
        signal.raise_signal(kill)

    monkeypatch.setattr(polymodal.Model, "predict_batches", stopped)
    out = tmp_path / f"out{ending}"
    result = runner.invoke(app, ["predict", str(folder / "run"), "t.csv", "-o", str(out)])
    signal.signal(signal.SIGINT, before)
    assert result.exit_code == 130
    assert "nothing was written" in result.stderr
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []


def test_strict_names_the_row_of_the_whole_table(model: polymodal.Model, rows: Table, folder: Path) -> None:
    with pytest.raises(CellError, match=r"^rows.csv, row 4, column 'size'"):
        list(model.predict_batches(folder / "rows.csv", strict=True))
    with pytest.raises(ConfigError, match="rows"):
        list(model.predict_batches(rows, rows=0))


def test_a_type_that_grows_is_one_type_in_parquet(tmp_path: Path) -> None:
    from polymodal.cli.prediction_files import open_output

    box = {"label": "a", "box": [1.0, 2.0], "score": 0.5}
    parts: list[dict[str, Any]] = [
        {"sure": [None, None], "boxes": [[], []], "size": [1, 2]},
        {"sure": [0.5, None], "boxes": [[box], []], "size": [1.5, None]},
        {"sure": [None], "boxes": [[]], "size": [3]},
    ]
    with open_output(str(tmp_path / "out.parquet")) as write:
        for part in parts:
            write(part, frozenset())
    found = pyarrow.parquet.read_table(tmp_path / "out.parquet").to_pydict()
    assert found == {
        "sure": [None, None, 0.5, None, None],
        "boxes": [[], [], [box], [], []],
        "size": [1.0, 2.0, 1.5, None, 3.0],
    }
    with open_output(str(tmp_path / "out.csv")) as write:
        for part in parts:
            write({"boxes": part["boxes"]}, {"boxes"})
    assert [row["boxes"][:2] for row in read_csv(tmp_path / "out.csv")] == ["[]", "[]", "[{", "[]", "[]"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["out.csv", "out.parquet"]


def test_rows_of_similar_length_run_together(model: polymodal.Model, rows: Table, monkeypatch: Any) -> None:
    words = ["it", "purrs", "on", "the", "sofa", "on", "day", "3", "of", "week", "7"]
    notes = [" ".join(words[: 1 + row * 7 % 10]) for row in range(ROWS)]
    columns, _ = model.trained.preprocessor.transform(tiny.with_cells(rows, note=notes, trace=[None] * ROWS))
    network, views = model.trained.network, [NO_MASK]
    monkeypatch.setattr(inference_network, "inference_batch_size", lambda _: 16)
    lengths, run_batch = [], network._run_batch

    def watched(columns: Any, taken: Any, views: Any) -> Any:
        note = columns["note"]
        lengths.append(np.where(note.present, note.lengths, 0)[taken])
        return run_batch(columns, taken, views)

    monkeypatch.setattr(network, "_run_batch", watched)
    (batched,) = network.run(columns, views)
    monkeypatch.setattr(inference_network, "length_order", lambda columns: np.arange(len(columns["note"])))
    (plain,) = network.run(columns, views)
    half = len(lengths) // 2
    padded = [sum(len(batch) * batch.max() for batch in part) for part in (lengths[:half], lengths[half:])]
    assert padded[0] < 0.8 * padded[1]
    for name, values in plain.fused.items():
        np.testing.assert_allclose(batched.fused[name], values, atol=1e-5)
    np.testing.assert_allclose(batched.weights, plain.weights, atol=1e-5)


def test_one_row_leaves_nothing_on_disk(model: polymodal.Model, rows: Table, private_cache: Path) -> None:
    assert model.predict(rows.take([0]))["kind"][0] in tiny.KINDS
    assert not private_cache.exists()


def test_members_without_a_weight_are_not_asked(advised: polymodal.Model, rows: Table) -> None:
    """Leaving out what cannot change a prediction changes no prediction."""
    trained = advised.trained
    asked = {name: decisions.active_members for name, decisions in trained.ensembles.items()}
    assert any("baseline:boosting" in found for found in asked.values())
    part = rows.take(range(40))
    columns, _ = trained.preprocessor.transform(part)
    source = predict.RowContext(part.columns, part.folder)
    (members,) = predict.predict_members(trained, columns, source, [NO_MASK])
    expected = predict.combine(trained, members)
    found = advised.predictions(part)
    assert all(np.allclose(found.values[name], values, rtol=1e-12) for name, values in expected.items())


USELESS = ("accelerate", "torchmetrics", "transformers", "matplotlib", "jinja2", "polymodal.training.trainer")


@pytest.mark.usefixtures("advised")
def test_predicting_imports_nothing_it_does_not_need(folder: Path, rows: Table) -> None:
    tiny.write_csv(rows.take(range(2)), folder / "two.csv")
    code = (
        "import sys\nfrom polymodal.cli.main import app\n"
        f"app(['predict', {str(folder / 'advised')!r}, {str(folder / 'two.csv')!r}], standalone_mode=False)\n"
        f"print([name for name in {USELESS!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 3
    assert done.stderr.splitlines()[-1] == "[]"


MEASURE = """
import sys
import polymodal
from polymodal.model import chunks
chunks.CHUNK_ROWS = 256
rows = sum(len(part) for part in polymodal.load(sys.argv[1]).predict_batches(sys.argv[2]))
print(rows, next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is read from /proc")
def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    data = tiny.numbers_table(80)
    data["note"] = [
        f"{colour} things that weigh {size} and more" for colour, size in zip(data["colour"], data["size"], strict=True)
    ]
    tiny.train(data, output=tmp_path / "run")
    peaks = []
    for repeats in (20, 120):
        many = Table(data).take(np.arange(80 * repeats) % 80)
        tiny.write_csv(many, tmp_path / "many.csv")
        command = [sys.executable, "-c", MEASURE, str(tmp_path / "run"), str(tmp_path / "many.csv")]
        rows, peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        assert int(rows) == 80 * repeats
        peaks.append(int(peak) / 1024)
    assert peaks[1] - peaks[0] < 15, peaks
