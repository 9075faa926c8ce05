"""The head of the target transcript: a recurrent network over the time steps of one stream (torch).

Shape legend: B rows of the batch, T steps, V units with the blank, L units of a text, W width, N rows.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polymodal.encoders.recurrent import Recurrent
from polymodal.nn.layers import Dropout
from polymodal.targets.ctc import ctc_loss
from polymodal.targets.predictions import ReadOutputs
from polymodal.targets.row_context import RowContext
from polymodal.targets.structured_head import StructuredHead
from polymodal.targets.units import BLANK
from polymodal.tokens import Detail, Fused


class TranscriptHead(StructuredHead):
    """A bidirectional GRU over the time steps of one stream, conditioned on the fused vector."""

    def __init__(
        self,
        read: ReadOutputs,
        num_units: int,
        width: int,
        stream: str,
        step_frames: int,
        *,
        depth: int,
        dropout: float,
    ) -> None:
        """Build the layers.

        Args:
            read: ``read_outputs`` of the target.
            num_units: V.
            width: W.
            stream: The stream whose time steps are read.
            step_frames: Frames, or samples, per step.
            depth: Number of recurrent layers.
            dropout: Dropout probability.
        """
        super().__init__(read)
        self.stream = stream
        self.step_frames = step_frames
        self.project = nn.Linear(width, width)
        self.condition = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.layers = Recurrent("gru", width, depth, dropout)
        self.output = nn.Sequential(
            nn.LayerNorm(self.layers.output_dim),
            Dropout(dropout),
            nn.Linear(self.layers.output_dim, num_units),
        )

    def loss(self, fused: Fused, truth: Tensor, smoothing: float) -> Tensor:  # noqa: ARG002
        """Negative log-likelihood of the text, divided by its number of units.

        Args:
            fused: Output of the fusion.
            truth: int64 ``[B, L]``, ids of units, padded with 0.
            smoothing: Not used: most of the smoothed mass would go to the blank.

        Returns:
            Loss ``[B]``; 0 where the stream is absent or has too few steps for the text.
        """
        log_probabilities_BTV, num_steps = self._log_probabilities(fused)
        losses = ctc_loss(log_probabilities_BTV, num_steps, truth)
        return losses / (truth != BLANK).sum(dim=1).clamp(min=1)

    def notices(self, truth: NDArray[np.int64], context: RowContext) -> list[str]:
        """Return how many texts have more units than their audio has steps; their loss is set to 0.

        Args:
            truth: int64 ``[N, L]``, ids of units, padded with 0.
            context: The arrays of the same rows.

        Returns:
            One sentence or none.
        """
        column, rows = context.columns[self.stream], slice(None) if context.rows is None else context.rows
        frames = np.full(len(column), column.values.shape[1]) if column.lengths is None else column.lengths
        steps = -(-frames[rows] // self.step_frames)
        repeats = ((truth[:, 1:] == truth[:, :-1]) & (truth[:, 1:] != BLANK)).sum(axis=1)
        needed = (truth != BLANK).sum(axis=1) + repeats
        count = int((column.row_present[rows] & (needed > steps)).sum())
        notice = f"{count} training texts have more units than their audio has time steps and are ignored in training"
        return [f"{notice} (subwords are fewer units: the option units=subwords)"] if count else []

    def outputs(self, fused: Fused) -> dict[str, Tensor]:
        """Compute the probabilities of the units at each step.

        Args:
            fused: Output of the fusion.

        Returns:
            ``log_probabilities`` ``[B, T, V]`` and ``num_steps``, int64 ``[B]``, the steps in use.
        """
        log_probabilities_BTV, num_steps = self._log_probabilities(fused)
        return {"log_probabilities": log_probabilities_BTV, "num_steps": num_steps}

    def _log_probabilities(self, fused: Fused) -> tuple[Tensor, Tensor]:
        """Return ``[B, T, V]`` and the int64 numbers of steps in use ``[B]``."""
        detail = fused.details.get(self.stream)
        if detail is None:
            detail = _no_steps(fused.pooled)
        num_steps = detail.present.sum(dim=1)
        steps_BTW = self.project(detail.values) + self.condition(fused.pooled).unsqueeze(1)
        return self.output(self.layers(steps_BTW, num_steps)).float().log_softmax(dim=2), num_steps


def _no_steps(pooled_BW: Tensor) -> Detail:
    """Return one masked step for each row, for a batch without the stream."""
    return Detail(
        torch.zeros_like(pooled_BW).unsqueeze(1), pooled_BW.new_zeros(pooled_BW.shape[0], 1, dtype=torch.bool)
    )
