"""The training strategy: one process, data-parallel processes, or fully sharded ones (torch)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from polymodal.model.network import Network
from polymodal.nn.distributed import all_reduce_gradients
from polymodal.training.prefetch import Prefetcher
from polymodal.training.sharding import ShardedModule, local_rows, release_weights


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """A network with its optimizer, and how processes share the work of a training step.

    Attributes:
        network: The network that is evaluated and saved; with sharding it has weights only inside of
            ``gathered_weights``.
        optimizer: Updates the weights of ``module``; with sharding, this process's shards of them.
        device: Device of the weights.
        sharded: The sharded module; None without sharding.
        prefetcher: Prepares the batch of the next step.
    """

    network: Network
    optimizer: Optimizer
    device: torch.device
    sharded: ShardedModule | None = None
    prefetcher: Prefetcher[Any] = field(default_factory=Prefetcher)

    @property
    def module(self) -> Network:
        """The network that training steps run and update."""
        return self.network if self.sharded is None else self.sharded.module

    def zero_grad(self) -> None:
        """Reset all gradients to None."""
        self.optimizer.zero_grad()
        if self.sharded is not None:
            self.sharded.zero_grad()

    def reduce_gradients(self, losses: Tensor) -> Tensor:
        """Sum gradients and losses over all processes.

        Args:
            losses: float ``[N]``.

        Returns:
            The summed losses.
        """
        if self.sharded is not None:
            return self.sharded.reduce_gradients(losses)
        return all_reduce_gradients(self.network.parameters(), losses)

    def optimizer_step(self, clip_norm: float) -> None:
        """Clip the gradients and update the weights.

        Args:
            clip_norm: Largest norm of all gradients together.
        """
        if self.sharded is None:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), clip_norm)
        else:
            self.sharded.clip_grad_norm(clip_norm)
        self.optimizer.step()

    def to_dtensor(self, value: Tensor, parameter: nn.Parameter) -> Tensor:
        """Return an optimizer state of a parameter in the form that ``sharding.full_tensor`` gathers.

        Args:
            value: Tensor of the parameter's shape.
            parameter: A parameter of the optimizer.

        Returns:
            A ``DTensor`` with sharding, else the tensor itself.
        """
        return value if self.sharded is None else self.sharded.to_dtensor(value, parameter)

    def to_local(self, value: Tensor, parameter: nn.Parameter) -> Tensor:
        """Copy this process's rows of a full tensor into a parameter's memory format, which fused optimizers need.

        Args:
            value: Tensor of the full parameter's shape, the same in every process.
            parameter: A parameter of the optimizer.

        Returns:
            The copy; all rows without sharding.
        """
        rows = value if self.sharded is None else local_rows(value, len(parameter))
        return torch.empty_like(parameter, requires_grad=False).copy_(rows)

    def gather_weights(self) -> Network:
        """Return the network with its current weights; a collective operation.

        Returns:
            The network; with sharding it keeps the full weights until they are released.
        """
        if self.sharded is not None:
            self.sharded.gather_into(self.network)
        return self.network

    @contextmanager
    def gathered_weights(self, writeback: bool = False) -> Iterator[Network]:
        """Give the network its current weights inside of the context; a collective operation.

        Args:
            writeback: Whether training goes on with the weights at the end of the context, which must be the same in
                every process; else changes are lost with sharding.

        Yields:
            The network with its full weights.
        """
        yield self.gather_weights()
        if self.sharded is None:
            return
        if writeback:
            self.sharded.scatter_from(self.network)
        release_weights(self.network)
