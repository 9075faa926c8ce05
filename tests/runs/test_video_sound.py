"""The sound of a video column: a stream of its own, from the schema to the report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import films
import polymodal
import tiny
from polymodal.data.inspection import inspect_table
from polymodal.data.preprocessor import Preprocessor
from polymodal.data.schema.schema import ColumnSchema, Schema, infer_schema
from polymodal.data.tables.table import Table
from polymodal.errors import SchemaError

ROWS = 36
STREAMS = ("clip", "clip.audio", "tabular")


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    """Return a table whose films show a moving bar (``way``) and sound high or low (``pitch``); some are silent."""
    folder = tmp_path_factory.mktemp("spoken")
    random = np.random.default_rng(0)
    columns: dict[str, list[Any]] = {"clip": [], "size": [], "way": [], "pitch": []}
    for row in range(ROWS):
        way, pitch = row % 2, row // 2 % 2
        frames = np.zeros((6, 16, 16, 3), np.uint8)
        start = int(random.integers(0, 10))
        for number in range(6):
            frames[number, :, (start + (number if way else -number)) % 16] = 220
        voice = None if row % 6 == 5 else films.tone((400, 1500)[pitch], 0.5) * 0.8
        columns["clip"].append(films.write(folder, f"{row}.mp4", frames, sound=voice))
        columns["size"].append(f"{random.normal():.3f}")
        columns["way"].append(("left", "right")[way])
        columns["pitch"].append(("low", "high")[pitch])
    columns["clip"][3] = None
    with tiny.decode_cache(folder):
        yield Table(columns, folder, "spoken")


@pytest.fixture(scope="module")
def model(spoken: Table) -> polymodal.Model:
    broken = tiny.with_cell(spoken, "clip", 4, "none.mp4")
    return tiny.train(broken, ("way", "pitch"))


def test_sound_is_a_column_and_a_stream_of_its_own(spoken: Table) -> None:
    schema = infer_schema(spoken, targets=["way", "pitch"])
    assert [(entry.name, entry.modality) for entry in schema.columns] == [
        ("clip", "video"),
        ("clip.audio", "audio"),
        ("size", "number"),
    ]
    assert schema.columns[1] == ColumnSchema(
        "clip.audio", "audio", "27 of 32 videos looked at have sound", source="clip"
    )
    assert [stream.name for stream in schema.streams] == list(STREAMS)
    assert Schema.from_state(json.loads(json.dumps(schema.state()))) == schema


def test_sound_can_be_left_out_renamed_and_set(spoken: Table) -> None:
    def streams(**options: Any) -> list[str]:
        return [stream.name for stream in infer_schema(spoken, targets=["way"], **options).streams]

    assert streams(drop=["clip.audio"]) == ["clip", "tabular"]
    assert streams(drop=["*.audio"]) == ["clip", "tabular"]
    assert streams(drop=["clip"]) == ["tabular"]
    assert streams(drop=["clip*"]) == ["tabular"]
    assert streams(streams={"voice": ["clip.audio"]}) == ["clip", "voice", "tabular"]
    assert streams(modality={"clip": "audio"}) == ["clip", "tabular"]
    with pytest.raises(SchemaError, match=r"no column 'clip\.sound' \(from --drop\)"):
        streams(drop=["clip.sound"])
    with pytest.raises(SchemaError, match=r"'s' mixes the video column 'clip' with clip\.audio"):
        streams(streams={"s": ["clip", "clip.audio"]})


def test_films_without_sound_have_no_such_stream(spoken: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = spoken.take([5, 11, 17])
    assert [stream.name for stream in infer_schema(silent, modality={"size": "number"}).streams] == ["clip", "tabular"]
    arrays = Table({"clip": [films.grey_steps(4), films.grey_steps(5)]})
    assert [stream.name for stream in infer_schema(arrays).streams] == ["clip"]
    own = Table(spoken.columns | {"clip.audio": [f"{row}.wav" for row in range(ROWS)]}, spoken.folder)
    assert [entry.source for entry in infer_schema(own).columns if entry.name == "clip.audio"] == [""]
    monkeypatch.setattr("polymodal.data.schema.columns.has_av", lambda: False)
    assert len(infer_schema(spoken, targets=["way"]).streams) == 2


def test_absent_and_broken_films(spoken: Table) -> None:
    schema = infer_schema(spoken, targets=["way"])
    fitted = Preprocessor.fit(spoken, np.arange(ROWS), schema, {"clip.audio": {"num_mels": 24}})
    damaged = tiny.with_cell(spoken, "clip", 1, b"no film")
    columns, broken = Preprocessor.from_state(json.loads(json.dumps(fitted.state()))).transform(damaged)
    assert [(cell.row, cell.column) for cell in broken] == [(2, "clip")]
    assert columns["clip.audio"].values.shape[2] == 24
    silent = [1, 3, 5, 11, 17, 23, 29, 35]
    assert np.flatnonzero(~columns["clip.audio"].present).tolist() == silent
    assert np.flatnonzero(~columns["clip"].present).tolist() == [1, 3]
    without, _ = fitted.transform(Table({"size": ["1"]}))
    assert not without["clip"].present.any()
    assert not without["clip.audio"].present.any()


def test_inspection_shows_it(spoken: Table) -> None:
    found = {entry["name"]: entry for entry in inspect_table(spoken, targets=["way"])["columns"]}
    assert list(found) == ["clip", "clip.audio", "size", "way", "pitch"]
    sound = found["clip.audio"]
    assert (sound["modality"], sound["stream"], sound["role"]) == ("audio", "clip.audio", "input")
    assert (sound["missing"], found["clip"]["missing"], sound["broken"]) == (7, 1, 0)
    left_out = inspect_table(spoken, targets=["way"], drop=["clip.audio"])["columns"][1]
    assert (left_out["role"], left_out["reason"]) == ("ignored", "left out by the user")


def test_a_run_tells_the_streams_apart(model: polymodal.Model, spoken: Table) -> None:
    summary = model.summary()
    for target in ("way", "pitch"):
        assert set(summary["streams"][target]) == set(STREAMS) == set(summary["missing"][target])
    columns = {entry["name"]: entry for entry in model.report_data["columns"]}
    assert (columns["clip"]["missing"], columns["clip"]["broken"]) == (1, 1)
    assert columns["clip.audio"]["missing"] == 8
    assert columns["clip.audio"]["broken"] == 0
    assert [(cell["row"], cell["column"]) for cell in model.report_data["broken_cells"]] == [(5, "clip")]


def test_saved_models_predict_the_same(model: polymodal.Model, spoken: Table, tmp_path: Path) -> None:
    table = tiny.only(spoken, "clip", "size")
    expected = model.predict_proba(table)
    model.save(tmp_path / "model")
    loaded = polymodal.load(tmp_path / "model")
    for target, (classes, probabilities) in loaded.predict_proba(table).items():
        assert classes == expected[target][0]
        np.testing.assert_array_equal(probabilities, expected[target][1])
    assert model.evaluate(spoken)["streams"]["way"].keys() == set(STREAMS)


def test_a_run_folder_from_the_command_line(spoken: Table, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from polymodal.cli.main import app

    path = tiny.write_csv(spoken, Path(str(spoken.folder)) / "spoken.csv")
    options = [f"--set={name}={str(value).lower()}" for name, value in tiny.QUICK.items()]
    options += ["--set=settings.clip.audio.num_mels=16", "--set=settings.clip.frames=4", "--encoder=clip.audio=gru"]
    command = ["train", str(path), "--target", "way", "--output", str(tmp_path / "run"), *options]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "4 frames of the video in column clip" in report
    assert "Sound in column clip.audio" in report
    state = json.loads((tmp_path / "run" / "model" / "model.json").read_text(encoding="utf-8"))["preprocessor"]
    assert state["modalities"]["clip.audio"]["state"]["num_mels"] == 16
    assert state["modalities"]["clip"]["state"]["frames"] == 4
