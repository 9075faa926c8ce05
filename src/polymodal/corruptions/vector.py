"""Corruption of vectors: noise."""

from __future__ import annotations

import numpy as np

from polymodal.arrays import Cell
from polymodal.corruptions.base import CorruptionContext
from polymodal.modalities.vector import read_numbers


def add_vector_noise(cell: Cell, level: float, random: np.random.Generator, context: CorruptionContext) -> Cell:
    """Add Gaussian noise to each number of a vector.

    Args:
        cell: A vector.
        level: Standard deviation in spreads: of that number over the training cells, or, where the column is not
            fitted, of the cell's own numbers.
        random: Random numbers.
        context: Fitted modality.

    Returns:
        float64 of the cell's shape.
    """
    values = read_numbers(cell, context.folder)
    fitted = np.asarray(context.option("std", ()), np.float64)
    spread = fitted.reshape(values.shape) if fitted.size == values.size else values.std()
    return values + level * spread * random.standard_normal(values.shape)
