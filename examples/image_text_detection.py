"""Find what a text asks for: pictures with several shapes, and the boxes of those that are asked for.

A row is a picture with a shape in each of its four quarters and a text such as "frame the red ones"; the target is a
list of labelled boxes. Without the text nobody could know which boxes are meant. Run it:
python examples/image_text_detection.py
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

import polymodal

COLOURS = ("red", "green", "blue")
SHAPES = ("circle", "square")
SIDE = 96


def draw_scene(random: Generator) -> tuple[np.ndarray, list[dict[str, object]]]:
    """Draw one shape into each quarter; return the picture and all shapes."""
    picture, shapes = Image.new("RGB", (SIDE, SIDE), "white"), []
    pen = ImageDraw.Draw(picture)
    for corner in ((0, 0), (0, SIDE // 2), (SIDE // 2, 0), (SIDE // 2, SIDE // 2)):
        size = int(random.integers(18, 32))
        x, y = (int(start + random.integers(2, SIDE // 2 - size - 1)) for start in corner)
        colour, shape = str(random.choice(COLOURS)), str(random.choice(SHAPES))
        draw = pen.ellipse if shape == "circle" else pen.rectangle
        draw((x, y, x + size, y + size), fill=colour)
        shapes.append({"label": shape, "colour": colour, "box": [x, y, x + size, y + size]})
    return np.asarray(picture), shapes


def make_rows(num_rows: int) -> dict[str, list[object]]:
    """Draw scenes and ask for the shapes of one colour."""
    random = np.random.default_rng(0)
    rows: dict[str, list[object]] = {"picture": [], "request": [], "asked_for": []}
    for _ in range(num_rows):
        picture, shapes = draw_scene(random)
        colour = str(random.choice([shape["colour"] for shape in shapes]))
        wanted = [{"label": s["label"], "box": s["box"]} for s in shapes if s["colour"] == colour]
        for name, cell in zip(rows, (picture, f"frame the {colour} ones", wanted), strict=True):
            rows[name].append(cell)
    return rows


def main(num_rows: int = 400, epochs: int = 25) -> float:
    """Train, show the scores with and without the text, and return the mean average precision."""
    model = polymodal.fit(
        make_rows(num_rows),
        target="asked_for",
        modality={"request": "text"},
        preset="fast",
        settings={"train.epochs": epochs, "train.modality_dropout": 0.1},
    )
    found = model.summary()
    print(f"{found['rows']['test']} test rows           mAP@50")
    print(f"{'request hidden':<23}{found['missing']['asked_for']['request']['map_50']:.3f}")
    print(f"{'picture and request':<23}{found['targets']['asked_for']['map_50']:.3f}")
    return float(found["targets"]["asked_for"]["map_50"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=400, help="rows to learn from and be judged by")
    main(parser.parse_args().rows)
