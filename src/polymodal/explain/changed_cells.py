"""What the final answer becomes where parts of a cell are taken away, with other streams present and absent.

Shape legend: K outputs of a row, Q stream masks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell, Column
from polymodal.encoders import Pretrained
from polymodal.explain.answers import DecodedRows, masked_values
from polymodal.explain.outputs import Output
from polymodal.model.predict import StreamMask
from polymodal.model.trained_model import TrainedModel
from polymodal.progress import SilentProgress

Floats = NDArray[np.float64]

MOST_OTHERS = 3
"""Of so many other streams all coalitions are averaged, of more only all of them and none."""


@dataclass(frozen=True)
class Coalitions:
    """Which other streams are present while a cell is changed, and how much each such coalition counts.

    With the Shapley weights ``s! (n - s)! / (n + 1)!`` of coalitions of s of the n other streams, the values of the parts
    of a cell are Owen values (Owen 1977: the streams are the a priori unions), and add up to the stream's Shapley value.

    Attributes:
        masks: Streams that are treated as absent, Q sets.
        weights: float64 ``[Q]``, sum 1.
    """

    masks: tuple[StreamMask, ...]
    weights: Floats

    @classmethod
    def of(cls, stream: str, streams: Sequence[str]) -> Coalitions:
        """Enumerate the coalitions of the other streams.

        Args:
            stream: The stream whose cell is changed.
            streams: All streams.

        Returns:
            All coalitions of at most three other streams; of more streams the largest and the smallest one.
        """
        others = [other for other in streams if other != stream]
        count = len(others)
        sizes = range(count + 1) if count <= MOST_OTHERS else (0, count)
        absent = list(chain.from_iterable(combinations(others, size) for size in sizes))
        weights = np.array([1 / comb(count, len(names)) for names in absent])
        return cls(tuple(frozenset(names) for names in absent), weights / weights.sum())

    def without(self, stream: str) -> tuple[StreamMask, ...]:
        """Return the masks with a stream added to each: it is absent too.

        Args:
            stream: The stream whose cell is changed.

        Returns:
            Q masks.
        """
        return tuple(mask | {stream} for mask in self.masks)


def changed_rows(
    model: TrainedModel, decoded: DecodedRows, places: Sequence[int], stream: str, cells: Sequence[Mapping[str, Cell]]
) -> DecodedRows:
    """Replace the cells of one stream in copies of rows.

    Raw cells of files stay as they are among the row's cells: targets read the size of a picture from them.

    Args:
        model: The trained model.
        decoded: Rows.
        places: The row of ``decoded`` that each copy is of.
        stream: The stream.
        cells: Column to changed cell, for each copy.

    Returns:
        The copies.
    """
    modality = model.preprocessor.modalities[stream]
    copies = decoded.take(np.asarray(places, np.int64))
    raw = dict(copies.context.cells)
    names = next(entry.columns for entry in model.schema.streams if entry.name == stream)
    changed = {
        name: [cell.get(name, raw[name][index]) for index, cell in enumerate(cells)] for name in names
    }
    given = changed[names[0]] if modality.is_column else changed
    column, _ = modality.transform(given, copies.context.folder)
    if not modality.is_file:
        raw |= changed
    columns = {**copies.columns, stream: _with_outputs(model, stream, column)}
    return DecodedRows(columns, replace(copies.context, cells=raw))


def _with_outputs(model: TrainedModel, stream: str, column: Column) -> Column:
    encoder = model.network.encoders[model.network.streams.index(stream)]
    if isinstance(encoder, Pretrained) and encoder.is_frozen:
        return replace(column, outputs=encoder.precompute(column, SilentProgress()))
    return column


def coalition_values(
    model: TrainedModel,
    decoded: DecodedRows,
    outputs: Sequence[Output],
    places: Sequence[int],
    masks: Sequence[StreamMask],
    weights: Floats,
) -> Floats:
    """Average outputs over coalitions of other streams.

    Args:
        model: The trained model.
        decoded: Rows.
        outputs: What is read, K of them.
        places: For each output the row of ``decoded``.
        masks: Streams that are treated as absent, Q sets.
        weights: float64 ``[Q]``.

    Returns:
        float64 ``[K]``.
    """
    return np.asarray(weights @ masked_values(model, decoded, outputs, places, masks))
