"""Small drawings of series and clouds in the report."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polymodal.report.gallery import GalleryCell, GalleryRow, render_cell, render_row


def drawn(modality: str, cell: Any, folder: Path | None = None) -> str:
    return str(render_cell(GalleryCell("s", modality, cell), folder))


def test_channels_are_lines_broken_at_gaps() -> None:
    html = drawn("series", [[1.0, 5], [2, None], [3, 7], [4, 8]])
    assert "4 samples of 2 channels" in html
    first, second = re.findall(r'<path class="line s\d" d="([^"]+)"', html)
    assert (first.count("M"), first.count("L")) == (1, 3)
    assert (second.count("M"), second.count("L")) == (2, 1)


def test_long_series_stay_small() -> None:
    html = drawn("series", np.random.default_rng(0).normal(size=(50_000, 12)))
    assert "50,000 samples of 12 channels" in html
    assert len(html) < 25_000


@pytest.mark.parametrize("cell", [[5.0], [[2, 2], [2, 2]], "[1, 2, 3]"])
def test_short_and_constant_series_are_drawn(cell: Any) -> None:
    html = drawn("series", cell)
    assert "<path" in html
    assert "nan" not in html


def test_clouds_are_drawn_from_above_and_from_the_side() -> None:
    html = drawn("points", np.random.default_rng(0).normal(size=(5000, 4)))
    assert "5,000 points; from above and from the side" in html
    assert html.count("<path") == 2
    assert len(html) < 15_000
    assert "from the side" not in drawn("points", np.ones((3, 2)))


def test_sequences_are_drawn_together(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", np.random.default_rng(0).normal(size=(6, 20, 3)))
    assert "120 points in 6 frames" in drawn("points", "a.npz", tmp_path)


@pytest.mark.parametrize("modality", ["series", "points"])
@pytest.mark.parametrize("cell", [b"nonsense", "no such file", 12, [], [[None, None, None]], object()])
def test_broken_cells_say_unreadable(modality: str, cell: Any, tmp_path: Path) -> None:
    assert "unreadable" in drawn(modality, cell, tmp_path)


@pytest.mark.parametrize("modality", ["series", "points"])
def test_absent_cells_say_missing_and_media_stand_above_the_values(modality: str) -> None:
    assert "missing" in drawn(modality, None)
    cells = (GalleryCell("age", "number", 3.0), GalleryCell("s", modality, [[1, 2, 3], [4, 5, 6]]))
    html = render_row(GalleryRow(1, "a", "a", None, cells), None)
    assert html.index("<svg") < html.index("age")
