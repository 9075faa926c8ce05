"""Convolutions in bfloat16: their gradients, and which kernels compute them."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from polymodal.nn import convolution, precision
from polymodal.nn.convolution import Conv1d, Conv2d, ConvTranspose2d
from polymodal.nn.precision import autocast

CPU = torch.device("cpu")
AMX = frozenset({"avx512_bf16", "amx_bf16"})
NO_AMX = frozenset({"avx512_bf16"})
LAYERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "text": (lambda: Conv1d(6, 8, 3), (4, 6, 9)),
    "series": (lambda: Conv1d(6, 8, 3, padding=2, dilation=2, bias=False), (4, 6, 9)),
    "picture": (lambda: Conv2d(3, 8, 3, 2, padding=1, bias=False), (4, 3, 10, 12)),
    "patches": (lambda: Conv2d(3, 8, 4, 4), (4, 3, 8, 12)),
    "large patches": (lambda: Conv2d(4, 8, 16, 16), (4, 4, 32, 48)),
    "long filter": (lambda: Conv1d(2, 16, 48, 16), (4, 2, 800)),
    "one value left": (lambda: Conv2d(16, 8, 4, 4), (4, 16, 4, 4)),
    "usual picture": (lambda: Conv2d(24, 32, 3, 2, padding=1, bias=False), (4, 24, 9, 7)),
    "usual series": (lambda: Conv1d(16, 8, 3, padding=1), (4, 16, 9)),
    "frames": (lambda: Conv2d(16, 8, (3, 1), padding=(1, 0), bias=False), (3, 16, 5, 4)),
    "points": (lambda: Conv2d(16, 8, 1, (2, 1)), (4, 16, 6, 5)),
    "few places": (lambda: Conv1d(16, 8, 1), (1, 16, 2)),
    "painting": (lambda: ConvTranspose2d(6, 8, 4, stride=2, padding=1), (4, 6, 5, 5)),
}


def gradients(layer: torch.nn.Module, x: torch.Tensor, precision: str) -> list[torch.Tensor]:
    x = x.clone().requires_grad_()
    with autocast(precision, CPU):
        out = layer(x)
    grads = torch.autograd.grad((out.float() * out.detach().float().cos()).sum(), [x, *layer.parameters()])
    assert all(grad.dtype == torch.float32 for grad in grads)
    return [out.detach().float(), *grads]


@pytest.mark.parametrize("levels", [None, AMX])
@pytest.mark.parametrize("name", list(LAYERS))
def test_lower_precision_gives_nearly_the_same_gradients(
    name: str, levels: frozenset[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On this processor, and as if it had AMX."""
    if levels is not None:
        monkeypatch.setattr(precision, "_cpu_capabilities", lambda: levels)
    torch.manual_seed(0)
    build, shape = LAYERS[name]
    layer, x = build(), torch.randn(shape)
    for low, exact in zip(gradients(layer, x, "bfloat16"), gradients(layer, x, "float32"), strict=True):
        assert (low - exact).norm() <= 0.02 * exact.norm()


def test_without_gradients_it_is_the_convolution_of_torch() -> None:
    layer, x = Conv2d(3, 8, 3), torch.randn(2, 3, 8, 8)
    with torch.inference_mode():
        assert torch.equal(layer(x), torch.nn.functional.conv2d(x, layer.weight, layer.bias))


