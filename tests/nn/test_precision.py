"""The precision of training, and the layers that make it fast."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

import polymodal
import tiny
from polymodal.encoders.recurrent import Recurrent, trains_in_bfloat16
from polymodal.nn import precision
from polymodal.nn.attention import attend
from polymodal.nn.layers import Dropout, GroupNorm, MaskedGroupNorm, use_channels_last
from polymodal.nn.precision import autocast, choose_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("levels", "expected"),
    [({"avx512_bf16"}, "bfloat16"), ({"avx512_bf16", "amx_bf16"}, "bfloat16"), ({"avx2"}, "float32")],
)
def test_auto_is_the_fastest_precision_of_the_processor(
    levels: set[str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_cpu_capabilities", lambda: frozenset(levels))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_precision("auto") == expected
    assert choose_precision("float32") == "float32"
    assert choose_precision("bfloat16") == "bfloat16"


def test_this_processor_is_known() -> None:
    assert choose_precision("auto") in ("float32", "bfloat16")


@pytest.mark.parametrize("asked", ["float32", "bfloat16"])
def test_the_report_names_the_precision_and_the_model_is_float32(asked: str) -> None:
    model = tiny.train(tiny.numbers_table(), settings={"train.precision": asked, "train.epochs": 6})
    assert model.report_data["config"]["train"]["precision"] == asked
    assert all(value.dtype == torch.float32 for value in model.trained.network.parameters())
    history = model.report_data["history"]
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    again = polymodal.fit(tiny.numbers_table(), target="kind", config=model.report_data["config"])
    assert tiny.scores_of(again) == tiny.scores_of(model)


def test_the_resolved_precision_is_in_the_report() -> None:
    model = tiny.train(tiny.numbers_table())
    assert model.report_data["config"]["train"]["precision"] == choose_precision("auto")


OLD_PROCESSOR = """
import json, sys
import tiny
table = {"first": ["purrs on sofas", "barks at gates"] * 20, "second": ["it purrs aloud", "it barks aloud"] * 20}
encoders = {"encoder.first.name": "lstm", "encoder.second.name": "gru"}
settings = {"train.precision": "bfloat16", "modality.first": "text", "modality.second": "text"}
model = tiny.train(table | {"kind": ["cat", "dog"] * 20}, settings=settings | encoders | {"train.epochs": 4})
print(json.dumps(model.report_data["config"]["encoder"]), json.dumps(model.report_data["history"]), sep="\\n")
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="oneDNN is told to imitate an x86 processor")
def test_recurrent_layers_train_on_a_processor_without_bfloat16() -> None:
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", OLD_PROCESSOR]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=Path(__file__).parent)
    assert done.returncode == 0, done.stderr
    encoders, history = map(json.loads, done.stdout.splitlines())
    assert [encoders[name]["name"] for name in ("first", "second")] == ["lstm", "gru"]
    assert history[-1]["train_loss"] < history[0]["train_loss"]


def test_the_trial_of_a_layer_draws_no_random_numbers() -> None:
    trains_in_bfloat16.cache_clear()
    torch.manual_seed(0)
    with torch.inference_mode():
        assert isinstance(trains_in_bfloat16("lstm", CPU), bool)
    found = torch.randn(3)
    torch.manual_seed(0)
    assert torch.equal(found, torch.randn(3))


def test_a_layer_without_bfloat16_kernel_computes_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, steps = Recurrent("lstm", 4, 1, 0.0), torch.randn(2, 5, 4).bfloat16()
    monkeypatch.setattr("polymodal.encoders.recurrent.trains_in_bfloat16", lambda *_: False)
    lengths = torch.tensor([5, 3])
    with autocast("bfloat16", CPU):
        found, after = layer(steps, lengths), nn.Linear(4, 4)(steps)
    assert (found.dtype, after.dtype) == (torch.float32, torch.bfloat16)
    assert torch.equal(found, layer(steps.float(), lengths))


def test_dropout_has_its_probability_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    dropout, ones = Dropout(0.1).train(), torch.ones(300, 333)
    found = dropout(ones)
    assert found.unique().tolist() == [0.0, pytest.approx(1 / 0.9, rel=1e-4)]
    assert float((found == 0).float().mean()) == pytest.approx(0.1, abs=0.004)
    assert torch.equal(dropout.eval()(ones), ones)
    assert torch.equal(Dropout(0.0).train()(ones), ones)
    assert not Dropout(1.0).train()(ones).any()
    assert dropout.train()(torch.ones(0, 3)).shape == (0, 3)
    assert dropout(torch.ones(5, dtype=torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize("causal", [False, True])
def test_attention_agrees_with_torch_under_autocast(causal: bool) -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 4, 5, 8).unbind()
    present = None if causal else torch.rand(2, 5) < 0.7
    if present is not None:
        present[:, 0] = True
    expected = attend(query, key, value, present, causal)
    mask = None if present is None else present[:, None, None, :]
    whole = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)
    assert torch.equal(expected, whole)
    with autocast("bfloat16", CPU):
        found = attend(query, key, value, present, causal)
    torch.testing.assert_close(found.float(), expected, atol=0.03, rtol=0.03)


@pytest.mark.parametrize("shape", [(2, 8, 5, 6), (2, 8, 7)])
def test_group_norm_in_bfloat16_agrees_with_torch(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    norm, maps = GroupNorm(4, 8), torch.randn(shape)
    spread = maps.transpose(1, 2).contiguous().transpose(1, 2).bfloat16()
    plain = nn.GroupNorm(4, 8)(maps)
    torch.testing.assert_close(norm(spread).float(), plain, atol=0.05, rtol=0.05)
    assert torch.equal(norm(maps), plain)
    with autocast("bfloat16", CPU):
        assert torch.equal(norm(maps), plain.bfloat16())


def test_a_masked_norm_counts_steps_exactly_in_bfloat16() -> None:
    """1001 is no bfloat16 number; a count rounded to 1000 would change every value."""
    torch.manual_seed(0)
    norm, steps = MaskedGroupNorm(2, 4), torch.randn(1, 4, 1100).bfloat16()
    keep = (torch.arange(1100) < 1001).view(1, 1, -1)
    found = norm(steps, keep.bfloat16())
    assert torch.equal(found, norm(steps.float(), keep.float()))


def test_convolutions_keep_their_channels_last() -> None:
    module = nn.Sequential(nn.Conv2d(3, 8, 3), GroupNorm(2, 8))
    use_channels_last(module)
    with autocast("bfloat16", CPU):
        found = module(torch.randn(2, 3, 9, 9).contiguous(memory_format=torch.channels_last))
    assert found.is_contiguous(memory_format=torch.channels_last)
