"""How exactly a network computes while it learns (torch)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache

import torch

from polymodal.nn.devices import choose_device

BFLOAT16_LEVELS = frozenset({"avx512_bf16", "amx_bf16"})
"""What a processor must have so that bfloat16 is faster than float32; others only imitate it."""


def choose_precision(asked: str) -> str:
    """Fill in what the machine is fastest with.

    The choice hangs on what the processor can do and on nothing measured, so that the same machine always chooses
    alike.

    Args:
        asked: ``auto``, ``float32`` or ``bfloat16``.

    Returns:
        ``float32`` or ``bfloat16``.
    """
    if asked != "auto":
        return asked
    return "bfloat16" if has_fast_bfloat16(choose_device()) else "float32"


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 numbers by itself.

    Args:
        device: A GPU or the CPU.

    Returns:
        False where it would only imitate them.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type != "cpu" or not BFLOAT16_LEVELS.isdisjoint(_levels())


def has_sound_convolutions(device: torch.device) -> bool:
    """Whether all of a device's convolutions of bfloat16 numbers are right.

    Those of oneDNN (as it comes with torch 2.13) for processors with AMX are not where few channels times a long
    filter make a multiple of 32, nor where a line is left one value, nor for some long, wide or even filters: what they
    return is no rounding, and some write where they must not.

    Args:
        device: A GPU or the CPU.

    Returns:
        False for the CPU where it has AMX.
    """
    return device.type != "cpu" or "amx_bf16" not in _levels()


@cache
def _levels() -> frozenset[str]:
    found: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # new in torch 2.9
    return frozenset(level for level, there in found.items() if there)


def lowered(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Let layers multiply in a lower precision; weights, sums of many numbers and norms stay float32.

    Mixed precision training: Micikevicius et al. 2018, arXiv 1710.03740, with bfloat16, which needs no loss scaling
    (Kalamkar et al. 2019, arXiv 1905.12322).

    Args:
        precision: ``float32`` or ``bfloat16``.
        device: Where the network is.

    Returns:
        A context.
    """
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


def exact(device: torch.device) -> AbstractContextManager[object]:
    """Compute in float32 inside of ``lowered``.

    Args:
        device: Where the network is.

    Returns:
        A context.
    """
    return torch.autocast(device.type, enabled=False)
