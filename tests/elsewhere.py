"""A device that computes on the CPU and, as a GPU does, refuses to compute with tensors of two devices at once.

It finds what would stop on a GPU where there is none: a tensor that was made on the CPU and meets the network's. It
goes by the name of torch's "meta" device, which needs no driver, but its tensors have values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

import polymodal.runs.run
import polymodal.training.trainer

DEVICE = torch.device("meta")
aten = torch.ops.aten
CROSSING = {aten.copy_.default, aten._to_copy.default}
INDEXING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._unsafe_index.Tensor}
"""Their indices may stand on the CPU."""
WAITING = {aten._local_scalar_dense.default, aten.nonzero.default}
"""What comes out is known on the CPU only when the device has done all that it was given."""
RESHAPING = {aten.squeeze_.dim, aten.unsqueeze_.default, aten.transpose_.default, aten.t_.default}
"""They change the shape of the tensor itself."""


class Elsewhere(Tensor):
    """A tensor of the device; ``held`` has its values."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Elsewhere:
        made: Elsewhere = Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=DEVICE,
        )
        return made

    def __init__(self, held: Tensor) -> None:
        self.held = held

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(operation, args, kwargs or {})


class _Operations(TorchDispatchMode):
    """Makes tensors on the device where one is asked for."""

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(operation, args, kwargs or {})


class _Conversions(TorchFunctionMode):
    """Does what torch does without an operation: from Python's numbers to tensors, and back."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        is_elsewhere = bool(args) and isinstance(args[0], Elsewhere)
        if function in (torch.tensor, torch.as_tensor) and _is_device(kwargs.get("device")):
            return function(*args, **{**kwargs, "device": "cpu"}).to(DEVICE)
        if function is Tensor.new_tensor and is_elsewhere:
            return torch.tensor(args[1], dtype=kwargs.get("dtype", args[0].dtype)).to(DEVICE)
        if function is Tensor.__getitem__ and is_elsewhere:
            return function(args[0], tree_map(_unlisted, args[1], is_leaf=lambda part: isinstance(part, list)))
        if function is Tensor.tolist and is_elsewhere:
            return args[0].held.tolist()
        if function is Tensor.numpy and is_elsewhere:
            raise TypeError("A tensor elsewhere cannot become an array: use Tensor.cpu() first")
        return function(*args, **kwargs)


def _unlisted(part: Any) -> Any:
    return torch.tensor(part).to(DEVICE) if isinstance(part, list) else part


def _is_device(asked: Any) -> bool:
    return asked is not None and torch.device(asked).type == DEVICE.type


@contextmanager
def noting_waits(waits: list[str]) -> Iterator[None]:
    """Note what waits for the device.

    Args:
        waits: Gets the operations' names.

    Yields:
        Nothing.
    """
    _noted.append(waits)
    yield
    _noted.remove(waits)


_noted: list[list[str]] = []


def _waits(operation: Any, args: Any, kwargs: dict[str, Any]) -> bool:
    if operation in INDEXING:
        return any(index is not None and index.dtype == torch.bool for index in args[1])
    leaves = (
        operation is aten._to_copy.default and kwargs.get("device") is not None and not _is_device(kwargs["device"])
    )
    return leaves or operation in WAITING


def _compute(operation: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operation on the values; what comes out is on the device where something that went in was."""
    tensors = [part for part in _leaves((args, kwargs)) if isinstance(part, Tensor)]
    there = {id(tensor.held): tensor for tensor in tensors if isinstance(tensor, Elsewhere)}
    _refuse_two_devices(operation, args, tensors)
    if there and _waits(operation, args, kwargs):
        for waits in _noted:
            waits.append(str(operation))
    asked = kwargs.get("device")
    goes_there = bool(there) if asked is None else _is_device(asked)
    if operation is aten.copy_.default:
        goes_there = isinstance(args[0], Elsewhere)
    if asked is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    found = operation(*_mapped(_value, args), **_mapped(_value, kwargs))
    if operation in RESHAPING and there:
        with no_dispatch():
            operation(*args, **kwargs)

    def brought(part: Any) -> Any:
        if not isinstance(part, Tensor):
            return part
        if id(part) in there:  # an operation in place
            return there[id(part)]
        return Elsewhere(part) if goes_there else part

    return _mapped(brought, found)


def _leaves(part: Any) -> Iterator[Any]:
    if type(part) in (tuple, list, dict):
        for inner in part.values() if type(part) is dict else part:
            yield from _leaves(inner)
    else:
        yield part


def _mapped(change: Callable[[Any], Any], part: Any) -> Any:
    """Change what is within tuples, lists and mappings, as torch's ``tree_map`` does; it is quicker."""
    if type(part) in (tuple, list):
        return type(part)([_mapped(change, inner) for inner in part])
    if type(part) is dict:
        return {name: _mapped(change, inner) for name, inner in part.items()}
    return change(part)


def _refuse_two_devices(operation: Any, args: Any, tensors: list[Tensor]) -> None:
    if operation in CROSSING:
        return
    if operation in INDEXING:
        values = [args[0], *args[2:3]]
        indices = [index for index in args[1] if index is not None]
        if not isinstance(args[0], Elsewhere) and any(isinstance(index, Elsewhere) for index in indices):
            raise RuntimeError(f"{operation}: indices elsewhere, values on the CPU")
        tensors = [value for value in values if isinstance(value, Tensor)]
    sides = {isinstance(tensor, Elsewhere) for tensor in tensors if isinstance(tensor, Elsewhere) or tensor.ndim}
    if len(sides) > 1:
        raise RuntimeError(f"{operation}: tensors on two devices, {[tuple(tensor.shape) for tensor in tensors]}")


def _value(part: Any) -> Any:
    return part.held if isinstance(part, Elsewhere) else part


@contextmanager
def elsewhere() -> Iterator[torch.device]:
    """Let networks train on the device.

    Yields:
        The device.
    """
    optimizers, cast = import_module("torch.optim.optimizer"), torch.autocast
    known = optimizers._get_fused_kernels_supported_devices()

    def autocast(device: str, *args: Any, **kwargs: Any) -> Any:
        return nullcontext() if device == DEVICE.type else cast(device, *args, **kwargs)

    def is_autocast_enabled(device: str | None = None) -> bool:
        return device != DEVICE.type and is_enabled(*([] if device is None else [device]))

    is_enabled = torch.is_autocast_enabled
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "is_autocast_enabled", is_autocast_enabled)
        patch.setattr(torch, "autocast", autocast)
        patch.setattr(torch, "inference_mode", torch.no_grad)
        patch.setattr(optimizers, "_get_fused_kernels_supported_devices", lambda: [*known, DEVICE.type])
        for module in (polymodal.runs.run, polymodal.training.trainer):
            patch.setattr(module, "process_device", lambda: DEVICE)
        with _Operations(), _Conversions():
            yield DEVICE
