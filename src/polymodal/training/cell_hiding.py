"""Hides single cells of table streams in training, so that a network learns to recover them from the others (torch).

Shape legend: B rows of the batch, C columns, F fields, D numbers of a sketch.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from polymodal.data.sketches import field_widths
from polymodal.modalities import Modality, Tabular
from polymodal.model.network import Batch, Truth
from polymodal.targets import AnyTarget, SketchTarget
from polymodal.tokens import ColumnBatch

HIDDEN_ROWS = 0.5
"""Share of rows in which cells are hidden: in the others a target is predicted from the whole row."""
HIDDEN_CELLS = 0.3
"""Probability of each cell of such a row to be hidden."""


def recovers(targets: Mapping[str, AnyTarget]) -> bool:
    """Return whether streams are recovered: from what is left when one more of a row is hidden.

    Args:
        targets: Name to target.

    Returns:
        Whether a target is the sketch of a stream that is recovered from others.
    """
    return any(isinstance(target, SketchTarget) and target.recovered for target in targets.values())


def hide_table_cells(
    targets: Mapping[str, AnyTarget], modalities: Mapping[str, Modality], cells: Batch, truth: Truth
) -> tuple[Batch, Truth]:
    """Hide cells of the table streams that are recovered.

    Args:
        targets: Name to target.
        modalities: Stream to fitted modality.
        cells: Stream to cells.
        truth: Target to encoded cells and where they are known.

    Returns:
        Cells and truth as of ``hide_cells``; other streams and targets as they were.
    """
    hidden, remaining = dict(cells), dict(truth)
    for name, target in targets.items():
        if isinstance(target, SketchTarget) and target.recovered:
            modality = modalities[target.stream]
            if isinstance(modality, Tabular):
                values, known = truth[name]
                hidden[target.stream], values = hide_cells(target, modality, cells[target.stream], values)
                remaining[name] = (values, known)
    return hidden, remaining


def hide_cells(
    target: SketchTarget, modality: Tabular, column: ColumnBatch, truth_BD: Tensor
) -> tuple[ColumnBatch, Tensor]:
    """Hide cells of some rows, never all of a row; there the loss counts what was hidden alone.

    A variant of masked-feature modelling, as in VIME (Yoon et al. 2020, Advances in Neural Information Processing
    Systems 33). Differs from the source: cells become absent, they are not replaced by those of other rows.

    Args:
        target: The target that recovers the stream.
        modality: The fitted modality of the table stream.
        column: Its cells, ``[B, F]``.
        truth_BD: Its standardised sketches, NaN where unknown.

    Returns:
        The cells, fewer of them present; and the truth, NaN for the cells of such rows that are still to be seen.
    """
    names = list(modality.members)
    column_of_field = torch.tensor([names.index(field.column) for field in modality.fields], dtype=torch.int64)
    field_of_number = torch.from_numpy(
        np.repeat(np.arange(len(target.cardinalities)), field_widths(target.cardinalities))
    )
    chosen_B1 = torch.rand(len(column), 1) < HIDDEN_ROWS
    hidden_BC = torch.rand(len(column), len(names)) < HIDDEN_CELLS
    hidden_BF = hidden_BC[:, column_of_field] & chosen_B1
    present_BF = column.present & ~hidden_BF
    emptied_B1 = column.row_present.unsqueeze(1) & ~present_BF.any(dim=1, keepdim=True)
    hidden_BF, chosen_B1 = hidden_BF & ~emptied_B1, chosen_B1 & ~emptied_B1
    kept = ColumnBatch(column.values, column.present & ~hidden_BF, column.lengths, column.is_encoded)
    is_seen_BD = chosen_B1 & ~hidden_BF[:, field_of_number]
    return kept, truth_BD.masked_fill(is_seen_BD, float("nan"))
