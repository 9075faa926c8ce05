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


@pytest.mark.parametrize("form", ["ascii", "binary_big_endian"])
def test_the_axes_come_first_wherever_a_ply_file_has_them(form: str) -> None:
    head = b"ply\nformat %b 1.0\nelement vertex 3\n" % form.encode()
    head += b"".join(b"property float %b\n" % name for name in (b"i", b"X", b"Y", b"Z")) + b"end_header\n"
    values = POINTS[:, [3, 0, 1, 2]]
    body = str(values.tolist()).replace("],", "\n").translate({ord(sign): None for sign in "[],"}).encode()
    (cloud,) = read_point_clouds(head + (body if form == "ascii" else values.astype(">f4").tobytes()), None)
    np.testing.assert_array_equal(cloud, POINTS)


@pytest.mark.parametrize("separator", [" ", ",", ";", "\t"])
@pytest.mark.parametrize("names", ["i x y z", "i X Y Z"])
@pytest.mark.parametrize("ending", ["csv", "txt", "xyz"])
def test_the_axes_come_first_wherever_a_table_names_them(
    tmp_path: Path, separator: str, names: str, ending: str
) -> None:
    lines = [names, *(" ".join(map(str, row)) for row in POINTS[:, [3, 0, 1, 2]].tolist())]
    (tmp_path / f"a.{ending}").write_text("\n".join(lines).replace(" ", separator))
    (cloud,) = read_point_clouds(f"a.{ending}", tmp_path)
    np.testing.assert_array_equal(cloud, POINTS)


@pytest.mark.parametrize(
    ("start", "more"),
    [
        ("OFF\n", ""),
        ("# made\nOFF\n", ""),
        ("off\n", ""),
        ("OFF", ""),
        ("", ""),
        ("COFF\n", " 9 9 9 1"),
        ("NOFF ", " 0 0 1"),
        ("STOFF\n", " 5 5"),
    ],
)
def test_off_files(tmp_path: Path, start: str, more: str) -> None:
    vertices = "".join(f"{x} {y} {z}{more}\n" for x, y, z in POINTS[:, :3])
    (tmp_path / "a.off").write_text(f"{start}3 2 0\n{vertices}3 0 1 2\n3 2 1 0\n")
    (cloud,) = read_point_clouds("a.off", tmp_path)
    np.testing.assert_array_equal(cloud[:, :3], POINTS[:, :3])
    assert cloud.shape[1] == 3 + (len(more.split()) if start[0:1] in "CN" and start else 0)


def test_las_files() -> None:
    laspy = pytest.importorskip("laspy")
    cloud = laspy.create(point_format=0)
    cloud.x, cloud.y, cloud.z, cloud.intensity = POINTS.T
    file = io.BytesIO()
    cloud.write(file)
    (read,) = read_point_clouds(file.getvalue(), None)
    np.testing.assert_allclose(read, POINTS, atol=0.01)
    with pytest.raises(CellReadError, match="declares 3 points but holds 2"):
        read_point_clouds(file.getvalue()[:-20], None)  # the format 0 has 20 bytes a point


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
    assert detect_bin_columns([content] * 8 + [content[:-8], b""]) == columns
    assert detect_bin_columns([b""]) == 4


def test_the_found_number_is_told(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rings = random.integers(32, size=900)
    cloud = np.c_[random.normal(0, 20, (900, 2)), random.normal(0, 1, 900), random.random(900), rings]
    (tmp_path / "a.bin").write_bytes(cloud.astype("<f4").tobytes())
    fitted = Points.fit(["a.bin"], PointsSettings(), tmp_path, num_threads=1)
    assert fitted.num_columns == 5
    assert "5 values a point" in fitted.notice("scan", {})
    assert fitted.notice("scan", {"bin_columns": 5}) == ""
