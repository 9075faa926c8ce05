"""Learn vectors without labels, then classify them with a handful of labels.

A row is a smeared digit and its name with typos. The model is trained without a target: the two streams learn to find
each other. Then scikit-learn's logistic regression sees a few labelled vectors of pictures, or as many raw pictures.
Run it: python examples/representation_learning.py
"""

from __future__ import annotations

import argparse

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import polymodal
from polymodal.demo import WORDS, draw_picture, misspell

LABELS_PER_CLASS = (2, 5, 10)


def make_rows(num_rows: int) -> tuple[dict[str, list[object]], np.ndarray]:
    """Smear digits and misspell their names; return the columns and the digits."""
    random, digits = np.random.default_rng(0), load_digits()
    chosen = random.permutation(len(digits.target))[:num_rows]
    pictures = [draw_picture(digits.images[i], random) for i in chosen]
    notes = [misspell(WORDS[digits.target[i]], random) for i in chosen]
    return {"picture": pictures, "note": notes}, digits.target[chosen]


def accuracy_of(vectors: np.ndarray, digits: np.ndarray, num_labels: int, num_test: int) -> float:
    """Learn from the first rows of each class, be judged by the last rows of all."""
    known, test = digits[:-num_test], slice(len(digits) - num_test, None)
    first = np.concatenate([np.flatnonzero(known == digit)[:num_labels] for digit in range(10)])
    classifier = LogisticRegression(C=10, max_iter=2000).fit(vectors[first], digits[first])
    return float(classifier.score(vectors[test], digits[test]))


def main(num_rows: int = 1797) -> float:
    """Learn vectors, compare them with raw pixels, and return the accuracy with the most labels."""
    rows, digits = make_rows(num_rows)
    num_test = num_rows // 4
    seen = {name: column[:-num_test] for name, column in rows.items()}
    model = polymodal.fit(seen, modality={"note": "text"}, test=False, preset="fast", settings={"train.epochs": 25})
    learned = model.embed({"picture": rows["picture"]}).rows
    pixels = np.stack([np.ravel(picture) / 255 for picture in rows["picture"]])
    print(f"{num_test} test pictures, accuracy\n{'labels a class':<16}{'pixels':>8}{'vectors':>9}")
    for num_labels in LABELS_PER_CLASS:
        found = [accuracy_of(vectors, digits, num_labels, num_test) for vectors in (pixels, learned)]
        print(f"{num_labels:<16}{found[0]:>8.3f}{found[1]:>9.3f}")
    return found[1]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1797, help="rows to learn from and be judged by")
    main(parser.parse_args().rows)
