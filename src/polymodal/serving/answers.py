"""Predictions as plain JSON."""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from polymodal.model.predictions import Predictions
from polymodal.serving.questions import Row

MOST_CLASSES = 50
OTHERS = "others"


def row_answers(predictions: Predictions, rows: list[Row]) -> list[dict[str, Any]]:
    """Turn predictions into one JSON object a row.

    Args:
        predictions: Of these rows, in their order.
        rows: The checked rows.

    Returns:
        One entry of ``rows`` of the answer each.
    """
    broken: dict[int, list[dict[str, str]]] = {}
    for cell in predictions.broken_cells:
        broken.setdefault(cell.row - 1, []).append({"column": cell.column, "reason": cell.reason})
    answers = []
    for place, row in enumerate(rows):
        answer: dict[str, Any] = {
            "predictions": {name: _target_answer(predictions, name, place) for name in predictions.labels}
        }
        if predictions.weights:
            answer["weights"] = {name: float(values[place]) for name, values in predictions.weights.items()}
        if predictions.unusual is not None:
            answer["unusual"] = float(predictions.unusual[place])
        if predictions.recovered:
            answer["recovered"] = {name: cells[place] for name, cells in predictions.recovered.items()}
        answers.append(answer | {"broken": broken.get(place, []), "absent": list(row.absent)})
    return answers


def _target_answer(predictions: Predictions, name: str, place: int) -> dict[str, Any]:
    answer: dict[str, Any] = {"value": predictions.labels[name][place]}
    classes = predictions.classes[name]
    if name in predictions.confidences:
        answer["confidence"] = predictions.confidences[name][place]
    if classes is not None:
        if name in predictions.label_probabilities:
            answer["confidence"] = float(predictions.label_probabilities[name][place])
        is_exclusive = name in predictions.label_probabilities
        answer["probabilities"] = _probabilities(classes, predictions.values[name][place], is_exclusive)
    if name in predictions.sets:
        answer["set"] = predictions.sets[name][place]
    if name in predictions.intervals:
        answer["interval"] = [float(end) if math.isfinite(end) else None for end in predictions.intervals[name][place]]
    return answer


def _probabilities(classes: list[str], values: Any, is_exclusive: bool) -> dict[str, float]:
    """Return the probabilities of the most probable classes, the highest first; the rest is one number."""
    order = np.argsort(-values, kind="stable")
    found = {str(classes[place]): float(values[place]) for place in order[:MOST_CLASSES]}
    if len(classes) > MOST_CLASSES and is_exclusive:
        found[OTHERS] = float(values[order[MOST_CLASSES:]].sum())
    return found


def to_json(value: Any) -> bytes:
    """Write a value as JSON.

    Args:
        value: Plain Python, arrays, dates or bytes; numbers that JSON cannot hold become null.

    Returns:
        JSON in UTF-8.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError):
        text = json.dumps(_plain(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner) for inner in value]
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)
