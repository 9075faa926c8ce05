"""How exactly a network computes while it learns (torch)."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

BFLOAT16_LEVELS = ("avx512_bf16", "amx_bf16")
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
    return "bfloat16" if has_fast_bfloat16() else "float32"


def has_fast_bfloat16() -> bool:
    """Whether the device that trains multiplies bfloat16 numbers by itself."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    found: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # new in torch 2.9
    return any(found.get(level, False) for level in BFLOAT16_LEVELS)


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
