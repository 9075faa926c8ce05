"""Whether an exported model answers as the model that it was exported from."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
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
from polymodal.progress import Progress
from polymodal.targets import AnyTarget, NumberTarget, RowContext, StructuredTarget
from polymodal.targets.base import Prediction
from polymodal.targets.structured import values_of

MAX_ROWS = 200
"""Most rows that are compared."""
MAX_MASKS = 32
"""Most patterns of missing streams."""
FIRST_ROWS = 8
"""Rows of the first part; each further part doubles the rows that are compared."""
BUDGET_S = 120.0
"""Seconds after which no further part is begun: rows of models that take long are compared as far as that goes."""
TOLERANCE = 1e-4
FINAL = "answer"


@dataclass(frozen=True)
class Parity:
    """How far the answers of two models are apart.

    Attributes:
        rows: Rows that were compared.
        of_rows: Rows that there were to compare, at most 200.
        patterns: Patterns of missing streams, each on all rows.
        largest: Target to the largest difference: of a probability, of a number in standard deviations, of a
            structured value relative to its size.
        members: Target to member of its ensemble to the same.
        labels: Target to how many labels differed that were no tie.
        embeddings: The largest difference of an embedding of a row or of one of its streams, relative to its size.
        rounding: Target to the largest difference of its answer from that of the run as it is, whose frozen
            checkpoints are rounded to float16; empty without those.
    """

    rows: int
    of_rows: int
    patterns: int
    largest: dict[str, float]
    members: dict[str, dict[str, float]]
    labels: dict[str, int]
    embeddings: float
    rounding: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)


def check_parity(
    model: TrainedModel,
    exported: TrainedModel,
    table: Table,
    progress: Progress,
    tolerance: float = TOLERANCE,
    rounded: TrainedModel | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Parity:
    """Predict and embed rows with both models and compare all members, answers and embeddings.

    Rows are predicted under every pattern of missing streams.

    Args:
        model: The model in torch.
        exported: The exported one.
        table: Rows; the first 200 are compared, or as many as two minutes suffice for.
        progress: Reports the rows.
        tolerance: Largest difference.
        rounded: The run as it is, if its frozen checkpoints are rounded; its answers may be further apart.
        clock: Seconds.

    Returns:
        The differences.

    Raises:
        ConfigError: If a difference is larger, or a label differs.
    """
    masks, of_rows = stream_masks(model.network.streams), min(table.num_rows, MAX_ROWS)
    parts: list[Parity] = []
    with progress.phase(f"comparison of rows under {len(masks)} patterns of missing streams", of_rows) as phase:
        for rows in _parts(of_rows, clock):
            part = _compare_rows(model, exported, table.take(rows), masks, rounded)
            _check(part, tolerance)
            parts.append(part)
            phase.advance(len(rows))
    return _joined(parts, of_rows)


def _parts(num_rows: int, clock: Callable[[], float]) -> Iterator[range]:
    """Yield the rows of each part, as long as it is expected to end within the budget."""
    start, begun = 0, clock()
    while start < num_rows:
        stop = min(max(2 * start, FIRST_ROWS), num_rows)
        if start and (clock() - begun) * stop / start > BUDGET_S:
            return
        yield range(start, stop)
        start = stop


def _compare_rows(
    model: TrainedModel,
    exported: TrainedModel,
    table: Table,
    masks: Sequence[StreamMask],
    rounded: TrainedModel | None,
) -> Parity:
    second = _answers(exported, table, masks)
    found = _compare(model, _answers(model, table, masks), second, table.num_rows)
    if rounded is None:
        return found
    apart = _compare(model, _answers(rounded, table, masks), second, table.num_rows).members
    return replace(found, rounding={name: members[FINAL] for name, members in apart.items()})


def _joined(parts: Sequence[Parity], of_rows: int) -> Parity:
    first = parts[0]
    return Parity(
        rows=sum(part.rows for part in parts),
        of_rows=of_rows,
        patterns=first.patterns,
        largest={name: max(part.largest[name] for part in parts) for name in first.largest},
        members={
            name: {member: max(part.members[name][member] for part in parts) for member in members}
            for name, members in first.members.items()
        },
        labels={name: sum(part.labels[name] for part in parts) for name in first.labels},
        embeddings=max(part.embeddings for part in parts),
        rounding={name: max(part.rounding[name] for part in parts) for name in first.rounding},
    )


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


@dataclass(frozen=True)
class _Answers:
    """What a model says of some rows.

    Attributes:
        of_masks: For each mask: target to member, and to ``answer``, to predictions.
        embeddings: Arrays of floats: of the rows and of their streams.
    """

    of_masks: list[dict[str, dict[str, Prediction]]]
    embeddings: list[NDArray[np.float32]]


def _answers(model: TrainedModel, table: Table, masks: Sequence[StreamMask]) -> _Answers:
    columns, _ = model.preprocessor.transform(table)
    given = model.schema.with_derived(table).columns
    cells = {name: given.get(name, [None] * table.num_rows) for name in model.preprocessor.column_names}
    context = RowContext(cells, table.folder, shapes=shapes_of(columns))
    found = predict_members(model, columns, context, masks) if model.targets else []
    rows, streams = model.network.embed(columns)
    alone = model.network.embed_streams(columns)
    vectors = [rows, *streams.values(), *alone.values.values()]
    return _Answers([_of_mask(model, members) for members in found], vectors)


def _of_mask(model: TrainedModel, found: MemberPredictions) -> dict[str, dict[str, Prediction]]:
    """Return answers and members, these where one of their inputs is there: elsewhere nobody reads them."""
    combined = combine(model, found)
    return {
        name: {member: values[found.present[member]] for member, values in members.items()} | {FINAL: combined[name]}
        for name, members in found.predictions.items()
    }


def _compare(model: TrainedModel, first: _Answers, second: _Answers, num_rows: int) -> Parity:
    members: dict[str, dict[str, float]] = {}
    labels = {}
    for name, target in model.targets.items():
        pairs = [(a[name], b[name]) for a, b in zip(first.of_masks, second.of_masks, strict=True)]
        members[name] = {
            member: max(largest_difference(target, a[member], b[member]) for a, b in pairs) for member in pairs[0][0]
        }
        labels[name] = sum(different_labels(target, a[FINAL], b[FINAL]) for a, b in pairs)
    largest = {name: max(of_target.values()) for name, of_target in members.items()}
    embeddings = plain_difference(first.embeddings, second.embeddings)
    return Parity(num_rows, num_rows, len(first.of_masks), largest, members, labels, embeddings)


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
    if parity.embeddings > tolerance:
        raise ConfigError(
            f"The exported model embeds rows otherwise than the run: by up to {parity.embeddings:.3g} (at most "
            f"{tolerance:g} is allowed), on {parity.rows} rows; nothing is written."
        )
