"""Every encoder, fusion and kind of target through the whole export: trained, written, checked, loaded, predicted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polymodal
import tiny
from polymodal.data.tables.table import Table
from polymodal.encoders import ENCODERS
from polymodal.export.parity import plain_difference
from polymodal.fusion import FUSIONS
from polymodal.targets import TARGETS

ROWS = 36
QUICK_FUSION = "sum"
STRUCTURED = [kind for kind in TARGETS if kind not in ("category", "categories", "number")]
FLAT = {"category": "kind", "categories": "tags", "number": "weight"}
DATA = {held: column for column, held in tiny.MODALITY_OF.items()} | {"tabular": "colour"}
OWN = [(held, name) for held in DATA for name in ENCODERS.get(held, {}) if name != "pretrained"]
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("whole")
    with tiny.decode_cache(folder):
        yield folder


def check(model: polymodal.Model, table: Table, bundle: Path) -> polymodal.Model:
    """Export a model, and compare what its bundle predicts and embeds."""
    found = model.export(bundle, table=table)
    assert all(largest <= 1e-4 for largest in found.largest.values())
    loaded = polymodal.load(bundle)
    if model.targets:
        assert plain_difference(plain(model.predict(table)), plain(loaded.predict(table))) < 1e-3
    assert np.abs(model.embed(table).rows - loaded.embed(table).rows).max() < 1e-3
    return loaded


def plain(answers: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {
        name: [np.asarray(cell) if isinstance(cell, list) else cell for cell in cells]
        for name, cells in answers.items()
    }


@pytest.mark.exhaustive
def test_a_structured_target_beside_a_flat_one(folder: Path, tmp_path: Path) -> None:
    table = tiny.write_structured_table(folder / "caption", "caption", ROWS)
    few = tiny.only(table, "size", "note", "answer")
    model = tiny.train(few, "answer", modality={"answer": "caption", "note": "text"}, fusion=QUICK_FUSION)
    loaded = check(model, few, tmp_path / "bundle")
    assert loaded.trained.network.info.fusion.steps == {"answer": 0}


@pytest.mark.exhaustive
def test_a_model_without_targets_embeds_and_searches(folder: Path, tmp_path: Path) -> None:
    table = tiny.only(tiny.write_table(folder / "joint", ROWS), "photo", "note")
    model = tiny.train(table, (), modality={"note": "text"})
    loaded = check(model, table, tmp_path / "bundle")
    index, _ = loaded.index(table)
    assert loaded.search(index, {"note": table.columns["note"][0]}, top=1)


@pytest.mark.exhaustive
def test_parts_given_from_python_are_in_the_graphs(tmp_path: Path) -> None:
    model = tiny.train(tiny.numbers_table(), fusion=halves)
    check(model, Table(tiny.numbers_table(20, seed=2)), tmp_path / "bundle")


def halves(streams: list[str], width: int) -> Any:
    """Build a fusion that no table lists."""
    return FUSIONS["sum"].build(streams, width)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("modality", "encoder"), OWN)
def test_every_encoder(modality: str, encoder: str, folder: Path, tmp_path: Path) -> None:
    column = DATA[modality]
    stream = "tabular" if modality == "tabular" else column
    table = tiny.only(tiny.write_table(folder / modality, ROWS), column, "size", "kind")
    settings = {f"settings.{stream}.features": "waveform"} if encoder == "waveform" else {}
    held = {} if modality == "tabular" else {column: modality}
    model = tiny.train(table, "kind", modality=held, encoder={stream: encoder}, fusion=QUICK_FUSION, settings=settings)
    check(model, table, tmp_path / "bundle")


@pytest.mark.exhaustive
@pytest.mark.parametrize("target", FLAT.values())
@pytest.mark.parametrize("fusion", list(FUSIONS))
def test_every_fusion_with_every_flat_target(fusion: str, target: str, folder: Path, tmp_path: Path) -> None:
    kind = next(kind for kind, name in FLAT.items() if name == target)
    if FUSIONS[fusion].kinds is not None and kind not in FUSIONS[fusion].kinds:
        pytest.skip(f"{fusion} predicts no target of this kind")
    table = tiny.only(tiny.write_table(folder / "fusions", ROWS), "photo", "note", "size", target)
    model = tiny.train(table, target, modality={"note": "text", target: kind}, fusion=fusion)
    check(model, table, tmp_path / "bundle")


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", STRUCTURED)
def test_every_structured_target(kind: str, folder: Path, tmp_path: Path) -> None:
    table = tiny.only(tiny.write_structured_table(folder / kind, kind, ROWS), "photo", "sound", "size", "answer")
    model = tiny.train(table, "answer", modality={"answer": kind})
    check(model, table, tmp_path / "bundle")


@pytest.mark.exhaustive
def test_a_sketch_beside_a_target(folder: Path, tmp_path: Path) -> None:
    table = tiny.only(tiny.write_table(folder / "sketch", ROWS), "photo", "size", "kind")
    check(tiny.train(table, "kind", reconstruct=True), table, tmp_path / "bundle")
