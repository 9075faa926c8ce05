"""Stretches of clips and videos, named by their start and end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from polymodal.data.preprocessor import Preprocessor
from polymodal.data.schema.schema import infer_schema
from polymodal.data.tables.table import Table
from polymodal.modalities.audio_files import duration_s, load_clip
from polymodal.modalities.base import CellReadError
from polymodal.modalities.frame_sampling import FrameSampling

RATE = 8000
CLIP = np.concatenate([np.full(RATE, 0.1 * second) for second in range(4)]).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "a.wav", CLIP, RATE, subtype="FLOAT")
    return tmp_path


@pytest.mark.parametrize(("start", "end", "seconds"), [(1, 2, 1), (0, 1, 1), (2, None, 2), (None, 3, 3), (3, 9, 1)])
def test_a_clip_is_cut(folder: Path, start: Any, end: Any, seconds: float) -> None:
    for cell in ({"path": "a.wav"}, {"array": CLIP, "sampling_rate": RATE}):
        clip = load_clip({**cell, "start": start, "end": end}, folder, RATE)
        first = int((start or 0) * RATE)
        np.testing.assert_allclose(clip, CLIP[first : first + int(seconds * RATE)], atol=1e-6)
    assert duration_s({"path": "a.wav", "start": start, "end": end}, folder, RATE, 30.0) == seconds


@pytest.mark.parametrize(
    ("start", "end", "reason"), [(2, 1, "expected an end behind"), (5, 6, "stretch starts at 5 s")]
)
def test_stretches_that_are_not_there_are_broken(folder: Path, start: int, end: int, reason: str) -> None:
    with pytest.raises(CellReadError, match=reason):
        load_clip({"path": "a.wav", "start": start, "end": end}, folder, RATE)


def test_frames_of_a_stretch() -> None:
    sampling = FrameSampling(frames=4, rate_hz=None, max_pixels=100, max_duration_s=100.0)
    starts_s = np.arange(8, dtype=np.float64)
    cut = sampling.of_cell({"path": "a.mp4", "start": 2, "end": 4})
    assert cut.indices(starts_s, 8.0).tolist() == [2, 3]
    assert cut.max_duration_s == 4
    with pytest.raises(CellReadError, match="its stretch starts at 9 s"):
        sampling.of_cell({"path": "a.mp4", "start": 9, "end": 10}).indices(starts_s, 8.0)


def test_columns_of_start_and_end_cut_the_clips_of_a_table(folder: Path) -> None:
    times = {"start_time": ["0", "1", "2"], "end_time": ["1", "2", None]}
    columns = {"audio": ["a.wav"] * 3, **times, "y": ["a", "b", "a"]}
    table = Table(columns, folder=folder)
    schema = infer_schema(table, targets=["y"])
    assert [(entry.name, entry.modality) for entry in schema.columns] == [("audio.stretch", "audio")]
    assert {entry.name for entry in schema.ignored} == {"audio", "start_time", "end_time"}
    cells = list(schema.with_derived(table).columns["audio.stretch"])
    assert cells[2] == {"path": "a.wav", "start": 2.0, "end": None}
    fitted = Preprocessor.fit(table, np.arange(3), schema, num_threads=1)
    arrays, broken = fitted.transform(table, num_threads=1)
    assert broken == []
    lengths = arrays["audio.stretch"].lengths
    assert lengths is not None
    assert lengths[2] > 1.5 * lengths[0]


@pytest.mark.parametrize("names", [("begin", "finish"), ("start", "size")])
def test_other_numbers_are_no_stretch(folder: Path, names: tuple[str, str]) -> None:
    columns = {"audio": ["a.wav"] * 3, names[0]: [0, 1, 2], names[1]: [1, 2, 3], "y": ["a", "b", "a"]}
    schema = infer_schema(Table(columns, folder=folder), targets=["y"], modality=dict.fromkeys(names, "number"))
    assert "audio" in [entry.name for entry in schema.columns]
