"""Whether an exported model answers as the model that it was exported from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.data.tables.table import Table
from polymodal.errors import ConfigError
from polymodal.model.batches import shapes_of
from polymodal.model.inference_network import StreamMask
from polymodal.model.member_predictions import MemberPredictions
from polymodal.model.predict import combine, predict_members
from polymodal.model.trained_model import TrainedModel
from polymodal.targets import AnyTarget, NumberTarget, RowContext, StructuredTarget
from polymodal.targets.base import Prediction
from polymodal.targets.structured import values_of

MAX_ROWS = 200
"""Most rows that are compared."""
MAX_MASKS = 32
"""Most patterns of missing streams."""
TOLERANCE = 1e-4
FINAL = "answer"


@dataclass(frozen=True)
class Parity:
    """How far the answers of two models are apart.

    Attributes:
        rows: Rows that were compared.
        patterns: Patterns of missing streams, each on all rows.
        largest: Target to the largest difference: of a probability, of a number in standard deviations, of a
            structured value relative to its size.
        members: Target to member of its ensemble to the same.
        labels: Target to how many labels differed that were no tie.
    """

    rows: int
    patterns: int
    largest: dict[str, float]
    members: dict[str, dict[str, float]]
    labels: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)


def check_parity(model: TrainedModel, exported: TrainedModel, table: Table, tolerance: float = TOLERANCE) -> Parity:
    """Predict rows with both models, under every pattern of missing streams, and compare all members and answers.

    Args:
        model: The model in torch.
        exported: The exported one.
        table: Rows; the first 200 are compared.
        tolerance: Largest difference.

    Returns:
        The differences.

    Raises:
        ConfigError: If the table has no rows, a difference is larger, or a label differs.
    """
    rows = table.take(range(min(table.num_rows, MAX_ROWS)))
    if not rows.num_rows:
        raise ConfigError(f"The table {table.name} has no rows to compare the exported model on. Name another --table.")
    masks = stream_masks(model.network.streams)
    first, second = _answers(model, rows, masks), _answers(exported, rows, masks)
    parity = _compare(model, first, second, rows.num_rows)
    _check(parity, tolerance)
    return parity


def stream_masks(streams: Sequence[str]) -> list[StreamMask]:
    """Return patterns of missing streams: all of them where there are few, those with few missing or few left first.

    Args:
        streams: Names of the streams.

    Returns:
        Sets of missing streams, none missing first; never all of them.
    """
    sizes = sorted(range(len(streams)), key=lambda size: min(size, len(streams) - size))
    found = [frozenset(missing) for size in sizes for missing in combinations(streams, size)]
    return found[:MAX_MASKS]


Answers = list[dict[str, dict[str, Prediction]]]
"""For each mask: target to member, and to ``answer``, to predictions."""


def _answers(model: TrainedModel, table: Table, masks: Sequence[StreamMask]) -> Answers:
    columns, _ = model.preprocessor.transform(table)
    given = model.schema.with_derived(table).columns
    cells = {name: given.get(name, [None] * table.num_rows) for name in model.preprocessor.column_names}
    context = RowContext(cells, table.folder, shapes=shapes_of(columns))
    return [_of_mask(model, found) for found in predict_members(model, columns, context, masks)]


def _of_mask(model: TrainedModel, found: MemberPredictions) -> dict[str, dict[str, Prediction]]:
    """Return answers and members, these where one of their inputs is there: elsewhere nobody reads them."""
    combined = combine(model, found)
    return {
        name: {member: values[found.present[member]] for member, values in members.items()} | {FINAL: combined[name]}
        for name, members in found.predictions.items()
    }


def _compare(model: TrainedModel, first: Answers, second: Answers, num_rows: int) -> Parity:
    members: dict[str, dict[str, float]] = {}
    labels = {}
    for name, target in model.targets.items():
        pairs = [(a[name], b[name]) for a, b in zip(first, second, strict=True)]
        members[name] = {
            member: max(largest_difference(target, a[member], b[member]) for a, b in pairs) for member in pairs[0][0]
        }
        labels[name] = sum(different_labels(target, a[FINAL], b[FINAL]) for a, b in pairs)
    largest = {name: max(of_target.values()) for name, of_target in members.items()}
    return Parity(num_rows, len(first), largest, members, labels)


def largest_difference(target: AnyTarget, first: Prediction, second: Prediction) -> float:
    """Return how far predictions are apart.

    Args:
        target: The fitted target.
        first: Probabilities, numbers or structured predictions of rows.
        second: Those of the other model.

    Returns:
        Of probabilities their difference, of numbers in standard deviations, of structured values relative to their
        size where it is above one; infinite for texts or lists that differ.
    """
    if isinstance(target, StructuredTarget):
        pairs = zip(values_of(first), values_of(second), strict=True)
        return max((plain_difference(a, b) for a, b in pairs), default=0.0)
    scale = target.std if isinstance(target, NumberTarget) else 1.0
    return float(np.max(np.abs(first - second), initial=0.0)) / scale


def plain_difference(first: Any, second: Any) -> float:
    """Return how far two plain values are apart.

    Args:
        first: Numbers, texts, lists, mappings, None.
        second: The other.

    Returns:
        The largest difference of two numbers, relative where they are above one; infinite where anything else differs.
    """
    if isinstance(first, Mapping) and isinstance(second, Mapping) and first.keys() == second.keys():
        return max((plain_difference(first[key], second[key]) for key in first), default=0.0)
    if isinstance(first, list | tuple) and isinstance(second, list | tuple) and len(first) == len(second):
        return max((plain_difference(a, b) for a, b in zip(first, second, strict=True)), default=0.0)
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray) and first.shape == second.shape:
        return _relative(first.astype(np.float64), second.astype(np.float64))
    if isinstance(first, int | float) and isinstance(second, int | float):
        return _relative(np.float64(first), np.float64(second))
    return 0.0 if type(first) is type(second) and bool(np.all(first == second)) else float("inf")


def _relative(first: NDArray[np.float64] | np.float64, second: NDArray[np.float64] | np.float64) -> float:
    return float(np.max(np.abs(first - second) / np.maximum(np.abs(first), 1.0), initial=0.0))


def different_labels(target: AnyTarget, first: Prediction, second: Prediction) -> int:
    """Count rows whose labels differ though the two best were no tie.

    Args:
        target: The fitted target.
        first: Probabilities of rows.
        second: Those of the other model.

    Returns:
        Rows; 0 for targets without classes.
    """
    if isinstance(target, StructuredTarget) or target.classes is None:
        return 0
    differ = [a != b for a, b in zip(target.decode(first), target.decode(second), strict=True)]
    margins = np.sort(first, axis=1)
    is_tie = margins[:, -1] - margins[:, -2] < 2 * TOLERANCE if target.kind == "category" else _near_half(first)
    return int(np.sum(np.array(differ) & ~is_tie))


def _near_half(probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell where a label of several is about as probable as not."""
    return np.asarray((np.abs(probabilities - 0.5) < 2 * TOLERANCE).any(axis=1))


def _check(parity: Parity, tolerance: float) -> None:
    for name, largest in parity.largest.items():
        if largest > tolerance or parity.labels[name]:
            worst = max(parity.members[name], key=parity.members[name].__getitem__)
            raise ConfigError(
                f"The exported model answers otherwise than the run: of the target {name!r}, the member {worst!r} "
                f"differs by up to {largest:.3g} (at most {tolerance:g} is allowed) and {parity.labels[name]} labels "
                f"differ, on {parity.rows} rows under {parity.patterns} patterns of absent streams; nothing is written."
            )
