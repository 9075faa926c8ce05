"""Statistics of series and clouds: what they say, and that padding and absent rows say nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from polymodal.arrays import Column
from polymodal.data.tables.table import read_table
from polymodal.ensemble.cross_fitting import cross_fit_baselines
from polymodal.ensemble.features import FeatureBlocks
from polymodal.ensemble.sensor_features import LAGS, QUANTILES, point_cloud_features, series_features
from polymodal.ensemble.stream_features import Scaling
from polymodal.modalities import Points, PointsSettings

CHANNELS = 2


def series(rows: int = 5, steps: int = 30) -> Column:
    random = np.random.default_rng(0)
    values = random.normal(size=(rows, steps, CHANNELS)).astype(np.float32)
    lengths = random.integers(5, steps + 1, rows)
    return Column(values, np.ones(rows, bool), lengths)


def clouds(rows: int = 5) -> Column:
    random = np.random.default_rng(0)
    values = random.normal(size=(rows, 12, 6, 4)).astype(np.float32)
    values[..., -1] = random.random((rows, 12, 6)) < 0.7
    return Column(values, np.ones(rows, bool), random.integers(4, 13, rows))


def test_levels_of_a_channel() -> None:
    column = series()
    found = series_features(column)
    assert found.dtype == np.float32
    assert found.shape == (5, CHANNELS * (2 + len(QUANTILES) + 4 + len(LAGS)) + 1)
    assert column.lengths is not None
    for row, length in enumerate(column.lengths):
        inside = column.values[row, :length]
        np.testing.assert_allclose(found[row, :2], inside.mean(axis=0), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found[row, 2:4], inside.std(axis=0), rtol=1e-4)
        np.testing.assert_array_equal(found[row, 4:6], inside.min(axis=0))
        np.testing.assert_array_equal(found[row, 16:18], inside.max(axis=0))
        steps = np.diff(inside, axis=0)
        np.testing.assert_allclose(found[row, 18:20], np.abs(steps).mean(axis=0), rtol=1e-4)
        np.testing.assert_allclose(found[row, 20:22], steps.std(axis=0), rtol=1e-4)
        np.testing.assert_allclose(found[row, 24:26], np.ptp(inside, axis=0), rtol=1e-4)


def test_rhythm_tells_fast_from_slow() -> None:
    time = np.arange(64)
    values = np.stack([np.sin(time * 2 * np.pi / period) for period in (2.0, 4.0, 32.0)])[..., None]
    rhythm = series_features(Column(values.astype(np.float32), np.ones(3, bool), np.full(3, 64)))[:, -7:-1]
    assert rhythm[1, LAGS.index(2)] < -0.9
    assert rhythm[1, LAGS.index(4)] > 0.9
    assert rhythm[2, LAGS.index(4)] > 0.6


@pytest.mark.parametrize(("column", "describe"), [(series(), series_features), (clouds(), point_cloud_features)])
def test_padding_absent_rows_and_other_rows_change_nothing(column: Column, describe: object) -> None:
    assert callable(describe)
    assert column.lengths is not None
    values = column.values.copy()
    for row, length in enumerate(column.lengths):
        values[row, length:] = np.nan
    values[3] = np.nan
    present = np.arange(5) != 3
    found = describe(Column(values, present, column.lengths))
    expected = describe(column)
    np.testing.assert_array_equal(found[present], expected[present])
    assert not found[3].any()
    alone = describe(column.take(np.array([1])))
    np.testing.assert_allclose(alone[0], expected[1], rtol=1e-5, atol=1e-6)
    assert describe(column.take(slice(0, 0))).shape == (0, expected.shape[1])


def test_clouds_are_described_by_their_points_and_how_frames_change() -> None:
    column = clouds()
    assert column.lengths is not None
    found = point_cloud_features(column)
    frames = column.values[0, : column.lengths[0]]
    points = frames[frames[..., -1] > 0][:, :3]
    np.testing.assert_allclose(found[0, :3], points.mean(axis=0), rtol=1e-4, atol=1e-5)
    assert found[0, 27] == pytest.approx(np.log1p(len(points)))
    single = point_cloud_features(Column(column.values[:, :1], column.present, np.ones(5, np.int64)))
    assert single.shape == found.shape
    assert not single[:, 28:].any()


@pytest.mark.exhaustive
@pytest.mark.slow
def test_activities_are_told_from_statistics_alone(shared_data: Path) -> None:
    """A random forest on 37 statistics without time reaches 0.942."""
    folder = shared_data / "radhar"
    tables = [read_table(folder / f"{split}.csv").columns for split in ("train", "validation", "test")]
    fitted = Points.fit(tables[0]["points"], PointsSettings(), folder)
    found = [point_cloud_features(fitted.transform(table["points"], folder)[0]) for table in tables]
    names = sorted(set(tables[0]["activity"]))
    truths = [np.array([names.index(cell) for cell in table["activity"]]) for table in tables]
    scaling = Scaling.fit(found[0], np.ones(len(found[0]), bool), 0)
    blocks = [FeatureBlocks(scaling.apply(part, np.ones(len(part), bool)), None, part) for part in found]
    both, truth = FeatureBlocks.concatenate(blocks[:2]), np.concatenate(truths[:2])
    held_out = [np.arange(len(truths[0]), len(truth))]
    baselines = cross_fit_baselines("category", len(names), both, truth, held_out, budget_s=0.2).baselines
    scores = {each.name: (each.predict(blocks[2]).argmax(axis=1) == truths[2]).mean() for each in baselines}
    assert scores["boosting"] > 0.942
    assert scores["linear"] > 0.9


def test_many_rows_are_described_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = series_features(series(40))
    monkeypatch.setattr("polymodal.ensemble.sensor_features.MAX_BATCH_VALUES", 200)
    np.testing.assert_allclose(series_features(series(40)), whole, rtol=1e-5, atol=1e-6)
