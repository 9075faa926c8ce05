"""How large a residual is to be expected of a predicted number: what widens its interval (numpy, scipy)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FEW_ROWS = 40
"""Below so many rows all residuals are expected to be alike."""
LEAST_SHARE = 0.1
"""Least expected residual, as a share of the mean one."""


@dataclass(frozen=True, kw_only=True)
class Difficulty:
    """The expected absolute residual ``constant + by_spread * spread + by_size * abs(prediction)``, at least ``least``.

    Attributes:
        constant: In the unit of the target.
        by_spread: By the standard deviation of the ensemble's members around the prediction.
        by_size: By the size of the prediction: prices err in proportion.
        least: In the unit of the target, above 0.
    """

    constant: float
    by_spread: float
    by_size: float
    least: float

    @classmethod
    def fit(cls, residuals: Floats, spread: Floats, prediction: Floats) -> Difficulty:
        """Fit the coefficients by non-negative least squares on absolute residuals.

        Args:
            residuals: float64 ``[N]``, at least one.
            spread: float64 ``[N]``.
            prediction: float64 ``[N]``.

        Returns:
            The coefficients; with few rows the constant alone.
        """
        from scipy.optimize import nnls

        sizes = np.abs(residuals)
        mean = float(sizes.mean()) or 1.0
        if len(sizes) < FEW_ROWS:
            return cls(constant=mean, by_spread=0.0, by_size=0.0, least=LEAST_SHARE * mean)
        features = np.stack([np.full(len(sizes), mean), spread, np.abs(prediction)], axis=1)
        units = np.maximum(features.mean(axis=0), 1e-12)
        found = nnls(features / units, sizes)[0] / units
        return cls(
            constant=float(found[0] * mean),
            by_spread=float(found[1]),
            by_size=float(found[2]),
            least=LEAST_SHARE * mean,
        )

    def of(self, spread: Floats, prediction: Floats) -> Floats:
        """Return the expected absolute residual of rows.

        Args:
            spread: float64 ``[N]``.
            prediction: float64 ``[N]``.

        Returns:
            float64 ``[N]``, above 0.
        """
        expected = self.constant + self.by_spread * spread + self.by_size * np.abs(prediction)
        return np.asarray(np.maximum(expected, self.least))
