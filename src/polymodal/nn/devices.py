"""The device that networks run on (torch)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

from polymodal.errors import ConfigError

_chosen: ContextVar[torch.device | None] = ContextVar("device", default=None)


def choose_device(asked: str | None = None) -> torch.device:
    """Return the requested device, or the fastest one.

    Args:
        asked: A name of torch's, such as ``cpu``, ``cuda`` or ``cuda:1``; None takes that of ``use_device``, else a GPU
            where torch finds one, else the CPU.

    Returns:
        The device.

    Raises:
        ConfigError: If this machine has no such device.
    """
    if asked is None and (chosen := _chosen.get()) is not None:
        return chosen
    if asked is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=asked).device
    except (RuntimeError, AssertionError) as error:  # a build without CUDA asserts
        reason = str(error).splitlines()[0].rstrip(".")
        message = f"There is no device {asked!r} here ({reason}). Use 'cpu', or leave it out for the fastest."
        raise ConfigError(message) from None


@contextmanager
def use_device(asked: str | None) -> Iterator[None]:
    """Run everything inside on a device.

    Args:
        asked: As for ``choose_device``; None leaves the choice as it is.

    Yields:
        Nothing.

    Raises:
        ConfigError: If this machine has no such device.
    """
    token = _chosen.set(_chosen.get() if asked is None else choose_device(asked))
    try:
        yield
    finally:
        _chosen.reset(token)
