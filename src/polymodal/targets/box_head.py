"""The head that finds boxes: at each fine place a label, the distances to a box's sides, and how central it is (torch).

Tian et al. 2019, arXiv 1904.01355 (FCOS). Differs from the source: one level of places, smaller and with one tower
for all three; each feature is scaled and shifted by the fused row (FiLM: Perez et al. 2018, arXiv 1709.07871), so that
other streams can say what to look for.

Shape legend: B rows of the batch, P places, L labels, M true boxes of a row at most, W width, Y and X rows and columns
of places.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from polymodal.metrics.detection import box_iou, confident_boxes
from polymodal.nn.convolution import Conv2d
from polymodal.nn.layers import GroupNorm, num_groups, use_channels_last
from polymodal.targets.structured import StructuredHead, StructuredPrediction
from polymodal.tokens import Detail, Fused, PlaceGrid

RARITY = 0.01
"""How likely the untrained head holds a label to be at a place: section 3.3 of focal loss."""
FOCUS, BALANCE = 2.0, 0.25
CENTRE = 1.5
"""A place speaks for a box where it is inside it and at most so many strides from its middle."""
LARGEST = 8.0
"""Limit of the logarithm of a distance, in strides."""
CANDIDATES = 4
"""So many times the most boxes are looked at before overlapping ones are dropped."""
PLACES_PER_BOX = 6.0
"""Brings the loss to the scale of one box; a constant, so that no row depends on another."""
SMALLEST_AREA = 1e-6


class BoxHead(StructuredHead):
    """Finds boxes at the fine places of one stream."""

    is_heavy = True
    centres: Tensor

    def __init__(
        self,
        stream: str,
        places: PlaceGrid,
        labels: list[str],
        width: int,
        *,
        boxes_per_row: float,
        max_boxes: int,
        score_threshold: float,
        overlap_threshold: float,
    ) -> None:
        """Build the layers.

        Args:
            stream: The stream whose places are read.
            places: How they lie.
            labels: Names of the labels.
            width: W.
            boxes_per_row: Mean number of boxes in a training row, the scale of the loss.
            max_boxes: Most boxes of an answer.
            score_threshold: Boxes with a lower score are left out.
            overlap_threshold: Of two boxes of a label that overlap more, the less sure one is left out.
        """
        super().__init__()
        self.stream, self.places, self.labels = stream, places, labels
        self.num_expected = max(boxes_per_row, 1.0) * PLACES_PER_BOX
        self.max_boxes, self.score_threshold, self.overlap_threshold = max_boxes, score_threshold, overlap_threshold
        self.condition = nn.Linear(width, 2 * width)
        self.tower = nn.Sequential(*_convolve(width), *_convolve(width))
        self.label_logits = Conv2d(width, len(labels), 3, padding=1)
        self.geometry = Conv2d(width, 5, 3, padding=1)
        use_channels_last(self)
        for layer in (self.condition, self.label_logits, self.geometry):
            start = -math.log((1 - RARITY) / RARITY) if layer is self.label_logits else 0.0
            _start(layer, start)
        self.register_buffer("centres", place_centres(places), persistent=False)

    def forward(self, detail: Detail, pooled_BW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Look at every place.

        Args:
            detail: Places ``[B, P, W]``.
            pooled_BW: The fused rows.

        Returns:
            Label logits ``[B, P, L]``, distances to left, top, right and bottom in pixels ``[B, P, 4]``, and
            centre-ness logits ``[B, P]``.
        """
        gain_BW, shift_BW = self.condition(pooled_BW).chunk(2, dim=1)
        values_BPW = detail.values * (1 + gain_BW.unsqueeze(1)) + shift_BW.unsqueeze(1)
        map_BWYX = values_BPW.unflatten(1, self.places.shape).permute(0, 3, 1, 2)
        seen = self.tower(map_BWYX)
        logits, geometry = (
            layer(seen).float().flatten(2).transpose(1, 2) for layer in (self.label_logits, self.geometry)
        )
        distances = (geometry[..., :4] + math.log(4.0)).clamp(max=LARGEST).exp() * self.places.stride
        return logits, distances, geometry[..., 4]

    def loss(self, fused: Fused, truth: Tensor, smoothing: float) -> Tensor:  # noqa: ARG002
        """Focal loss of labels, overlap loss of boxes, cross-entropy of centre-ness: equation 2 of the source.

        Focal loss: Lin et al. 2017, arXiv 1708.02002, equation 5. Overlap: generalised intersection over union,
        Rezatofighi et al. 2019, arXiv 1902.09630, algorithm 1, weighted by centre-ness.

        Args:
            fused: What the fusion made of the streams.
            truth: Boxes in pixels of the stream's pictures and the number of their label, -1 where there is none:
                ``[B, M, 5]``.
            smoothing: Not used: the focal loss has a softness of its own.

        Returns:
            Loss ``[B]``; 0 where the picture is absent.
        """
        detail = fused.details.get(self.stream)
        if detail is None:
            return fused.pooled.sum(dim=1) * 0.0
        logits, distances, centre_logits = self(detail, fused.pooled)
        taken, aims = assign(self.centres, truth, self.places.stride)
        is_object = taken >= 0
        labels = truth[..., 4].gather(1, taken.clamp(min=0)).long() if truth.shape[1] else taken
        wanted = functional.one_hot(labels.clamp(min=0), len(self.labels)) * is_object.unsqueeze(2)
        centrality = torch.where(is_object, centreness(aims), 0.0)
        focal = _focal(logits, wanted.to(logits.dtype)).sum(dim=2)
        overlap = torch.where(is_object, 1 - _generalised_overlap(distances, aims), 0.0) * centrality
        central = functional.binary_cross_entropy_with_logits(centre_logits, centrality, reduction="none") * is_object
        places = torch.where(detail.present, focal + 2 * overlap + central, 0.0)
        return places.sum(dim=1) / self.num_expected

    def answers(self, fused: Fused) -> list[StructuredPrediction]:
        """Decode boxes.

        Args:
            fused: What the fusion made of the streams.

        Returns:
            Lists of label, box in pixels of the stream's pictures, and score; the surest first.
        """
        detail = fused.details.get(self.stream)
        if detail is None:
            return [StructuredPrediction([]) for _ in range(len(fused.pooled))]
        logits, distances, centre_logits = self(detail, fused.pooled)
        scores = logits.sigmoid() * centre_logits.sigmoid().unsqueeze(2)
        boxes = torch.cat([self.centres - distances[..., :2], self.centres + distances[..., 2:]], dim=2)
        shown = detail.present.any(dim=1).tolist()
        arrays = zip(shown, scores.float().cpu().numpy(), boxes.float().cpu().numpy(), strict=True)
        return [
            self._answer(scores_PL, boxes_P4) if seen else StructuredPrediction([])
            for seen, scores_PL, boxes_P4 in arrays
        ]

    def _answer(self, scores_PL: NDArray[np.float32], boxes_P4: NDArray[np.float32]) -> StructuredPrediction:
        flat = scores_PL.ravel()
        surest = np.argsort(-flat, kind="stable")[: CANDIDATES * self.max_boxes]
        surest = surest[flat[surest] >= self.score_threshold]
        place, label = np.divmod(surest, len(self.labels))
        kept = suppress(boxes_P4[place], label, self.overlap_threshold)[: self.max_boxes]
        found = [
            {
                "label": self.labels[label[at]],
                "box": [float(side) for side in boxes_P4[place[at]]],
                "score": round(float(flat[surest[at]]), 4),
            }
            for at in kept
        ]
        sure = [box["score"] for box in confident_boxes(found)]
        return StructuredPrediction(found, float(np.mean(sure)) if sure else 1 - float(flat.max(initial=0.0)))


