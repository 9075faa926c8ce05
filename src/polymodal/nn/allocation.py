"""A limit on what building a network may allocate, so that absurd sizes are refused before the memory is taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

FACTORIES = frozenset(
    {
        torch.arange,
        torch.empty,
        torch.eye,
        torch.full,
        torch.linspace,
        torch.logspace,
        torch.ones,
        torch.rand,
        torch.randint,
        torch.randn,
        torch.randperm,
        torch.zeros,
        torch.Tensor.new_empty,
        torch.Tensor.new_full,
        torch.Tensor.new_ones,
        torch.Tensor.new_zeros,
    }
)
"""Functions that make a tensor of a size."""


class AllocationLimit(TorchFunctionMode):
    """Raises an error where tensors that are made inside would take more than some bytes in all, or are too many.

    Example:
        >>> with AllocationLimit(max_bytes=1000, max_tensors=10):
        ...     torch.zeros(100).shape
        torch.Size([100])
    """

    def __init__(self, max_bytes: int, max_tensors: int) -> None:
        """Set the limit.

        Args:
            max_bytes: Of all tensors together.
            max_tensors: Their number.
        """
        super().__init__()
        self.left_bytes, self.left_tensors = max_bytes, max_tensors

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch; one that makes a tensor is first called without its memory, and counted."""
        given = dict(kwargs or {})
        if func in FACTORIES and "out" not in given:
            rest = {name: value for name, value in given.items() if name not in ("generator", "pin_memory")}
            without_memory = func(*args, **{**rest, "device": "meta"})
            self.left_bytes -= without_memory.nbytes
            self.left_tensors -= 1
            if self.left_bytes < 0 or self.left_tensors < 0:
                raise MemoryError
        return func(*args, **given)
