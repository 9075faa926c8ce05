"""Attention and the transformer layers made of it (torch).

Shape legend: B rows of the batch, T steps, M tokens that are looked at, W width, H heads, D width of a head.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from polymodal.errors import parameter_error
from polymodal.nn.layers import Dropout
from polymodal.nn.precision import exact

KeyValue = tuple[Tensor, Tensor]
"""Keys and values of one attention, each ``[B, H, tokens, D]``."""


def attend(
    query_BHTD: Tensor, key_BHKD: Tensor, value_BHKD: Tensor, present_BK: Tensor | None, causal: bool = False
) -> Tensor:
    """Scaled dot-product attention: Vaswani et al. 2017, arXiv 1706.03762, equation 1.

    On a CPU always in float32: torch's is slow backwards in bfloat16 there (seven times the time for 33 tokens).

    Args:
        query_BHTD: ``[B, H, T, D]``.
        key_BHKD: ``[B, H, K, D]``.
        value_BHKD: ``[B, H, K, D]``.
        present_BK: bool ``[B, K]``, at least one True in each row; None: all are.
        causal: Whether query t sees the keys 0 to t only.

    Returns:
        ``[B, H, T, D]``; float32 where it learns in bfloat16 on a CPU.
    """
    mask = None if present_BK is None else present_BK[:, None, None, :]
    looks = partial(functional.scaled_dot_product_attention, attn_mask=mask, is_causal=causal)
    if query_BHTD.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return looks(query_BHTD, key_BHKD, value_BHKD)
    with exact(query_BHTD.device):
        return looks(query_BHTD.float(), key_BHKD.float(), value_BHKD.float())


def check_heads(width: int, num_heads: int) -> None:
    """Check that heads share a width evenly.

    Args:
        width: W.
        num_heads: H.

    Raises:
        ConfigError: If the heads do not divide the width.
    """
    if width % num_heads:
        raise parameter_error("num_heads", "a transformer", f"a divisor of the width {width}", num_heads)


def feed_forward(num_in: int, hidden: int, num_out: int) -> nn.Sequential:
    """Build a norm and two linear layers: Vaswani et al. 2017, equation 2, with GELU.

    Args:
        num_in: Width of what comes in.
        hidden: Width between the layers.
        num_out: Width of what goes out.

    Returns:
        The layers.
    """
    return nn.Sequential(nn.LayerNorm(num_in), nn.Linear(num_in, hidden), nn.GELU(), nn.Linear(hidden, num_out))


class SelfAttention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2) that sees present tokens only."""

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

    def forward(self, x_BTW: Tensor, present: Tensor, num_wanted: int | None = None) -> Tensor:
        """Let tokens look at each other.

        Args:
            x_BTW: ``[B, T, W]``.
            present: bool ``[B, T]``; at least one True in each row.
            num_wanted: Only the first so many tokens look; None: all do.

        Returns:
            ``[B, T, W]``, or as many tokens as look.
        """
        width = x_BTW.shape[2]
        if num_wanted is None:
            query, key, value = self.project_in(x_BTW).chunk(3, dim=2)
        else:
            weights, biases = self.project_in.weight, self.project_in.bias
            query = functional.linear(x_BTW[:, :num_wanted], weights[:width], biases[:width])
            key, value = functional.linear(x_BTW, weights[width:], biases[width:]).chunk(2, dim=2)
        query, key, value = (_split_heads(part, self.num_heads) for part in (query, key, value))
        attended: Tensor = self.project_out(attend(query, key, value, present).transpose(1, 2).flatten(2))
        return attended


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al. 2017, arXiv 1706.03762, section 3.2) over keys that can be kept."""

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
        """Project tokens to what queries look at.

        Args:
            x_BTW: ``[B, T, W]``.

        Returns:
            Keys and values ``[B, H, T, D]``.
        """
        keys, values = self.key_value(x_BTW).chunk(2, dim=2)
        return _split_heads(keys, self.num_heads), _split_heads(values, self.num_heads)

    def forward(self, x_BTW: Tensor, seen: KeyValue, present: Tensor | None, causal: bool) -> Tensor:
        """Look at keys.

        Args:
            x_BTW: Queries ``[B, T, W]``.
            seen: Keys and values of M tokens.
            present: bool ``[B, M]``, at least one True in each row; None: all are.
            causal: Whether query t sees the keys 0 to t only.

        Returns:
            ``[B, T, W]``.
        """
        mixed_BHTD = attend(_split_heads(self.query(x_BTW), self.num_heads), *seen, present, causal)
        attended: Tensor = self.project_out(mixed_BHTD.transpose(1, 2).flatten(2))
        return attended


def _split_heads(x_BTW: Tensor, num_heads: int) -> Tensor:
    """Return each head's part of the width: ``[B, H, T, D]``."""
    return x_BTW.view(*x_BTW.shape[:2], num_heads, x_BTW.shape[2] // num_heads).transpose(1, 2)


class TransformerLayer(nn.Module):
    """A pre-norm transformer layer: Xiong et al. 2020, arXiv 2002.04745, figure 1 (b).

    Dropout stands at the end of both branches only; elsewhere it costs a quarter of the time on a CPU.

    It is not ``nn.TransformerEncoderLayer``, which also drops attention weights and activations, computes the outputs
    of all tokens where often one is wanted, cannot attend in float32 while the rest computes in bfloat16, and names its
    weights otherwise, so that saved models would no longer load.
    """

    def __init__(self, width: int, num_heads: int, dropout: float, expansion: int = 2) -> None:
        """Build the layer.

        Args:
            width: W.
            num_heads: Heads of the attention; divides the width.
            dropout: Share of values set to zero in training.
            expansion: Width of the feed-forward part, in multiples of W.
        """
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = SelfAttention(width, num_heads)
        self.feed_forward = feed_forward(width, expansion * width, width)
        self.dropout = Dropout(dropout)

    def forward(self, x_BTW: Tensor, present: Tensor, num_wanted: int | None = None) -> Tensor:
        """Run the layer.

        Args:
            x_BTW: ``[B, T, W]``.
            present: bool ``[B, T]``; at least one True in each row.
            num_wanted: Only the first so many tokens are wanted; None: all are.

        Returns:
            ``[B, T, W]``, or as many tokens as are wanted.
        """
        attended = self.attention(self.attention_norm(x_BTW), present, num_wanted)
        x_BTW = x_BTW[:, :num_wanted] + self.dropout(attended)
        fed: Tensor = x_BTW + self.dropout(self.feed_forward(x_BTW))
        return fed


class Transformer(nn.Module):
    """Pre-norm transformer layers and the closing norm."""

    def __init__(self, width: int, depth: int, num_heads: int, dropout: float) -> None:
        """Build the layers.

        Args:
            width: W.
            depth: Number of layers.
            num_heads: Heads of each layer; divides the width.
            dropout: Share of values set to zero in training.
        """
        super().__init__()
        self.layers = nn.ModuleList(TransformerLayer(width, num_heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, x_BTW: Tensor, present: Tensor, num_wanted: int | None = None) -> Tensor:
        """Run all layers.

        Args:
            x_BTW: ``[B, T, W]``.
            present: bool ``[B, T]``; rows without any True give finite values of no meaning.
            num_wanted: Only the first so many tokens are wanted, so that the last layer computes no others; None: all.

        Returns:
            ``[B, T, W]``, or as many tokens as are wanted.
        """
        visible = present | ~present.any(dim=1, keepdim=True)
        for number, layer in enumerate(self.layers, 1):
            x_BTW = layer(x_BTW, visible, num_wanted if number == len(self.layers) else None)
        normed: Tensor = self.norm(x_BTW[:, :num_wanted])
        return normed
