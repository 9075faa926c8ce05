"""StructuredPrediction a question about a picture: neither the picture nor the question is enough, only how they match.

A row is a handwritten digit (scikit-learn's) and one of six questions, such as "is it even?". The fusion ``low_rank``
multiplies the two streams. Pictures of the test rows are never in training. Run it:
python examples/image_text_recognition.py
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from sklearn.datasets import load_digits

import polymodal

QUESTIONS: dict[str, Callable[[int], bool]] = {
    "is it even?": lambda digit: digit % 2 == 0,
    "is it odd?": lambda digit: digit % 2 == 1,
    "is it more than four?": lambda digit: digit > 4,
    "is it less than five?": lambda digit: digit < 5,
    "can three divide it?": lambda digit: digit % 3 == 0,
    "is it a prime number?": lambda digit: digit in (2, 3, 5, 7),
}


def make_rows(num_rows: int) -> dict[str, list[object]]:
    """Ask two questions about each of some digits."""
    random, digits = np.random.default_rng(0), load_digits()
    pictures = [int(i) for i in random.permutation(len(digits.target))[: num_rows // 2] for _ in range(2)]
    questions = [str(random.choice(list(QUESTIONS))) for _ in pictures]
    answers = [QUESTIONS[asked](digits.target[i]) for i, asked in zip(pictures, questions, strict=True)]
    return {
        "picture": [np.asarray(digits.images[i] * 15.9, dtype=np.uint8) for i in pictures],
        "question": questions,
        "picture_id": pictures,
        "answer": ["yes" if answer else "no" for answer in answers],
    }


def main(num_rows: int = 3594) -> float:
    """Train, show what each part knows, and return the accuracy on held-out pictures."""
    model = polymodal.fit(
        make_rows(num_rows),
        target="answer",
        group="picture_id",
        modality={"question": "text"},
        preset="fast",
        fusion="low_rank",
        settings={"train.epochs": 20, "train.augment": False, "train.modality_dropout": 0.0},
    )
    found = model.summary()
    print(f"{found['rows']['test']} test rows                accuracy")
    for name, scores in {**found["streams"]["answer"], **found["baselines"]["answer"]}.items():
        print(f"{name + ' alone' if name in found['streams']['answer'] else name:<28}{scores['accuracy']:.3f}")
    accuracy = float(found["targets"]["answer"]["accuracy"])
    print(f"{'picture and question':<28}{accuracy:.3f}")
    return accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=3594, help="rows to learn from and be judged by")
    main(parser.parse_args().rows)
