"""What becomes of text, pictures and sound, from the option to the loaded model."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

import polymodal
import tiny
from polymodal.cli.main import app
from polymodal.config import build_config
from polymodal.data.tables.table import Table
from polymodal.encoders import ENCODERS
from polymodal.errors import ConfigError
from polymodal.modalities import Audio, Image, Text, build_settings
from polymodal.model.summary import run_notices
from polymodal.nn.builders import check_hyperparameters

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "representations.md").read_text(encoding="utf-8")
COLUMNS = {"review": "text", "photo": "image", "clip": "audio"}
WORDS = ("purrs", "barks", "hoots", "sofa", "gate", "night", "on", "the", "week")
TRAINED = {"settings.note.vectors": "word2vec", "settings.note.word2vec_dim": 8}


def write_vectors(folder: Path) -> Path:
    random = np.random.default_rng(0)
    lines = [f"{word} {' '.join(f'{value:.4f}' for value in random.normal(size=6))}" for word in (*WORDS, "zebra")]
    path = folder / "vectors.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def fitted(model: polymodal.Model, stream: str) -> Any:
    return model.trained.preprocessor.modalities[stream]


def words_of(model: polymodal.Model) -> dict[str, int]:
    found: dict[str, int] = json.loads(fitted(model, "note").tokenizer)["model"]["vocab"]
    return found


def word_table(model: polymodal.Model) -> np.ndarray:
    (table,) = (values for name, values in tiny.weights_of(model).items() if name.endswith("embed.table.weight"))
    return np.asarray(table)


@pytest.mark.parametrize(
    ("encoder", "frozen"),
    [("bag", True), ("bag", False), ("cnn", True), ("lstm", True), ("gru", False), ("transformer", False)],
)
def test_every_text_encoder_begins_with_vectors_of_a_file(
    table: Table, tmp_path: Path, encoder: str, frozen: bool
) -> None:
    path = write_vectors(tmp_path)
    notes = tiny.only(table, "note", "size", "kind")
    settings = {"settings.note.vectors": str(path), "encoder.note.hyperparameters.frozen": frozen}
    model = tiny.train(notes, encoder={"note": encoder}, settings=settings)
    given = {line.split()[0]: np.array(line.split()[1:], np.float32) for line in path.read_text().splitlines()}
    assert set(words_of(model)) == {"[PAD]", "[UNK]", *WORDS}
    learned = word_table(model)
    stayed = [np.allclose(learned[place], given[word]) for word, place in words_of(model).items() if word in given]
    assert all(stayed) if frozen else not any(stayed)
    (notice,) = run_notices(model.report_data)
    assert re.match(
        r"9 words of the column 'note' have vectors \(from .*vectors\.txt\): \d\d\.\d% of all words", notice
    )


@pytest.mark.parametrize("settings", [{"settings.note.vectors": "file"}, TRAINED])
def test_a_loaded_model_needs_neither_file_nor_gensim(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    pytest.importorskip("gensim")
    path = write_vectors(tmp_path)
    settings = {name: str(path) if value == "file" else value for name, value in settings.items()}
    notes = tiny.only(table, "note", "size", "kind")
    model = tiny.train(notes, settings=settings | {"encoder.note.hyperparameters.frozen": True})
    model.save(tmp_path / "model")
    path.unlink()
    monkeypatch.setitem(sys.modules, "gensim.models", None)
    loaded = polymodal.load(tmp_path / "model")
    assert fitted(loaded, "note").vectors is None
    before, after = model.predictions(table), loaded.predictions(table)
    assert tiny.same(before.values, after.values)
    np.testing.assert_array_equal(word_table(loaded), fitted(model, "note").vectors)


def test_trained_vectors_follow_the_runs_seed_and_training_rows_alone(table: Table) -> None:
    pytest.importorskip("gensim")
    test = table.take(np.arange(20))
    strange = tiny.with_cells(test, note=["zebra zebra giraffe giraffe"] * 20)
    notes = tiny.only(table, "note", "size", "kind")
    first, again, other = (tiny.train(notes, settings=TRAINED, seed=seed, test=strange) for seed in (3, 3, 4))
    assert tiny.same(tiny.weights_of(first), tiny.weights_of(again))
    same_word = [fitted(model, "note").vectors[words_of(model)["purrs"]] for model in (first, other)]
    assert not np.allclose(*same_word)
    assert "purrs" in words_of(first)
    assert "zebra" not in words_of(first)
    assert run_notices(first.report_data)[0].endswith("of all words in its training texts.")


def test_a_run_with_frozen_vectors_goes_on_where_it_stopped(table: Table, tmp_path: Path) -> None:
    settings = {"settings.note.vectors": str(write_vectors(tmp_path)), "encoder.note.hyperparameters.frozen": True}
    notes = tiny.only(table, "note", "size", "kind")
    settings |= {"train.epochs": 2, "train.checkpoint_steps": 1}
    whole = tiny.train(notes, settings=settings)

    class Stop(Exception):  # noqa: N818
        pass

    def stop(*_: object) -> None:
        raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("polymodal.training.trainer._record_epoch", stop)
        with pytest.raises(Stop):
            tiny.train(notes, settings=settings, output=tmp_path / "run")
    resumed = tiny.train(notes, settings=settings, output=tmp_path / "run", resume=True)
    assert tiny.same(tiny.weights_of(resumed), tiny.weights_of(whole))


def test_stop_words_are_saved_with_the_model(table: Table, tmp_path: Path) -> None:
    model = tiny.train(tiny.only(table, "note", "size", "kind"), settings={"settings.note.stop_words": "english"})
    model.save(tmp_path / "model")
    loaded = polymodal.load(tmp_path / "model")
    assert "the" in fitted(loaded, "note").stop_words
    short = tiny.with_cells(table, note=[note and note.replace(" the ", " ") for note in table.columns["note"]])
    assert tiny.same(loaded.predictions(table).values, loaded.predictions(short).values)


def write_sides(folder: Path, rows: int = 60, seed: int = 0) -> Table:
    """Write noise and a tone that is louder on one side; the side is what is to be told."""
    random = np.random.default_rng(seed)
    sides = np.arange(rows) % 2
    folder.mkdir()
    for row, side in enumerate(sides):
        tone = np.sin(2 * np.pi * 500 * (np.arange(2000) / 4000 + random.random()))
        samples = random.normal(0, 0.05, (2000, 2)) + 0.1 * tone[:, None]
        samples[:, side] += 0.4 * tone
        soundfile.write(folder / f"{row}.wav", samples, 4000)
    cells = [f"{row}.wav" for row in range(rows)]
    return Table({"sound": cells, "side": [("left", "right")[side] for side in sides]}, folder=folder, name="sides")


def train_on_sides(folder: Path, encoder: str, channels: int, features: str) -> tuple[polymodal.Model, Table]:
    train, test = (write_sides(folder / f"{encoder}{channels}{seed}", seed=seed) for seed in range(2))
    settings = {
        "settings.sound.channels": channels,
        "settings.sound.features": features,
        "train.epochs": 30 if encoder == "waveform" else 15,
        "train.batch_size": 8,
        "train.learning_rate": 5e-3,
        "baselines": encoder == "cnn",
    }
    return tiny.train(train, "side", encoder={"sound": encoder}, settings=settings, test=test, seed=1), test


@pytest.mark.parametrize(("encoder", "features"), [("cnn", "log_mel"), ("gru", "mfcc"), ("waveform", "waveform")])
def test_two_channels_tell_from_where_a_sound_comes(tmp_path: Path, encoder: str, features: str) -> None:
    model, test = train_on_sides(tmp_path, encoder, 2, features)
    found = model.summary()
    assert found["fusion"]["side"]["accuracy"] > 0.75
    assert encoder != "cnn" or found["baselines"]["side"]["linear"]["accuracy"] > 0.85
    model.save(tmp_path / "model")
    loaded = polymodal.load(tmp_path / "model")
    assert fitted(loaded, "sound").channels == 2
    assert tiny.same(loaded.predictions(test).values, model.predictions(test).values)


def test_one_channel_does_not(tmp_path: Path) -> None:
    found = train_on_sides(tmp_path, "cnn", 1, "log_mel")[0].summary()
    assert found["fusion"]["side"]["accuracy"] < 0.7
    assert found["baselines"]["side"]["linear"]["accuracy"] < 0.7


def test_channels_that_are_not_there_are_said(table: Table) -> None:
    model = tiny.train(tiny.only(table, "sound", "kind"), settings={"settings.sound.channels": 2})
    assert fitted(model, "sound").channels == 1
    expected = "No training clip of the column 'sound' has two channels, so one is kept (asked for: 2)."
    assert run_notices(model.report_data) == [expected]


def test_pictures_may_be_grey_and_sounds_cepstra(table: Table) -> None:
    settings = {"settings.photo.channels": 1, "settings.sound.features": "mfcc", "settings.sound.num_mfcc": 12}
    model = tiny.train(tiny.only(table, "photo", "sound", "kind"), settings=settings)
    photo, sound = fitted(model, "photo"), fitted(model, "sound")
    assert isinstance(photo, Image)
    assert isinstance(sound, Audio)
    assert (photo.channels, len(photo.mean), sound.num_features) == (1, 1, 24)
    column, _ = photo.transform(table.columns["photo"][:8], table.folder)
    colour, _ = dataclasses.replace(photo, channels=3).transform(table.columns["photo"][:8], table.folder)
    luma = colour.values[column.present].astype(float) @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(column.values[column.present][..., 0], luma, atol=1.5)


def test_word_vectors_and_a_checkpoint_exclude_each_other(table: Table, tmp_path: Path) -> None:
    (tmp_path / "checkpoint").mkdir()
    settings = {"settings.note.vectors": str(write_vectors(tmp_path))}
    with pytest.raises(ConfigError, match="word vectors cannot be used with a pretrained tokenizer or checkpoint"):
        tiny.train(table, encoder={"note": str(tmp_path / "checkpoint")}, settings=settings)


def test_the_command_line_takes_the_options(table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert table.folder is not None
    data = tiny.write_csv(table, table.folder / "options.csv")
    path = write_vectors(tmp_path)
    settings = [*(f"{name}={value}".lower() for name, value in tiny.QUICK.items()), f"settings.note.vectors={path}"]
    settings += ["settings.note.stop_words=english", "settings.sound.channels=2", "train.pretrain_epochs=1"]
    arguments = [part for setting in settings for part in ("--set", setting)]
    command = ["train", str(data), "--target", "kind", "--drop", "tags", "--drop", "weight", *arguments]
    result = CliRunner().invoke(app, [*command, "--output", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "words of the column 'note' have vectors" in said
    assert "The encoder of 'photo' was pretrained by reconstruction of" in said
    note = fitted(polymodal.load(tmp_path / "run"), "note")
    assert isinstance(note, Text)
    assert (note.vector_dim, "the" in note.stop_words) == (6, True)


def commands() -> list[str]:
    found: list[str] = re.findall(r"^polymodal .*$", DOCUMENT, re.MULTILINE)
    return found


def test_the_document_has_commands() -> None:
    assert len(commands()) > 10


@pytest.mark.parametrize("command", commands())
def test_every_command_of_the_document_names_options_that_exist(command: str) -> None:
    words = shlex.split(command)
    pairs = [word.partition("=") for flag, word in itertools.pairwise(words) if flag == "--set"]
    config = build_config({}, {name: json.loads(value) if value.isdigit() else value for name, _, value in pairs})
    for column, options in config.settings.items():
        build_settings(COLUMNS[column], options)
    chosen = [word.partition("=")[::2] for flag, word in itertools.pairwise(words) if flag == "--encoder"]
    for column, name in chosen:
        given = config.encoder.get(column, _no_encoder()).hyperparameters
        values = {option: value == "true" for option, value in given.items()}
        check_hyperparameters(ENCODERS[COLUMNS[column]][name].build, name, values)


def _no_encoder() -> Any:
    from polymodal.config import EncoderConfig

    return EncoderConfig()
