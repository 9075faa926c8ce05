"""What flows from the arrays into the network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from polymodal.arrays import Column
from polymodal.tokens import ColumnBatch, rounded_up


def column(outputs_rows: int = 3) -> Column:
    outputs = Column(
        np.arange(outputs_rows * 4, dtype=np.float16).reshape(outputs_rows, 2, 2),
        np.ones(outputs_rows, bool),
        np.array([2, 1, 2])[:outputs_rows],
    )
    return Column(np.zeros((3, 5, 5, 3), np.uint8), np.array([True, True, False]), None, outputs)


def test_a_frozen_encoders_outputs_are_read_in_place_of_the_values() -> None:
    batch = ColumnBatch.from_column(column(), np.array([2, 1]))
    assert batch.is_encoded
    assert batch.values.tolist() == [[[8, 9], [10, 11]], [[4, 5], [6, 7]]]
    assert batch.take(torch.tensor([0])).is_encoded
    assert batch.to(torch.device("cpu")).is_encoded
    plain = ColumnBatch.from_column(Column(np.zeros((3, 2)), np.ones(3, bool)))
    assert not plain.is_encoded
    assert plain.values.shape == (3, 2)


def test_rows_and_absences_reach_the_outputs() -> None:
    taken = column().take(np.array([1, 2])).without(np.array([True, False]))
    assert taken.outputs is not None
    assert taken.outputs.present.tolist() == [False, True]
    assert ColumnBatch.from_column(taken).present.tolist() == [False, True]


def test_outputs_of_other_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="outputs have 2 rows, values 3"):
        column(outputs_rows=2)


def test_cells_that_may_only_be_read_are_copied() -> None:
    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    values.flags.writeable = False
    batch = ColumnBatch.from_column(Column(values, np.ones(3, bool)), slice(1, 3))
    batch.values.add_(1)
    assert batch.values.tolist() == [[3.0, 4.0], [5.0, 6.0]]
    assert values[1].tolist() == [2.0, 3.0]


def test_batches_of_about_the_same_length_have_the_same_shape() -> None:
    lengths = np.array([3, 97, 103, 200])
    texts = Column(np.ones((4, 200), np.int32), np.ones(4, bool), lengths)
    shapes = [ColumnBatch.from_column(texts, np.array([0, row])).values.shape for row in (0, 1, 2, 3)]
    assert shapes == [(2, 3), (2, 100), (2, 104), (2, 200)]
    assert len({rounded_up(count) for count in range(1000, 1100)}) <= 5
    assert all(count <= rounded_up(count) <= max(count * 17 / 16, 1) for count in range(3000))
