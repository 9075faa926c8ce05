"""What learns: a network, its optimizer, and where its weights are (torch)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from polymodal.model.network import Network
from polymodal.nn.distributed import sum_gradients
from polymodal.training.prefetch import Prefetcher
from polymodal.training.sharding import ShardedModule, cut, release_weights


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """A network that learns.

    Attributes:
        network: What is evaluated and saved; where weights are sharded it holds them only within ``whole`` and
            ``changed``.
        optimizer: Changes the module's weights; where they are shared out, this process's rows of them.
        device: Where they are.
        shares: This process's shares, where weights are shared out.
        prefetcher: Makes the batch of the next step.
    """

    network: Network
    optimizer: AdamW
    device: torch.device
    shares: ShardedModule | None = None
    prefetcher: Prefetcher[Any] = field(default_factory=Prefetcher)

    @property
    def module(self) -> Network:
        """What steps run and change."""
        return self.network if self.shares is None else self.shares.module

    def forget_gradients(self) -> None:
        """Begin a step."""
        self.optimizer.zero_grad()
        if self.shares is not None:
            self.shares.forget_gradients()

    def collect(self, losses: Tensor) -> Tensor:
        """Add up the gradients and losses of all processes.

        Args:
            losses: float ``[N]``.

        Returns:
            The summed losses.
        """
        return self.shares.collect(losses) if self.shares else sum_gradients(self.network.parameters(), losses)

    def follow_gradients(self, clip_norm: float) -> None:
        """Change the weights.

        Args:
            clip_norm: Largest norm of the gradient.
        """
        if self.shares is None:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), clip_norm)
        else:
            self.shares.clip(clip_norm)
        self.optimizer.step()

    def share(self, value: Tensor, parameter: nn.Parameter) -> Tensor:
        """Return what the optimizer keeps of a parameter as ``sharded.whole`` gathers it.

        Args:
            value: Of the parameter's shape.
            parameter: One of the optimizer's.

        Returns:
            The same, or a share where weights are shared out.
        """
        return value if self.shares is None else self.shares.share(value, parameter)

    def laid(self, value: Tensor, parameter: nn.Parameter) -> Tensor:
        """Lay a whole tensor out as a parameter is: fused steps rely on its memory format.

        Args:
            value: Of the whole parameter's shape, the same in every process.
            parameter: One of the optimizer's.

        Returns:
            A copy of it, or of this process's rows.
        """
        own = value if self.shares is None else cut(value, len(parameter))
        return torch.empty_like(parameter, requires_grad=False).copy_(own)

    def fill(self) -> Network:
        """Return the network with the weights as they are now; every process takes part."""
        if self.shares is not None:
            self.shares.fill(self.network)
        return self.network

    @contextmanager
    def whole(self) -> Iterator[Network]:
        """Look at the network; every process takes part.

        Yields:
            The network with the weights as they are now.
        """
        yield self.fill()
        if self.shares is not None:
            release_weights(self.network)

    @contextmanager
    def changed(self) -> Iterator[Network]:
        """Change the network's weights, alike in every process.

        Yields:
            The network; what its weights are afterwards is learned on from.
        """
        yield self.fill()
        if self.shares is not None:
            self.shares.take(self.network)
            release_weights(self.network)
