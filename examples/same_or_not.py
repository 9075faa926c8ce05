"""Tell whether two pictures show the same thing: one encoder for both columns, and a fusion that compares.

The pictures are handwritten digits of many writers; of each pair, "same" says whether both are the same digit.
Training never sees a picture of the test pairs. Run it: python examples/same_or_not.py
"""

from __future__ import annotations

import argparse

import numpy as np
from sklearn.datasets import load_digits

import polymodal

NUM_TEST_PICTURES = 500


def make_pairs(pictures: np.ndarray, digits: np.ndarray, num_rows: int, seed: int) -> dict[str, list[object]]:
    """Draw pairs of pictures, half of them of one digit."""
    random = np.random.default_rng(seed)
    rows: dict[str, list[object]] = {"first": [], "second": [], "same": []}
    for row in range(num_rows):
        first = random.integers(len(pictures))
        is_same = row % 2 == 0
        second = random.choice(np.flatnonzero((digits == digits[first]) == is_same))
        rows["first"].append(pictures[first])
        rows["second"].append(pictures[second])
        rows["same"].append("yes" if is_same else "no")
    return rows


def main(num_rows: int = 4000) -> float:
    """Train on pairs, print what the model and each column reach, and return the model's accuracy."""
    found = load_digits()
    pictures = (found.images * 15).astype(np.uint8)
    known, unseen = slice(NUM_TEST_PICTURES, None), slice(NUM_TEST_PICTURES)
    model = polymodal.fit(
        make_pairs(pictures[known], found.target[known], num_rows, seed=0),
        target="same",
        modality={"first": "image", "second": "image"},
        share={"pictures": ["first", "second"]},
        fusion="match",
        test=make_pairs(pictures[unseen], found.target[unseen], 1000, seed=1),
        preset="fast",
        settings={"train.epochs": 15, "train.modality_dropout": 0, "train.auxiliary_weight": 0},
    )
    summary = model.summary()
    scores = {"both pictures": summary["targets"]["same"]["accuracy"]}
    scores |= {f"{name} alone": found["accuracy"] for name, found in summary["streams"]["same"].items()}
    scores |= {name: found["accuracy"] for name, found in summary["baselines"]["same"].items()}
    for name, accuracy in scores.items():
        print(f"{name:<20}{accuracy:.3f}")
    return scores["both pictures"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=4000, help="pairs to learn from")
    main(parser.parse_args().rows)
