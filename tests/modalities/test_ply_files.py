"""Point clouds as PLY, OFF, XYZ and LAS files."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from polymodal.modalities import Points, PointsSettings
from polymodal.modalities.base import CellReadError
from polymodal.modalities.point_clouds import detect_bin_columns, read_point_clouds

POINTS = np.array([[0, 1, 2, 9], [3, 4, 5, 8], [6, 7, 8, 7]], np.float32)
HEADER = (
    "ply\nformat {} 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\nproperty float i\n"
)


def ply(form: str) -> bytes:
    head = (HEADER.format(form) + "element face 0\nproperty list uchar int vertex_indices\nend_header\n").encode()
    if form == "ascii":
        return head + "\n".join(" ".join(map(str, row)) for row in POINTS.tolist()).encode()
    return head + POINTS.astype(">f4" if "big" in form else "<f4").tobytes()


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_ply_files(form: str) -> None:
    (cloud,) = read_point_clouds(ply(form), None)
    np.testing.assert_array_equal(cloud, POINTS)


def test_off_files() -> None:
    (cloud,) = read_point_clouds(b"OFF\n3 1 0\n0 1 2\n3 4 5\n6 7 8\n3 0 1 2\n", None)
    np.testing.assert_array_equal(cloud, POINTS[:, :3])


def test_las_files() -> None:
    laspy = pytest.importorskip("laspy")
    cloud = laspy.create(point_format=0)
    cloud.x, cloud.y, cloud.z, cloud.intensity = POINTS.T
    file = io.BytesIO()
    cloud.write(file)
    (read,) = read_point_clouds(file.getvalue(), None)
    np.testing.assert_allclose(read, POINTS, atol=0.01)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (ply("ascii")[:-20], "its vertices are no numbers|declares 3 vertices"),
        (ply("binary_little_endian")[:-4], "declares 3 vertices but holds fewer"),
        (b"ply\nformat ascii 1.0\n", "header does not end"),
        (b"OFF\n3 0 0\n0 1 2\n", "declares 3 vertices"),
        (b"LASF nothing", "not a readable LAS file"),
    ],
)
def test_damaged_files_are_broken(content: bytes, reason: str) -> None:
    if reason == "not a readable LAS file":
        pytest.importorskip("laspy")
    with pytest.raises(CellReadError, match=reason):
        read_point_clouds(content, None)


@pytest.mark.parametrize("columns", [3, 4, 5, 6])
def test_the_number_of_values_a_point_is_found(columns: int) -> None:
    random = np.random.default_rng(columns)
    values = [random.normal(0, 20, 900), random.normal(0, 20, 900), random.normal(-1, 1, 900), random.random(900)]
    values += [random.integers(0, 32, 900), random.random(900) / 10]
    content = np.stack(values[:columns], axis=1).astype("<f4").tobytes()
    assert detect_bin_columns([content]) == columns


def test_the_found_number_is_told(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rings = random.integers(32, size=900)
    cloud = np.c_[random.normal(0, 20, (900, 2)), random.normal(0, 1, 900), random.random(900), rings]
    (tmp_path / "a.bin").write_bytes(cloud.astype("<f4").tobytes())
    fitted = Points.fit(["a.bin"], PointsSettings(), tmp_path, num_threads=1)
    assert fitted.num_columns == 5
    assert "5 values a point" in fitted.notice("scan", {})
    assert fitted.notice("scan", {"bin_columns": 5}) == ""
