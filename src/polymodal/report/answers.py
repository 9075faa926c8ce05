"""Answers and truths of a target as short text."""

from __future__ import annotations

from typing import Any

from polymodal.arrays import Cell
from polymodal.metrics.detection import confident_boxes, count_labels
from polymodal.modalities.box_cells import read_boxes
from polymodal.modalities.label_lists import label_text, split_labels
from polymodal.report.wording import format_number

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
    if isinstance(answer, float):
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


def format_truth(truth: Cell, answer: Cell) -> str:
    """Format the true cell of a table as its prediction is formatted.

    Args:
        truth: The raw cell, such as a number or boxes as text.
        answer: The prediction.

    Returns:
        Text.
    """
    try:
        return format_answer(_like(answer, truth))
    except Exception:  # a true cell may be anything, which is no reason to write no page
        return format_answer(truth)


def _like(answer: Cell, truth: Cell) -> Cell:
    if isinstance(answer, float) and isinstance(truth, str):
        return float(truth)
    if isinstance(answer, list) and answer and isinstance(answer[0], dict):
        return [{"label": box.label} for box in read_boxes(truth) or []]
    if isinstance(answer, list) and isinstance(truth, str):
        return split_labels(truth)
    return truth


def is_right(answer: Cell, truth: Cell) -> bool | None:
    """Compare a predicted class or labels with the truth.

    Args:
        answer: A class, or a list of labels.
        truth: The raw cell; None where there is none.

    Returns:
        Whether they are equal; None without truth.
    """
    if truth is None:
        return None
    if isinstance(answer, list):
        return {label_text(label) for label in answer} == set(split_labels(truth) or [])
    return label_text(answer) == label_text(truth)
