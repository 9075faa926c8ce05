"""Answers and truths of a target as short text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from polymodal.arrays import Cell
from polymodal.metrics.detection import confident_boxes, count_labels
from polymodal.report.wording import format_number, is_number

TEXT_LENGTH = 300
SHOWN_NUMBERS = 6


def format_answer(answer: Cell) -> str:
    """Format a predicted or true value of any target.

    Args:
        answer: Label, list of labels, number, text, numbers, boxes, or a picture's ``data:`` URI.

    Returns:
        Text of about 300 characters at most.
    """
    if isinstance(answer, list):
        return _format_list(answer)
    if is_number(answer) and isinstance(answer, float):
        return format_number(answer)
    text = str(answer)
    if text.startswith("data:image/"):
        return "a picture"
    return text if len(text) <= TEXT_LENGTH else text[:TEXT_LENGTH] + " …"


def _format_list(answer: list[Any]) -> str:
    if answer and isinstance(answer[0], dict):
        return count_labels(confident_boxes(answer))
    if answer and isinstance(answer[0], float):
        more = ", ..." if len(answer) > SHOWN_NUMBERS else ""
        return ", ".join(f"{number:.3g}" for number in answer[:SHOWN_NUMBERS]) + more
    return " | ".join(map(str, answer)) or "none"


def is_right(answer: Cell, truth: Cell) -> bool | None:
    """Compare an answer with the truth.

    Args:
        answer: The predicted value.
        truth: The known value; None where there is none.

    Returns:
        Whether they are equal; None where that says nothing: numbers, texts of speech, boxes, pictures, or no truth.
    """
    if truth is None or isinstance(answer, float):
        return None
    if isinstance(answer, list):
        return _same_labels(answer, truth)
    return str(answer) == str(truth)


def _same_labels(answer: list[Any], truth: Cell) -> bool | None:
    items: Iterable[Any] = truth if isinstance(truth, list | tuple | set) else [truth]
    if any(not isinstance(item, str) for item in [*answer, *items]):
        return None
    return set(answer) == set(items)
