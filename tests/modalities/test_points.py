"""Point clouds and sequences of them: formats, frames, sizes, scales and what is broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polymodal.arrays import Column
from polymodal.errors import ConfigError
from polymodal.modalities import Points, PointsSettings
from polymodal.modalities.point_clouds import detect_frame_column, split_frames
from polymodal.modalities.points import merge_frames

CLOUD = np.random.default_rng(0).normal([10, 0, 2, 50], [5, 3, 1, 20], (30, 4)).astype(np.float32)


def fit(cells: list[Any], folder: Path | None = None, **options: Any) -> Points:
    return Points.fit(cells, PointsSettings(**options), folder)


def transform(fitted: Points, cells: list[Any], folder: Path | None = None) -> Column:
    column, broken = fitted.transform(cells, folder)
    assert broken == []
    return column


def sequence(counts: list[int], seed: int = 0) -> np.ndarray:
    """Return points with a frame number behind x, y and z, and so many points to each frame."""
    index = np.repeat(np.arange(len(counts)), counts)
    return np.column_stack([np.random.default_rng(seed).normal(size=(len(index), 3)), index])


def real(column: Column, row: int = 0) -> np.ndarray:
    """Return the numbers of points of a row's frames."""
    assert column.lengths is not None
    return column.values[row, : column.lengths[row], :, -1].sum(axis=1)


def pcd(points: np.ndarray, data: str) -> bytes:
    lines = ["VERSION 0.7", "FIELDS x y z intensity", "SIZE 4 4 4 4", "TYPE F F F F", "COUNT 1 1 1 1"]
    lines += [f"WIDTH {len(points)}", "HEIGHT 1", f"POINTS {len(points)}", f"DATA {data}", ""]
    body = (
        points.astype("<f4").tobytes()
        if data == "binary"
        else "\n".join(" ".join(map(repr, p)) for p in points.tolist())
    )
    return "\n".join(lines).encode() + (body if isinstance(body, bytes) else body.encode())


def test_every_form_of_the_same_cloud(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", CLOUD)
    np.savez(tmp_path / "a.npz", points=CLOUD)
    (tmp_path / "a.bin").write_bytes(CLOUD.astype("<f4").tobytes())
    (tmp_path / "a.pcd").write_bytes(pcd(CLOUD, "ascii"))
    (tmp_path / "b.pcd").write_bytes(pcd(CLOUD, "binary"))
    text = "\n".join(",".join(map(repr, point)) for point in CLOUD.tolist())
    (tmp_path / "a.csv").write_text("x,y,z,i\n" + text)
    files: list[Any] = ["a.npy", "a.npz", "a.bin", "a.pcd", "b.pcd", "a.csv"]
    cells = [CLOUD, CLOUD.tolist(), str(CLOUD.tolist()), CLOUD[None], [CLOUD], *files, Path("a.bin")]
    cells += [(tmp_path / name).read_bytes() for name in files if name != "a.bin"]
    cells += [{"bytes": (tmp_path / "a.bin").read_bytes(), "path": "x.bin"}]
    column = transform(fit([CLOUD, CLOUD + 1]), cells, tmp_path)
    assert column.values.dtype == np.float32
    assert column.values.shape == (len(cells), 1, 30, 5)
    assert (column.values == column.values[0]).all()
    assert column.values[..., -1].all()


def test_bin_files_of_five_columns(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(np.arange(10, dtype="<f4").tobytes())
    assert fit(["a.bin"], tmp_path, bin_columns=5).num_columns == 5


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (CLOUD[:, :3], "holds points of 3 values; expected 4, as in training"),
        ([], "is an empty cloud: it holds no points"),
        (np.zeros((0, 4)), "is an empty cloud: it holds no points"),
        (np.zeros((3, 0, 4)), "is an empty cloud: it holds no points"),
        ([[], []], "is an empty cloud: it holds no points"),
        (np.full((3, 4), np.nan), "is an empty cloud: each of its 3 points has a NaN or infinite value"),
        ([[1, 2, None, 4]], "is an empty cloud: each of its 1 points has a NaN or infinite value"),
        (np.zeros(4), "is an array of shape [4]; expected [points, features] or [frames, points, features]"),
        (np.zeros((1, 2, 3, 4)), "is an array of shape [1, 2, 3, 4]; expected [points, features]"),
        ([[1, 2, 3, 4], [5]], "lists of different lengths"),
        ([[[1, 2, 3, 4]], [[1, 2, 3], [4, 5, 6]]], "holds frames of 3, 4 values a point; expected one number"),
        (b"some words", "is no file of numbers"),
        ("nowhere.bin", "paths are not opened here"),
        (7, "is of type int"),
    ],
)
def test_what_is_no_such_cloud_is_broken(cell: Any, reason: str) -> None:
    column, broken = fit([CLOUD]).transform([CLOUD, cell], None)
    assert column.present.tolist() == [True, False]
    assert [found.row for found in broken] == [2]
    assert reason in broken[0].reason


