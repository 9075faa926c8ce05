"""Bidirectional recurrent layers as the operators LSTM and GRU of ONNX (torch).

Shape legend: B rows of the batch, T steps, W width, H size of the state of one direction, G gates.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

GATES = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}
"""Places of ONNX's gates among torch's: input, output, forget, cell; update, reset, new."""


def bidirectional_operator(
    cell: Literal["lstm", "gru"], onwards: Any, backwards: Any, x_BTW: Tensor, lengths: Tensor
) -> Tensor:
    """Run a layer in both directions as one operator, while a graph is exported to ONNX.

    Args:
        cell: "lstm" or "gru".
        onwards: ``nn.LSTM`` or ``nn.GRU`` of one layer and one direction, with biases.
        backwards: The same for the steps in reverse.
        x_BTW: ``[B, T, W]``.
        lengths: int64 ``[B]``.

    Returns:
        ``[B, T, 2 H]``; zero in padding.
    """
    layers, hidden = (onwards, backwards), onwards.hidden_size
    weights = torch.stack([_ordered(cell, layer.weight_ih_l0) for layer in layers])
    recurrence = torch.stack([_ordered(cell, layer.weight_hh_l0) for layer in layers])
    biases = torch.stack(
        [torch.cat([_ordered(cell, layer.bias_ih_l0), _ordered(cell, layer.bias_hh_l0)]) for layer in layers]
    )
    num_rows, num_steps = x_BTW.shape[:2]
    (steps_TDBH,) = torch.onnx.ops.symbolic_multi_out(
        cell.upper(),
        [x_BTW.transpose(0, 1), weights, recurrence, biases, lengths.int()],
        {"direction": "bidirectional", "hidden_size": hidden, **({"linear_before_reset": 1} if cell == "gru" else {})},
        dtypes=[x_BTW.dtype],
        shapes=[(num_steps, 2, num_rows, hidden)],
        version=14,
    )
    return steps_TDBH.permute(2, 0, 1, 3).reshape(num_rows, num_steps, 2 * hidden)


def _ordered(cell: str, weights: Tensor) -> Tensor:
    """Return the weights ``[G H, ...]`` in ONNX's order of gates."""
    size = weights.shape[0] // len(GATES[cell])
    return torch.cat([weights[place * size : (place + 1) * size] for place in GATES[cell]])
