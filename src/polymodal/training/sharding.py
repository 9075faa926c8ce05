"""Fully sharded data parallelism: processes shard weights, gradients and optimizer states (torch).

Rajbhandari et al. 2020, arXiv 1910.02054, section 5.3 (ZeRO stage 3), by PyTorch's ``fully_shard``. The modules of
torch that it needs are imported only where weights are sharded, as their import is slow.
"""

from __future__ import annotations

import copy
import os
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from polymodal.config import TrainConfig
from polymodal.encoders import Pretrained
from polymodal.errors import ConfigError
from polymodal.model.network import Network
from polymodal.nn.ranks import get_rank, get_world_size

if TYPE_CHECKING:
    from torch.distributed.fsdp import FSDPModule


def is_sharding_enabled(settings: TrainConfig) -> bool:
    """Whether sharding is asked for, by the options or by ``accelerate launch --use_fsdp``.

    Args:
        settings: Training options.

    Returns:
        True also for a single process, which has nothing to shard.
    """
    return settings.shard or os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"


@dataclass(frozen=True)
class ShardedModule:
    """A network whose weights are sharded among all processes.

    Attributes:
        module: The network after ``fully_shard``: its forward pass gathers the weights; its parameters and their
            gradients are ``DTensor``.
        parameter_of_shard: This process's shard of each parameter, as an ordinary tensor, to the parameter of
            ``module`` with the same memory, in the same order. The optimizer updates the shards: operations on
            ``DTensor`` are slow.
        has_gradient: Names of the parameters that have got a gradient in this step.
    """

    module: Network
    parameter_of_shard: dict[nn.Parameter, nn.Parameter]
    has_gradient: set[str]

    @torch.no_grad()
    def gather_into(self, network: Network) -> None:
        """Gather the full weights into a network; a collective operation.

        Args:
            network: A network whose weights were released by ``release_weights``.
        """
        for parameter, sharded in zip(network.parameters(), self.module.parameters(), strict=True):
            parameter.data = full_tensor(sharded).view(parameter.shape)
        _copy_buffers(self.module, network)

    @torch.no_grad()
    def scatter_from(self, network: Network) -> None:
        """Copy this process's shards out of the full weights of a network.

        Args:
            network: The network; its weights are the same in every process.
        """
        for parameter, shard in zip(network.parameters(), self.parameter_of_shard, strict=True):
            shard.copy_(local_rows(parameter, len(shard)))
        _copy_buffers(network, self.module)

    def zero_grad(self) -> None:
        """Reset all gradients to None."""
        self.has_gradient.clear()
        for parameter in self.parameter_of_shard.values():
            parameter.grad = None

    def reduce_gradients(self, losses: Tensor) -> Tensor:
        """Sum the losses over all processes, and move the gradients, which are reduced already, to the shards.

        A parameter without a gradient in any process keeps None: with a gradient of zeros, AdamW would apply momentum
        and weight decay to it, unlike in a single process.

        Args:
            losses: float ``[N]``.

        Returns:
            The summed losses.
        """
        names = [name for name, _ in self.module.named_parameters()]
        message = torch.cat([losses, losses.new_tensor([name in self.has_gradient for name in names])])
        torch.distributed.all_reduce(message)
        counts = message[len(losses) :].tolist()
        for (shard, parameter), count in zip(self.parameter_of_shard.items(), counts, strict=True):
            shard.grad = cast(Any, parameter.grad).to_local() if count else None
            parameter.grad = None
        return message[: len(losses)]

    def clip_grad_norm(self, max_norm: float) -> None:
        """Clip the gradients by their norm over all processes.

        Args:
            max_norm: The largest norm.
        """
        gradients = [shard.grad for shard in self.parameter_of_shard if shard.grad is not None]
        squares = get_total_norm(gradients).to(self.module.log_variances.device) ** 2
        torch.distributed.all_reduce(squares)
        clip_grads_with_norm_(self.parameter_of_shard, max_norm, squares.sqrt())

    def to_dtensor(self, value: Tensor, shard: nn.Parameter) -> Tensor:
        """Return a tensor of a shard's shape, such as an optimizer state, as a ``DTensor``.

        Args:
            value: The tensor.
            shard: A shard, one of ``parameter_of_shard``.

        Returns:
            A tensor for ``full_tensor``.
        """
        from torch.distributed.tensor import DTensor

        like = cast(DTensor, self.parameter_of_shard[shard])
        if not is_dtensor(like):
            return value
        return DTensor.from_local(
            value, like.device_mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
        )


