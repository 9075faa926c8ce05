"""Accelerate where there are several processes: alone, what it would import takes longer than it helps (torch)."""

from __future__ import annotations

from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import nn
from torch.optim import AdamW

from polymodal.network import Network


def is_alone(accelerator: Accelerator) -> bool:
    """Tell whether one process trains on one device in full precision.

    Args:
        accelerator: Knows how the process was launched.

    Returns:
        True where nothing has to be wrapped.
    """
    return bool(accelerator.distributed_type == DistributedType.NO and accelerator.mixed_precision == "no")


def wrap(accelerator: Accelerator, network: Network, optimizer: AdamW) -> tuple[Network, AdamW]:
    """Make a network and its optimizer ready for the way the process was launched.

    Args:
        accelerator: Knows how that was.
        network: The network.
        optimizer: Its optimizer.

    Returns:
        Both, on the device and wrapped where needed.
    """
    if is_alone(accelerator):
        return network.to(accelerator.device), optimizer
    wrapped: tuple[Network, AdamW] = accelerator.prepare(network, optimizer)
    return wrapped


def unwrap(accelerator: Accelerator, network: nn.Module) -> Network:
    """Return the network inside of what ``wrap`` made of it.

    Args:
        accelerator: What it was wrapped by.
        network: The wrapped network, or the network itself.

    Returns:
        The network.
    """
    if isinstance(network, Network):
        return network
    inner: Network = accelerator.unwrap_model(network)
    return inner


def clip_gradients(accelerator: Accelerator, network: nn.Module, norm: float) -> None:
    """Shorten the gradient to a norm at most.

    Args:
        accelerator: Knows where the gradients lie.
        network: The wrapped network.
        norm: The longest norm.
    """
    if is_alone(accelerator):
        nn.utils.clip_grad_norm_(network.parameters(), norm)
    else:
        accelerator.clip_grad_norm_(network.parameters(), norm)
