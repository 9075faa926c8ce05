"""The object-detection head: label logits, distances to the sides of the box, and centre-ness of each location (torch).

Tian et al. 2019, arXiv 1904.01355 (FCOS). Differs from the source: one level of the pyramid, smaller, with one tower
for all three outputs; each feature is scaled and shifted by the fused vector (FiLM: Perez et al. 2018, arXiv
1709.07871), so that other streams can condition the detection.

Shape legend: B rows of the batch, P locations, L labels, M maximum number of true boxes of a row, W width, Y and X rows
and columns of locations.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from polymodal.nn.convolution import Conv2d
from polymodal.nn.layers import GroupNorm, num_groups, use_channels_last
from polymodal.targets.predictions import ReadOutputs
from polymodal.targets.structured_head import StructuredHead
from polymodal.tokens import Detail, DetailGrid, Fused

PRIOR_PROBABILITY = 0.01
"""Probability of a label that the untrained head predicts: Lin et al. 2017, section 3.3."""
FOCAL_GAMMA, FOCAL_ALPHA = 2.0, 0.25
CENTRE_RADIUS = 1.5
"""A location is assigned to a box that it is inside of, at most so many strides from the centre."""
MAX_LOG_DISTANCE = 8.0
"""Upper bound of the logarithm of a distance, in strides."""
LOCATIONS_PER_BOX = 6.0
"""Normalises the loss; a constant, so that the loss of a row does not depend on the other rows."""
MIN_AREA = 1e-6


class BoxHead(StructuredHead):
    """Predicts boxes from the detail of one stream."""

    uses_autocast = True
    centres: Tensor

    def __init__(
        self,
        read: ReadOutputs,
        stream: str,
        grid: DetailGrid,
        num_labels: int,
        width: int,
        *,
        boxes_per_row: float,
    ) -> None:
        """Build the layers.

        Args:
            read: ``read_outputs`` of the target.
            stream: The stream whose detail is read.
            grid: Its detail grid.
            num_labels: L.
            width: W.
            boxes_per_row: Mean number of boxes in a training row, the scale of the loss.
        """
        super().__init__(read)
        self.stream, self.detail_grid, self.num_labels = stream, grid, num_labels
        self.num_expected = max(boxes_per_row, 1.0) * LOCATIONS_PER_BOX
        self.condition = nn.Linear(width, 2 * width)
        self.tower = nn.Sequential(*_convolution_block(width), *_convolution_block(width))
        self.label_logits = Conv2d(width, num_labels, 3, padding=1)
        self.geometry = Conv2d(width, 5, 3, padding=1)
        use_channels_last(self)
        for layer in (self.condition, self.label_logits, self.geometry):
            start = -math.log((1 - PRIOR_PROBABILITY) / PRIOR_PROBABILITY) if layer is self.label_logits else 0.0
            _initialise(layer, start)
        self.register_buffer("centres", location_centres(grid), persistent=False)

    def forward(self, detail: Detail, pooled_BW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the outputs of every location.

        Args:
            detail: Features of the locations ``[B, P, W]``.
            pooled_BW: The fused vectors.

        Returns:
            Label logits ``[B, P, L]``, distances to left, top, right and bottom in pixels ``[B, P, 4]``, and
            centre-ness logits ``[B, P]``.
        """
        gain_BW, shift_BW = self.condition(pooled_BW).chunk(2, dim=1)
        values_BPW = detail.values * (1 + gain_BW.unsqueeze(1)) + shift_BW.unsqueeze(1)
        map_BWYX = values_BPW.unflatten(1, self.detail_grid.shape).permute(0, 3, 1, 2)
        features = self.tower(map_BWYX)
        logits, geometry = (
            layer(features).float().flatten(2).transpose(1, 2) for layer in (self.label_logits, self.geometry)
        )
        distances = (geometry[..., :4] + math.log(4.0)).clamp(max=MAX_LOG_DISTANCE).exp() * self.detail_grid.stride
        return logits, distances, geometry[..., 4]

    def loss(self, fused: Fused, truth: Tensor, smoothing: float) -> Tensor:  # noqa: ARG002
        """Focal loss of labels, GIoU loss of boxes, cross-entropy of centre-ness: equation 2 of the source.

        Focal loss: Lin et al. 2017, arXiv 1708.02002, equation 5. Overlap: generalised intersection over union,
        Rezatofighi et al. 2019, arXiv 1902.09630, algorithm 1, weighted by centre-ness.

        Args:
            fused: Output of the fusion.
            truth: Boxes in pixels of the stream's images and the number of their label, -1 where there is none:
                ``[B, M, 5]``.
            smoothing: Not used: the focal loss needs no label smoothing.

        Returns:
            Loss ``[B]``; 0 where the image is absent.
        """
        detail = fused.details.get(self.stream)
        if detail is None:
            return fused.pooled.sum(dim=1) * 0.0
        logits, distances, centre_logits = self(detail, fused.pooled)
        assigned, target_distances = assign_locations(self.centres, truth, self.detail_grid.stride)
        is_object = assigned >= 0
        labels = truth[..., 4].gather(1, assigned.clamp(min=0)).long() if truth.shape[1] else assigned
        target_labels = functional.one_hot(labels.clamp(min=0), self.num_labels) * is_object.unsqueeze(2)
        target_centreness = torch.where(is_object, centreness(target_distances), 0.0)
        focal = _focal_loss(logits, target_labels.to(logits.dtype)).sum(dim=2)
        overlap = torch.where(is_object, 1 - _generalised_iou(distances, target_distances), 0.0) * target_centreness
        central = (
            functional.binary_cross_entropy_with_logits(centre_logits, target_centreness, reduction="none") * is_object
        )
        losses = torch.where(detail.present, focal + 2 * overlap + central, 0.0)
        return losses.sum(dim=1) / self.num_expected

    def outputs(self, fused: Fused) -> dict[str, Tensor]:
        """Compute scores and boxes of every location.

        Args:
            fused: Output of the fusion.

        Returns:
            ``scores`` ``[B, P, L]``, ``boxes`` ``[B, P, 4]`` in pixels of the stream's images, and ``present``, bool
            ``[B]``, True where there is an image.
        """
        detail = self._detail(fused)
        logits, distances, centre_logits = self(detail, fused.pooled)
        scores = logits.sigmoid() * centre_logits.sigmoid().unsqueeze(2)
        boxes = torch.cat([self.centres - distances[..., :2], self.centres + distances[..., 2:]], dim=2)
        return {"scores": scores, "boxes": boxes, "present": detail.present.any(dim=1)}

    def _detail(self, fused: Fused) -> Detail:
        """Return the detail of the stream; of a batch without the stream, zeros that are not present."""
        found = fused.details.get(self.stream)
        if found is not None:
            return found
        values_BPW = fused.pooled.new_zeros(fused.pooled.shape[0], len(self.centres), fused.pooled.shape[1])
        return Detail(values_BPW, values_BPW[..., 0] > 0, self.detail_grid.shape)


