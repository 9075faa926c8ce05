"""Tell which way something moves: short films go in, a direction comes out, and one frame of them is not enough.

A bright square drifts across each film and comes back on the other side; the control sees a single frame of the same
films. Run it: python examples/video_analysis.py
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.random import Generator

import polymodal

DIRECTIONS = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}
SIDE, FRAMES, SQUARE = 24, 8, 6


def film(direction: str, random: Generator) -> np.ndarray:
    """Film a square on its way: uint8 ``[frames, height, width]``."""
    frames = random.integers(0, 60, (FRAMES, SIDE, SIDE), dtype=np.uint8)
    place, step = random.integers(0, SIDE, 2), np.array(DIRECTIONS[direction]) * random.integers(1, 4)
    for number, frame in enumerate(frames):
        rows, columns = ((place + number * step)[:, None] + np.arange(SQUARE)) % SIDE
        frame[np.ix_(rows, columns)] = 220
    return frames


def make_rows(num_rows: int, seed: int = 0) -> dict[str, list[object]]:
    """Film a square that moves in a random direction in each row."""
    random = np.random.default_rng(seed)
    directions = [str(random.choice(list(DIRECTIONS))) for _ in range(num_rows)]
    return {"film": [film(direction, random) for direction in directions], "direction": directions}


def train(rows: dict[str, list[object]], epochs: int, frames: int) -> float:
    """Return the accuracy on held-out films of which so many frames are seen."""
    settings = {"train.epochs": epochs, "settings.film.frames": frames, "baselines": False}
    model = polymodal.fit(rows, target="direction", modality={"film": "video"}, preset="fast", settings=settings)
    return float(model.summary()["targets"]["direction"]["accuracy"])


def main(num_rows: int = 500, epochs: int = 15) -> float:
    """Train on whole films and on single frames, and return the accuracy of the first."""
    rows = make_rows(num_rows)
    found = {"whole films": train(rows, epochs, FRAMES), "one frame each": train(rows, epochs, 1)}
    print("held-out films  accuracy")
    for name, accuracy in found.items():
        print(f"{name:<16}{accuracy:.3f}")
    return found["whole films"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=500, help="rows to learn from and be judged by")
    parser.add_argument("--epochs", type=int, default=15, help="passes over the rows")
    options = parser.parse_args()
    main(options.rows, options.epochs)
