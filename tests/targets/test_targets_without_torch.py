"""Fitted targets are read, decode and measure where torch is not installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from polymodal.data.schema.schema import StreamSchema
from polymodal.targets import OBJECTIVES, TARGETS, RowContext, fit_target
from target_examples import TARGET_EXAMPLES

PROGRAM = """
import json, sys

class WithoutTorch:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers"):
            raise ModuleNotFoundError(f"{name} is not installed", name=name)

sys.meta_path.insert(0, WithoutTorch())

import numpy as np
from polymodal.targets import RowContext, StructuredTarget, primary_metric_of, target_class
from polymodal.targets.numeric import NumericTarget
from polymodal.targets.structured import values_of

for kind, state in json.loads(sys.stdin.read()):
    target = target_class(kind).from_state(state)
    assert primary_metric_of(target)
    if not isinstance(target, StructuredTarget):
        prediction = np.stack([target.prior] * 3) if target.classes else np.repeat(target.prior, 3)
        assert len(target.decode(prediction)) == 3
        assert len(target.to_prediction(np.zeros((3, target.output_dim), np.float32))) == 3
        continue
    target.notices(), target.stream_settings("a", "image"), target.reads_detail("a", "image")
    priors = target.prior_predictions(np.array([target.prior] * 3, dtype=object))
    assert len(values_of(priors)) == 3
    if kind in ("vector", "sketch"):
        answers = target.read_outputs({"standardised": np.zeros((3, len(target.mean)), np.float32)})
    elif kind == "series":
        answers = target.read_outputs({"standardised": np.zeros((3, *target.mean_SC.shape), np.float32)})
    elif kind == "boxes":
        scores = np.full((3, 12, len(target.names)), 0.9, np.float32)
        present = np.array([True, False, True])
        answers = target.read_outputs({"scores": scores, "boxes": np.ones((3, 12, 4), np.float32), "present": present})
    elif kind == "transcript":
        log = np.full((3, 7, len(target.units.symbols) + 1), -1.0, np.float32)
        answers = target.read_outputs({"log_probabilities": log, "num_steps": np.array([7, 0, 3])})
    elif kind == "embedding":
        answers = target.read_outputs({"vectors": np.ones((3, 1, 4)), "present": np.ones((3, 1), bool)})
    elif kind == "image":
        answers = target.read_outputs({"pixels": np.zeros((3, 1, 8, 10), np.float32)})
    else:
        first = {"candidates": np.zeros((3, 1), np.float32), "candidate_ids": np.full((3, 1), 5)}
        answers = target.read_outputs(first, lambda inputs: first)
    assert len(target.postprocess(answers, RowContext({"picture": [None] * 3}))) == 3
    if isinstance(target, NumericTarget):
        assert len(target.from_numbers(target.prediction_numbers(priors))) == 3
assert "torch" not in sys.modules
print("done")
"""


def fitted(kind: str) -> tuple[str, Any]:
    cells = TARGET_EXAMPLES[kind].cells
    streams = (StreamSchema("picture", "image", ("picture",)),)
    target = fit_target(kind, cells, RowContext({"picture": [b""] * len(cells)}, streams=streams), {})
    return kind, target.state()


def run_without_torch(program: str, given: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        input=given,
        capture_output=True,
        text=True,
        env=dict(os.environ),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_kind_is_read_without_torch() -> None:
    embedding = ("embedding", {"dim": 4, "columns": {"a": ["a"]}, "relevance": ""})
    sketch = {"stream": "a", "modality": "image", "mean": [0.0], "scale": 1.0, "recovered": False}
    states = [fitted(kind) for kind in TARGETS] + [embedding, ("sketch", sketch)]
    assert {kind for kind, _ in states} == {*TARGETS, *OBJECTIVES}
    assert run_without_torch(PROGRAM, json.dumps(states)) == "done"
