"""Will somebody like a product? Its photo, a review of it and its price each say a part.

The photo shows whether it is scratched, the review what somebody else thought, and the price whether it is worth it. A
product is liked if at least two of the three speak for it. Run it: python examples/product_likes.py
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

import polymodal

GOOD = ("works well", "a joy to use", "sturdy and quiet", "would buy it again")
BAD = ("broke after a week", "loud and flimsy", "sent it back", "a waste of money")
OPENINGS = ("honestly,", "as a gift:", "after a month:", "in short,")


def photograph(is_whole: bool, random: Generator) -> np.ndarray:
    """Draw a box of some colour, scratched or not, ``[32, 32, 3]``."""
    picture = Image.new("RGB", (32, 32), "white")
    pen = ImageDraw.Draw(picture)
    x, y = (int(place) for place in random.integers(3, 8, 2))
    pen.rectangle((x, y, x + 20, y + 20), fill=tuple(int(value) for value in random.integers(60, 230, 3)))
    for _ in range(0 if is_whole else 3):
        ends = random.integers(1, 20, 4) + np.array((x, y, x, y))
        pen.line([int(end) for end in ends], fill="black", width=1)
    return np.asarray(picture)


def make_row(random: Generator) -> dict[str, object]:
    """Make a product; one row in ten has another verdict than it should."""
    is_whole, is_praised, is_cheap = (bool(random.random() < 0.5) for _ in range(3))
    is_liked = (is_whole + is_praised + is_cheap >= 2) ^ bool(random.random() < 0.1)
    return {
        "photo": photograph(is_whole, random),
        "review": f"{random.choice(OPENINGS)} {random.choice(GOOD if is_praised else BAD)}",
        "price": float(round(random.normal(20 if is_cheap else 40, 4), 2)),
        "liked": "yes" if is_liked else "no",
    }


def main(num_rows: int = 1500) -> float:
    """Train, show what each column knows, and return the accuracy."""
    random = np.random.default_rng(0)
    rows = [make_row(random) for _ in range(num_rows)]
    model = polymodal.fit(
        {name: [row[name] for row in rows] for name in rows[0]},
        target="liked",
        modality={"review": "text"},
        preset="fast",
        settings={"train.epochs": 15},
    )
    found = model.summary()
    print(f"{found['rows']['test']} test rows      accuracy (about 0.9 at best)")
    for kind in ("streams", "baselines"):
        for name, scores in found[kind]["liked"].items():
            print(f"{name + ' alone' if kind == 'streams' else name:<18}{scores['accuracy']:.3f}")
    accuracy = float(found["targets"]["liked"]["accuracy"])
    print(f"{'all together':<18}{accuracy:.3f}")
    return accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1500, help="rows to learn from and be judged by")
    main(parser.parse_args().rows)
