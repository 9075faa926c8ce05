"""Series of every form: channels, lengths, gaps and scales."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from polymodal.arrays import Column
from polymodal.modalities import Series, SeriesSettings
from polymodal.modalities.series import adaptive_mean_pool

WALK = np.cumsum(np.random.default_rng(0).normal(size=(40, 3)), axis=0)


def fit(cells: list[Any], **options: Any) -> Series:
    return Series.fit(cells, SeriesSettings(**options), None)


def transform(fitted: Series, cells: list[Any], folder: Path | None = None) -> Column:
    column, broken = fitted.transform(cells, folder)
    assert broken == []
    return column


def steps(column: Column, row: int) -> np.ndarray:
    assert column.lengths is not None
    return column.values[row, : column.lengths[row]]


def test_every_form_of_the_same_series(tmp_path: Path) -> None:
    table = np.array([[1.0, 2.0], [3.0, 5.0], [4.0, 0.0]])
    np.save(tmp_path / "a.npy", table)
    np.savez(tmp_path / "a.npz", x=table)
    (tmp_path / "a.csv").write_text("x,y\n1,2\n3,5\n4,0\n")
    (tmp_path / "bare.csv").write_text("1,2\n3,5\n4,0\n")
    parquet.write_table(pa.table({"x": [1, 3, 4], "y": [2.0, 5.0, 0.0]}), tmp_path / "a.parquet")
    files = ["a.npy", "a.npz", "a.csv", "bare.csv", "a.parquet"]
    cells: list[Any] = [table, table.tolist(), str(table.tolist()), *files, Path("a.npy")]
    cells += [(tmp_path / name).read_bytes() for name in files]
    cells += [{"bytes": None, "path": "a.npz"}, pa.array([table.tolist()]).to_pylist()[0]]
    fitted = fit([table, table * 2])
    column = transform(fitted, cells, tmp_path)
    assert column.values.dtype == np.float32
    assert column.values.shape == (len(cells), 3, 2)
    assert (column.values == column.values[0]).all()


def test_one_axis_is_one_channel_and_lengths_are_kept() -> None:
    column = transform(fit([[1.0, 2, 3], [4.0, 5]]), [[1, 2, 3], "[4, 5]", [[6], [7], [8], [9]], None])
    assert column.values.shape == (4, 4, 1)
    assert column.lengths is not None
    assert column.lengths.tolist() == [3, 2, 4, 0]
    assert column.present.tolist() == [True, True, True, False]
    assert not column.values[1, 2:].any()


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (np.zeros((5, 2)), "holds 2 values per step; expected 3, as in training"),
        ([1, 2, 3], "holds 1 value per step; expected 3, as in training"),
        (np.zeros((2, 3, 4)), "is an array of shape [2, 3, 4]; expected [time] or [time, channels]"),
        ([], "holds no samples"),
        (np.zeros((0, 3)), "holds no samples"),
        ([[None, None, float("inf")]], "holds no sample: each of its 3 values is missing, NaN or infinite"),
        ([[1, 2, 3], [4]], "lists of different lengths"),
        ([["a", "b", "c"]], "expected numbers"),
        ("[[1, 2, 3], ", "is not a list of numbers in JSON"),
        (b"some words", "is no file of numbers"),
        (np.float64(3), "is an array of shape []"),
        (7, "is of type int"),
    ],
)
def test_what_is_no_such_series_is_broken(cell: Any, reason: str) -> None:
    column, broken = fit([WALK]).transform([WALK, cell], None)
    assert column.present.tolist() == [True, False]
    assert [found.row for found in broken] == [2]
    assert reason in broken[0].reason


def test_each_channel_is_standardised_and_outliers_do_not_squash_it() -> None:
    random = np.random.default_rng(1)
    clean = [random.normal([5, -100], [0.1, 20], (50, 2)) for _ in range(20)]
    column = transform(fit(clean), clean)
    np.testing.assert_allclose(column.values.reshape(-1, 2).mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(column.values.reshape(-1, 2).std(axis=0), 1, atol=0.02)
    wild = [cell.copy() for cell in clean]
    wild[3][7, 0], wild[4][0, 0], wild[5][2, 1] = 1e300, -1e30, 1e12
    fitted = fit(wild)
    np.testing.assert_allclose(fitted.std, fit(clean).std, rtol=0.1)
    np.testing.assert_allclose(fitted.mean, fit(clean).mean, rtol=0.02)
    assert np.abs(transform(fitted, wild).values).max() == 10


def test_rare_peaks_of_a_signal_keep_their_shape() -> None:
    heart = np.zeros(2000)
    heart[::100] = 1.0
    assert 3 < transform(fit([heart + np.random.default_rng(0).normal(0, 0.05, 2000)]), [heart]).values.max() <= 10


def test_a_constant_channel_becomes_zero() -> None:
    cells = [np.stack([np.full(9, 7.0), np.arange(9.0)], axis=1)]
    column = transform(fit(cells), cells)
    assert not column.values[0, :, 0].any()
    assert column.values[0, :, 1].std() == pytest.approx(1, abs=1e-5)


def test_gaps_are_zero_and_marked_in_channels_that_had_some_in_training() -> None:
    gappy = [[1.0, None, 2.0], [3.0, 5.0, 4.0], [5.0, None, 9.0], [7.0, 6.0, 5.0]]
    fitted = fit([gappy, WALK])
    assert fitted.has_gaps == [False, True, False]
    assert fitted.num_features == 4
    column = transform(fitted, [gappy, np.where(WALK > 1, np.nan, WALK)])
    assert column.values.shape[2] == 4
    assert steps(column, 0)[:, 3].tolist() == [1, 0, 1, 0]
    assert steps(column, 0)[[0, 2], 1].tolist() == [0, 0]
    assert (steps(column, 0)[[1, 3], 1] != 0).all()
    np.testing.assert_array_equal(steps(column, 1)[:, 3], WALK[:, 1] > 1)
    assert not steps(column, 1)[WALK[:, 0] > 1, 0].any()


def test_an_infinite_sample_is_a_missing_one() -> None:
    fitted = fit([[1.0, float("inf"), 3.0]])
    assert transform(fitted, [[1.0, float("-inf"), 3.0]]).values[0, :, 1].tolist() == [0, 1, 0]


def test_long_series_become_means_over_stretches() -> None:
    ramp = np.arange(1000.0)
    fitted = fit([ramp, ramp + 1], max_length=100)
    assert (fitted.stride, fitted.median_length) == (10, 100)
    column = transform(fitted, [ramp, ramp[:105], np.arange(5000.0)])
    assert column.lengths is not None
    assert column.lengths.tolist() == [100, 11, 100]
    back = column.values[..., 0] * fitted.std[0] + fitted.mean[0]
    np.testing.assert_allclose(back[0], ramp.reshape(100, 10).mean(axis=1), rtol=1e-4, atol=0.1)
    np.testing.assert_allclose(back[2, :10], np.arange(5000.0).reshape(100, 50).mean(axis=1)[:10], rtol=1e-4, atol=0.1)


def test_means_leave_gaps_out() -> None:
    values = np.array([[1.0], [np.nan], [3.0], [np.nan], [np.nan], [np.nan]], np.float32)
    means, missing = adaptive_mean_pool(values, 2)
    assert means.tolist() == [[2.0], [0.0]]
    np.testing.assert_allclose(missing, [[1 / 3], [1.0]], rtol=1e-6)


def test_one_long_outlier_does_not_thin_all_others() -> None:
    cells = [np.random.default_rng(row).normal(size=50) for row in range(40)] + [np.zeros(100_000)]
    assert fit(cells, max_length=64).stride == 1


def test_channels_first_is_told_from_lengths_smoothness_or_set() -> None:
    turned = [WALK.T, WALK[:25].T, WALK[:30].T]
    fitted = fit(turned)
    assert (fitted.channels_first, fitted.channels) == (True, 3)
    upright = fit([WALK, WALK[:25], WALK[:30]])
    np.testing.assert_array_equal(transform(fitted, turned).values, transform(upright, [c.T for c in turned]).values)
    assert fit([WALK.T], channels_first=True).channels == 3
    assert fit([WALK.T]).channels == 3
    assert fit([WALK]).channels == 3
    _, broken = fitted.transform([np.zeros((2, 50))], None)
    assert "holds 2 values per step; expected 3" in broken[0].reason


def test_real_file_with_missing_and_infinite_values(shared_data: Path) -> None:
    folder = shared_data / "fixtures"
    fitted = Series.fit(["nan_values.npy"], SeriesSettings(), folder)
    column = transform(fitted, ["nan_values.npy"], folder)
    assert column.values.shape == (1, 10, 4 + sum(fitted.has_gaps))
    assert column.values[0, :, 4:].sum() == 5
    assert np.isfinite(column.values).all()
