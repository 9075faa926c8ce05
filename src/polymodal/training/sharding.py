"""Networks whose weights, gradients and optimiser states several processes share out (torch).

Fully sharded data parallelism: Rajbhandari et al. 2020, arXiv 1910.02054, section 5.3 (ZeRO's third stage), as
PyTorch's ``fully_shard`` does it. What it needs of torch is imported only where weights are shared out: it is slow.
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
from polymodal.nn.distributed import num_processes, process_number

if TYPE_CHECKING:
    from torch.distributed.fsdp import FSDPModule


def is_sharding_enabled(settings: TrainConfig) -> bool:
    """Whether weights are to be shared out, by the options or by ``accelerate launch --use_fsdp``.

    Args:
        settings: Training options.

    Returns:
        True also where one process trains and there is nobody to share with.
    """
    return settings.shard or os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"


@dataclass(frozen=True)
class ShardedModule:
    """A network that several processes hold together, each its share of every weight.

    Attributes:
        module: Its forward pass fetches the weights; its parameters and their gradients are this process's shares,
            which know of the others' (``DTensor``).
        rows: The module's parameters by this process's rows of them, in the same memory and the same order. These are
            what an optimiser changes: it takes them for ordinary weights, and computing with shares takes long.
        reached: Names of the parameters that this step's gradients have reached.
    """

    module: Network
    rows: dict[nn.Parameter, nn.Parameter]
    reached: set[str]

    @torch.no_grad()
    def fill(self, network: Network) -> None:
        """Put the whole weights into a network; every process takes part.

        Args:
            network: One that ``release_weights`` emptied.
        """
        for parameter, share in zip(network.parameters(), self.module.parameters(), strict=True):
            parameter.data = whole(share).view(parameter.shape)
        _copy_buffers(self.module, network)

    @torch.no_grad()
    def take(self, network: Network) -> None:
        """Take this process's share of a network's weights.

        Args:
            network: The network, whole and the same in every process.
        """
        for parameter, rows in zip(network.parameters(), self.rows, strict=True):
            rows.copy_(cut(parameter, len(rows)))
        _copy_buffers(network, self.module)

    def forget_gradients(self) -> None:
        """Begin a step."""
        self.reached.clear()
        for share in self.rows.values():
            share.grad = None

    def collect(self, losses: Tensor) -> Tensor:
        """Add up the losses of all processes, and hand the gradients, which are added up already, to the rows.

        A parameter that no process's gradient has reached gets none: unlike a gradient of zeros, none leaves it without
        momentum and weight decay, as with one process.

        Args:
            losses: float ``[N]``.

        Returns:
            The summed losses.
        """
        names = [name for name, _ in self.module.named_parameters()]
        message = torch.cat([losses, losses.new_tensor([name in self.reached for name in names])])
        torch.distributed.all_reduce(message)
        counts = message[len(losses) :].tolist()
        for (rows, share), count in zip(self.rows.items(), counts, strict=True):
            rows.grad = cast(Any, share.grad).to_local() if count else None
            share.grad = None
        return message[: len(losses)]

    def clip(self, most: float) -> None:
        """Clip the gradients by the norm of all processes' gradients together.

        Args:
            most: The largest norm.
        """
        gradients = [rows.grad for rows in self.rows if rows.grad is not None]
        squares = get_total_norm(gradients).to(self.module.log_variances.device) ** 2
        torch.distributed.all_reduce(squares)
        clip_grads_with_norm_(self.rows, most, squares.sqrt())

    def share(self, value: Tensor, rows: nn.Parameter) -> Tensor:
        """Return a tensor laid out as rows are, such as what an optimiser keeps of them, as a share of the whole.

        Args:
            value: The tensor.
            rows: Of the same shape, one of ``rows``.

        Returns:
            What ``whole`` gathers.
        """
        from torch.distributed.tensor import DTensor

        like = cast(DTensor, self.rows[rows])
        if not is_share(like):
            return value
        return DTensor.from_local(
            value, like.device_mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
        )


def shard_module(network: Network, device: torch.device) -> ShardedModule:
    """Share a network's weights out among all processes.

    Args:
        network: The network, whole, on its device and the same in every process; is left release_weights.
        device: Where it is.

    Returns:
        This process's shares.

    Raises:
        ConfigError: If this torch cannot share weights out.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard

    if not hasattr(FSDPModule, "set_reduce_scatter_unused_params"):
        raise ConfigError(f"The option train.shard needs torch 2.13 or newer; this is {torch.__version__}.")
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor", UserWarning)
    module, mesh = _moved(network), init_device_mesh(device.type, (num_processes(),))
    empty = {parameter for parameter in module.parameters() if not parameter.numel()}  # there is nothing to share
    for block in blocks_of(module):
        fully_shard(block, mesh=mesh, reshard_after_forward=True, ignored_params=empty)
    # The losses use weights of the outermost group after the forward pass.
    fully_shard(module, mesh=mesh, reshard_after_forward=False, ignored_params=empty)
    reached: set[str] = set()
    for group in [part for part in module.modules() if isinstance(part, FSDPModule)]:
        group.set_force_sum_reduction_for_comms(True)  # each process's loss is its share of the whole batch's
        group.set_gradient_divide_factor(1.0)
        group.set_reduce_scatter_unused_params(True)  # which differ from process to process, as cells are missing
        _watch(module, group, reached)
    return ShardedModule(module, {_rows(share): share for share in module.parameters()}, reached)


