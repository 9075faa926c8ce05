"""The head of the target transcript: a recurrent network over the time steps of one stream (torch).

Shape legend: B rows of the batch, T steps, V units with the blank, L units of a text, W width, N rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polymodal.encoders.recurrent import Recurrent
from polymodal.nn.layers import Dropout
from polymodal.targets.ctc import ctc_loss, greedy_decode
from polymodal.targets.structured import RowContext, StructuredHead, StructuredPrediction
from polymodal.targets.units import BLANK, Units
from polymodal.tokens import Detail, Fused

Search = Callable[[NDArray[np.float64]], list[int]]
"""From probabilities ``[T, V]`` of the steps in use to the ids of the most probable text."""


class TranscriptHead(StructuredHead):
    """A bidirectional GRU over the time steps of one stream, conditioned on the fused vector."""

    def __init__(
        self,
        units: Units,
        width: int,
        stream: str,
        step_frames: int,
        *,
        depth: int,
        dropout: float,
        search: Search | None = None,
    ) -> None:
        """Build the layers.

        Args:
            units: The output units.
            width: W.
            stream: The stream whose time steps are read.
            step_frames: Frames, or samples, per step.
            depth: Number of recurrent layers.
            dropout: Dropout probability.
            search: Search for the most probable text; None: greedy decoding.
        """
        super().__init__()
        self.units = units
        self.search = search
        self.stream = stream
        self.step_frames = step_frames
        self.project = nn.Linear(width, width)
        self.condition = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.layers = Recurrent("gru", width, depth, dropout)
        self.output = nn.Sequential(
            nn.LayerNorm(self.layers.output_dim),
            Dropout(dropout),
            nn.Linear(self.layers.output_dim, len(units.symbols) + 1),
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

    def predict(self, fused: Fused) -> list[StructuredPrediction]:
        """Decode the texts.

        Args:
            fused: Output of the fusion.

        Returns:
            A text a row; empty, without a confidence, where the stream is absent. The confidence is the probability of
            the text as a geometric mean over its units.
        """
        with torch.no_grad():
            log_probabilities_BTV, num_steps = self._log_probabilities(fused)
        found = self._search(log_probabilities_BTV, num_steps.tolist())
        truth = torch.from_numpy(pad_ids(found)).to(num_steps.device)
        losses = ctc_loss(log_probabilities_BTV, num_steps, truth).cpu().numpy()
        confidences = np.exp(-losses / np.array([max(len(ids), 1) for ids in found]))
        return [
            StructuredPrediction(self.units.decode(ids), float(confidence) if steps else None)
            for ids, confidence, steps in zip(found, confidences, num_steps.tolist(), strict=True)
        ]

    def _log_probabilities(self, fused: Fused) -> tuple[Tensor, Tensor]:
        """Return ``[B, T, V]`` and the int64 numbers of steps in use ``[B]``."""
        detail = fused.details.get(self.stream)
        if detail is None:
            detail = _no_steps(fused.pooled)
        num_steps = detail.present.sum(dim=1)
        steps_BTW = self.project(detail.values) + self.condition(fused.pooled).unsqueeze(1)
        return self.output(self.layers(steps_BTW, num_steps)).float().log_softmax(dim=2), num_steps

    def _search(self, log_probabilities_BTV: Tensor, num_steps: list[int]) -> list[list[int]]:
        if self.search is None:
            best_BT = log_probabilities_BTV.argmax(dim=2).tolist()
            return [greedy_decode(best_T[:steps]) for best_T, steps in zip(best_BT, num_steps, strict=True)]
        shares_BTV = log_probabilities_BTV.exp().double().cpu().numpy()
        return [self.search(shares_TV[:steps]) for shares_TV, steps in zip(shares_BTV, num_steps, strict=True)]


def _no_steps(pooled_BW: Tensor) -> Detail:
    """Return one masked step for each row, for a batch without the stream."""
    return Detail(torch.zeros_like(pooled_BW).unsqueeze(1), pooled_BW.new_zeros(len(pooled_BW), 1, dtype=torch.bool))


def pad_ids(texts: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Pad ids to an array.

    Args:
        texts: Ids of N texts.

    Returns:
        int64 ``[N, L]``, padded with 0; L is 1 or more.
    """
    ids = np.full((len(texts), max(map(len, texts), default=0) or 1), BLANK, dtype=np.int64)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = text
    return ids
