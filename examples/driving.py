"""Decide whether to brake: a camera, a radar and the car's own sensors go in, and any of them may fail.

Each scene has an obstacle ahead. The camera sees how large it is, the radar hits it with a few points among others, and
the sensors tell how fast the car goes; braking is right where the way to the obstacle is shorter than the way to a
stop, which no sensor knows alone. Run it: python examples/driving.py
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.random import Generator

import polymodal

SIDE, MISSING = 24, 0.15
STREAMS = ("camera", "radar", "sensors")


def photograph(distance_m: float, random: Generator) -> np.ndarray:
    """Draw the obstacle as large as it looks from there: uint8 ``[height, width]``."""
    picture = random.integers(90, 140, (SIDE, SIDE), dtype=np.uint8)
    half = int(np.clip(60 / distance_m, 1, SIDE // 2 - 1))
    middle = SIDE // 2 + random.integers(-1, 2)
    picture[middle - half : middle + half, middle - half : middle + half] = 20
    return picture


def sweep(distance_m: float, random: Generator) -> np.ndarray:
    """Return radar points x, y, z in metres and their strength: some of the obstacle, some of the roadside."""
    obstacle = random.normal((distance_m, 0, 0.5, 1), (0.5, 0.4, 0.3, 0.1), (random.integers(6, 12), 4))
    roadside = random.uniform((0, 4, 0, 0), (60, 9, 2, 0.4), (random.integers(8, 16), 4))
    return np.concatenate([obstacle, roadside]).astype(np.float32)


def drive(speed: float, random: Generator) -> np.ndarray:
    """Return speed in m/s and steering over one to two seconds: float ``[steps, 2]``."""
    steps = random.integers(10, 21)
    return np.stack([speed + random.normal(0, 0.5, steps), random.normal(0, 0.1, steps)], axis=1)


def make_rows(num_rows: int, seed: int = 0) -> dict[str, list[object]]:
    """Make scenes in which some instruments have failed."""
    random = np.random.default_rng(seed)
    distances, speeds = random.uniform(4, 60, num_rows), random.uniform(4, 30, num_rows)
    rows: dict[str, list[object]] = {
        "camera": [photograph(distance, random) for distance in distances],
        "radar": [sweep(distance, random) for distance in distances],
        "sensors": [drive(speed, random) for speed in speeds],
    }
    rows = {name: [None if random.random() < MISSING else cell for cell in cells] for name, cells in rows.items()}
    stop_m = speeds * 0.7 + speeds**2 / 14
    return rows | {"brake": ["yes" if near else "no" for near in distances < stop_m]}


def main(num_rows: int = 700, epochs: int = 20) -> float:
    """Train, show what is left when an instrument fails for good, and return the accuracy."""
    model = polymodal.fit(
        make_rows(num_rows),
        target="brake",
        modality={"camera": "image", "radar": "points", "sensors": "series"},
        preset="fast",
        settings={"train.epochs": epochs},
    )
    found = model.summary()
    print(f"{found['rows']['test']} scenes        accuracy   alone   without it")
    print(f"{'together':<16}{found['targets']['brake']['accuracy']:>8.3f}")
    for name in STREAMS:
        alone, without = (found[part]["brake"][name]["accuracy"] for part in ("streams", "missing"))
        print(f"{name:<16}{'':>8}{alone:>8.3f}{without:>13.3f}")
    return float(found["targets"]["brake"]["accuracy"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=700, help="rows to learn from and be judged by")
    parser.add_argument("--epochs", type=int, default=20, help="passes over the rows")
    options = parser.parse_args()
    main(options.rows, options.epochs)
