"""Encoders and fusions that are given from Python: trained, saved, and loaded by their name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import polymodal
import tiny
from polymodal.encoders import EncoderEntry
from polymodal.errors import CheckpointError, ConfigError
from polymodal.fusion import Fusion, FusionEntry
from polymodal.fusion.base import join, pool
from polymodal.tokens import ColumnBatch, Fused, Tokens


class LargestFusion(Fusion):
    """The largest value of all streams at each place."""

    def __init__(self, streams: Any, width: int, *, factor: float = 1.0) -> None:
        super().__init__(streams, width)
        self.factor = factor

    def fuse(self, streams: list[Tokens], row_present_BS: Tensor) -> Fused:
        return Fused(self.factor * pool(streams).amax(dim=1), join(streams))


class SumEncoder(nn.Module):
    """One linear map of all cells."""

    def __init__(self, fitted: Any, width: int, *, bias: bool = True) -> None:
        super().__init__()
        self.layer = nn.Linear(len(fitted.fields), width, bias=bias)

    def forward(self, column: ColumnBatch) -> Tokens:
        values = self.layer(torch.where(column.present, column.values, 0).float())
        return Tokens(values.unsqueeze(1), column.row_present.unsqueeze(1))


CUSTOM: dict[str, Any] = {"LargestFusion": LargestFusion, "SumEncoder": SumEncoder}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> polymodal.Model:
    folder = tmp_path_factory.mktemp("custom")
    settings = {"fusion.hyperparameters.factor": 0.5, "encoder.tabular.hyperparameters.bias": False}
    with tiny.decode_cache(folder):
        return tiny.train(
            tiny.numbers_table(),
            fusion=LargestFusion,
            encoder={"tabular": SumEncoder},
            settings=settings,
            output=folder / "run",
        )


def test_a_class_is_trained_with_its_hyperparameters(trained: polymodal.Model) -> None:
    network = trained.trained.network
    assert isinstance(network.fusion, LargestFusion)
    assert network.fusion.factor == 0.5
    assert isinstance(network.encoders[0], SumEncoder)
    assert network.encoders[0].layer.bias is None
    assert "LargestFusion" in (trained.folder / "run.yaml").read_text(encoding="utf-8")


def test_a_saved_model_is_loaded_with_its_custom_objects(trained: polymodal.Model, tmp_path: Path) -> None:
    table = tiny.numbers_table()
    loaded = polymodal.load(trained.folder, custom_objects=CUSTOM)
    assert tiny.same(trained.predictions(table).values, loaded.predictions(table).values)
    loaded.save(tmp_path / "again")
    again = polymodal.load(tmp_path / "again", custom_objects=CUSTOM)
    assert tiny.same(tiny.weights_of(trained), tiny.weights_of(again))


@pytest.mark.parametrize(("missing", "what"), [("LargestFusion", "fusion"), ("SumEncoder", "encoder")])
def test_a_missing_custom_object_is_one_sentence(trained: polymodal.Model, missing: str, what: str) -> None:
    given = {name: part for name, part in CUSTOM.items() if name != missing}
    expected = (
        rf"needs the {what} '{missing}', which was given from Python .*custom_objects=\{{'{missing}': {missing}\}}"
    )
    with pytest.raises(CheckpointError, match=expected):
        polymodal.load(trained.folder, custom_objects=given)


def test_a_finished_run_with_a_class_can_be_resumed(trained: polymodal.Model) -> None:
    settings = {"fusion.hyperparameters.factor": 0.5, "encoder.tabular.hyperparameters.bias": False}
    again = tiny.train(
        tiny.numbers_table(),
        fusion=LargestFusion,
        encoder={"tabular": SumEncoder},
        settings=settings,
        output=trained.folder,
        resume=True,
    )
    assert tiny.same(tiny.weights_of(trained), tiny.weights_of(again))


def test_a_row_of_the_table_may_be_given_too() -> None:
    fusion = FusionEntry(LargestFusion, "feature", "largest", "nobody", kinds=("number",))
    with pytest.raises(ConfigError, match="fusion 'LargestFusion' predicts targets of the kind number only"):
        tiny.train(tiny.numbers_table(), fusion=fusion)
    encoder = EncoderEntry(SumEncoder, "sum", "nobody")
    model = tiny.train(tiny.numbers_table(), fusion=fusion._replace(kinds=None), encoder={"tabular": encoder})
    assert isinstance(model.trained.network.fusion, LargestFusion)


def test_variants_of_a_comparison_may_be_classes() -> None:
    variants = {"largest": {"fusion.name": LargestFusion}, "sum": {"fusion.name": "sum"}}
    found = polymodal.compare(tiny.numbers_table(), target="kind", variants=variants, settings=tiny.QUICK)
    fusions = {row.variant: row.fusion for row in found.rows}
    assert (fusions["largest"], fusions["sum"]) == ("LargestFusion", "sum")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fusion": 3}, "The option 'fusion.name' is wrong: .*Got 3 instead"),
        ({"fusion": LargestFusion, "settings": {"fusion.hyperparameters.colour": 3}}, "fusion 'LargestFusion' must be"),
        (
            {"encoder": {"tabular": SumEncoder}, "settings": {"encoder.tabular.hyperparameters.bias": 3}},
            "true or false",
        ),
    ],
)
def test_what_cannot_work_is_one_sentence(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny.train(tiny.numbers_table(), **options)


def test_a_model_names_nothing_that_is_its_own(trained: polymodal.Model, tmp_path: Path) -> None:
    tiny.train(tiny.numbers_table()).save(tmp_path / "model")
    plain = json.loads((tmp_path / "model" / "model.json").read_text(encoding="utf-8"))
    assert plain["parts"] == []


def test_nothing_is_imported_because_a_model_names_it(trained: polymodal.Model, tmp_path: Path) -> None:
    trained.save(tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    plain = json.loads(path.read_text(encoding="utf-8"))
    part = {"name": "antigravity", "group": "polymodal.fusions", "distribution": "antigravity", "version": "1"}
    path.write_text(json.dumps(plain | {"parts": [part]}), encoding="utf-8")
    (tmp_path / "model" / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match=r"fusion 'antigravity' of the package antigravity 1, which is not inst"):
        polymodal.load(tmp_path / "model")
