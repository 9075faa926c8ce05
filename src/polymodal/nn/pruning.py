"""Structured pruning: whole heads, hidden units and channels are removed, so that what is left is smaller and faster.

Units are ranked by the norms of their weights going in and out (Li et al. 2017, arXiv 1608.08710; heads: Michel et al.
2019, arXiv 1905.10650). Differs from the sources: the product of both norms, and fine-tuning follows once.

Shape legend: U units, I width of all heads, W width, G groups of a normalisation, K kept units of a group.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

from polymodal.nn.attention import SelfAttention
from polymodal.nn.convolution import Conv2d
from polymodal.nn.layers import GroupNorm, use_channels_last


class PrunableUnits(ABC):
    """Units of a layer that can be removed one by one.

    Attributes:
        divisor: The number that is kept is a multiple of it.
    """

    divisor = 1

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of units."""

    @abstractmethod
    def importance(self) -> Tensor:
        """Return how much each unit counts, float ``[U]``."""

    @abstractmethod
    def keep(self, units: Tensor) -> None:
        """Remove all units but some.

        Args:
            units: int64, which are kept, rising.
        """

    def ranked(self, number: int) -> Tensor:
        """Choose the units that count most.

        Args:
            number: How many to keep, a multiple of ``divisor``.

        Returns:
            int64, rising.
        """
        return self.importance().topk(number).indices.sort().values


class HiddenUnits(PrunableUnits):
    """Hidden units between two linear layers, with an activation and perhaps a layer normalisation between them."""

    def __init__(self, first: nn.Linear, second: nn.Linear, norm: nn.LayerNorm | None = None) -> None:
        """Name the layers.

        Args:
            first: Computes the units.
            second: Reads them.
            norm: Normalises them; None: nothing does.
        """
        self._first, self._second, self._norm = first, second, norm

    @property
    def size(self) -> int:
        """Number of units."""
        return self._first.out_features

    def importance(self) -> Tensor:
        """Return the product of the norms of the weights to and from each unit."""
        into = _norms(self._first.weight, 1) if self._norm is None else self._norm.weight.detach().abs()
        return into * _norms(self._second.weight, 0)

    def keep(self, units: Tensor) -> None:
        """Remove all units but some.

        Args:
            units: Which are kept.
        """
        _keep_outputs(self._first, units)
        _keep_inputs(self._second, units)
        if self._norm is not None:
            for name in ("weight", "bias"):
                _set(self._norm, name, getattr(self._norm, name)[units])
            self._norm.normalized_shape = (len(units),)


class Heads(PrunableUnits):
    """Heads of a self-attention."""

    def __init__(self, attention: SelfAttention) -> None:
        """Name the attention.

        Args:
            attention: The module.
        """
        self._attention = attention

    @property
    def size(self) -> int:
        """Number of heads."""
        return self._attention.num_heads

    def importance(self) -> Tensor:
        """Return the product of the norms of each head's values and outputs."""
        values_IW = self._attention.project_in.weight.chunk(3)[2]
        outputs_IW = self._attention.project_out.weight.T
        return _norms(values_IW.reshape(self.size, -1), 1) * _norms(outputs_IW.reshape(self.size, -1), 1)

    def keep(self, units: Tensor) -> None:
        """Remove all heads but some.

        Args:
            units: Which are kept.
        """
        inner = self._attention.project_out.in_features
        rows = torch.arange(inner).view(self.size, -1)[units].flatten()
        _keep_outputs(self._attention.project_in, torch.cat([rows + part * inner for part in range(3)]))
        _keep_inputs(self._attention.project_out, rows)
        self._attention.num_heads = len(units)


