"""Write captions: a picture goes in, a sentence comes out.

The pictures are drawn: two coloured shapes side by side. The target ``caption`` writes word pieces one by one. Run it:
python examples/captioning.py
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

import polymodal

COLOURS = ("red", "green", "blue", "yellow")
SHAPES = ("circle", "square", "triangle")


def draw(things: list[tuple[str, str]], random: Generator) -> np.ndarray:
    """Draw two shapes side by side, ``[24, 48, 3]``."""
    picture = Image.new("RGB", (48, 24), "white")
    pen = ImageDraw.Draw(picture)
    for middle, (colour, shape) in zip((12, 36), things, strict=True):
        x, y, radius = (
            middle + int(random.integers(-2, 3)),
            12 + int(random.integers(-2, 3)),
            int(random.integers(7, 10)),
        )
        if shape == "circle":
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
        else:
            pen.regular_polygon((x, y, radius), 4 if shape == "square" else 3, fill=colour)
    return np.asarray(picture)


def make_rows(num_rows: int, seed: int = 0) -> dict[str, list[object]]:
    """Draw pictures and describe them from left to right."""
    random = np.random.default_rng(seed)
    pairs = [[(str(random.choice(COLOURS)), str(random.choice(SHAPES))) for _ in range(2)] for _ in range(num_rows)]
    captions = [f"a {' '.join(left)} beside a {' '.join(right)}" for left, right in pairs]
    return {"picture": [draw(pair, random) for pair in pairs], "caption": captions}


def main(num_rows: int = 1500) -> float:
    """Train, describe unseen pictures, and return the share of captions that are right to the letter."""
    model = polymodal.fit(
        make_rows(num_rows),
        target="caption",
        modality={"caption": "caption"},
        preset="fast",
        settings={"train.epochs": 20},
    )
    found, unseen = model.summary(), make_rows(3, seed=1)
    for written, true in zip(model.predict(unseen)["caption"], unseen["caption"], strict=True):
        print(f"wrote {written!r}; it is {true!r}")
    print(f"{found['rows']['test']} test rows    exact match")
    print(f"{'most frequent':<16}{found['baselines']['caption']['prior']['exact_match']:.3f}")
    print(f"{'written':<16}{found['targets']['caption']['exact_match']:.3f}")
    return float(found["targets"]["caption"]["exact_match"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1500, help="rows to learn from and be judged by")
    main(parser.parse_args().rows)
