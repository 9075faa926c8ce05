"""Multi-head attention and transformer layers (torch).

Shape legend: B rows of the batch, T query tokens, M key tokens, W width, H heads, D width of a head.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from polymodal.errors import parameter_error
from polymodal.nn.layers import Dropout
from polymodal.nn.precision import autocast_disabled

KeyValue = tuple[Tensor, Tensor]
"""Keys and values of one attention, each ``[B, H, tokens, D]``."""


def attend(
    query_BHTD: Tensor, key_BHKD: Tensor, value_BHKD: Tensor, present_BK: Tensor | None, causal: bool = False
) -> Tensor:
    """Scaled dot-product attention: Vaswani et al. 2017, arXiv 1706.03762, equation 1.

    On a CPU always in float32: the backward pass of torch's bfloat16 kernel is slow there (7 times for 33 tokens).

    Args:
        query_BHTD: ``[B, H, T, D]``.
        key_BHKD: ``[B, H, K, D]``.
        value_BHKD: ``[B, H, K, D]``.
        present_BK: bool ``[B, K]``, at least one True in each row; None: all are.
        causal: Whether query t attends to the keys 0 to t only.

    Returns:
        ``[B, H, T, D]``; float32 under bfloat16 autocast on a CPU.
    """
    mask = None if present_BK is None else present_BK[:, None, None, :]
    attention = partial(functional.scaled_dot_product_attention, attn_mask=mask, is_causal=causal)
    if query_BHTD.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return attention(query_BHTD, key_BHKD, value_BHKD)
    with autocast_disabled(query_BHTD.device):
        return attention(query_BHTD.float(), key_BHKD.float(), value_BHKD.float())


def check_heads(width: int, num_heads: int) -> None:
    """Check that the width is a multiple of the number of heads.

    Args:
        width: W.
        num_heads: H.

    Raises:
        ConfigError: If the heads do not divide the width.
    """
    if width % num_heads:
        raise parameter_error("num_heads", "a transformer", f"a divisor of the width {width}", num_heads)


def feed_forward(num_in: int, hidden: int, num_out: int) -> nn.Sequential:
    """Build a layer norm and two linear layers: Vaswani et al. 2017, equation 2, with GELU.

    Args:
        num_in: Input width.
        hidden: Width of the hidden layer.
        num_out: Output width.

    Returns:
        The layers.
    """
    return nn.Sequential(nn.LayerNorm(num_in), nn.Linear(num_in, hidden), nn.GELU(), nn.Linear(hidden, num_out))


class SelfAttention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2) over present tokens."""

    def __init__(self, width: int, num_heads: int) -> None:
        """Build the projections.

        Args:
            width: W.
            num_heads: H; divides the width.

        Raises:
            ConfigError: If the heads do not divide the width.
        """
        super().__init__()
        check_heads(width, num_heads)
        self.num_heads = num_heads
        self.project_in = nn.Linear(width, 3 * width)
        self.project_out = nn.Linear(width, width)

    def forward(self, x_BTW: Tensor, present: Tensor, num_queries: int | None = None) -> Tensor:
        """Compute self-attention.

        Args:
            x_BTW: ``[B, T, W]``.
            present: bool ``[B, T]``; at least one True in each row.
            num_queries: Number of tokens, from the first, that are used as queries; None: all.

        Returns:
            ``[B, num_queries, W]``.
        """
        inner = self.project_out.in_features  # less than W where heads were pruned
        if num_queries is None:
            query, key, value = self.project_in(x_BTW).chunk(3, dim=2)
        else:
            weights, biases = self.project_in.weight, self.project_in.bias
            query = functional.linear(x_BTW[:, :num_queries], weights[:inner], biases[:inner])
            key, value = functional.linear(x_BTW, weights[inner:], biases[inner:]).chunk(2, dim=2)
        query, key, value = (_split_heads(part, self.num_heads) for part in (query, key, value))
        attended: Tensor = self.project_out(attend(query, key, value, present).transpose(1, 2).flatten(2))
        return attended


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al. 2017, arXiv 1706.03762, section 3.2) with keys and values for a cache."""

    def __init__(self, width: int, num_heads: int) -> None:
        """Build the projections.

        Args:
            width: W.
            num_heads: H; divides the width.

        Raises:
            ConfigError: If the heads do not divide the width.
        """
        super().__init__()
        check_heads(width, num_heads)
        self.num_heads = num_heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.project_out = nn.Linear(width, width)

    def keys_values(self, x_BTW: Tensor) -> KeyValue:
        """Project tokens to keys and values.

        Args:
            x_BTW: ``[B, T, W]``.

        Returns:
            Keys and values ``[B, H, T, D]``.
        """
        keys, values = self.key_value(x_BTW).chunk(2, dim=2)
        return _split_heads(keys, self.num_heads), _split_heads(values, self.num_heads)

    def forward(self, x_BTW: Tensor, keys_values: KeyValue, present: Tensor | None, causal: bool) -> Tensor:
        """Compute attention.

        Args:
            x_BTW: Queries ``[B, T, W]``.
            keys_values: Keys and values of M tokens, of ``keys_values``.
            present: bool ``[B, M]``, at least one True in each row; None: all are.
            causal: Whether query t attends to the keys 0 to t only.

        Returns:
            ``[B, T, W]``.
        """
        mixed_BHTD = attend(_split_heads(self.query(x_BTW), self.num_heads), *keys_values, present, causal)
        attended: Tensor = self.project_out(mixed_BHTD.transpose(1, 2).flatten(2))
        return attended


def _split_heads(x_BTW: Tensor, num_heads: int) -> Tensor:
    """Split the width into heads: ``[B, H, T, D]``."""
    return x_BTW.view(*x_BTW.shape[:2], num_heads, x_BTW.shape[2] // num_heads).transpose(1, 2)


class TransformerLayer(nn.Module):
    """A pre-norm transformer layer: Xiong et al. 2020, arXiv 2002.04745, figure 1 (b).

    Dropout is applied only at the end of both branches; elsewhere it costs a quarter of the time on a CPU.

    It is not ``nn.TransformerEncoderLayer``, which also drops attention weights and activations, computes the outputs
    of all tokens where often one is needed, cannot compute attention in float32 under bfloat16 autocast, and has other
    names of weights, so that saved models would no longer load.
    """

    def __init__(self, width: int, num_heads: int, dropout: float, expansion: int = 2) -> None:
        """Build the layer.

        Args:
            width: W.
            num_heads: Heads of the attention; divides the width.
            dropout: Dropout probability.
            expansion: Width of the feed-forward layer, in multiples of W.
        """
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = SelfAttention(width, num_heads)
        self.feed_forward = feed_forward(width, expansion * width, width)
        self.dropout = Dropout(dropout)

    def forward(self, x_BTW: Tensor, present: Tensor, num_queries: int | None = None) -> Tensor:
        """Run the layer.

        Args:
            x_BTW: ``[B, T, W]``.
            present: bool ``[B, T]``; at least one True in each row.
            num_queries: Number of tokens, from the first, that are computed; None: all.

        Returns:
            ``[B, num_queries, W]``.
        """
        attended = self.attention(self.attention_norm(x_BTW), present, num_queries)
        x_BTW = x_BTW[:, :num_queries] + self.dropout(attended)
        fed: Tensor = x_BTW + self.dropout(self.feed_forward(x_BTW))
        return fed


class Transformer(nn.Module):
    """Pre-norm transformer layers and a final layer norm."""

    def __init__(self, width: int, depth: int, num_heads: int, dropout: float) -> None:
        """Build the layers.

        Args:
            width: W.
            depth: Number of layers.
            num_heads: Heads of each layer; divides the width.
            dropout: Dropout probability.
        """
        super().__init__()
        self.layers = nn.ModuleList(TransformerLayer(width, num_heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, x_BTW: Tensor, present: Tensor, num_queries: int | None = None) -> Tensor:
        """Run all layers.

        Args:
            x_BTW: ``[B, T, W]``.
            present: bool ``[B, T]``; rows without any True give finite values without meaning.
            num_queries: Number of tokens, from the first, that the last layer computes; None: all.

        Returns:
            ``[B, num_queries, W]``.
        """
        visible = present | ~present.any(dim=1, keepdim=True)
        for number, layer in enumerate(self.layers, 1):
            x_BTW = layer(x_BTW, visible, num_queries if number == len(self.layers) else None)
        normed: Tensor = self.norm(x_BTW[:, :num_queries])
        return normed
