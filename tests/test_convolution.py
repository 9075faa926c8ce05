"""Convolutions in lower precision: their gradients, and their patience with a busy machine."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
import torch

from polymodal import precision
from polymodal.convolution import Conv1d, Conv2d, ConvTranspose2d
from polymodal.precision import lowered

CPU = torch.device("cpu")
LAYERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "text": (lambda: Conv1d(6, 8, 3), (4, 6, 9)),
    "series": (lambda: Conv1d(6, 8, 3, padding=2, dilation=2, bias=False), (4, 6, 9)),
    "picture": (lambda: Conv2d(3, 8, 3, 2, padding=1, bias=False), (4, 3, 10, 12)),
    "patches": (lambda: Conv2d(3, 8, 4, 4), (4, 3, 8, 12)),
    "large patches": (lambda: Conv2d(4, 8, 16, 16), (4, 4, 32, 48)),
    "long filter": (lambda: Conv1d(2, 16, 48, 16), (4, 2, 800)),
    "one value left": (lambda: Conv2d(16, 8, 4, 4), (4, 16, 4, 4)),
    "painting": (lambda: ConvTranspose2d(6, 8, 4, stride=2, padding=1), (4, 6, 5, 5)),
}


def gradients(layer: torch.nn.Module, x: torch.Tensor, precision: str) -> list[torch.Tensor]:
    x = x.clone().requires_grad_()
    with lowered(precision, CPU):
        out = layer(x)
    grads = torch.autograd.grad((out.float() * out.detach().float().cos()).sum(), [x, *layer.parameters()])
    assert all(grad.dtype == torch.float32 for grad in grads)
    return [out.detach().float(), *grads]


@pytest.mark.parametrize("name", list(LAYERS))
def test_lower_precision_gives_nearly_the_same_gradients(name: str) -> None:
    torch.manual_seed(0)
    build, shape = LAYERS[name]
    layer, x = build(), torch.randn(shape)
    for low, exact in zip(gradients(layer, x, "bfloat16"), gradients(layer, x, "float32"), strict=True):
        assert (low - exact).norm() <= 0.02 * exact.norm()


def test_without_learning_it_is_torch_s_own_convolution() -> None:
    layer, x = Conv2d(3, 8, 3), torch.randn(2, 3, 8, 8)
    with torch.inference_mode():
        assert torch.equal(layer(x), torch.nn.functional.conv2d(x, layer.weight, layer.bias))


@pytest.mark.parametrize("learns", [True, False])
def test_where_convolutions_in_bfloat16_are_wrong_they_compute_exactly(
    learns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_levels", lambda: frozenset({"avx512_bf16", "amx_bf16"}))
    layer, x = Conv1d(2, 16, 48, 16), torch.randn(4, 2, 800)
    with torch.set_grad_enabled(learns), lowered("bfloat16", CPU):
        found, after = layer(x.bfloat16()), torch.nn.Linear(8, 8)(torch.randn(2, 8))
    assert (found.dtype, after.dtype) == (torch.float32, torch.bfloat16)
    assert torch.equal(found, layer(x.bfloat16().float()))


CROWDED = """
import os, time, torch
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
torch.set_num_threads(2)
from polymodal.convolution import Conv2d
from polymodal.precision import lowered
layer, x = Conv2d(32, 64, 3, 2, padding=1, bias=False), torch.randn(64, 32, 28, 28)
def seconds(precision):
    started = time.process_time()
    for _ in range(3):
        with lowered(precision, torch.device("cpu")):
            out = layer(x)
        out.float().square().mean().backward()
    return time.process_time() - started
seconds("float32"), seconds("bfloat16")
print(seconds("bfloat16") / seconds("float32"))
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot put a process onto one core")
def test_two_threads_on_one_core_do_not_wait_for_each_other() -> None:
    """As in a container with fewer cores than threads: torch's own convolution took a hundred times as long."""
    done = subprocess.run([sys.executable, "-c", CROWDED], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 8
