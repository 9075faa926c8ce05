"""Recordings of instruments as series cells, and columns of files that are matched by name."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from polymodal.modalities import MODALITIES, build_settings
from polymodal.modalities.array_files import load_numbers
from polymodal.modalities.base import CellReadError
from polymodal.modalities.series import Series, read_series

WAVES = np.arange(24, dtype=np.float64).reshape(12, 2)


def mat(**variables: Any) -> bytes:
    file = io.BytesIO()
    savemat(file, variables, do_compression=True)
    return file.getvalue()


@pytest.mark.parametrize("variables", [{"val": WAVES}, {"ecg": WAVES, "fs": 360.0, "name": "patient"}])
def test_the_array_of_a_mat_file_is_read(variables: dict[str, Any]) -> None:
    np.testing.assert_array_equal(load_numbers(mat(**variables)), WAVES)


def test_a_row_of_samples_is_one_channel() -> None:
    assert load_numbers(mat(x=np.arange(5.0))).shape == (5, 1)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (mat(a=WAVES, b=WAVES), r"holds 2 arrays of numbers \('a', 'b'\); expected one"),
        (mat(a="text"), "holds 0 arrays of numbers"),
        (mat(a={"field": WAVES}), "holds 0 arrays of numbers"),
        (mat(a=WAVES)[:200], "is not a readable .mat file|holds 0 arrays"),
        (b"MATLAB 7.3 MAT-file" + b" " * 200, r"is a MATLAB 7\.3 \(HDF5\) file, which is not read; save it with"),
    ],
)
def test_other_mat_files_are_refused_by_name(content: bytes, sentence: str) -> None:
    with pytest.raises(CellReadError, match=sentence):
        load_numbers(content)


def test_a_mat_file_that_declares_too_much_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    content = mat(a=np.zeros((1000, 10)))
    monkeypatch.setattr("polymodal.modalities.recording_files.MAX_VALUES", 9999)
    monkeypatch.setattr("scipy.io.loadmat", lambda *_, **__: pytest.fail("it is read"))
    with pytest.raises(CellReadError, match=r"declares an array \[1000, 10\], above the limit of 9,999 values"):
        load_numbers(content)


def edf(tmp_path: Path) -> Path:
    pyedflib = pytest.importorskip("pyedflib", reason="needs polymodal[series]")
    path = tmp_path / "night.edf"
    rates = {"EEG Fpz": 100, "Resp": 25}
    with pyedflib.EdfWriter(str(path), len(rates)) as writer:
        headers = [
            {"label": name, "dimension": "uV", "sample_frequency": rate, "physical_min": -100, "physical_max": 100,
             "digital_min": -32768, "digital_max": 32767, "transducer": "", "prefilter": ""}
            for name, rate in rates.items()
        ]  # fmt: skip
        writer.setSignalHeaders(headers)
        writer.writeSamples([50 * np.sin(np.arange(400) / 10), np.linspace(0, 40, 100)])
    return path


def test_edf_is_read_with_signals_of_two_rates(tmp_path: Path) -> None:
    values = read_series(edf(tmp_path).name, tmp_path)
    assert values.shape == (400, 2)
    np.testing.assert_allclose(values[:, 0], 50 * np.sin(np.arange(400) / 10), atol=0.01)
    np.testing.assert_allclose(values[::40, 1], np.linspace(0, 40, 100)[::10], atol=0.1)


def test_a_damaged_edf_is_a_broken_cell(tmp_path: Path) -> None:
    content = edf(tmp_path).read_bytes()
    with pytest.raises(CellReadError, match="is not a readable EDF recording"):
        load_numbers(content[:300])


def record(tmp_path: Path, signals: str = "r1.dat") -> str:
    pytest.importorskip("wfdb", reason="needs polymodal[series]")
    wave = np.sin(np.arange(200) / 9)[:, None] * [1.0, 0.5]
    (tmp_path / "r1.dat").write_bytes((wave * 1000).round().astype("<i2").tobytes())
    lines = [f"{signals} 16 1000/mV 16 0 0 0 0 {name}" for name in ("MLII", "V5")]
    (tmp_path / "r1.hea").write_text("\n".join(["r1 2 360 200", *lines]) + "\n")
    return "r1.hea"


def test_a_wfdb_record_is_read(tmp_path: Path) -> None:
    values = read_series(record(tmp_path), tmp_path)
    np.testing.assert_allclose(values, np.sin(np.arange(200) / 9)[:, None] * [1.0, 0.5], atol=1e-3)


@pytest.mark.parametrize(
    ("signals", "sentence"),
    [
        ("../r1.dat", "is not a readable WFDB record|names signals elsewhere"),
        ("absent.dat", "is not a readable WFDB record"),
    ],
)
def test_a_wfdb_record_names_files_beside_it_alone(tmp_path: Path, signals: str, sentence: str) -> None:
    name = record(tmp_path, signals)
    with pytest.raises(CellReadError, match=sentence):
        read_series(name, tmp_path)


def csv(values: np.ndarray[Any, Any], names: list[str], comment: str = "") -> bytes:
    lines = [",".join(names), *(",".join(map(str, row)) for row in values)]
    return (comment + "\n".join(lines) + "\n").encode()


def fitted(cells: list[bytes]) -> Series:
    series = MODALITIES["series"].fit(cells, build_settings("series", {}), Path())
    assert isinstance(series, Series)
    return series


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(["x", "y", "z"]), extra=st.booleans(), comment=st.sampled_from(["", "# logger\n"]))
def test_columns_in_another_order_mean_the_same(order: list[str], extra: bool, comment: str) -> None:
    values = np.random.default_rng(0).normal(size=(40, 3))
    series = fitted([csv(values + row, ["x", "y", "z"]) for row in range(4)])
    names = [*order, *(["battery"] if extra else [])]
    columns = {"x": values[:, 0], "y": values[:, 1], "z": values[:, 2], "battery": np.ones(40)}
    other = csv(np.stack([columns[name] for name in names], axis=1), [f" {name.upper()} " for name in names], comment)
    found, broken = series.transform([csv(values, ["x", "y", "z"]), other], Path())
    assert not broken
    np.testing.assert_allclose(found.values[0], found.values[1], atol=1e-5)


def test_a_file_without_one_of_the_columns_is_broken() -> None:
    values = np.random.default_rng(0).normal(size=(40, 3))
    series = fitted([csv(values + row, ["x", "y", "z"]) for row in range(4)])
    _, broken = series.transform([csv(values, ["x", "y", "w"])], Path())
    assert broken[0].reason == "has no column 'z'; its columns are 'x', 'y', 'w'"


def test_files_without_names_or_with_others_are_matched_by_place() -> None:
    values = np.random.default_rng(0).normal(size=(40, 2))
    series = fitted([csv(values + row, ["x", "y"]) for row in range(4)])
    plain = "\n".join(",".join(map(str, row)) for row in values).encode()
    found, broken = series.transform([csv(values, ["x", "y"]), plain, csv(values, ["a", "b"])], Path())
    assert not broken
    np.testing.assert_allclose(found.values[0], found.values[1], atol=1e-5)
    np.testing.assert_allclose(found.values[0], found.values[2], atol=1e-5)
    assert Series.from_state(series.state()) == series
