"""Text files of measurements as loggers write them."""

from __future__ import annotations

import numpy as np
import pytest

from polymodal.modalities.array_files import load_named_numbers, load_numbers
from polymodal.modalities.base import CellReadError
from polymodal.modalities.logger_files import without_time

VALUES = [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    "content",
    [
        b"a,b\n(m/s),(g)\n1,2\n3,4\n",
        b"# rate 100 Hz\n# device A\na,b\n1,2\n3,4\n",
        b"time;a;b\n2024-01-01 00:00:00;1,0;2,0\n2024-01-01 00:00:01;3,0;4,0\n",
        b"00:00:01|1|2\n00:00:02|3|4\n",
        "Temp °C,b\n1,2\n3,4\n".encode("cp1252"),
        "a,b\n1,2\n3,4\n".encode("utf-16"),
        b"  1.0e+00   2.0\n  3.0e+00   4.0\n",
        b"a;b;\n1;2;\n3;4;\n",
        b"a,b\n1,2,\n3,4,\n",
        b"Device: A\nSerial: 7\n\na,b\n1,2\n3,4\n",
        b'a,b\n"1,0","2,0"\n"3,0","4,0"\n',
    ],
    ids=str,
)
def test_measurements_are_read(content: bytes) -> None:
    np.testing.assert_array_equal(load_numbers(content), VALUES)


def test_uneven_times_become_even_steps() -> None:
    content = b"t,x\n2024-01-01 00:00:00,0\n2024-01-01 00:00:01,1\n2024-01-01 00:00:04,4\n"
    np.testing.assert_allclose(load_numbers(content), [[0], [2], [4]])
    found, names = without_time(*load_named_numbers(b"time,x\n0,0\n1,1\n4,4\n"))
    np.testing.assert_allclose(found, [[0], [2], [4]])
    assert names == ("x",)
    clocks = b"day,time,x\n2024-01-01,00:00:00,0\n2024-01-01,00:00:01,1\n2024-01-01,00:00:04,4\n"
    np.testing.assert_allclose(load_numbers(clocks), [[0], [2], [4]])


@pytest.mark.parametrize("first", [b"Time (s)", b"", b"ts", b"index"])
def test_a_column_that_counts_the_rows_is_no_channel(first: bytes) -> None:
    content = first + b",a,b\n0,1,2\n1,3,4\n"
    np.testing.assert_array_equal(without_time(*load_named_numbers(content))[0], VALUES)


def test_a_first_row_that_lacks_a_number_is_no_line_of_units() -> None:
    np.testing.assert_array_equal(load_numbers(b"a,b\n#N/A,2\n3,4\n"), [[np.nan, 2.0], [3.0, 4.0]])
    with pytest.raises(CellReadError, match=r"column 1 \('a'\) holds 'OL'"):
        load_numbers(b"a,b\nOL,2\n3,4\n")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a,b\n2024-01-01,x1\n2024-01-02,x2\n", "no file of numbers"),
        (b"2024-01-01\n2024-01-02\n", "no file of numbers"),
    ],
)
def test_words_among_the_numbers_are_named(content: bytes, reason: str) -> None:
    with pytest.raises(CellReadError, match=reason):
        load_numbers(content)
