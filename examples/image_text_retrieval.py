"""Search pictures by text: no target, only pictures and their captions, which come to lie in one space.

The pictures are drawn: a coloured shape somewhere on a coloured ground. Pictures that were not seen in training are
indexed without their captions and then searched by text. Run it: python examples/image_text_retrieval.py
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

import polymodal

COLOURS = ("red", "green", "blue", "yellow", "black", "purple")
GROUNDS = ("white", "pink", "grey")
SHAPES = ("circle", "square", "triangle")


def draw(colour: str, shape: str, ground: str, random: Generator) -> np.ndarray:
    """Draw a shape of a random size at a random place, ``[32, 32, 3]``."""
    picture = Image.new("RGB", (32, 32), ground)
    pen, radius = ImageDraw.Draw(picture), int(random.integers(6, 10))
    x, y = (int(place) for place in random.integers(radius, 32 - radius, 2))
    if shape == "circle":
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    else:
        pen.regular_polygon((x, y, radius), 4 if shape == "square" else 3, fill=colour)
    return np.asarray(picture)


def make_rows(num_rows: int, seed: int = 0) -> dict[str, list[object]]:
    """Draw pictures and write captions for them."""
    random = np.random.default_rng(seed)
    things = [tuple(str(random.choice(of)) for of in (COLOURS, SHAPES, GROUNDS)) for _ in range(num_rows)]
    captions = [f"a {colour} {shape} on {ground} ground" for colour, shape, ground in things]
    return {"picture": [draw(*thing, random) for thing in things], "caption": captions}


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
        settings={"train.epochs": 20, "train.augment": False},
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