class Channels(PrunableUnits):
    """Channels between two convolutions, with a group normalisation between them; each group keeps as many."""

    def __init__(self, first: Conv2d, norm: GroupNorm, second: Conv2d) -> None:
        """Name the layers.

        Args:
            first: Computes the channels.
            norm: Normalises them.
            second: Reads them.
        """
        self._first, self._norm, self._second = first, norm, second
        self.divisor = norm.num_groups

    @property
    def size(self) -> int:
        """Number of channels."""
        return self._first.out_channels

    def importance(self) -> Tensor:
        """Return the product of the norms of the filters to and from each channel, and its scale."""
        into = _norms(self._first.weight.flatten(1), 1)
        out = _norms(self._second.weight.transpose(0, 1).flatten(1), 1)
        return into * out * self._norm.weight.detach().abs()

    def ranked(self, number: int) -> Tensor:
        """Choose the channels of each group that count most.

        Args:
            number: How many to keep in all.

        Returns:
            int64, rising.
        """
        groups, in_group = self._norm.num_groups, self.size // self._norm.num_groups
        best_GK = self.importance().view(groups, in_group).topk(number // groups).indices
        return (best_GK + torch.arange(groups).unsqueeze(1) * in_group).flatten().sort().values

    def keep(self, units: Tensor) -> None:
        """Remove all channels but some.

        Args:
            units: Which are kept.
        """
        _set(self._first, "weight", self._first.weight[units])
        self._first.out_channels = self._norm.num_channels = len(units)
        for name in ("weight", "bias"):
            _set(self._norm, name, getattr(self._norm, name)[units])
        _set(self._second, "weight", self._second.weight[:, units])
        self._second.in_channels = len(units)


def prunable_units(network: nn.Module) -> dict[str, PrunableUnits]:
    """Find what can be pruned in a network.

    Args:
        network: The network.

    Returns:
        Name of the module, and of what in it, to its units.
    """
    found: dict[str, PrunableUnits] = {}
    for name, module in network.named_modules():
        if isinstance(module, SelfAttention):
            found[f"{name}.heads"] = Heads(module)
        if isinstance(module, nn.Sequential):
            found |= {f"{name}.{place}.hidden": units for place, units in _hidden(module)}
        if name.endswith(".stages") and getattr(network.get_submodule(name[:-7]), "pyramid", None) is None:
            found |= {f"{name}.{place}.channels": units for place, units in _channels(module)}
    return found


def prune(network: nn.Module, share: float) -> dict[str, int]:
    """Remove the least important units of every layer.

    Args:
        network: The network; it is changed.
        share: Share of the units of each layer that is kept, above 0 and below 1.

    Returns:
        Name of what was pruned to the number that is kept, as for ``resize``.
    """
    kept = {}
    for name, units in prunable_units(network).items():
        number = max(round(units.size * share / units.divisor), 1) * units.divisor
        if number < units.size:
            units.keep(units.ranked(number))
            kept[name] = number
    return kept


def resize(network: nn.Module, kept: Mapping[str, int]) -> None:
    """Give a freshly built network the shapes of a pruned one, whose weights are loaded next.

    Args:
        network: The network; it is changed.
        kept: What ``prune`` returned.

    Raises:
        ValueError: If the network has no such units, or not so many.
    """
    units = prunable_units(network)
    for name, number in kept.items():
        if name not in units or not 1 <= number <= units[name].size or number % units[name].divisor:
            raise ValueError(f"{name} cannot be pruned to {number}")
        units[name].keep(units[name].ranked(number))


def _hidden(layers: nn.Sequential) -> Iterator[tuple[int, HiddenUnits]]:
    """Yield the hidden units between the linear layers of a feed-forward network or a multilayer perceptron."""
    modules = list(layers)
    linear = [place for place, layer in enumerate(modules) if type(layer) is nn.Linear]
    for place, after in pairwise(linear):
        between, first, second = modules[place + 1 : after], modules[place], modules[after]
        norms = [layer for layer in between if isinstance(layer, nn.LayerNorm)]
        is_plain = all(isinstance(layer, nn.GELU | nn.ReLU | nn.Dropout | nn.LayerNorm) for layer in between)
        if between and is_plain and len(norms) <= 1 and isinstance(first, nn.Linear) and isinstance(second, nn.Linear):
            yield place, HiddenUnits(first, second, norms[0] if norms else None)


def _channels(stages: nn.Module) -> Iterator[tuple[int, Channels]]:
    """Yield the channels between two plain convolution blocks that follow each other."""
    blocks = [_block(block) for block in stages.children()]
    for place, (block, after) in enumerate(pairwise(blocks)):
        if block is not None and after is not None and block[0].out_channels == after[0].in_channels:
            yield place, Channels(*block, after[0])


def _block(block: nn.Module) -> tuple[Conv2d, GroupNorm] | None:
    """Return the convolution and the normalisation of a block that is nothing else."""
    layers = [layer for layer in block.children() if not isinstance(layer, nn.ReLU)]
    if len(layers) == 2 and isinstance(layers[0], Conv2d) and isinstance(layers[1], GroupNorm):
        return (layers[0], layers[1]) if layers[0].groups == 1 and layers[0].bias is None else None
    return None


def _norms(weights: Tensor, dim: int) -> Tensor:
    """Return the norm along a dimension."""
    norms: Tensor = torch.linalg.vector_norm(weights.detach(), dim=dim)
    return norms


def _keep_outputs(layer: nn.Linear, rows: Tensor) -> None:
    _set(layer, "weight", layer.weight[rows])
    if layer.bias is not None:
        _set(layer, "bias", layer.bias[rows])
    layer.out_features = len(rows)


def _keep_inputs(layer: nn.Linear, columns: Tensor) -> None:
    _set(layer, "weight", layer.weight[:, columns])
    layer.in_features = len(columns)


def _set(module: nn.Module, name: str, values: Tensor) -> None:
    parameter = nn.Parameter(values.detach().clone())
    setattr(module, name, parameter)
    if values.ndim == 4:
        use_channels_last(module)
