"""What the final answer becomes where streams are absent or cells are changed: the one way in which it is asked.

Everything that explains asks here, so that baselines, stream heads and the ensemble are explained with the network.

Shape legend: N rows, K outputs, Q stream masks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Column
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.tables.stored_columns import take_cells
from polymodal.data.tables.table import Table
from polymodal.explain.outputs import Output
from polymodal.model.inference_network import NO_MASK, StreamMask
from polymodal.model.predict import NO_CACHE, combine, needed_members, predict_members
from polymodal.model.predict_table import row_context
from polymodal.model.trained_model import TrainedModel
from polymodal.progress import SilentProgress
from polymodal.targets import RowContext
from polymodal.targets.base import Prediction
from polymodal.targets.numeric import NumericTarget

MEMBER_NUMBERS = 2**22
"""Most numbers of all members, rows and masks that are predicted at once, about 64 MiB with what they are made from."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class DecodedRows:
    """Rows as the network and the baselines read them.

    Attributes:
        columns: Stream to arrays, the outputs of frozen encoders included.
        context: The raw cells of the same rows.
    """

    columns: Mapping[str, Column]
    context: RowContext

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self.columns.values())))

    def take(self, rows: NDArray[np.int64]) -> DecodedRows:
        """Return some rows.

        Args:
            rows: Indices from 0.

        Returns:
            Those rows, in this order.
        """
        cells = {name: take_cells(values, rows) for name, values in self.context.cells.items()}
        columns = {stream: column.take(rows) for stream, column in self.columns.items()}
        return DecodedRows(columns, replace(self.context, cells=cells))

    def visible(self, streams: Sequence[str]) -> NDArray[np.bool_]:
        """Return where streams are present.

        Args:
            streams: Order of the result's columns.

        Returns:
            bool ``[N, streams]``.
        """
        return np.stack([self.columns[stream].row_present for stream in streams], axis=1)


def decode_rows(model: TrainedModel, table: Table, cache: ArrayCache = NO_CACHE) -> DecodedRows:
    """Decode all rows of a table at once.

    Args:
        model: The trained model.
        table: A few rows; a cell that cannot be read counts as absent, without a word.
        cache: Cache of decoded arrays.

    Returns:
        The decoded rows.
    """
    columns, _ = model.preprocessor.transform(table, cache)
    return with_outputs(model, table, columns, cache)


def with_outputs(
    model: TrainedModel, table: Table, columns: Mapping[str, Column], cache: ArrayCache = NO_CACHE
) -> DecodedRows:
    """Complete the arrays of rows by what the baselines and the network read besides.

    Args:
        model: The trained model.
        table: The rows.
        columns: Stream to their arrays.
        cache: Cache of the outputs of frozen encoders.

    Returns:
        The decoded rows.
    """
    full = model.network.precompute(columns, cache, SilentProgress())
    return DecodedRows(full, row_context(model, table, full))


def masked_values(
    model: TrainedModel,
    decoded: DecodedRows,
    outputs: Sequence[Output],
    places: Sequence[int] | NDArray[np.int64],
    masks: Sequence[StreamMask],
) -> Floats:
    """Return what outputs become under stream masks, in bounded memory.

    The rows of a batch are fused once a mask, and encoded once, or once for each part of very many masks.

    Args:
        model: The trained model.
        decoded: The rows, N of them.
        outputs: What is explained, K of them.
        places: For each output the row of ``decoded``, from 0.
        masks: Sets of streams that are treated as absent, Q of them.

    Returns:
        float64 ``[Q, K]``.
    """
    rows, values = np.asarray(places, np.int64), np.zeros((len(masks), len(outputs)))
    num_rows, num_masks = _block(model, len(decoded), len(masks))
    for start in range(0, len(decoded), num_rows):
        chosen = np.flatnonzero((rows >= start) & (rows < start + num_rows))
        if not len(chosen):
            continue
        block = decoded.take(np.arange(start, min(start + num_rows, len(decoded))))
        for first in range(0, len(masks), num_masks):
            found = final_predictions(model, block, masks[first : first + num_masks])
            for number, predictions in enumerate(found, start=first):
                read = ((outputs[k], rows[k] - start) for k in chosen.tolist())
                values[number, chosen] = [output.read(predictions[output.target][row]) for output, row in read]
    return values


def final_predictions(
    model: TrainedModel, decoded: DecodedRows, masks: Sequence[StreamMask] = (NO_MASK,)
) -> list[dict[str, Prediction]]:
    """Predict rows under stream masks, all at once.

    Args:
        model: The trained model.
        decoded: The rows.
        masks: Sets of streams that are treated as absent.

    Returns:
        For each mask, target to final prediction: ``[N, classes]``, ``[N]``, or structured predictions ``[N]``.
    """
    members = predict_members(model, decoded.columns, decoded.context, masks, needed_members(model))
    return [combine(model, of_mask) for of_mask in members]


def _block(model: TrainedModel, num_rows: int, num_masks: int) -> tuple[int, int]:
    """Return how many rows and masks are predicted at once.

    Masks are divided rather than rows: encoding rows anew costs less than fusing a part of them under all masks anew.
    """
    numbers = sum(_numbers_of_row(model, name) for name in model.targets)
    rows = max(1, min(num_rows, MEMBER_NUMBERS // numbers))
    return rows, max(1, min(num_masks, MEMBER_NUMBERS // (numbers * rows)))


def _numbers_of_row(model: TrainedModel, name: str) -> int:
    target, members = model.targets[name], len(model.network.streams) + 2 + len(model.baselines.get(name, []))
    size = len(target.prior_numbers) if isinstance(target, NumericTarget) else len(target.classes or (0,))
    return max(1, size * members)
