from __future__ import annotations

import numpy as np
import pytest

from acquisition_rows import Asked, without, write_rows
from polymodal.acquisition.labelling import spread_rows
from polymodal.errors import ConfigError


def test_uncertain_rows_are_labelled_before_sure_ones(asked: Asked) -> None:
    sure, unsure = write_rows(20, 3), without(write_rows(20, 4), "deciding", "hinting")
    rows = {name: sure[name] + unsure[name] for name in sure if name != "y"}
    found = asked.model.choose_labels(rows, budget=8)
    assert sum(row > 20 for row in found.order) >= 7
    assert found.unlabelled == 40
    assert len(set(found.order)) == 8


def test_rows_with_a_label_are_passed_over(asked: Asked) -> None:
    rows = write_rows(10, 3)
    rows["y"][2] = rows["y"][5] = None
    assert sorted(asked.model.choose_labels(rows).order) == [3, 6]
    assert asked.model.choose_labels(write_rows(10, 3)).order == []


def test_numbers_are_labelled_too(asked_number: Asked) -> None:
    rows = {name: cells for name, cells in write_rows(10, 3, number=True).items() if name != "y"}
    found = asked_number.model.choose_labels(rows)
    assert sorted(found.order) == list(range(1, 11))
    assert min(found.uncertainty) >= 0


def test_rows_that_are_alike_are_not_chosen_together() -> None:
    errors = np.array([[1.0, -1.0]] * 10 + [[0.9, -0.9]] + [[0.0, 0.0]], np.float32)
    vectors = np.array([[1.0, 0.0]] * 10 + [[0.0, 1.0]] + [[1.0, 0.0]], np.float32)
    first = spread_rows(errors, vectors, 12, 0)
    assert len(first) == 2
    assert {int(first[0]) < 10, int(first[1]) == 10} == {True}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [({"budget": 0}, "None or at least 1"), ({"target": "yy"}, "Did you mean 'y'")],
)
def test_what_cannot_be_is_one_sentence(asked: Asked, options: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        asked.model.choose_labels(write_rows(2, 3), **options)  # type: ignore[arg-type]