@pytest.mark.parametrize("learns", [True, False])
def test_where_bfloat16_convolutions_are_wrong_float32_is_used(learns: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_cpu_capabilities", lambda: AMX)
    layer, x = Conv1d(2, 16, 48, 16), torch.randn(4, 2, 800)
    with torch.set_grad_enabled(learns), autocast("bfloat16", CPU):
        found, after = layer(x.bfloat16()), torch.nn.Linear(8, 8)(torch.randn(2, 8))
    assert (found.dtype, after.dtype) == (torch.float32, torch.bfloat16)
    assert torch.equal(found, layer(x.bfloat16().float()))


def test_patches_of_large_maps_are_laid_out_a_few_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_cpu_capabilities", lambda: AMX)
    torch.manual_seed(0)
    layer, x = Conv2d(16, 8, 3, padding=1), torch.randn(5, 16, 6, 7)
    whole = gradients(layer, x, "bfloat16")
    monkeypatch.setattr(convolution, "MAX_PATCH_VALUES", 2 * 6 * 7 * 9 * 16)
    for parts, expected in zip(gradients(layer, x, "bfloat16"), whole, strict=True):
        assert (parts - expected).norm() <= 0.01 * expected.norm()


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (Conv2d(16, 8, 3, 2, padding=1), (2, 16, 9, 9), torch.bfloat16),
        (Conv2d(15, 8, 3, 2, padding=1), (2, 15, 9, 9), torch.float32),
        (Conv2d(16, 8, 5, 2, padding=2), (2, 16, 9, 9), torch.float32),
        (Conv2d(16, 8, 3, 3, padding=1), (2, 16, 9, 9), torch.float32),
        (Conv2d(16, 8, 3, 2, padding=0), (2, 16, 9, 9), torch.float32),
        (Conv2d(16, 8, 3, 2, padding=1), (2, 16, 9, 2), torch.float32),
        (Conv2d(16, 8, 3, padding=1, groups=2), (2, 16, 9, 9), torch.float32),
        (Conv1d(16, 8, 3, padding=2, dilation=2), (2, 16, 9), torch.float32),
    ],
)
def test_only_verified_convolutions_use_bfloat16_where_others_are_wrong(
    layer: torch.nn.Module, shape: tuple[int, ...], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_cpu_capabilities", lambda: AMX)
    with autocast("bfloat16", CPU):
        assert layer(torch.randn(shape)).dtype == expected


@pytest.mark.skipif("amx_bf16" not in precision._cpu_capabilities(), reason="this processor has no AMX")
@pytest.mark.parametrize("seed", range(40))
def test_verified_convolutions_are_correct_with_amx(seed: int) -> None:
    """Of random sizes: outputs and gradients against float32."""
    draw = random.Random(seed)
    size, stride = [draw.choice([1, 3, 3]) for _ in range(2)], [draw.choice([1, 2]) for _ in range(2)]
    channels, rows, sides = draw.randint(16, 130), draw.choice([1, 3, 16]), [draw.randint(3, 40) for _ in range(2)]
    torch.manual_seed(seed)
    layer = Conv2d(channels, draw.randint(1, 130), size, stride, padding=[extent // 2 for extent in size])
    x = torch.randn(rows, channels, *sides)
    if draw.random() < 0.7:
        layer, x = (part.to(memory_format=torch.channels_last) for part in (layer, x))
    for low, exact in zip(gradients(layer, x, "bfloat16"), gradients(layer, x, "float32"), strict=True):
        assert (low - exact).norm() <= 0.02 * exact.norm()


class BackwardRecorder(TorchDispatchMode):
    """Records the dtypes in which torch computes the gradients of the weights of convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.dtypes: list[torch.dtype] = []

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if operation is torch.ops.aten.convolution_backward.default and args[-1][1]:
            self.dtypes.append(args[0].dtype)
        return operation(*args, **(kwargs or {}))


@pytest.mark.parametrize("levels", [NO_AMX, AMX])
@pytest.mark.parametrize("name", list(LAYERS))
def test_the_kernel_with_spinning_threads_is_never_used(
    name: str, levels: frozenset[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If two threads share a core, the bfloat16 kernel for gradients of weights takes a hundred times as long."""
    monkeypatch.setattr(precision, "_cpu_capabilities", lambda: levels)
    build, shape = LAYERS[name]
    with BackwardRecorder() as seen:
        gradients(build(), torch.randn(shape), "bfloat16")
    assert set(seen.dtypes) <= {torch.float32}
    assert seen.dtypes or levels is AMX
