"""Metrics of images, from each row's mean errors, in units where black is 0 and white 1 (numpy only).

Shape legend: N rows, R resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from polymodal.metrics.weighted import Floats, Weighted

MIN_ERROR = 1e-10
"""Mean squared error below which the peak signal-to-noise ratio rises no further: 100 dB."""


@dataclass(frozen=True, eq=False)
class ImageRows:
    """Rows of one image each.

    Attributes:
        errors: Mean squared and mean absolute error over the pixels and channels of each ``[N, 2]``.
    """

    errors: Floats

    @cached_property
    def signal_to_noise(self) -> Floats:
        """Peak signal-to-noise ratio of each in dB, at most 100, ``[N]``."""
        return -10 * np.log10(np.maximum(self.errors[:, 0], MIN_ERROR))

    def weighted(self, weights: Floats) -> WeightedImages:
        """Weigh the rows.

        Args:
            weights: ``[R, N]``.

        Returns:
            The data that the metrics are computed from.
        """
        return WeightedImages(self, weights)


class WeightedImages(Weighted[ImageRows]):
    """Weighted errors of images."""

    @cached_property
    def _means(self) -> Floats:
        return self.weights @ self.rows.errors / self.totals[:, None]

    @property
    def mean_squared(self) -> Floats:
        """Mean squared error of all pixels and channels ``[R]``."""
        return self._means[:, 0]

    @property
    def mean_absolute(self) -> Floats:
        """Mean absolute error of all pixels and channels ``[R]``."""
        return self._means[:, 1]


def psnr(images: WeightedImages) -> Floats:
    """Mean over rows of the peak signal-to-noise ratio ``10 log10(1 / squared error)`` in dB, at most 100."""
    return images.weights @ images.rows.signal_to_noise / images.totals
