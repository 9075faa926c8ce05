"""Tables to arrays, fitted on training rows alone."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from PIL import Image as pillow  # noqa: N813

from polymodal.arrays import Column
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.preprocessor import Preprocessor
from polymodal.data.schema.schema import ColumnSchema, Schema, StreamSchema
from polymodal.data.tables.table import Table
from polymodal.errors import CellError, ConfigError
from polymodal.modalities import ImageSettings

MODALITY = {"photo": "image", "voice": "audio", "note": "text", "code": "vector", "size": "number", "kind": "category"}
SCHEMA = Schema(
    columns=tuple(ColumnSchema(name, modality, "as the user says") for name, modality in MODALITY.items()),
    streams=(
        StreamSchema("photo", "image", ("photo",)),
        StreamSchema("voice", "audio", ("voice",)),
        StreamSchema("note", "text", ("note",)),
        StreamSchema("code", "vector", ("code",)),
        StreamSchema("tabular", "tabular", ("size", "kind")),
    ),
)
ROWS = 6


def png(value: int) -> bytes:
    file = io.BytesIO()
    pillow.new("L", (8, 8), value).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def table(tmp_path: Path) -> Table:
    (tmp_path / "media").mkdir()
    generator = np.random.default_rng(0)
    for row in range(ROWS):
        (tmp_path / "media" / f"{row}.png").write_bytes(png(10 * row))
        soundfile.write(tmp_path / "media" / f"{row}.wav", generator.normal(0, 0.1, 800 * (row + 1)), 8000)
    columns: dict[str, list[Any]] = {
        "photo": [f"media/{row}.png" for row in range(ROWS)],
        "voice": [f"media/{row}.wav" for row in range(ROWS)],
        "note": [f"this is note number {row}" for row in range(ROWS)],
        "code": [[row, 1.0, -row] for row in range(ROWS)],
        "size": [str(row) for row in range(ROWS)],
        "kind": list("aabbcc"),
    }
    return Table(columns, tmp_path, "train.csv")


def every_row() -> NDArray[np.int64]:
    return np.arange(ROWS)


def replace_cells(table: Table, name: str, cells: list[Any]) -> Table:
    return Table({**table.columns, name: cells}, table.folder, table.name)


def assert_same(one: dict[str, Column], other: dict[str, Column]) -> None:
    assert list(one) == list(other)
    for stream, column in one.items():
        np.testing.assert_array_equal(column.values, other[stream].values)
        np.testing.assert_array_equal(column.present, other[stream].present)


def test_every_stream_has_every_row(table: Table) -> None:
    preprocessor = Preprocessor.fit(table, every_row(), SCHEMA)
    columns, broken = preprocessor.transform(table)
    assert broken == []
    assert {stream: len(column) for stream, column in columns.items()} == dict.fromkeys(columns, ROWS)
    assert list(columns) == ["photo", "voice", "note", "code", "tabular"]
    assert all(column.present.all() for column in columns.values())
    assert preprocessor.column_names == list(MODALITY)
    assert [field.name for field in preprocessor.modalities["tabular"].fields] == ["size", "kind"]  # type: ignore[attr-defined]


def test_fitting_looks_at_training_rows_only(table: Table) -> None:
    rows = np.array([0, 2, 3])
    fitted = Preprocessor.fit(table, rows, SCHEMA)
    others = {
        "photo": b"broken",
        "voice": None,
        "note": "entirely different words",
        "code": [1e9] * 3,
        "size": "1e9",
        "kind": "z",
    }
    changed = {
        name: [cell if row in rows else others[name] for row, cell in enumerate(cells)]
        for name, cells in table.columns.items()
    }
    again = Preprocessor.fit(Table(changed, table.folder, table.name), rows, SCHEMA)
    assert again.state() == fitted.state()


def test_state_survives_json_bit_for_bit(table: Table) -> None:
    fitted = Preprocessor.fit(table, every_row(), SCHEMA)
    again = Preprocessor.from_state(json.loads(json.dumps(fitted.state(), allow_nan=False)))
    assert again.state() == fitted.state()
    assert again.schema == SCHEMA
    assert_same(again.transform(table)[0], fitted.transform(table)[0])


def test_a_missing_column_counts_as_absent_and_others_are_ignored(table: Table) -> None:
    fitted = Preprocessor.fit(table, every_row(), SCHEMA)
    part = Table({"size": ["1", "2"], "note": ["this", None], "more": [1, 2]}, None, "new.csv")
    columns, broken = fitted.transform(part)
    assert broken == []
    assert columns["note"].present.tolist() == [True, False]
    assert columns["tabular"].present.tolist() == [[True, False], [True, False]]
    for stream in ("photo", "voice", "code"):
        assert columns[stream].present.tolist() == [False, False]
    none, _ = fitted.transform(Table({"more": [1, 2, 3]}, None, "new.csv"))
    assert {len(column) for column in none.values()} == {3}
    assert not any(column.present.any() for column in none.values())


def test_broken_cells_name_row_and_column(table: Table) -> None:
    fitted = Preprocessor.fit(table, every_row(), SCHEMA)
    holed = replace_cells(table, "photo", ["media/0.png", "media/none.png", *table.columns["photo"][2:]])
    holed = replace_cells(holed, "size", ["x", "1", "2", "3", "4", "inf"])
    columns, broken = fitted.transform(holed)
    assert [(cell.row, cell.column) for cell in broken] == [(1, "size"), (2, "photo"), (6, "size")]
    assert "media/none.png" in broken[1].reason
    assert columns["photo"].present.tolist() == [True, False, True, True, True, True]


def test_a_column_of_wrong_paths_stops_with_the_first_three(table: Table) -> None:
    wrong = replace_cells(table, "photo", [None, *[f"wrong/{row}.png" for row in range(ROWS - 1)]])
    with pytest.raises(CellError) as caught:
        Preprocessor.fit(wrong, every_row(), SCHEMA)
    text = str(caught.value)
    assert text.startswith("train.csv, column 'photo': not one of its 5 training cells can be read. Tried first: ")
    assert all(str(table.folder / f"wrong/{row}.png") in text for row in range(3))  # type: ignore[operator]
    assert "wrong/3.png" not in text
    assert "there is no file" in text
    assert "--drop photo" in text


def test_one_readable_cell_is_enough(table: Table) -> None:
    wrong = replace_cells(table, "photo", [f"wrong/{row}.png" for row in range(ROWS - 1)] + ["media/1.png"])
    columns, broken = Preprocessor.fit(wrong, every_row(), SCHEMA).transform(wrong)
    assert columns["photo"].present.tolist() == [False] * 5 + [True]
    assert len(broken) == 5


def test_a_readable_cell_outside_training_does_not_help(table: Table) -> None:
    wrong = replace_cells(table, "voice", [*["wrong.wav"] * 5, "media/1.wav"])
    with pytest.raises(CellError, match="column 'voice': not one of its 1 training cells"):
        Preprocessor.fit(wrong, np.arange(5), SCHEMA)


def test_an_entirely_absent_media_column_is_no_error(table: Table) -> None:
    empty = replace_cells(table, "photo", [None] * ROWS)
    columns, _ = Preprocessor.fit(empty, every_row(), SCHEMA).transform(table)
    assert columns["photo"].present.all()


def test_paths_without_a_folder_are_refused(table: Table) -> None:
    with pytest.raises(CellError, match=r"paths are not opened here.* Give bytes or arrays"):
        Preprocessor.fit(Table(table.columns, None, "table"), every_row(), SCHEMA)


def test_settings_come_as_objects_or_options(table: Table) -> None:
    settings: dict[str, Any] = {
        "photo": ImageSettings(size=16),
        "voice": {"features": "mfcc"},
        "tabular": {"max_values": 1},
    }
    columns, _ = Preprocessor.fit(table, every_row(), SCHEMA, settings).transform(table)
    assert columns["photo"].values.shape == (ROWS, 16, 16, 1)
    assert columns["voice"].values.shape[2] == 40
    assert columns["tabular"].values[:, 1].tolist() == [1, 1, 0, 0, 0, 0]


def test_unknown_streams_and_options_are_said(table: Table) -> None:
    with pytest.raises(ConfigError, match=r"of: photo, voice, note, code, tabular\. Got 'foto'"):
        Preprocessor.fit(table, every_row(), SCHEMA, {"foto": {}})
    with pytest.raises(ConfigError, match=r"'image' has no option 'sice'\. Did you mean 'size'"):
        Preprocessor.fit(table, every_row(), SCHEMA, {"photo": {"sice": 3}})


def test_the_second_time_nothing_is_decoded(table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = ArrayCache(tmp_path / "cache")
    fitted = Preprocessor.fit(table, every_row(), SCHEMA)
    first, broken = fitted.transform(table, cache)

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("decoded again")

    for name in ("image.Image", "audio.Audio", "text.Text", "vector.Vector"):
        monkeypatch.setattr(f"polymodal.modalities.{name}.transform", fail)
    second, again = fitted.transform(table, cache)
    assert_same(first, second)
    assert again == broken
    assert cache.usage().entries == 4


def test_a_changed_file_is_decoded_again(table: Table, tmp_path: Path) -> None:
    cache = ArrayCache(tmp_path / "cache")
    fitted = Preprocessor.fit(table, every_row(), SCHEMA)
    fitted.transform(table, cache)
    (tmp_path / "media" / "0.png").write_bytes(png(255) + b"trailing")
    assert fitted.transform(table, cache)[0]["photo"].values[0].max() == 255


def test_broken_cells_keep_their_column_through_the_cache(table: Table, tmp_path: Path) -> None:
    fitted = Preprocessor.fit(table, every_row(), SCHEMA)
    holed = replace_cells(table, "photo", ["none.png"] * ROWS)
    for _ in range(2):
        _, broken = fitted.transform(holed, ArrayCache(tmp_path / "cache"))
        assert [(cell.row, cell.column) for cell in broken] == [(row, "photo") for row in range(1, ROWS + 1)]