def blocks_of(network: Network) -> list[nn.Module]:
    """Find what is fetched when it runs and let go of afterwards: the repeated blocks of fine-tuned checkpoints.

    All processes must fetch in step, so that a checkpoint that runs more often on some batches than on others has none.

    Args:
        network: The network.

    Returns:
        The blocks, inner ones first.
    """
    pretrained = [encoder for encoder in network.own_encoders if isinstance(encoder, Pretrained)]
    backbones = [encoder.backbone for encoder in pretrained if encoder.source.reads_at_once]
    parts = [part for backbone in backbones if backbone is not None for part in backbone.modules()]
    blocks = dict.fromkeys(block for part in parts if type(part) is nn.ModuleList for block in part)
    return [block for block in reversed(blocks) if _runs(block) and any(True for _ in block.parameters())]


def _runs(block: nn.Module) -> bool:
    return not isinstance(block, nn.ModuleList | nn.ModuleDict)


def release_weights(network: Network) -> None:
    """Let go of a network's weights but for their shapes.

    Args:
        network: Its weights all read as not-a-number, from one number in memory, until they are filled in.
    """
    for parameter in network.parameters():
        parameter.data = parameter.data.new_full((), torch.nan).expand(parameter.shape)


def whole(value: Tensor) -> Tensor:
    """Gather a tensor; every process takes part.

    Args:
        value: A share, or an ordinary tensor.

    Returns:
        The whole tensor, or the ordinary one as it is.
    """
    return cast(Any, value).full_tensor() if is_share(value) else value


def is_share(value: Tensor) -> bool:
    """Whether a tensor is this process's share of one: a ``DTensor``, told without importing it.

    Args:
        value: The tensor.

    Returns:
        False for an ordinary tensor.
    """
    return hasattr(value, "full_tensor")


def cut(value: Tensor, num_rows: int) -> Tensor:
    """Cut this process's rows out of a tensor, as ``torch.chunk`` does.

    Args:
        value: The whole tensor, the same in every process; a single number counts as a row of one.
        num_rows: How many rows are this process's.

    Returns:
        A view of them.
    """
    value = value.view(value.shape or (1,))
    first = process_number() * -(-len(value) // num_processes())
    return value[first : first + num_rows]


def _rows(share: nn.Parameter) -> nn.Parameter:
    if not is_share(share):
        return share
    return nn.Parameter(cast(Any, share.detach()).to_local(), requires_grad=share.requires_grad)


def _copy_buffers(source: nn.Module, target: nn.Module) -> None:
    for buffer, found in zip(target.buffers(), source.buffers(), strict=True):
        buffer.copy_(found)


def _moved(network: Network) -> Network:
    """Move the weights into a copy of the network, as they can be shared out: contiguous, numbers as rows of one."""
    weights = [parameter.data for parameter in network.parameters()]
    for parameter in network.parameters():
        parameter.data = parameter.data.new_empty(0)  # nothing to copy
    frozen = [part for encoder in network.own_encoders if isinstance(encoder, Pretrained) for part in encoder.kept()]
    module = copy.deepcopy(network, {id(tensor): tensor for tensor in frozen})
    for parameter, emptied, weight in zip(module.parameters(), network.parameters(), weights, strict=True):
        parameter.data = weight.contiguous().view(weight.shape or (1,))
        emptied.data = weight
    release_weights(network)
    return module


def _watch(module: Network, group: FSDPModule, reached: set[str]) -> None:
    """Note which of a group's parameters gradients reach; gradients are added up without telling."""
    group.unshard()
    for name, parameter in module.named_parameters():
        if parameter.requires_grad and parameter.numel() and not is_share(parameter):
            cast(Any, parameter).register_post_accumulate_grad_hook(lambda _, name=name: reached.add(name))
    group.reshard()
