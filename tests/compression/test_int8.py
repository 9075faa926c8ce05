"""Exported models with int8 weights are smaller still and answer as the command line and Python say."""

from __future__ import annotations

from pathlib import Path

import pytest

import polymodal

pytest.importorskip("onnxruntime.quantization", reason="int8 weights need the extra polymodal[train]")


@pytest.mark.exhaustive
def test_int8_weights_are_smaller_and_load_without_the_network_in_torch(run: Path, rows_path: Path) -> None:
    found = polymodal.compress(run, output=run.with_name("int8"), max_drop="10%", methods=["int8"])
    points = {point.name: point for point in found.points}
    assert {"original, ONNX", "original, int8"} <= set(points), found.notices
    assert points["original, int8"].num_bytes < points["original, ONNX"].num_bytes
    assert points["original, int8"].format == "bundle"
    assert found.chosen == "original, int8"
    assert found.folder is not None
    small, large = polymodal.load(found.folder / "bundle"), polymodal.load(found.folder)
    assert "GraphNetwork" in type(small.trained.network).__name__
    answers, original = small.predict(rows_path)["kind"], large.predict(rows_path)["kind"]
    assert sum(a == b for a, b in zip(answers, original, strict=True)) >= 0.97 * len(answers)
    assert "int8 weights: " in points["original, int8"].description
