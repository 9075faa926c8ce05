"""The scalar that an explanation explains: which output of a row's final answer, and how it is read.

=====================  ================================================================================================
kind of target         scalar
=====================  ================================================================================================
category               probability of the predicted class
categories             probability of each predicted label, or of the most probable one where none is predicted
number                 the number
boxes                  of each box: the largest score × overlap (intersection over union) of a box of the same label,
                       the similarity of D-RISE (Petsiuk et al. 2021, arXiv 2006.03204, equation 5); without boxes:
                       the confidence of the row
caption, transcript    of each word: the confidence of the answer where it has that word, aligned word by word, else 0
vector, series, image  how far the numbers depart from the prior's in the direction in which the answer does: the
                       projection of their differences, divided by the square root of their count
=====================  ================================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rapidfuzz.distance import Levenshtein

from polymodal.arrays import Cell
from polymodal.explain.explanation import box_name
from polymodal.metrics.detection import box_iou
from polymodal.targets import AnyTarget, CategoriesTarget, CategoryTarget, SketchTarget, StructuredTarget
from polymodal.targets.base import Prediction
from polymodal.targets.embedding import EmbeddingTarget
from polymodal.targets.numeric import NumericTarget
from polymodal.targets.structured import StructuredPrediction, to_structured_predictions, values_of

MAX_ITEMS = 5
"""Most labels, boxes or words of a row that are explained, the most certain ones (words: the first)."""


@dataclass(frozen=True)
class Output:
    """One scalar of the final answer of one row.

    Attributes:
        row: Index of the row in the explained table, from 0.
        target: The target.
        explained: What the scalar is: a class or label, "value", or an item of a structured prediction.
        answer: The prediction, as ``Model.predict`` returns it.
        read: From the target's final prediction of any row (``[classes]``, a number or a ``StructuredPrediction``) to
            the scalar.
    """

    row: int
    target: str
    explained: str
    answer: Cell
    read: Callable[[Any], float]


def explained_targets(targets: Mapping[str, AnyTarget]) -> list[str]:
    """Return the targets that can be explained: all columns to predict.

    Args:
        targets: Name to fitted target.

    Returns:
        Names, without the objectives of models that embed or restore.
    """
    return [name for name, target in targets.items() if not isinstance(target, SketchTarget | EmbeddingTarget)]


def unit_of(target: AnyTarget) -> str:
    """Return what the scalars of a target are.

    Args:
        target: The fitted target.

    Returns:
        "probability", "confidence" or "value".
    """
    if isinstance(target, StructuredTarget):
        return "confidence" if target.has_confidence else "value"
    return "value" if target.classes is None else "probability"


def outputs_of(name: str, target: AnyTarget, predictions: Prediction, first_row: int = 0) -> list[Output]:
    """Choose the outputs that are explained.

    Args:
        name: The target's name.
        target: The fitted target.
        predictions: Final predictions ``[rows, classes]``, ``[rows]`` or structured ones.
        first_row: Index of the first of these rows in the explained table.

    Returns:
        At least one output a row, at most ``MAX_ITEMS``; rows in their order.
    """
    answers = answers_of(target, predictions)
    return [
        Output(first_row + row, name, explained, answer, read)
        for row, answer in enumerate(answers)
        for explained, read in _scalars(target, predictions[row], answer)[:MAX_ITEMS]
    ]


def answers_of(target: AnyTarget, predictions: Prediction) -> list[Cell]:
    """Return final predictions as ``Model.predict`` does.

    Args:
        target: The fitted target.
        predictions: Final predictions of rows.

    Returns:
        Plain values, one a row.
    """
    return values_of(predictions) if isinstance(target, StructuredTarget) else target.decode(predictions)


def items_of(target: AnyTarget, answer: Cell) -> int:
    """Return how many outputs an answer has, of which at most ``MAX_ITEMS`` are explained.

    Args:
        target: The fitted target.
        answer: A prediction, as ``Model.predict`` returns it.

    Returns:
        Its labels, boxes or words; 1 for one class, number or array of numbers.
    """
    if isinstance(answer, str) and isinstance(target, StructuredTarget) and target.has_confidence:
        return max(1, len(answer.split()))
    has_items = isinstance(target, CategoriesTarget) or (isinstance(target, StructuredTarget) and target.gives_records)
    return max(1, len(answer)) if has_items else 1


Scalar = tuple[str, Callable[[Any], float]]


def _scalars(target: AnyTarget, prediction: Any, answer: Cell) -> list[Scalar]:
    if isinstance(target, CategoryTarget):
        return [_probability(target.names, int(target.predicted_classes(prediction[None])[0]))]
    if isinstance(target, CategoriesTarget):
        labels = [target.names.index(label) for label in answer] or [int(np.argmax(prediction))]
        return [_probability(target.names, label) for label in labels]
    if isinstance(target, NumericTarget):
        return [("departure from the prior", _departure(target, prediction))]
    if not isinstance(target, StructuredTarget):
        return [("value", float)]
    if target.gives_records:
        ranked = sorted(answer or [], key=lambda box: -float(box.get("score", 0.0)))
        return [_box_scalar(box) for box in ranked] or [("confidence", _confidence)]
    words = str(answer or "").split()
    return [_word_scalar(words, place) for place in range(len(words))] or [("confidence", _confidence)]


def _probability(names: Sequence[str], index: int) -> Scalar:
    return names[index], lambda probabilities: float(probabilities[index])


def _confidence(prediction: StructuredPrediction) -> float:
    return 0.0 if prediction.confidence is None else float(prediction.confidence)


def _box_scalar(box: Mapping[str, Any]) -> Scalar:
    corners = np.array([box["box"]], dtype=np.float64)

    def read(prediction: StructuredPrediction) -> float:
        found = [other for other in prediction.value or [] if other["label"] == box["label"]]
        if not found:
            return 0.0
        overlaps = box_iou(corners, np.array([other["box"] for other in found], dtype=np.float64))[0]
        return float(np.max(overlaps * np.array([other.get("score", 1.0) for other in found])))

    return box_name(box), read


def _word_scalar(words: Sequence[str], place: int) -> Scalar:
    def read(prediction: StructuredPrediction) -> float:
        others = str(prediction.value or "").split()
        blocks = Levenshtein.opcodes(words, others)
        kept = any(block.tag == "equal" and block.src_start <= place < block.src_end for block in blocks)
        return _confidence(prediction) if kept else 0.0

    return f"word {place + 1}: {words[place]}", read


def _departure(target: NumericTarget, prediction: StructuredPrediction) -> Callable[[Any], float]:
    prior = target.prior_numbers
    difference = _numbers(target, prediction) - prior
    length = float(np.linalg.norm(difference)) or 1.0
    direction = difference / (length * np.sqrt(len(prior)))
    return lambda other: float((_numbers(target, other) - prior) @ direction)


def _numbers(target: NumericTarget, prediction: StructuredPrediction) -> Any:
    return target.prediction_numbers(to_structured_predictions([prediction]))[0]