def _initialise(layer: nn.Linear | Conv2d, bias: float) -> None:
    nn.init.normal_(layer.weight, std=0.01)
    if layer.bias is not None:
        nn.init.constant_(layer.bias, bias)


def _convolution_block(width: int) -> list[nn.Module]:
    return [Conv2d(width, width, 3, padding=1, bias=False), GroupNorm(num_groups(width), width), nn.ReLU(inplace=True)]


def location_centres(grid: DetailGrid) -> Tensor:
    """Return the centres of the locations.

    Args:
        grid: Shape and stride.

    Returns:
        x and y in pixels ``[P, 2]``, row-major.
    """
    rows, columns = ((torch.arange(count) + 0.5) * grid.stride for count in grid.shape)
    return torch.cartesian_prod(rows, columns).flip(1)


def assign_locations(centres_P2: Tensor, truth_BM5: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Assign each location to a true box: the smallest of those whose centre region it is in.

    Differs from the source: the location nearest to the centre of a box is always assigned, however small the box.

    Args:
        centres_P2: x and y of the locations, in pixels.
        truth_BM5: Boxes and the number of their label, -1 where there is none.
        stride: Pixels from one location to the next.

    Returns:
        int64 ``[B, P]``, the box's number or -1; and the distances to its sides ``[B, P, 4]``, 1 where there is none.
    """
    if not truth_BM5.numel():
        none = torch.full((len(truth_BM5), len(centres_P2)), -1, device=truth_BM5.device)
        return none, torch.ones(*none.shape, 4, device=truth_BM5.device)
    rows = [_assign_row(centres_P2, truth_M5, stride) for truth_M5 in truth_BM5]
    return torch.stack([assigned for assigned, _ in rows]), torch.stack(
        [target_distances for _, target_distances in rows]
    )


def _assign_row(centres_P2: Tensor, truth_M5: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Assign the locations of one row; the pairs of locations and boxes of all rows at once would need much memory."""
    low, high, place = truth_M5[:, :2], truth_M5[:, 2:4], centres_P2.unsqueeze(1)
    distance_PM = (place - (low + high) / 2).abs().amax(dim=2)
    inside_PM = ((place > low) & (place < high)).all(dim=2)
    nearest_PM = distance_PM <= distance_PM.amin(dim=0)
    matches_PM = ((inside_PM & (distance_PM < CENTRE_RADIUS * stride)) | nearest_PM) & (truth_M5[:, 4] >= 0)
    smallest_P, number_P = torch.where(matches_PM, (high - low).prod(dim=1), math.inf).min(dim=1)
    assigned_P = torch.where(smallest_P.isfinite(), number_P, -1)
    target_P4 = torch.cat([centres_P2 - low[number_P], high[number_P] - centres_P2], dim=1)
    return assigned_P, torch.where(assigned_P.unsqueeze(1) >= 0, target_P4, 1.0)


def centreness(target_BP4: Tensor) -> Tensor:
    """Return the centre-ness of locations in their boxes: equation 3 of the source.

    Args:
        target_BP4: Distances to left, top, right and bottom.

    Returns:
        ``[B, P]``, 1 at the centre, 0 at the border and outside.
    """
    near = torch.minimum(target_BP4[..., :2], target_BP4[..., 2:]).clamp(min=0)
    far = torch.maximum(target_BP4[..., :2], target_BP4[..., 2:]).clamp(min=MIN_AREA)
    return (near / far).prod(dim=2).sqrt()


def _focal_loss(logits: Tensor, target_labels: Tensor) -> Tensor:
    losses = functional.binary_cross_entropy_with_logits(logits, target_labels, reduction="none")
    wrong = (target_labels - logits.sigmoid()).abs()
    return losses * wrong**FOCAL_GAMMA * (FOCAL_ALPHA * target_labels + (1 - FOCAL_ALPHA) * (1 - target_labels))


def _generalised_iou(predicted_BP4: Tensor, target_BP4: Tensor) -> Tensor:
    """Return the generalised intersection over union of boxes given by distances from one location; -1 to 1."""
    areas = [(sides[..., :2] + sides[..., 2:]).prod(dim=2) for sides in (predicted_BP4, target_BP4)]
    smaller, larger = torch.minimum(predicted_BP4, target_BP4), torch.maximum(predicted_BP4, target_BP4)
    shared = (smaller[..., :2] + smaller[..., 2:]).clamp(min=0).prod(dim=2)
    union = (areas[0] + areas[1] - shared).clamp(min=MIN_AREA)
    hull = (larger[..., :2] + larger[..., 2:]).prod(dim=2).clamp(min=MIN_AREA)
    return shared / union - (hull - union) / hull
