"""Table files of the time-series archives: `.ts` and `.arff`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polymodal.data.inspection import inspect_table
from polymodal.data.tables.table import read_table
from polymodal.errors import TableError

HEAD = "# a comment\n@problemName Waves\n@timeStamps false\n@univariate {}\n@classLabel true a b\n@data\n"


def written(tmp_path: Path, text: str, name: str = "waves.ts") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 6), channels=st.integers(1, 3), lengths=st.lists(st.integers(1, 9), min_size=6, max_size=6),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_every_series_of_a_ts_file_comes_back(
    tmp_path_factory: pytest.TempPathFactory, rows: int, channels: int, lengths: list[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    values = [rng.normal(size=(length, channels)).round(6) for length in lengths[:rows]]
    lines = [
        ":".join(",".join(map(str, channel)) for channel in case.T) + f":{'ab'[at % 2]}\n"
        for at, case in enumerate(values)
    ]
    table = read_table(written(tmp_path_factory.mktemp("ts"), HEAD.format("false") + "".join(lines)))
    assert table.columns["label"] == ["ab"[at % 2] for at in range(rows)]
    for cell, case in zip(table.columns["series"], values, strict=True):
        np.testing.assert_array_equal(cell, case)


def test_a_ts_file_is_a_series_and_a_label(tmp_path: Path) -> None:
    lines = "".join(f"{row}.5,?,3,4:1,2,3,{row}:{'ab'[row % 2]}\n" for row in range(8))
    table = read_table(written(tmp_path, HEAD.format("false") + lines))
    assert np.isnan(np.asarray(table.columns["series"][0])[1, 0])
    found = inspect_table(table, targets=["label"])["columns"][0]
    assert (found["modality"], found["broken"]) == ("series", 0)


def test_a_regression_target_is_a_number(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, "@targetLabel true\n@data\n1,2:0.5\n3,4:1.5\n"))
    assert table.columns["target"] == [0.5, 1.5]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("@problemName x\n", "it has no line @data"),
        ("a,b\n1,2\n", "it has no line @data"),
        (
            "@classLabel true\n@data\n1,2:3:a\n",
            r"Row 1 of waves\.ts \(line 3\) has channels of different lengths \(2, 1\)",
        ),
        ("@classLabel true\n@data\n1,two:a\n", r"Row 1 of waves\.ts \(line 3\) cannot be read.*two"),
        ("@timeStamps true\n@data\n(0,1):a\n", "has a time stamp beside each value"),
        ("@data\n", "no rows"),
        ("G@\x00", "is a video"),
    ],
)
def test_ts_files_that_cannot_be_read_are_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(TableError, match=sentence):
        read_table(written(tmp_path, text))


def test_arff_is_read(tmp_path: Path) -> None:
    text = (
        "% weka\n@relation r\n@attribute size numeric\n@attribute 'the color' {red,'dark blue'}\n"
        "@attribute day date yyyy-MM-dd\n"
        "@data\n1.5,red,2024-05-01\n?,'dark blue',2024-05-02\n2,?,2024-05-03\n"
    )
    table = read_table(written(tmp_path, text, "r.arff"))
    assert table.columns["size"] == [1.5, None, 2.0]
    assert table.columns["the color"] == ["red", "dark blue", None]
    assert [str(day)[:10] for day in table.columns["day"]] == ["2024-05-01", "2024-05-02", "2024-05-03"]


@pytest.mark.parametrize(
    "text",
    [
        "@relation r\n@attribute t relational\n@data\n'a text'\n",
        "@relation r\n@attribute a numeric\n@data\n{0 1}\n",
        "@relation r\n@attribute a numeric\n@attribute b numeric\n@data\n1\n",
        "@relation r\n@attribute size numeric\n@data\nmany\n",
        "@relation r\n@attribute size\n@data\n1\n",
        "size\n1\n",
    ],
)
def test_arff_that_cannot_be_read_is_one_sentence(tmp_path: Path, text: str) -> None:
    with pytest.raises(TableError, match=r"r\.arff .*(cannot be read|has 1 values)"):
        read_table(written(tmp_path, text, "r.arff"))
