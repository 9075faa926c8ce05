"""Learn vectors without labels, then classify them with a handful of labels.

A row is a smeared picture of a digit and the noisy amount of ink in each of its rows and columns. The model is trained
without a target: the two streams learn to find each other. Then scikit-learn's logistic regression sees a few labelled
rows, once as vectors and once as raw numbers. Run it: python examples/representation_learning.py
"""

from __future__ import annotations

import argparse

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import polymodal
from polymodal.demo import draw_picture

LABELS_PER_CLASS = (2, 5, 10)


def make_rows(num_rows: int) -> tuple[dict[str, list[object]], np.ndarray]:
    """Smear digits and measure their ink; return the columns and the digits."""
    random, digits = np.random.default_rng(0), load_digits()
    chosen = random.permutation(len(digits.target))[:num_rows]
    pictures = [draw_picture(digits.images[i], random) for i in chosen]
    sums = [np.concatenate([digits.images[i].sum(0), digits.images[i].sum(1)]) for i in chosen]
    return {"picture": pictures, "ink": [(s + random.normal(0, 4, 16)).tolist() for s in sums]}, digits.target[chosen]


def views_of(model: polymodal.Model, rows: dict[str, list[object]]) -> dict[str, np.ndarray]:
    """Lay rows out as raw numbers and as learned vectors, without and with the ink."""
    pixels = np.stack([np.ravel(picture) / 255 for picture in rows["picture"]])
    return {
        "picture, raw": pixels,
        "picture, vector": model.embed({"picture": rows["picture"]}).rows,
        "both, raw": np.hstack([pixels, np.array(rows["ink"]) / 60]),
        "both, vector": model.embed(rows).rows,
    }


def accuracy_of(view: np.ndarray, digits: np.ndarray, num_labels: int, num_test: int) -> float:
    """Learn from the first rows of each class, be judged by the last rows of all."""
    known, test = digits[:-num_test], slice(len(digits) - num_test, None)
    first = np.concatenate([np.flatnonzero(known == digit)[:num_labels] for digit in range(10)])
    classifier = LogisticRegression(C=10, max_iter=2000).fit(view[first], digits[first])
    return float(classifier.score(view[test], digits[test]))


def main(num_rows: int = 1797) -> float:
    """Learn vectors, compare them with raw numbers, and return the accuracy of vectors with the fewest labels."""
    rows, digits = make_rows(num_rows)
    num_test = num_rows // 4
    seen = {name: column[:-num_test] for name, column in rows.items()}
    settings = {"train.epochs": 40}
    model = polymodal.fit(seen, modality={"ink": "vector"}, test=False, preset="fast", settings=settings)
    print(f"{num_test} test rows, accuracy\n{'labels a class':<16}{'2':>7}{'5':>7}{'10':>7}")
    for name, view in views_of(model, rows).items():
        found = [accuracy_of(view, digits, num_labels, num_test) for num_labels in LABELS_PER_CLASS]
        print(f"{name:<16}{found[0]:>7.3f}{found[1]:>7.3f}{found[2]:>7.3f}")
    return found[0]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1797, help="rows to learn from and be judged by")
    main(parser.parse_args().rows)
