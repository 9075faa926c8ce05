"""Make a table of long recordings: each clip of esc10 is hidden at a random place of a minute of faint noise.

python benchmarks/long_clips.py ESC10 FOLDER
polymodal compare FOLDER/train.csv --validation FOLDER/validation.csv --test FOLDER/test.csv --target label \
    --variant 'cut: settings.audio.max_duration_s=30' --variant 'segments:'
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from polymodal.modalities.audio_files import load_clip

RATE_HZ = 8000
DURATION_S = 60
NOISE = 0.001


def hide(clip: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """Return a minute of white noise with the clip somewhere in it."""
    track = random.normal(scale=NOISE, size=DURATION_S * RATE_HZ).astype(np.float32)
    start = int(random.integers(len(track) - len(clip)))
    track[start : start + len(clip)] += clip
    return track


def main(source: Path, folder: Path) -> None:
    """Write the recordings and the three tables."""
    random = np.random.default_rng(0)
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    for part in ("train", "validation", "test"):
        with (source / f"{part}.csv").open() as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            clip = load_clip(row["audio"], source, RATE_HZ)
            row["audio"] = str(Path(row["audio"]).with_suffix(".flac"))
            soundfile.write(folder / row["audio"], hide(clip, random), RATE_HZ)
        with (folder / f"{part}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, ["audio", "label"], extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
