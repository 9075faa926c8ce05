"""What reading long recordings whole is worth: clips of esc10, each hidden in a minute of faint noise.

python benchmarks/long_clips.py ESC10 FOLDER

Writes the recordings and their tables, and prints the accuracy of a logistic regression on the baselines' features.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from polymodal.ensemble.audio_features import audio_features
from polymodal.modalities import Audio, AudioSettings
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


def write(source: Path, folder: Path) -> dict[str, list[dict[str, str]]]:
    """Write the recordings and the three tables; return their rows."""
    parts = {}
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
        parts[part] = rows
    return parts


def main(source: Path, folder: Path) -> None:
    """Compare clips that are cut with whole ones, without and with the features of segments."""
    parts = write(source, folder)
    training, test = parts["train"] + parts["validation"], parts["test"]
    for name, settings in (("cut", AudioSettings(max_duration_s=30)), ("whole", AudioSettings())):
        fitted = Audio.fit([row["audio"] for row in training], settings, folder)
        columns = [fitted.transform([row["audio"] for row in rows], folder)[0] for rows in (training, test)]
        for steps in {0, fitted.segment_steps if fitted.num_segments > 1 else 0}:
            known, new = (audio_features(column, segment_steps=steps)[0] for column in columns)
            model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
            model.fit(known, [row["label"] for row in training])
            accuracy = model.score(new, [row["label"] for row in test])
            print(name, "with segments" if steps else "", f"{accuracy:.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