def _start(layer: nn.Linear | Conv2d, bias: float) -> None:
    nn.init.normal_(layer.weight, std=0.01)
    if layer.bias is not None:
        nn.init.constant_(layer.bias, bias)


def _convolve(width: int) -> list[nn.Module]:
    return [Conv2d(width, width, 3, padding=1, bias=False), GroupNorm(num_groups(width), width), nn.ReLU(inplace=True)]


def place_centres(places: PlaceGrid) -> Tensor:
    """Return where the places lie.

    Args:
        places: Shape and stride.

    Returns:
        x and y in pixels ``[P, 2]``, row by row.
    """
    rows, columns = ((torch.arange(count) + 0.5) * places.stride for count in places.shape)
    return torch.cartesian_prod(rows, columns).flip(1)


def assign(centres_P2: Tensor, truth_BM5: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Say which true box each place speaks for: the smallest of those in whose middle it is.

    Differs from the source: the place nearest to a box's middle always takes part, however small the box.

    Args:
        centres_P2: x and y of the places, in pixels.
        truth_BM5: Boxes and the number of their label, -1 where there is none.
        stride: Pixels from one place to the next.

    Returns:
        int64 ``[B, P]``, the box's number or -1; and the distances to its sides ``[B, P, 4]``, 1 where there is none.
    """
    if not truth_BM5.numel():
        none = torch.full((len(truth_BM5), len(centres_P2)), -1, device=truth_BM5.device)
        return none, torch.ones(*none.shape, 4, device=truth_BM5.device)
    rows = [_assign_row(centres_P2, truth_M5, stride) for truth_M5 in truth_BM5]
    return torch.stack([taken for taken, _ in rows]), torch.stack([aims for _, aims in rows])


def _assign_row(centres_P2: Tensor, truth_M5: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Assign one row's places: every pair of a place and a box is compared, for all rows at once too much memory."""
    low, high, place = truth_M5[:, :2], truth_M5[:, 2:4], centres_P2.unsqueeze(1)
    away_PM = (place - (low + high) / 2).abs().amax(dim=2)
    inside_PM = ((place > low) & (place < high)).all(dim=2)
    nearest_PM = away_PM <= away_PM.amin(dim=0)
    speaks_PM = ((inside_PM & (away_PM < CENTRE * stride)) | nearest_PM) & (truth_M5[:, 4] >= 0)
    smallest_P, number_P = torch.where(speaks_PM, (high - low).prod(dim=1), math.inf).min(dim=1)
    taken_P = torch.where(smallest_P.isfinite(), number_P, -1)
    aims_P4 = torch.cat([centres_P2 - low[number_P], high[number_P] - centres_P2], dim=1)
    return taken_P, torch.where(taken_P.unsqueeze(1) >= 0, aims_P4, 1.0)


def centreness(aims_BP4: Tensor) -> Tensor:
    """Return how central a place is in its box: equation 3 of the source.

    Args:
        aims_BP4: Distances to left, top, right and bottom.

    Returns:
        ``[B, P]``, 1 in the middle, 0 at the border and outside.
    """
    near = torch.minimum(aims_BP4[..., :2], aims_BP4[..., 2:]).clamp(min=0)
    far = torch.maximum(aims_BP4[..., :2], aims_BP4[..., 2:]).clamp(min=SMALLEST_AREA)
    return (near / far).prod(dim=2).sqrt()


def _focal(logits: Tensor, wanted: Tensor) -> Tensor:
    losses = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    wrong = (wanted - logits.sigmoid()).abs()
    return losses * wrong**FOCUS * (BALANCE * wanted + (1 - BALANCE) * (1 - wanted))


def _generalised_overlap(found_BP4: Tensor, aims_BP4: Tensor) -> Tensor:
    """Compare boxes given by the distances from one place to their sides; -1 to 1."""
    areas = [(sides[..., :2] + sides[..., 2:]).prod(dim=2) for sides in (found_BP4, aims_BP4)]
    smaller, larger = torch.minimum(found_BP4, aims_BP4), torch.maximum(found_BP4, aims_BP4)
    shared = (smaller[..., :2] + smaller[..., 2:]).clamp(min=0).prod(dim=2)
    union = (areas[0] + areas[1] - shared).clamp(min=SMALLEST_AREA)
    hull = (larger[..., :2] + larger[..., 2:]).prod(dim=2).clamp(min=SMALLEST_AREA)
    return shared / union - (hull - union) / hull


def suppress(boxes: NDArray[np.float32], labels: NDArray[np.int64], most: float) -> NDArray[np.int64]:
    """Drop each box that overlaps a surer one of its label.

    Args:
        boxes: ``[A, 4]``, the surest first.
        labels: int64 ``[A]``.
        most: Overlap up to which both stay.

    Returns:
        Places of the boxes that stay, in order.
    """
    clash = (box_iou(boxes, boxes) > most) & (labels[:, None] == labels[None])
    stays = np.ones(len(boxes), dtype=np.bool_)
    for place in range(len(boxes)):
        if stays[place]:
            stays[place + 1 :] &= ~clash[place, place + 1 :]
    return np.flatnonzero(stays)
