"""Vectors and images are plain numbers for baselines and the ensemble, and come back from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import polymodal
from polymodal.targets import RowContext, fit_target
from polymodal.targets.numeric import NumericTarget

PICTURES = list(np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8))


@pytest.mark.parametrize(
    ("kind", "cells", "num_numbers"),
    [("vector", [[1.0, 2.0], [3.0, 5.0]], 2), ("vector", [[1.0], [2.5]], 1), ("image", PICTURES, 8 * 8 * 3)],
)
def test_numbers_come_back_as_predictions(kind: str, cells: list[Any], num_numbers: int) -> None:
    target = fit_target(kind, cells, RowContext(), {})
    assert isinstance(target, NumericTarget)
    truth, known = target.encode(cells, RowContext())
    numbers = target.truth_numbers(truth)
    assert known.all()
    assert (numbers.dtype, numbers.shape) == (np.float64, (len(cells), num_numbers))
    predictions = target.from_numbers(numbers)
    assert target.prediction_numbers(predictions) == pytest.approx(numbers, abs=1e-6)
    values = [prediction.value for prediction in predictions]
    assert max(abs(target.row_scores(target.references(cells, RowContext()), values) - 1)) < 1e-6


def test_a_vector_gets_baselines_and_groups_stay_together() -> None:
    random = np.random.default_rng(0)
    size, group = random.normal(size=80), [f"g{row % 9}" for row in range(80)]
    place = [[float(value), float(-3 * value)] for value in size]
    table = {"size": size.tolist(), "group": group, "place": place}
    settings = {"train.epochs": 1, "width": 16, "num_threads": 1, "modality": {"place": "vector"}}
    model = polymodal.fit(table, target="place", group="group", settings=settings)
    prior, linear, boosting = model.trained.baselines["place"]
    assert [prior.name, linear.name, boosting.name] == ["prior", "linear", "boosting"]
    assert linear.kind == "numbers"
    assert model.predict({"size": [0.0]})["place"]
