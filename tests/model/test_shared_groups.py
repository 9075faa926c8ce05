"""Groups of streams that share an encoder, or the layers behind their own encoders."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

import polymodal
import tiny
from polymodal.config import build_config
from polymodal.data.tables.table import Table
from polymodal.errors import ConfigError
from polymodal.model.shared_groups import SharedGroups, share_without, shared_groups
from polymodal.tokens import ColumnBatch
from tiny_checkpoints import save_reader

MODALITIES = {"cam_a": "image", "cam_b": "image", "note": "text", "tabular": "tabular"}
CAMERAS = {"cameras": ["cam_*"]}
CAMERAS_ALONE = {"cameras": ("cam_a", "cam_b")}


@pytest.fixture(scope="module")
def two_cameras(table: Table) -> Table:
    """Return two pictures a row, the second of another row of the same kind or absent."""
    photos, kinds = table.columns["photo"], table.columns["kind"]
    random = np.random.default_rng(0)
    others = [random.choice([p for p, k in zip(photos, kinds, strict=True) if k == kind]) for kind in kinds]
    return tiny.with_cells(tiny.only(table, "size", "kind"), cam_a=photos, cam_b=others)


@pytest.fixture(scope="module")
def models(two_cameras: Table, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, polymodal.Model]]:
    with tiny.decode_cache(tmp_path_factory.mktemp("sharing")):
        yield {"own": tiny.train(two_cameras), "shared": tiny.train(two_cameras, share=CAMERAS)}


def test_a_shared_encoder_is_counted_and_written_once(models: Any, tmp_path: Path) -> None:
    own, shared = (models[name].report_data for name in ("own", "shared"))
    (encoder,) = {stream["parameters"] for stream in shared["streams"] if stream["shared"] == "cameras"}
    assert own["parameters"] - shared["parameters"] == encoder > 0
    models["shared"].save(tmp_path / "model")
    with safe_open(tmp_path / "model" / "network.safetensors", "pt") as file:
        written = sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118
    buffers = sum(value.numel() for value in models["shared"].trained.network.state_dict().values())
    assert written == buffers


def test_save_load_predict_is_bit_identical(models: Any, two_cameras: Table, tmp_path: Path) -> None:
    models["shared"].save(tmp_path / "model")
    loaded = polymodal.load(tmp_path / "model")
    assert tiny.same(models["shared"].predictions(two_cameras).values, loaded.predictions(two_cameras).values)
    network = loaded.trained.network
    assert network.encoders[0] is network.encoders[1]
    assert len(network.own_encoders) == 2


def test_the_same_picture_is_the_same_in_both_streams(models: Any, two_cameras: Table) -> None:
    twice = tiny.with_cells(two_cameras, cam_b=two_cameras.columns["cam_a"])
    for name, alike in (("shared", True), ("own", False)):
        trained = models[name].trained
        columns, _ = trained.preprocessor.transform(twice)
        with torch.inference_mode():
            tokens = trained.network.eval().encode({s: _batch(columns[s]) for s in trained.network.streams})
        assert torch.equal(tokens["cam_a"].values, tokens["cam_b"].values) == alike


def _batch(column: Any) -> ColumnBatch:
    return ColumnBatch.from_column(column)


def test_values_of_absent_cells_are_never_read(models: Any, two_cameras: Table) -> None:
    trained = models["shared"].trained
    columns, _ = trained.preprocessor.transform(two_cameras)
    batch = {stream: _batch(columns[stream]) for stream in trained.network.streams}
    garbage = dict(batch)
    for stream in ("cam_a", "cam_b"):
        values = batch[stream].values.clone()
        values[~batch[stream].present] = 200
        garbage[stream] = ColumnBatch(values, batch[stream].present, batch[stream].lengths)
    assert not batch["cam_a"].present.all()
    with torch.inference_mode():
        first, second = (trained.network.eval()(found).fused["kind"] for found in (batch, garbage))
    assert torch.equal(first, second)


def test_the_encoder_learns_from_each_of_its_streams(models: Any, two_cameras: Table) -> None:
    network = models["shared"].trained.network
    columns, _ = models["shared"].trained.preprocessor.transform(two_cameras)
    batch = {stream: _batch(columns[stream]) for stream in network.streams}
    place = network.encoder_indices[network.streams.index("cam_a")]
    for stream in ("cam_a", "cam_b"):
        network.zero_grad()
        network.train()(batch).streams["kind"][stream].square().sum().backward()
        assert all(p.grad is not None and p.grad.any() for p in network.own_encoders[place].parameters())
    network.zero_grad()
    network.eval()


def test_streams_are_fitted_together(models: Any) -> None:
    def fitted(name: str) -> list[str]:
        modalities = models[name].trained.preprocessor.modalities
        return [json.dumps(modalities[stream].state()) for stream in ("cam_a", "cam_b")]

    shared, own = fitted("shared"), fitted("own")
    assert shared[0] == shared[1]
    assert own[0] != own[1]
    assert shared[0] not in own


def test_the_report_names_the_group(models: Any, two_cameras: Table, tmp_path: Path) -> None:
    tiny.train(two_cameras, share=CAMERAS, output=tmp_path / "run")
    assert "shared: cameras" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize("tuning", ["frozen", "full"])
def test_a_shared_checkpoint_is_copied_once(tuning: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    checkpoint = save_reader(tmp_path / "bert")
    random = np.random.default_rng(0)
    kinds = [tiny.KINDS[number] for number in random.integers(0, 3, 40)]
    said = {name: [f"{tiny.WORDS[tiny.KINDS.index(kind)]} at home" for kind in kinds] for name in ("first", "second")}
    model = tiny.train(
        {**said, "kind": kinds},
        modality={"first": "text", "second": "text"},
        share={"words": ["first", "second"]},
        encoder=dict.fromkeys(said, checkpoint),
        settings={f"encoder.{name}.hyperparameters": {"tuning": tuning} for name in said},
    )
    model.save(tmp_path / "model")
    assert len(list((tmp_path / "model" / "checkpoints").iterdir())) == 1
    loaded = polymodal.load(tmp_path / "model")
    rows = {name: cells[:5] for name, cells in said.items()}
    assert tiny.same(model.predictions(rows).values, loaded.predictions(rows).values)


def groups(share: Any, **options: Any) -> SharedGroups:
    return shared_groups(build_config({"share": share, **options}), MODALITIES)


def test_groups_follow_the_streams_order() -> None:
    assert groups({"both": ["cam_b", "cam_*"]}).encoders == {"both": ("cam_a", "cam_b")}


def test_what_is_shared_follows_from_the_modalities() -> None:
    everything = tuple(MODALITIES)
    assert groups("all") == ({}, {"all": everything})
    assert groups({"all": ["*"], **CAMERAS}) == ({"cameras": ("cam_a", "cam_b")}, {"all": everything})
    assert groups({"said": ["note", "tabular"]}) == ({}, {"said": ("note", "tabular")})
    numbers = dict.fromkeys(("here", "there"), "tabular")
    assert shared_groups(build_config({"share": "all"}), numbers) == ({}, {"all": ("here", "there")})


def test_groups_without_some_streams_share_what_they_shared() -> None:
    config = build_config({"share": {"all": ["*"], **CAMERAS}})
    assert share_without(config, MODALITIES, {"tabular"}) == {
        "cameras": ("cam_a", "cam_b"),
        "all": ("cam_a", "cam_b", "note"),
    }
    assert share_without(config, MODALITIES, {"cam_a"}) == {"all": ("cam_b", "note", "tabular")}
    assert share_without(config, MODALITIES, {"note", "tabular"}) == CAMERAS_ALONE


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": {"g": ["mic_*"]}}, r"'g' of --share asks for 'mic_\*', which matches no stream.*are: cam_a, cam_b"),
        ({"share": {"g": ["cam_a"]}}, r"'g' of --share needs two streams or more. Got cam_a"),
        ({"share": {"g": ["tabular"]}}, r"'g' of --share needs two streams or more. Got tabular"),
        ({"share": {"g": ["cam_*"], "h": ["cam_*"]}}, r"'cam_a' shares an encoder in two groups of --share, 'g' and"),
        ({"share": {"g": ["*"], "h": ["cam_b", "note"]}}, r"'cam_b' shares layers in two groups of --share, 'g' and"),
        (
            {"share": {"g": ["cam_*"], "h": ["cam_b", "note"]}},
            r"'cam_b' and 'cam_a' share an encoder, but only 'cam_b' is in the group 'h'.*Name both there, or neither",
        ),
        (
            {"share": CAMERAS, "encoder": {"cam_a": {"name": "vit"}}},
            r"'cam_a' and 'cam_b' .* differ in their encoder: vit and default",
        ),
        (
            {"share": CAMERAS, "settings": {"cam_b": {"size": 64}}},
            r"'cam_a' and 'cam_b' .* differ in their settings: default and size=64",
        ),
    ],
)
def test_streams_that_cannot_share_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        shared_groups(build_config(options), MODALITIES)


def test_one_stream_cannot_share_with_all() -> None:
    with pytest.raises(ConfigError, match=r"'all' of --share needs two streams or more. Got note"):
        shared_groups(build_config({"share": "all"}), {"note": "text"})


@pytest.mark.parametrize("share", ["al", ["note"], {"all": "note"}])
def test_a_share_that_is_no_group_is_refused(share: Any) -> None:
    with pytest.raises(ConfigError, match="The option 'share"):
        build_config({"share": share})
