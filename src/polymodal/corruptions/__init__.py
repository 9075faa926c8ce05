"""Noise of each modality at five severities, as it occurs in practice (numpy).

A corrupted cell is a cell: it is read like any other. Kinds and severities follow Hendrycks & Dietterich 2019,
*Benchmarking Neural Network Robustness to Common Corruptions and Perturbations* (arXiv 1903.12261), where they know the
modality.
"""

from polymodal.corruptions.base import NUM_SEVERITIES, Corruption, CorruptionContext
from polymodal.corruptions.corrupt import corrupt_cell, corrupt_cells
from polymodal.corruptions.table import CORRUPTIONS, find_kinds, kinds_of

__all__ = [
    "CORRUPTIONS",
    "NUM_SEVERITIES",
    "Corruption",
    "CorruptionContext",
    "corrupt_cell",
    "corrupt_cells",
    "find_kinds",
    "kinds_of",
]
