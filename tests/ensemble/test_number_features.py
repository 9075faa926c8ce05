"""Numbers of a table reach the baselines at full resolution, whatever stands among them."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pytest

from polymodal.arrays import Column
from polymodal.data.preprocessor import Preprocessor
from polymodal.data.schema.schema import infer_schema
from polymodal.data.tables.table import Table
from polymodal.ensemble.features import FeatureExtractor
from polymodal.ensemble.number_features import NumberScaling, read_numbers

RANDOM = np.random.default_rng(0)
SIZES: list[Any] = [*RANDOM.normal(size=190).tolist(), *[1e9] * 10]


def scaled(cells: list[Any]) -> tuple[NumberScaling, Column]:
    column = Column(np.zeros((len(cells), 1), np.float32), np.array([[cell is not None] for cell in cells]))
    scaling = NumberScaling.unfitted(["size"]).fit(column, {"size": cells})
    return scaling, scaling.read(column, {"size": cells})


def test_sentinels_do_not_squeeze_the_other_numbers() -> None:
    scaling, column = scaled(SIZES)
    assert len(np.unique(column.values[:190])) == 190
    assert 1 < np.ptp(column.values[:190]) < 10
    linear = scaling.for_linear(column.values, column.present)
    assert np.abs(linear).max() <= 8
    assert (np.diff(linear[np.argsort(SIZES[:190]), 1]) >= 0).all()


@pytest.mark.parametrize(
    "cells", [[None] * 5, [3.0] * 5, [0.0] * 8 + [1e300, -1e300], ["1", " 2.5 ", "n/a", True, 10**400]]
)
def test_odd_columns_give_finite_features(cells: list[Any]) -> None:
    scaling, column = scaled(cells)
    linear = scaling.for_linear(column.values, column.present)
    assert linear.shape == (len(cells), 2)
    assert np.isfinite(linear).all()
    assert np.isfinite(column.values).all()


def test_numbers_are_read_from_texts_and_absent_ones_are_not_numbers() -> None:
    found = read_numbers(["1", None, "2.5", "none", "many", 4, False])
    np.testing.assert_array_equal(found, [1, np.nan, 2.5, np.nan, np.nan, 4, 0])
    assert np.isnan(read_numbers([[1.0], [2.0]])).all()


def test_numbers_beside_dates_and_categories_are_found_by_their_field() -> None:
    days = [date(2020, 1, 1 + row % 28) for row in range(200)]
    table = Table({"when": days, "size": SIZES, "kind": ["a", "b"] * 100, "target": [0.0, 1.0] * 100})
    schema = infer_schema(table, targets=("target",))
    preprocessor = Preprocessor.fit(table, np.arange(200), schema)
    columns, _ = preprocessor.transform(table)
    unfitted = FeatureExtractor.unfitted(schema, preprocessor.modalities, columns)
    extractor = unfitted.fit(columns, table.columns)
    assert extractor.cell_columns == ["size"]
    plain, arrays = extractor.state()
    again = FeatureExtractor.from_state(plain, arrays).transform(columns, table.columns)
    assert len(np.unique(again.trees[:190, 8])) == 190
    (absent,) = extractor.transform_masked(columns, table.columns, [frozenset({"tabular"})])
    assert np.isnan(absent.trees).all()
