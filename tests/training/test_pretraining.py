"""Pretraining of image encoders by reconstruction."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import polymodal
import polymodal.training.pretraining
import tiny
from polymodal.config import RunConfig, build_config
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.tables.splits import rows_apart
from polymodal.data.tables.table import Table
from polymodal.encoders import ENCODERS, build_encoder
from polymodal.encoders.image import ImageEncoder
from polymodal.encoders.image_decoder import build_image_decoder
from polymodal.errors import ConfigError
from polymodal.modalities import Image
from polymodal.progress import SilentProgress
from polymodal.runs.data_module import Tables, build_data_module
from polymodal.training.pretraining import MASKED_FRACTION, mask_pixels
from quick import quick

PRETRAIN = {"train.pretrain_epochs": 3}
SCRATCH = [name for name in ENCODERS["image"] if name != "pretrained"]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    """Write pictures of which every second has no label."""
    folder = tmp_path_factory.mktemp("tiny")
    with tiny.decode_cache(folder):
        whole = tiny.only(tiny.write_table(folder, rows=120), "photo", "size", "kind")
        labels = [kind if row % 2 else None for row, kind in enumerate(whole.columns["kind"])]
        yield tiny.with_cells(whole, kind=labels)


@pytest.fixture(scope="module")
def model(table: Table, tmp_path_factory: pytest.TempPathFactory) -> polymodal.Model:
    return tiny.train(table, settings=PRETRAIN, output=tmp_path_factory.mktemp("runs") / "run")


def pictures(height: int, width: int, channels: int = 3) -> tuple[Image, torch.Tensor]:
    fitted = Image(height=height, width=width, channels=channels, mean=[0.5] * channels, std=[0.25] * channels)
    torch.manual_seed(0)
    return fitted, torch.randint(0, 256, (3, height, width, channels), dtype=torch.uint8)


@pytest.mark.parametrize("name", SCRATCH)
@pytest.mark.parametrize("shape", [(28, 20, 3), (8, 8, 1), (33, 70, 3), (128, 96, 1)])
def test_every_image_encoder_has_a_decoder(name: str, shape: tuple[int, int, int]) -> None:
    fitted, pixels = pictures(*shape)
    encoder = build_encoder("image", name, fitted, 32, {}).eval()
    assert isinstance(encoder, ImageEncoder)
    standard = encoder.normalise(pixels)
    decoder = build_image_decoder(encoder, standard).eval()
    restored = decoder(encoder.feature_map(standard))
    assert restored.shape == standard.shape == (3, shape[2], shape[0], shape[1])
    alone = decoder(encoder.feature_map(standard[1:2]))
    torch.testing.assert_close(alone, restored[1:2], atol=1e-4, rtol=1e-4)
    assert sum(p.numel() for p in decoder.parameters()) < 3 * sum(p.numel() for p in encoder.parameters())


def test_pixels_are_masked_in_all_channels() -> None:
    torch.manual_seed(0)
    hidden = mask_pixels(torch.ones(4, 3, 30, 30)) == 0
    assert float(hidden.float().mean()) == pytest.approx(MASKED_FRACTION, abs=0.03)
    assert (hidden.all(dim=1) == hidden.any(dim=1)).all()


def test_the_reconstruction_error_decreases(model: polymodal.Model) -> None:
    found = model.report_data["pretraining"]["photo"]
    errors = [step["train_error"] for step in found["history"]]
    assert [step["epoch"] for step in found["history"]] == [1, 2, 3]
    assert errors[2] < errors[1] < errors[0]
    assert found["history"][2]["validation_error"] < found["history"][0]["validation_error"] < 1.5
    assert found["seconds"] > 0


def test_rows_without_a_target_are_used_and_held_out_rows_are_not(model: polymodal.Model, table: Table) -> None:
    found, summary = model.report_data["pretraining"]["photo"], model.summary()
    present = np.array([cell is not None for cell in table.columns["photo"]])
    assert found["unlabelled"] == present[::2].sum()
    assert found["unlabelled"] < found["pictures"] <= found["unlabelled"] + summary["rows"]["train"]
    assert summary["set_aside"] == 60


def test_the_error_is_in_the_report_the_metrics_and_the_notices(model: polymodal.Model) -> None:
    assert model.folder is not None
    metrics = json.loads((model.folder / "metrics.json").read_text(encoding="utf-8"))
    last = model.report_data["pretraining"]["photo"]["history"][-1]
    assert metrics["pretraining"]["photo"].items() >= last.items()
    report = (model.folder / "report.html").read_text(encoding="utf-8")
    assert "Reconstruction error of photo" in report
    assert "at 1, nothing is restored" in report
    log = (model.folder / "log.txt").read_text(encoding="utf-8")
    assert f"pretraining photo, epoch {last['epoch']} of {last['epoch']}: reconstruction error " in log
    (notice,) = [notice for notice in metrics["notices"] if "pretrained by reconstruction" in notice]
    assert f"{metrics['pretraining']['photo']['unlabelled']} of them without a target" in notice


def test_supervised_training_starts_from_the_pretrained_weights(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    first: list[dict[str, Any]] = []
    original = polymodal.training.trainer.training_step

    def spied(strategy: Any, *rest: Any) -> None:
        first.append({name: value.clone() for name, value in strategy.network.state_dict().items()})
        original(strategy, *rest)

    monkeypatch.setattr("polymodal.training.trainer.training_step", spied)
    tiny.train(table, settings={"train.pretrain_epochs": 0})
    plain, count = first[0], len(first)
    tiny.train(table, settings={"train.pretrain_epochs": 1})
    changed = {name for name, value in first[count].items() if not torch.equal(value, plain[name])}
    assert changed
    assert all(name.startswith("own_encoders.0.stages.") for name in changed)


def test_the_seed_fixes_everything(table: Table, model: polymodal.Model) -> None:
    again = tiny.train(table, settings=PRETRAIN)
    assert tiny.same(tiny.weights_of(again), tiny.weights_of(model))
    assert again.summary()["pretraining"] == model.summary()["pretraining"]
    other = tiny.train(table, settings=PRETRAIN, seed=1)
    assert other.summary()["pretraining"] != model.summary()["pretraining"]


def test_a_saved_model_needs_no_decoder(table: Table, model: polymodal.Model, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    loaded = polymodal.load(tmp_path / "model")
    assert tiny.same(tiny.weights_of(loaded), tiny.weights_of(model))
    assert set(tiny.weights_of(model)) == set(tiny.weights_of(tiny.train(table)))
    assert loaded.predict(table) == model.predict(table)
    assert loaded.report_data["pretraining"] == model.report_data["pretraining"]


class Stop(Exception):  # noqa: N818
    pass


class Stopper(SilentProgress):
    """Progress that stops a run in a phase, as a kill would."""

    def __init__(self, name: str, steps: int) -> None:
        self.name, self.steps = name, steps

    def phase(self, name: str, total: int | None) -> Any:
        return StoppingPhase(self.steps) if name == self.name else super().phase(name, total)


class StoppingPhase:
    def __init__(self, steps: int) -> None:
        self.left = steps

    def __enter__(self) -> StoppingPhase:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def advance(self, n: int = 1, note: str = "") -> None:
        self.left -= n
        if self.left < 0:
            raise Stop


@pytest.mark.parametrize(
    ("phase", "steps"), quick([("pretraining photo", 4), ("training", 0), ("training", 2)], ("training", 2))
)
def test_a_stopped_run_resumes_the_same(table: Table, tmp_path: Path, phase: str, steps: int) -> None:
    settings = PRETRAIN | {"train.checkpoint_steps": 1}
    whole = tiny.train(table, settings=settings)
    with pytest.raises(Stop):
        tiny.train(table, settings=settings, output=tmp_path / "run", progress=Stopper(phase, steps))
    resumed = tiny.train(table, settings=settings, output=tmp_path / "run", resume=True)
    assert tiny.same(tiny.weights_of(resumed), tiny.weights_of(whole))
    assert resumed.summary()["pretraining"] == whole.summary()["pretraining"]


def test_without_pictures_there_is_nothing_to_pretrain() -> None:
    with pytest.raises(ConfigError, match=r"'train\.pretrain_epochs' parameter of this run must be 0 where no image"):
        tiny.train(tiny.numbers_table(), settings=PRETRAIN)


def test_a_time_limit_leaves_time_for_the_targets(table: Table) -> None:
    found = tiny.train(table, time_limit=1e-6, settings={"train.pretrain_epochs": 50, "train.epochs": 50})
    assert len(found.report_data["pretraining"]["photo"]["history"]) == 1
    assert len(found.report_data["history"]) == 1


def prepared_rows(table: Table, config: RunConfig) -> tuple[set[int], set[int], set[int]]:
    found = build_data_module(Tables(train=table), config, ArrayCache(None), SilentProgress())
    held = {int(row) for split in ("validation", "test") for row in found.splits[split].rows}
    return {int(row) for row in found.unlabelled}, held, {int(row) for row in found.splits["train"].rows}


def test_held_out_groups_stay_unseen(table: Table) -> None:
    groups = [f"g{row % 12}" if row % 10 else None for row in range(table.num_rows)]
    grouped = tiny.with_cells(tiny.only(table, "photo", "size", "kind"), owner=groups)
    unlabelled, held, train = prepared_rows(grouped, build_config({"target": ["kind"], "group": "owner"}))
    held_groups = {groups[row] for row in held} - {None}
    assert held_groups
    assert unlabelled == {row for row in range(0, table.num_rows, 2) if groups[row] not in held_groups}
    assert not unlabelled & (held | train)


def test_what_is_later_than_held_out_rows_stays_unseen(table: Table) -> None:
    days: list[Any] = [f"2024-{1 + row // 28:02d}-{1 + row % 28:02d}" for row in range(table.num_rows)]
    days[4] = None
    dated = tiny.with_cells(tiny.only(table, "photo", "size", "kind"), day=days)
    unlabelled, held, _ = prepared_rows(dated, build_config({"target": ["kind"], "time": "day"}))
    assert unlabelled == set(range(0, min(held), 2)) - {4}


def test_without_a_rule_all_rows_may_be_seen() -> None:
    table, rows = Table({"size": [1, 2, 3]}), np.array([0, 2])
    assert rows_apart(table, rows, np.array([1])).tolist() == [0, 2]
    assert rows_apart(table, rows, np.array([], np.int64), group="size").tolist() == [0, 2]
