"""Models with pretrained encoders as bundles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import polymodal
import tiny
from polymodal.data.tables.table import Table
from polymodal.export.export_bundle import export_bundle
from polymodal.progress import SilentProgress
from tiny_checkpoints import save_reader

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.mark.exhaustive
def test_a_model_with_a_frozen_checkpoint_answers_the_same_as_a_bundle(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    checkpoint = save_reader(tmp_path / "bert")
    kinds = [tiny.KINDS[number] for number in np.random.default_rng(0).integers(0, 3, 40)]
    said = [f"{tiny.WORDS[tiny.KINDS.index(kind)]} at home" for kind in kinds]
    model = tiny.train({"said": said, "kind": kinds}, modality={"said": "text"}, encoder={"said": checkpoint})
    table = Table({"said": [*said[:8], None, ""]}, name="rows")
    parity = export_bundle(model.trained, tmp_path / "bundle", table, SilentProgress())
    assert parity.largest["kind"] < 1e-5
    exported = polymodal.load(tmp_path / "bundle")
    expected = model.predictions({"said": said}).values["kind"]
    np.testing.assert_allclose(exported.predictions({"said": said}).values["kind"], expected, atol=0.02)
