"""The encoder and the augmentation of locations on the sphere: from unit vectors ``[B, 3]`` to one token (torch).

Shape legend: B rows, D directions, S scales, K features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from polymodal.encoders.vector import build_mlp
from polymodal.modalities.base import MAX_ABS_VALUE, Modality
from polymodal.modalities.geo import DIRECTIONS, Geo
from polymodal.nn.precision import autocast_disabled
from polymodal.tokens import ColumnBatch, Tokens

SHORTEST = 1e-3
JITTER = 0.02
"""Standard deviation of the random shift of locations in training, relative to the spread."""


class GeoSphere(nn.Module):
    """An MLP over the location and sinusoids of several wavelengths: Mai et al. 2020, arXiv 2003.00824.

    Their encoder ``theory`` has for each scale s of S and each direction a_j the features cos(<x, a_j> / r_s) and
    sin(<x, a_j> / r_s), where r_s = r_min (r_max / r_min)^(s / (S - 1)).

    Differs from the source: x is the unit vector (sphereC of Mai et al. 2023 with one scale), standardised by mean and
    spread of the training cells, in place of a point of a plane; a_j are six directions of space in place of three of
    the plane; r_max is the spread, and the location itself is a feature too. The scales are not in the angles, as in
    Mai et al. 2023: sin(longitude / r_s) jumps at the date line unless 1 / r_s is a whole number, and
    cos(latitude / r_s) is not 0 at the poles, where no longitude should count.
    """

    center: Tensor
    waves: Tensor

    def __init__(
        self,
        fitted: Geo,
        width: int,
        *,
        num_scales: int = 8,
        finest: float = 1 / 32,
        hidden: int = 256,
        depth: int = 1,
        dropout: float = 0.1,
    ) -> None:
        """Build the layers.

        Args:
            fitted: The fitted modality.
            width: Width of the token.
            num_scales: Number of scales.
            finest: The smallest scale r_min, relative to the spread; at least 0.001.
            hidden: Width of each hidden layer.
            depth: Number of hidden layers.
            dropout: Dropout probability of the hidden layers.
        """
        super().__init__()
        self.spread = fitted.spread
        self.register_buffer("center", torch.tensor(fitted.center, dtype=torch.float32), persistent=False)
        steps_S = torch.arange(num_scales) / max(num_scales - 1, 1)
        scales_S11 = (max(finest, SHORTEST) ** steps_S)[:, None, None]
        waves_K3 = (torch.tensor(DIRECTIONS, dtype=torch.float32) / scales_S11).flatten(0, 1)
        self.register_buffer("waves", waves_K3, persistent=False)
        self.layers = build_mlp(3 + 2 * len(waves_K3), hidden, depth, width, dropout)

    def forward(self, column: ColumnBatch) -> Tokens:
        """Encode locations.

        Args:
            column: Unit vectors, float32 ``[B, 3]``.

        Returns:
            One token a row, ``[B, 1, W]``.
        """
        present_B1 = column.row_present.unsqueeze(1)
        with autocast_disabled(column.values.device):
            place_B3 = (torch.where(present_B1, column.values, self.center).float() - self.center) / self.spread
            place_B3 = place_B3.clamp(-MAX_ABS_VALUE, MAX_ABS_VALUE)
            angles_BK = place_B3 @ self.waves.T
            features = torch.cat([place_B3, angles_BK.sin(), angles_BK.cos()], dim=1)
        return Tokens(self.layers(features).unsqueeze(1), present_B1)


def augment_places(modality: Modality, column: ColumnBatch) -> ColumnBatch:
    """Shift locations at random along the sphere.

    Args:
        modality: The fitted geo modality.
        column: Unit vectors, float32 ``[B, 3]``.

    Returns:
        The same layout.
    """
    assert isinstance(modality, Geo)
    moved = column.values + JITTER * modality.spread * torch.randn_like(column.values)
    return ColumnBatch(nn.functional.normalize(moved, dim=1), column.present, column.lengths)
