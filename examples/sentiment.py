"""Tell the sentiment of an utterance from its words, its voice and its face, any of which may be missing.

Words are drawn from three moods and are misleading in a third of the rows; the voice is a tone that rises or falls; the
face is a vector, as a video model would give it. A quarter of all cells is missing. Run it:
python examples/sentiment.py
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.random import Generator

import polymodal

MOODS = ("negative", "neutral", "positive")
WORDS = (("awful", "boring", "sad"), ("fine", "usual", "plain"), ("lovely", "great", "funny"))
RATE_HZ = 8000


def speak(mood: int, random: Generator) -> tuple[np.ndarray, int]:
    """Make half a second of a tone whose pitch falls, stays or rises, in noise."""
    seconds = np.arange(RATE_HZ // 2) / RATE_HZ
    slope_hz_s = (mood - 1) * 300 + random.normal(0, 150)
    pitch_hz = random.uniform(250, 450) + slope_hz_s * seconds / 2
    tone = 0.3 * np.sin(2 * np.pi * pitch_hz * seconds) + random.normal(0, 0.05, len(seconds))
    return tone.astype(np.float32), RATE_HZ


def make_row(faces: np.ndarray, random: Generator) -> dict[str, object]:
    """Make an utterance and lose a quarter of its cells."""
    mood = int(random.integers(3))
    said = mood if random.random() < 0.67 else int(random.integers(3))
    row = {
        "words": f"I think this film was {random.choice(WORDS[said])} and {random.choice(WORDS[said])}",
        "voice": speak(mood, random),
        "face": (faces[mood] + random.normal(0, 2.5, faces.shape[1])).tolist(),
    }
    kept = {name: cell if random.random() > 0.25 else None for name, cell in row.items()}
    return {**kept, "sentiment": MOODS[mood]}


def make_rows(num_rows: int) -> dict[str, list[object]]:
    """Make the table's columns."""
    random = np.random.default_rng(0)
    faces = random.normal(0, 1, (3, 12))
    rows = [make_row(faces, random) for _ in range(num_rows)]
    return {name: [row[name] for row in rows] for name in rows[0]}


def main(num_rows: int = 1500) -> float:
    """Train, show what each stream knows and what is left without it, and return the accuracy."""
    model = polymodal.fit(
        make_rows(num_rows),
        target="sentiment",
        modality={"words": "text", "voice": "audio", "face": "vector"},
        preset="fast",
        settings={"train.epochs": 12},
    )
    found = model.summary()
    accuracy = float(found["targets"]["sentiment"]["accuracy"])
    print(f"{found['rows']['test']} test rows, accuracy\n{'stream':<12}{'alone':>8}{'without it':>12}")
    for name, scores in found["streams"]["sentiment"].items():
        print(f"{name:<12}{scores['accuracy']:>8.3f}{found['missing']['sentiment'][name]['accuracy']:>12.3f}")
    for name, scores in found["baselines"]["sentiment"].items():
        print(f"{name:<20}{scores['accuracy']:.3f}")
    print(f"{'all together':<20}{accuracy:.3f}")
    return accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1500, help="rows to learn from and be judged by")
    main(parser.parse_args().rows)
