"""One number a row: reading, scale, decoding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from polymodal.errors import SchemaError
from polymodal.targets import NumberTarget
from polymodal.targets.number import read_number


@pytest.mark.parametrize("cell", [None, "", "n/a", "nan", float("nan"), float("inf"), "-inf", [1.0], "1,5"])
def test_what_is_no_finite_number_is_not_known(cell: Any) -> None:
    assert read_number(cell) is None
    values, known = NumberTarget.fit([1, 2]).encode([cell, 0, "3"])
    assert known.tolist() == [False, True, True]
    assert values.tolist() == [0, 0, 3]


def test_outputs_come_back_in_the_columns_own_unit() -> None:
    target = NumberTarget.fit([100, 200, 300])
    said = target.to_prediction(np.array([[0.0], [1.0]], dtype=np.float32))
    assert np.allclose(said, [200, 200 + np.std([100, 200, 300])])


def test_the_loss_does_not_depend_on_the_unit() -> None:
    metres, millimetres = NumberTarget.fit([1, 2, 4]), NumberTarget.fit([1000, 2000, 4000])
    output = torch.tensor([[0.3], [-1.0]])
    first = metres.loss(output, torch.tensor([1.0, 4.0]), 0.0)
    second = millimetres.loss(output, torch.tensor([1000.0, 4000.0]), 0.0)
    torch.testing.assert_close(first, second)


def test_the_mean_has_a_loss_of_one() -> None:
    target = NumberTarget.fit([1, 2, 4, 9])
    losses = target.loss(torch.zeros(4, 1), torch.tensor([1.0, 2.0, 4.0, 9.0]), 0.0)
    assert losses.mean().item() == pytest.approx(1)


def test_prices_stay_positive_and_temperatures_need_not() -> None:
    prices, degrees = NumberTarget.fit([1.0, 2.0, 900.0]), NumberTarget.fit([-1.0, 2.0])
    output = np.array([[-9.0], [0.0]], np.float32)
    assert prices.to_prediction(output).tolist() == [1.0, prices.mean]
    assert degrees.to_prediction(output)[0] < -1.0
    assert prices.limited_intervals(np.array([[-9.0, 0.5], [2.0, np.inf]])).tolist() == [[0.0, 0.5], [2.0, np.inf]]
    assert degrees.limited_intervals(np.array([[-9.0, 0.5]])).tolist() == [[-9.0, 0.5]]
    assert NumberTarget.from_state(prices.state()) == prices


@pytest.mark.parametrize("offset", [1.7e9, 1e12, -1e15])
def test_numbers_far_from_zero_keep_their_differences(offset: float) -> None:
    cells = [offset + step for step in range(2000, 2020)]
    target = NumberTarget.fit(cells)
    truth = torch.from_numpy(target.encode(cells)[0])
    output = ((truth - target.mean) / target.std).float().unsqueeze(1)
    assert target.loss(output, truth, 0.0).max() < 1e-9
    assert target.decode(target.to_prediction(output.numpy())) == pytest.approx(cells, abs=1e-3)


@pytest.mark.parametrize("cells", [[1e200, -1e200], [1e-200, 2e-200], [1.0, 2.0, 1e300]])
def test_numbers_without_a_computable_variance_are_refused(cells: list[float]) -> None:
    with pytest.raises(SchemaError, match=r"deviate by 1e-100 to 1e\+100 from their mean. Got"):
        NumberTarget.fit(cells)
