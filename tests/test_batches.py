from __future__ import annotations

import numpy as np

from polymodal.arrays import Column
from polymodal.batches import rows_at_once, shapes_of


def column(*shape: int) -> Column:
    return Column(np.zeros((3, *shape), np.uint8), np.ones(3, dtype=np.bool_))


def test_fewer_rows_run_together_where_pictures_are_large() -> None:
    assert rows_at_once({"number": column(4)}) == 256
    assert rows_at_once({"picture": column(512, 512, 3), "number": column(4)}) == 42
    assert rows_at_once({"picture": column(9000, 9000, 3)}) == 1
    assert rows_at_once({"picture": column(16, 16, 3).take(slice(0, 0))}) == 256


def test_shapes_are_those_of_one_cell() -> None:
    assert shapes_of({"picture": column(8, 6, 3), "number": column(4)}) == {"picture": (8, 6, 3), "number": (4,)}
