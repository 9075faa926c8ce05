"""Tokens of the rows in which a stream is present; other rows cost nothing.

Shape legend: B rows of the batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from polymodal.tokens import ColumnBatch, Detail, Tokens


def mask_rows(tokens: Tokens, hidden: Tensor) -> Tokens:
    """Mark the tokens of some rows as absent.

    Args:
        tokens: Tokens of one stream.
        hidden: bool ``[B]``; True where the row is masked.

    Returns:
        The same values, fewer of them present.
    """
    shown = ~hidden.unsqueeze(1)
    detail = tokens.detail
    if detail is not None:
        values = torch.where(shown.unsqueeze(2), detail.values, 0.0)
        detail = Detail(values, detail.present & shown, detail.shape)
    return Tokens(tokens.values, tokens.present & shown, detail)


def encode_present(encoder: nn.Module, column: ColumnBatch, width: int, dummy_row: ColumnBatch | None = None) -> Tokens:
    """Run an encoder on the present rows; the tokens of absent rows are not present.

    Encoders that read precomputed outputs skip absent rows themselves: those have no outputs.

    Args:
        encoder: From ``ColumnBatch`` to ``Tokens``.
        column: Cells of the batch.
        width: Width of the tokens.
        dummy_row: A row that the encoder runs on if no row is present: its weights then get gradients of zero.

    Returns:
        Tokens of all rows.
    """
    rows = column.rows_there
    if len(column) and (column.is_encoded or len(rows) == len(column)):
        tokens: Tokens = encoder(column)
        return tokens.float()
    if not len(rows) and dummy_row is None:
        return _absent(len(column), 1, width, rows.device)
    encoded: Tokens = _no_rows(encoder(dummy_row)) if dummy_row is not None else encoder(column.take(rows))
    encoded = encoded.float()
    values, present = _scatter(encoded.values, encoded.present, rows, len(column))
    detail = encoded.detail
    if detail is not None:
        detail = Detail(*_scatter(detail.values, detail.present, rows, len(column)), detail.shape)
    return Tokens(values, present, detail)


def _no_rows(tokens: Tokens) -> Tokens:
    detail = tokens.detail
    if detail is not None:
        detail = Detail(detail.values[:0], detail.present[:0], detail.shape)
    return Tokens(tokens.values[:0], tokens.present[:0], detail)


def _scatter(values: Tensor, present: Tensor, rows: Tensor, num_rows: int) -> tuple[Tensor, Tensor]:
    """Scatter the tokens of present rows into a batch of absent ones."""
    return (
        values.new_zeros(num_rows, *values.shape[1:]).index_copy(0, rows, values),
        present.new_zeros(num_rows, *present.shape[1:]).index_copy(0, rows, present),
    )


def _absent(num_rows: int, num_tokens: int, width: int, device: torch.device) -> Tokens:
    return Tokens(
        torch.zeros(num_rows, num_tokens, width, device=device),
        torch.zeros(num_rows, num_tokens, dtype=torch.bool, device=device),
    )
