"""Data-parallel training: the device and the collective operations of processes (torch)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed

from polymodal.nn.devices import choose_device
from polymodal.nn.ranks import get_rank, get_world_size, is_main_process

T = TypeVar("T")


def process_device() -> torch.device:
    """Return the device of this process, and initialise the process group if there are several processes.

    Returns:
        A GPU of its own where torch finds one, else the CPU, also after ``accelerate launch --cpu``.
    """
    wants_cpu = os.environ.get("ACCELERATE_USE_CPU", "false").lower() == "true"
    device = choose_device("cpu" if wants_cpu else None)
    if get_world_size() == 1:
        return device
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
        torch.cuda.set_device(device)
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return device


@contextmanager
def main_process_first() -> Iterator[None]:
    """Run the context in the main process first, then in the others, such as to fill a cache that they read.

    Yields:
        Nothing.
    """
    if get_world_size() == 1:
        yield
        return
    device = process_device()
    gpu = None if device.index is None else [device.index]
    if not is_main_process():
        distributed.barrier(device_ids=gpu)
    yield
    if is_main_process():
        distributed.barrier(device_ids=gpu)


def rank_slice(indices: NDArray[np.int64]) -> slice:
    """Return the rows of a batch that this process computes.

    Args:
        indices: Rows of the batch.

    Returns:
        A slice of them; may be empty if there are fewer rows than processes.
    """
    rank, world_size = get_rank(), get_world_size()
    return slice(len(indices) * rank // world_size, len(indices) * (rank + 1) // world_size)


def all_reduce_gradients(parameters: Iterable[Tensor], losses: Tensor) -> Tensor:
    """Sum the gradients and losses of all processes, in one all-reduce.

    Args:
        parameters: The parameters, the same in every process; their gradients are replaced by the sums. A parameter
            without a gradient in any process keeps None.
        losses: float ``[N]``.

    Returns:
        The summed losses.
    """
    if get_world_size() == 1:
        return losses
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    has_gradient = losses.new_tensor([parameter.grad is not None for parameter in trainable])
    message = torch.cat([losses, has_gradient, *map(_flat_gradient, trainable)])
    distributed.all_reduce(message)
    sizes = [len(losses), len(trainable), *(parameter.numel() for parameter in trainable)]
    losses, has_gradient, *sums = torch.split(message, sizes)
    for parameter, gradient, count in zip(trainable, sums, has_gradient.tolist(), strict=True):
        if count:
            parameter.grad = gradient.as_strided(parameter.shape, parameter.stride())
    return losses


def _flat_gradient(parameter: Tensor) -> Tensor:
    """Return a parameter's gradient in the parameter's memory format, flattened; zeros where there is none."""
    gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    if gradient.stride() != parameter.stride():
        gradient = torch.empty_like(parameter).copy_(gradient)
    return gradient.as_strided((parameter.numel(),), (1,))


def all_gather_objects(value: T) -> list[T]:
    """Gather a value of every process.

    Args:
        value: The value of this process.

    Returns:
        The values of all processes, in the order of their ranks; the same in each process.
    """
    if get_world_size() == 1:
        return [value]
    values: list[Any] = [None] * get_world_size()
    distributed.all_gather_object(values, value)
    return values


def broadcast_from_main(value: int) -> int:
    """Broadcast a number of the main process.

    Args:
        value: The number of this process.

    Returns:
        The number of the main process.
    """
    if get_world_size() == 1:
        return value
    device = torch.device("cuda") if distributed.get_backend() == "nccl" else torch.device("cpu")
    message = torch.tensor(value, device=device)
    distributed.broadcast(message, 0)
    return int(message)