def test_a_file_cut_off_is_broken_and_named(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(CLOUD.tobytes()[:-3])
    (tmp_path / "a.pcd").write_bytes(pcd(CLOUD, "binary")[:-3])
    _, broken = fit([CLOUD]).transform(["a.bin", "a.pcd"], tmp_path)
    assert broken[0].reason == "a.bin has 477 bytes, which are no whole points of 4 float32 values (4 bytes each)"
    assert broken[1].reason == "a.pcd is a damaged .pcd file: it declares 480 bytes of points but holds 477"


def test_axes_share_one_scale_and_other_values_have_their_own() -> None:
    fitted = fit([CLOUD])
    assert fitted.std[0] == fitted.std[1] == fitted.std[2]
    values = transform(fitted, [CLOUD]).values[0, 0]
    found = np.linalg.norm(values[:, None, :3] - values[None, :, :3], axis=2)
    distances = np.linalg.norm(CLOUD[:, None, :3] - CLOUD[None, :, :3], axis=2)
    np.testing.assert_allclose(found * fitted.std[0], distances, atol=1e-4)
    assert values[:, 3].std() == pytest.approx(1, abs=1e-3)


def test_points_with_nan_are_left_out() -> None:
    holed = np.insert(CLOUD, [0, 3, 30], [[np.nan, 1, 1, 1], [1, np.inf, 1, 1], [1, 1, 1, np.nan]], axis=0)
    fitted = fit([CLOUD])
    np.testing.assert_array_equal(transform(fitted, [holed]).values, transform(fitted, [CLOUD]).values)
    assert fit([holed]).state() == fitted.state()


def test_padding_is_marked_and_zero() -> None:
    column = transform(fit([CLOUD]), [CLOUD[:4], CLOUD])
    assert column.values[0, 0, :, -1].tolist() == [1] * 4 + [0] * 26
    assert not column.values[0, 0, 4:].any()


def test_points_are_drawn_by_content_alone() -> None:
    fitted = fit([CLOUD], points=10)
    first = transform(fitted, [CLOUD, CLOUD + 1]).values
    again = transform(fit([CLOUD], points=10), [CLOUD + 1, CLOUD]).values
    np.testing.assert_array_equal(first[0], again[1])
    whole = transform(fit([CLOUD]), [CLOUD]).values[0, 0]
    assert {tuple(point) for point in first[0, 0].tolist()} <= {tuple(point) for point in whole.tolist()}
    assert len(np.unique(first[0, 0], axis=0)) == 10


def test_number_of_points_fits_most_frames_and_is_bounded() -> None:
    cells = [np.random.default_rng(size).normal(size=(size, 3)) for size in [*[50] * 40, 900]]
    assert fit(cells).num_points == 50
    assert fit([np.random.default_rng(0).normal(size=(5000, 3))]).num_points == 1024
    assert fit([np.random.default_rng(0).normal(size=(20, 500, 3))]).num_points == 4096 // 20


def test_a_column_that_counts_frames_is_found() -> None:
    cells = [sequence([3, 5, 0, 4, 9], seed) for seed in range(5)]
    fitted = fit(cells)
    assert (fitted.frame_column, fitted.num_columns, fitted.num_features) == (3, 4, 4)
    assert (fitted.num_frames, fitted.stride) == (5, 1)
    column = transform(fitted, cells)
    assert column.values.shape == (5, 5, 9, 4)
    assert real(column).tolist() == [3, 5, 0, 4, 9]
    shuffled = np.random.default_rng(0).permutation(cells[0])
    assert real(transform(fitted, [shuffled])).tolist() == [3, 5, 0, 4, 9]


@pytest.mark.parametrize(
    ("values", "is_frame"),
    [
        ([0, 0, 0, 1, 1, 2, 2, 2], True),
        ([1, 1, 1, 2, 2, 2, 2, 3], True),
        ([0, 0, 1, 1, 0, 0, 1, 1], False),
        ([0, 0, 0.5, 0.5, 1, 1, 1, 1], False),
        ([0, 1, 2, 3, 4, 5, 6, 7], False),
        ([0, 0, 0, 0, 0, 0, 0, 0], False),
        ([900, 900, 900, 901, 901, 901, 902, 902], False),
        ([0, 0, 0, 50, 50, 50, 900, 900], False),
        ([0, 0, 0, 1, 1, np.nan, 2, 2], False),
    ],
)
def test_what_counts_frames(values: list[float], is_frame: bool) -> None:
    cloud = np.column_stack([np.random.default_rng(0).normal(size=(8, 3)), values])
    assert detect_frame_column([cloud]) == (3 if is_frame else None)


def test_the_frame_column_can_be_set() -> None:
    cloud = np.column_stack([[7, 9, 7, 8], np.arange(12.0).reshape(4, 3)])
    fitted = fit([cloud], frame_column=0)
    assert (fitted.frame_column, fitted.num_frames) == (0, 3)
    assert real(transform(fitted, [cloud])).tolist() == [2, 1, 1]
    assert fit([sequence([3, 5, 4])], frame_column=-1).num_frames == 1
    with pytest.raises(ConfigError, match=r"'frame_column' parameter of the modality 'points' must be below 4\. Got 4"):
        fit([cloud], frame_column=4)
    _, broken = fitted.transform([cloud + 0.5, cloud * [1e7, 1, 1, 1], cloud * np.nan], None)
    assert "holds 7.5 in column 0; expected whole frame numbers" in broken[0].reason
    assert "spans 20,000,001 frames by column 0" in broken[1].reason
    assert "no point with a frame number" in broken[2].reason


def test_frames_between_may_be_empty() -> None:
    frames = split_frames(sequence([2, 0, 1]), 3)
    assert [len(frame) for frame in frames] == [2, 0, 1]
    assert all(frame.shape[1] == 3 for frame in frames)


def test_sequences_of_arrays_keep_their_frames() -> None:
    ragged = [CLOUD[:5], CLOUD[5:7], CLOUD[:0], CLOUD[7:]]
    fitted = fit([ragged, ragged[:3]], points=23)
    assert (fitted.frame_column, fitted.num_frames) == (-1, 4)
    lists = [frame.tolist() for frame in ragged]
    objects = np.empty(4, dtype=object)
    objects[:] = ragged
    column = transform(fitted, [ragged, lists, str(lists), objects, ragged[:2]])
    assert column.lengths is not None
    assert column.lengths.tolist() == [4, 4, 4, 4, 2]
    assert real(column).tolist() == [5, 2, 0, 23]
    assert (column.values[:4] == column.values[0]).all()


def test_neighbouring_frames_are_merged() -> None:
    cells = [sequence([2] * 60, seed) for seed in range(3)]
    fitted = fit(cells, frames=20)
    assert (fitted.num_frames, fitted.stride, fitted.num_points) == (20, 3, 6)
    column = transform(fitted, [*cells, sequence([2] * 31), sequence([2] * 90)])
    assert column.lengths is not None
    assert column.lengths.tolist() == [20, 20, 20, 11, 20]
    assert real(column, 3).tolist() == [6] * 10 + [2]
    assert fit(cells, frames=25).num_frames == 20


@pytest.mark.parametrize(("total", "stride", "most"), [(7, 3, 5), (60, 3, 20), (61, 3, 20), (5, 1, 5), (100, 2, 7)])
def test_merging_loses_no_point(total: int, stride: int, most: int) -> None:
    frames = [np.full((1, 1), float(place)) for place in range(total)]
    merged = merge_frames(frames, stride, most)
    assert len(merged) == min(most, -(-total // stride))
    assert np.concatenate(merged)[:, 0].tolist() == list(range(total))


def test_real_radar_windows(shared_data: Path) -> None:
    folder = shared_data / "radhar"
    cells = [f"points/{row:04d}.npz" for row in range(40)]
    fitted = Points.fit(cells, PointsSettings(), folder)
    assert (fitted.num_columns, fitted.frame_column, fitted.num_frames, fitted.stride) == (6, 5, 20, 3)
    column = transform(fitted, cells, folder)
    assert column.values.shape == (40, 20, fitted.num_points, 6)
    counts = [len(np.load(folder / cell)["points"]) for cell in cells]
    kept = column.values[..., -1].sum(axis=(1, 2))
    assert (kept <= counts).all()
    assert kept.sum() > 0.97 * sum(counts)
