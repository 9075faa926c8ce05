"""Bidirectional recurrent layers over padded sequences (torch).

Shape legend: B rows of the batch, T steps, W width.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn

from polymodal.encoders.recurrent_operator import bidirectional_operator
from polymodal.nn.layers import Dropout, steps_present
from polymodal.nn.precision import autocast, autocast_disabled

Cell = Literal["lstm", "gru"]
CELLS: dict[Cell, type[nn.LSTM] | type[nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}


class Recurrent(nn.Module):
    """LSTM (Hochreiter and Schmidhuber 1997) or GRU (Cho et al. 2014) layers in both directions.

    For the backward direction each row is reversed within its length, so that padding stays last; on a CPU this is
    faster than packed sequences.
    """

    def __init__(self, cell: Cell, width: int, depth: int, dropout: float) -> None:
        """Build the layers.

        Args:
            cell: "lstm" or "gru".
            width: W of the input; the state of each direction has half of it.
            depth: Number of layers.
            dropout: Dropout probability between layers.
        """
        super().__init__()
        self.cell = cell
        half = max(1, width // 2)
        self.output_dim = 2 * half
        inputs = [width] + [self.output_dim] * (depth - 1)
        self.forwards = nn.ModuleList(CELLS[cell](num_in, half, batch_first=True) for num_in in inputs)
        self.backwards = nn.ModuleList(CELLS[cell](num_in, half, batch_first=True) for num_in in inputs)
        self.dropout = Dropout(dropout)

    def forward(self, x_BTW: Tensor, lengths: Tensor) -> Tensor:
        """Run both directions.

        Args:
            x_BTW: ``[B, T, W]``.
            lengths: int64 ``[B]``.

        Returns:
            ``[B, T, output_dim]``, zero in padding.
        """
        mirror_BT = (lengths.unsqueeze(1) - 1 - torch.arange(x_BTW.shape[1], device=lengths.device)).clamp(min=0)
        keep = steps_present(lengths, x_BTW.shape[1]).unsqueeze(2)
        for index, (onwards, backwards) in enumerate(zip(self.forwards, self.backwards, strict=True)):
            x_BTW = self.dropout(x_BTW) if index else x_BTW
            if torch.onnx.is_in_onnx_export():
                both_BTW = bidirectional_operator(self.cell, onwards, backwards, x_BTW, lengths)
            else:
                reversed_BTW = _reorder(self._run(backwards, _reorder(x_BTW, mirror_BT)), mirror_BT)
                both_BTW = torch.cat([self._run(onwards, x_BTW), reversed_BTW], dim=2)
            x_BTW = torch.where(keep, both_BTW, 0)
        return x_BTW

    def _run(self, layer: nn.Module, x_BTW: Tensor) -> Tensor:
        device = x_BTW.device
        if not torch.is_autocast_enabled(device.type) or trains_in_bfloat16(self.cell, device):
            return layer(x_BTW)[0]  # type: ignore[no-any-return]
        with autocast_disabled(device):
            return layer(x_BTW.float())[0]  # type: ignore[no-any-return]


@cache
def trains_in_bfloat16(cell: Cell, device: torch.device) -> bool:
    """Return whether a device can train such a layer in bfloat16, tried once per process.

    oneDNN has no LSTM in bfloat16 for processors without AVX-512: torch raises there. Such layers compute in float32.

    Args:
        cell: "lstm" or "gru".
        device: A GPU or the CPU.

    Returns:
        False where the trial raises an error.
    """
    try:
        with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
            layer, x_BTW = CELLS[cell](2, 2, batch_first=True).to(device), torch.zeros(2, 3, 2, device=device)
            with autocast("bfloat16", device):
                steps_BTW = layer(x_BTW)[0]
            steps_BTW.float().sum().backward()
    except RuntimeError:
        return False
    return True


def _reorder(x_BTW: Tensor, order_BT: Tensor) -> Tensor:
    return x_BTW.gather(1, order_BT.unsqueeze(2).expand_as(x_BTW))
