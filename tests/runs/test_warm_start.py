"""Runs that start from the encoders of an earlier one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import polymodal
import tiny
from polymodal.data.tables.table import Table
from polymodal.errors import CheckpointError, ConfigError

COLUMNS = ("photo", "note", "size", "colour", "kind")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return tiny.only(tiny.write_table(tmp_path_factory.mktemp("warm"), rows=60), *COLUMNS)


@pytest.fixture(scope="module")
def earlier(table: Table, tmp_path_factory: pytest.TempPathFactory) -> polymodal.Model:
    return tiny.train(table, output=tmp_path_factory.mktemp("runs") / "earlier", settings={"width": 16})


def encoder_weights(model: polymodal.Model, stream: str) -> dict[str, torch.Tensor]:
    network = model.trained.network
    return network.encoders[network.streams.index(stream)].state_dict()


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def test_frozen_encoders_stay_as_they_were(table: Table, earlier: polymodal.Model) -> None:
    found = tiny.train(table, init_from=earlier.folder, settings={"init_frozen": True, "train.learning_rate": 0.1})
    for stream in ("photo", "note", "tabular"):
        assert same(encoder_weights(earlier, stream), encoder_weights(found, stream))
    assert any("photo, note, tabular come from" in n and "are frozen" in n for n in found.report_data["notices"])


def test_tuned_encoders_begin_as_they_were_and_move(table: Table, earlier: polymodal.Model) -> None:
    settings = {"train.learning_rate": 1e-9}
    still = tiny.train(table, init_from=earlier.folder, settings=settings)
    moved = tiny.train(table, init_from=earlier.folder, settings={"train.learning_rate": 1e-2})
    own, began, ended = (encoder_weights(model, "photo") for model in (earlier, still, moved))
    assert all(torch.allclose(own[name], began[name], atol=1e-6) for name in own)
    assert not same(own, ended)


def test_what_reads_the_cells_comes_with_the_encoder(table: Table, earlier: polymodal.Model) -> None:
    other = tiny.with_cells(
        table, note=[None if note is None else f"new words {note}" for note in table.columns["note"]]
    )
    found = tiny.train(other, init_from=earlier.folder)
    state = [model.trained.preprocessor.modalities["note"].state() for model in (earlier, found)]
    assert state[0] == state[1]


def test_a_stream_may_start_from_one_of_another_name(table: Table, earlier: polymodal.Model, tmp_path: Path) -> None:
    columns = {"picture" if name == "photo" else name: cells for name, cells in table.columns.items() if name != "note"}
    renamed = Table(columns, table.folder)
    settings = {"init_streams.picture": "photo", "init_frozen": True}
    found = tiny.train(renamed, init_from=earlier.folder, settings=settings, output=tmp_path / "run")
    assert same(encoder_weights(earlier, "photo"), encoder_weights(found, "picture"))
    again = polymodal.load(tmp_path / "run")
    np.testing.assert_allclose(again.predict_proba(renamed)["kind"][1], found.predict_proba(renamed)["kind"][1])


def test_streams_that_do_not_fit_start_anew_and_say_why(table: Table, earlier: polymodal.Model) -> None:
    changed = tiny.only(table, "photo", "size", "kind")
    found = tiny.train(changed, init_from=earlier.folder)
    assert any("'tabular' starts anew: its columns are others" in note for note in found.report_data["notices"])
    narrow = tiny.train(changed, init_from=earlier.folder, settings={"width": 32})
    assert any("'photo' starts anew: its encoder is another one" in note for note in narrow.report_data["notices"])


def test_what_cannot_be_is_one_sentence(table: Table, earlier: polymodal.Model, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no model"):
        tiny.train(table, init_from=tmp_path)
    with pytest.raises(ConfigError, match="No stream can start from"):
        tiny.train(tiny.only(table, "size", "kind"), init_from=earlier.folder)
    with pytest.raises(ConfigError, match="has no stream 'pohto'"):
        tiny.train(table, init_from=earlier.folder, settings={"init_streams.photo": "pohto"})