def shard_module(network: Network, device: torch.device) -> ShardedModule:
    """Shard a network's weights among all processes.

    Args:
        network: The network on its device, the same in every process; its weights are released.
        device: Device of the network.

    Returns:
        The sharded module.

    Raises:
        ConfigError: If this version of torch lacks the needed options of ``fully_shard``.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard

    if not hasattr(FSDPModule, "set_reduce_scatter_unused_params"):
        raise ConfigError(f"The option train.shard needs torch 2.13 or newer; this is {torch.__version__}.")
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor", UserWarning)
    module, mesh = _move_weights_to_copy(network), init_device_mesh(device.type, (get_world_size(),))
    empty = {parameter for parameter in module.parameters() if not parameter.numel()}  # nothing to shard
    for block in blocks_to_shard(module):
        fully_shard(block, mesh=mesh, reshard_after_forward=True, ignored_params=empty)
    # The losses use weights of the outermost group after the forward pass.
    fully_shard(module, mesh=mesh, reshard_after_forward=False, ignored_params=empty)
    has_gradient: set[str] = set()
    for group in [submodule for submodule in module.modules() if isinstance(submodule, FSDPModule)]:
        group.set_force_sum_reduction_for_comms(
            True
        )  # losses are sums over rows divided by the counts of the full batch
        group.set_gradient_divide_factor(1.0)
        group.set_reduce_scatter_unused_params(True)  # absent cells leave encoders unused in some processes
        _register_gradient_hooks(module, group, has_gradient)
    return ShardedModule(module, {_local_shard(p): p for p in module.parameters()}, has_gradient)


def blocks_to_shard(network: Network) -> list[nn.Module]:
    """Find the modules that are sharded one by one: the repeated blocks of fine-tuned checkpoints.

    Their weights are gathered for their forward pass and released afterwards. All processes must gather them equally
    often, so a checkpoint whose number of forward passes depends on the batch is left out.

    Args:
        network: The network.

    Returns:
        The blocks, inner ones first.
    """
    pretrained = [encoder for encoder in network.own_encoders if isinstance(encoder, Pretrained)]
    backbones = [encoder.backbone for encoder in pretrained if encoder.checkpoint_adapter.runs_in_one_pass]
    modules = [module for backbone in backbones if backbone is not None for module in backbone.modules()]
    blocks = dict.fromkeys(block for module in modules if type(module) is nn.ModuleList for block in module)
    return [block for block in reversed(blocks) if _has_forward(block) and any(True for _ in block.parameters())]


def _has_forward(block: nn.Module) -> bool:
    return not isinstance(block, nn.ModuleList | nn.ModuleDict)


def release_weights(network: Network) -> None:
    """Free the memory of a network's weights; their shapes stay.

    Args:
        network: The network; until its weights are gathered again they read as NaN, so that use of old ones is noticed.
    """
    for parameter in network.parameters():
        parameter.data = parameter.data.new_full((), torch.nan).expand(parameter.shape)


def full_tensor(value: Tensor) -> Tensor:
    """Gather a sharded tensor; a collective operation.

    Args:
        value: A ``DTensor`` or an ordinary tensor.

    Returns:
        The full tensor; an ordinary one as it is.
    """
    return cast(Any, value).full_tensor() if is_dtensor(value) else value


def is_dtensor(value: Tensor) -> bool:
    """Whether a tensor is a ``DTensor``; checked without the slow import of that class.

    Args:
        value: The tensor.

    Returns:
        False for an ordinary tensor.
    """
    return hasattr(value, "full_tensor")


def local_rows(value: Tensor, num_rows: int) -> Tensor:
    """Return this process's rows of a full tensor, as ``torch.chunk`` splits it.

    Args:
        value: The full tensor, the same in every process; a scalar counts as one row.
        num_rows: Number of rows of this process.

    Returns:
        A view of them.
    """
    value = value.view(value.shape or (1,))
    first = get_rank() * -(-len(value) // get_world_size())
    return value[first : first + num_rows]


def _local_shard(parameter: nn.Parameter) -> nn.Parameter:
    if not is_dtensor(parameter):
        return parameter
    return nn.Parameter(cast(Any, parameter.detach()).to_local(), requires_grad=parameter.requires_grad)


def _copy_buffers(source: nn.Module, target: nn.Module) -> None:
    for to, value in zip(target.buffers(), source.buffers(), strict=True):
        to.copy_(value)


def _move_weights_to_copy(network: Network) -> Network:
    """Move the weights into a copy of the network that can be sharded: contiguous weights, scalars as one row."""
    weights = [parameter.data for parameter in network.parameters()]
    for parameter in network.parameters():
        parameter.data = parameter.data.new_empty(0)  # nothing to copy
    frozen = [
        tensor
        for encoder in network.own_encoders
        if isinstance(encoder, Pretrained)
        for tensor in encoder.unregistered_weights()
    ]
    module = copy.deepcopy(network, {id(tensor): tensor for tensor in frozen})
    for parameter, emptied, weight in zip(module.parameters(), network.parameters(), weights, strict=True):
        parameter.data = weight.contiguous().view(weight.shape or (1,))
        emptied.data = weight
    release_weights(network)
    return module


def _register_gradient_hooks(module: Network, group: FSDPModule, has_gradient: set[str]) -> None:
    """Record which parameters of a group get a gradient: after the reduction all of them have one."""
    group.unshard()
    for name, parameter in module.named_parameters():
        if parameter.requires_grad and parameter.numel() and not is_dtensor(parameter):
            cast(Any, parameter).register_post_accumulate_grad_hook(lambda _, name=name: has_gradient.add(name))
    group.reshard()
