"""Several processes that train one network, each on its share of every batch (torch).

``torchrun`` starts them, or ``accelerate launch`` where Accelerate is installed; both say so in their environment.
"""

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

T = TypeVar("T")


def process_number() -> int:
    """Return this process's number, from 0."""
    return int(os.environ.get("RANK", "0"))


def num_processes() -> int:
    """Return how many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process writes and prints."""
    return process_number() == 0


def own_device() -> torch.device:
    """Return the device on which this process trains, having joined it with the others that train together.

    Returns:
        A GPU of this process's own where torch finds one, else the CPU, also after ``accelerate launch --cpu``.
    """
    wants_cpu = os.environ.get("ACCELERATE_USE_CPU", "false").lower() == "true"
    device = choose_device("cpu" if wants_cpu else None)
    if num_processes() == 1:
        return device
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
        torch.cuda.set_device(device)
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return device


@contextmanager
def main_first() -> Iterator[None]:
    """Let the main process do something before the others do, as to fill a cache that they read.

    Yields:
        Nothing.
    """
    if num_processes() == 1:
        yield
        return
    device = own_device()
    gpu = None if device.index is None else [device.index]
    if not is_main():
        distributed.barrier(device_ids=gpu)
    yield
    if is_main():
        distributed.barrier(device_ids=gpu)


def share_of(places: NDArray[np.int64]) -> slice:
    """Return which part of a batch is this process's.

    Args:
        places: Rows of the batch.

    Returns:
        A stretch, empty where there are fewer rows than processes.
    """
    number, count = process_number(), num_processes()
    return slice(len(places) * number // count, len(places) * (number + 1) // count)


def sum_gradients(parameters: Iterable[Tensor], losses: Tensor) -> Tensor:
    """Add up the gradients and losses of all processes, in one message.

    Args:
        parameters: The same ones in every process; their gradients become the sums. A parameter that has none in any
            process keeps none.
        losses: float ``[N]``.

    Returns:
        The summed losses.
    """
    if num_processes() == 1:
        return losses
    learned = [parameter for parameter in parameters if parameter.requires_grad]
    has_one = losses.new_tensor([parameter.grad is not None for parameter in learned])
    message = torch.cat([losses, has_one, *map(_laid_flat, learned)])
    distributed.all_reduce(message)
    sizes = [len(losses), len(learned), *(parameter.numel() for parameter in learned)]
    losses, has_one, *sums = torch.split(message, sizes)
    for parameter, found, is_there in zip(learned, sums, has_one.tolist(), strict=True):
        if is_there:
            parameter.grad = found.as_strided(parameter.shape, parameter.stride())
    return losses


def _laid_flat(parameter: Tensor) -> Tensor:
    """Return a parameter's gradient as it lies in memory, in the parameter's layout; zeros where there is none."""
    gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    if gradient.stride() != parameter.stride():
        gradient = torch.empty_like(parameter).copy_(gradient)
    return gradient.as_strided((parameter.numel(),), (1,))


def gathered(value: T) -> list[T]:
    """Return what every process holds.

    Args:
        value: What this process holds.

    Returns:
        All processes' values, in the order of their numbers; the same in each process.
    """
    if num_processes() == 1:
        return [value]
    found: list[Any] = [None] * num_processes()
    distributed.all_gather_object(found, value)
    return found


def main_says(value: int) -> int:
    """Return what the main process holds.

    Args:
        value: What this process holds.

    Returns:
        The main process's value, in all.
    """
    if num_processes() == 1:
        return value
    device = torch.device("cuda") if distributed.get_backend() == "nccl" else torch.device("cpu")
    told = torch.tensor(value, device=device)
    distributed.broadcast(told, 0)
    return int(told)
