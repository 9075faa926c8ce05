"""Precision of training: float32, or bfloat16 by autocast (torch)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache

import torch

from polymodal.nn.devices import choose_device

BFLOAT16_INSTRUCTION_SETS = frozenset({"avx512_bf16", "amx_bf16"})
"""Instruction sets with which bfloat16 is faster than float32 on a CPU; without them it is emulated."""


def choose_precision(asked: str) -> str:
    """Resolve ``auto`` to the fastest precision of the machine.

    The choice depends on the instruction sets of the processor, not on a measurement, so it is the same in every run.

    Args:
        asked: ``auto``, ``float32`` or ``bfloat16``.

    Returns:
        ``float32`` or ``bfloat16``.
    """
    if asked != "auto":
        return asked
    return "bfloat16" if has_fast_bfloat16(choose_device()) else "float32"


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for products of bfloat16 numbers.

    Args:
        device: A GPU or the CPU.

    Returns:
        False where bfloat16 is emulated.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type != "cpu" or not BFLOAT16_INSTRUCTION_SETS.isdisjoint(_cpu_capabilities())


def has_correct_bfloat16_convolutions(device: torch.device) -> bool:
    """Whether all bfloat16 convolutions of a device are correct.

    The AMX kernels of oneDNN (of torch 2.13) return wrong values if a small number of channels times a long kernel is
    a multiple of 32, if the last axis of the output has length 1, and for some long, dilated or even kernels; some of
    them write out of bounds.

    Args:
        device: A GPU or the CPU.

    Returns:
        False for the CPU where it has AMX.
    """
    return device.type != "cpu" or "amx_bf16" not in _cpu_capabilities()


@cache
def _cpu_capabilities() -> frozenset[str]:
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # new in torch 2.9
    return frozenset(name for name, is_supported in capabilities.items() if is_supported)


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Return an autocast context; weights, large reductions and norms stay float32.

    Mixed precision training: Micikevicius et al. 2018, arXiv 1710.03740, with bfloat16, which needs no loss scaling
    (Kalamkar et al. 2019, arXiv 1905.12322).

    Args:
        precision: ``float32`` or ``bfloat16``.
        device: Device of the network.

    Returns:
        The context.
    """
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


def autocast_disabled(device: torch.device) -> AbstractContextManager[object]:
    """Return a context that disables autocast, so that float32 inputs are computed in float32.

    Args:
        device: Device of the network.

    Returns:
        The context.
    """
    return torch.autocast(device.type, enabled=False)
