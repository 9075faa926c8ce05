"""Vectors from lists, arrays and files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polymodal.modalities import Vector, VectorSettings

PLAIN = Vector(dim=3, mean=[0.0] * 3, std=[1.0] * 3)


def test_every_form_of_the_same_vector(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.array([1, 2, 3], np.int16))
    content = (tmp_path / "v.npy").read_bytes()
    forms: list[Any] = [[1, 2, 3], (1, 2, 3), np.array([1.0, 2, 3]), "[1, 2.0, 3]", "v.npy", Path("v.npy"), content]
    forms += [{"bytes": content, "path": None}, np.array([[1, 2, 3]])]
    column, broken = PLAIN.transform(forms, tmp_path)
    assert broken == []
    assert column.values.tolist() == [[1, 2, 3]] * len(forms)
    assert column.values.dtype == np.float32


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ([1, 2], "holds 2 numbers; expected 3, as in training"),
        ([], "holds no numbers"),
        ([1, np.nan, np.inf], "holds 2 of 3 values that are NaN or infinite"),
        ("[1, 2", "is not a list of numbers in JSON"),
        ("[1, null, 2]", "expected numbers"),
        ('["a"]', "expected numbers"),
        ("[" * 100_000, "is not a list of numbers in JSON"),
        (b"text", "is not a .npy file"),
        ("v.npy", "paths are not opened here"),
        (7, "is of type int"),
    ],
)
def test_what_is_no_such_vector_is_broken(cell: Any, expected: str) -> None:
    column, broken = PLAIN.transform([[1, 2, 3], cell], None)
    assert column.present.tolist() == [True, False]
    assert broken[0].row == 2
    assert expected in broken[0].reason


def test_nan_file_is_caught(shared_data: Path) -> None:
    _, broken = PLAIN.transform(["nan_values.npy"], shared_data / "fixtures")
    assert broken[0].reason == "nan_values.npy holds 5 of 40 values that are NaN or infinite"


def test_each_number_is_standardised_by_itself() -> None:
    fitted = Vector.fit([[0, 5, 1], [2, 5, 1e200]], VectorSettings(), None)
    column, _ = fitted.transform([[0, 5, 1], [4, 5, 1e300]], None)
    np.testing.assert_allclose(column.values, [[-1, 0, -1], [3, 0, 10]], rtol=1e-6)


def test_length_is_the_most_common() -> None:
    assert Vector.fit([[1], [1, 2], [3, 4], [float("nan"), 1, 2]], VectorSettings(), None).dim == 2
    assert Vector.fit([[1], [1, 2]], VectorSettings(dim=5), None).dim == 5
