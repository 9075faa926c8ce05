"""The device that networks run on (torch)."""

from __future__ import annotations

import torch

from polymodal.errors import ConfigError


def choose_device(asked: str | None = None) -> torch.device:
    """Return the requested device, or the fastest one.

    Args:
        asked: A name of torch's, such as ``cpu``, ``cuda`` or ``cuda:1``; None takes a GPU where torch finds one, else
            the CPU.

    Returns:
        The device.

    Raises:
        ConfigError: If this machine has no such device.
    """
    if asked is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=asked).device
    except (RuntimeError, AssertionError) as error:  # a build without CUDA asserts
        reason = str(error).splitlines()[0].rstrip(".")
        message = f"There is no device {asked!r} here ({reason}). Use 'cpu', or None for the fastest."
        raise ConfigError(message) from None
