"""Search pictures by text: no target, only pictures and their captions, which come to lie in one space.

The pictures are drawn: two coloured shapes side by side on a coloured ground. Pictures that were not seen in training
are indexed without their captions and then searched by text. Run it: python examples/image_text_retrieval.py
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

import polymodal

COLOURS = ("red", "green", "blue", "yellow")
GROUNDS = ("white", "pink", "grey")
SHAPES = ("circle", "square", "triangle")


def draw(things: list[tuple[str, str]], ground: str, random: Generator) -> np.ndarray:
    """Draw two shapes side by side, ``[24, 48, 3]``."""
    picture = Image.new("RGB", (48, 24), ground)
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
    """Draw pictures and write captions for them."""
    random = np.random.default_rng(seed)
    rows: dict[str, list[object]] = {"picture": [], "caption": []}
    for _ in range(num_rows):
        left, right = ((str(random.choice(COLOURS)), str(random.choice(SHAPES))) for _ in range(2))
        ground = str(random.choice(GROUNDS))
        rows["picture"].append(draw([left, right], ground, random))
        rows["caption"].append(f"a {' '.join(left)}, then a {' '.join(right)}, on {ground} ground")
    return rows


def search_all(model: polymodal.Model, rows: dict[str, list[object]]) -> float:
    """Search for every caption among the pictures; return the share whose first hit fits the words."""
    index, _ = model.index({"picture": rows["picture"]})
    asked = sorted({str(caption) for caption in rows["caption"]})
    found = {text: rows["caption"][model.search(index, {"caption": text}, top=1)[0].row - 1] for text in asked}
    for text in asked[:3]:
        print(f"asked for {text!r}, found {found[text]!r}")
    return float(np.mean([found[text] == text for text in asked]))


def main(num_rows: int = 1500) -> float:
    """Learn the space, search unseen pictures, and return the share of texts whose first hit is right."""
    model = polymodal.fit(
        make_rows(num_rows),
        modality={"caption": "text"},
        preset="fast",
        settings={"train.epochs": 50, "train.augment": False},
    )
    unseen = make_rows(300, seed=1)
    share = search_all(model, unseen)
    chance = 1 / len(set(unseen["caption"]))
    print(f"{'first hit fits, by chance':<28}{chance:.3f}\n{'first hit fits, by search':<28}{share:.3f}")
    return share


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1500, help="rows to learn from")
    main(parser.parse_args().rows)
