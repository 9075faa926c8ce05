"""Which absent streams of a table's rows are worth getting, and in which order.

Shape legend: N rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from polymodal.acquisition.acquisition import Acquisition
from polymodal.acquisition.answers import DecodedRows, Rows, decode_columns, decode_rows, flat_targets, input_cells
from polymodal.acquisition.neighbours import FILLINGS, NeighbourEstimator
from polymodal.acquisition.plan import Entry, check_amount, check_costs, gain_per_cost, make_plan
from polymodal.acquisition.value_model import ValueEstimator
from polymodal.arrays import Column
from polymodal.data.tables.table import Table
from polymodal.ensemble.ensemble import rows_by_pattern
from polymodal.errors import ConfigError, parameter_error
from polymodal.model.chunks import iterate_chunks
from polymodal.model.trained_model import TrainedModel
from polymodal.progress import Progress

Floats = NDArray[np.float64]

ESTIMATORS = ("value", "neighbours")
"""The first one is the default where there are held-out rows enough: chosen on validation rows, see
docs/decisions/acquisition.md."""
MIN_HELD_OUT_ROWS = 40
"""Fewest held-out rows from which values are learned unasked."""
TRAINING_ROWS = 500
"""Most training rows that streams are filled from."""
HELD_OUT_ROWS = 1000
"""Most held-out rows that values are learned on."""
GROUP_ROWS = 256
"""Most rows that are estimated at once."""
MAX_STEPS = 4
"""Streams of a row that are chosen one after the other, each beside those before; further ones follow by their gain
beside the first ones."""


class Group(Protocol):
    """Rows that lack the same streams."""

    def gains(self, places: Rows, streams: frozenset[str]) -> Floats:
        """Estimate by how much the loss of some rows falls when streams are got together."""


class Estimator(Protocol):
    """Estimates what absent streams are worth."""

    def start(self, rows: DecodedRows, absent: frozenset[str]) -> Group:
        """Prepare rows that lack the same streams."""


@dataclass(frozen=True)
class KnownRows:
    """Rows whose answers are known.

    Attributes:
        training: Rows to fill absent streams from.
        held_out: Rows that the network was not fitted on, to measure on what streams are worth; None without any.
    """

    training: Table
    held_out: Table | None


def check_request(
    model: TrainedModel, costs: Mapping[str, float] | None, budget: float | None, price: float, estimator: str | None
) -> dict[str, float]:
    """Check what is asked of a model, before any work is done.

    Args:
        model: The trained model.
        costs: As for ``acquire``.
        budget: As for ``acquire``.
        price: As for ``acquire``.
        estimator: As for ``acquire``.

    Returns:
        Every stream's cost.

    Raises:
        ConfigError: If an option has a wrong value, or the model has one stream alone or no flat target.
    """
    if len(model.network.streams) < 2:
        raise ConfigError(
            f"This model has one stream alone, {model.network.streams[0]!r}: there is no choice of what to get next."
        )
    if not flat_targets(model):
        kinds = ", ".join(f"{name} ({target.kind})" for name, target in model.targets.items())
        raise ConfigError(
            "What a stream is worth is known for targets that are classes, labels or numbers. This model has none: "
            f"{kinds}."
        )
    check_amount(budget, "budget")
    check_amount(price, "price")
    if estimator is not None and estimator not in ESTIMATORS:
        raise parameter_error("estimator", "acquire", f"one of {', '.join(ESTIMATORS)}", estimator, ESTIMATORS)
    return check_costs(costs, model.network.streams)


def acquire(
    model: TrainedModel,
    source: Any,
    find_known: Callable[[], KnownRows],
    progress: Progress,
    *,
    costs: Mapping[str, float] | None = None,
    budget: float | None = None,
    price: float = 0.0,
    estimator: str | None = None,
    strict: bool = False,
) -> Acquisition:
    """Order the absent streams of a table's rows by what they are worth.

    Args:
        model: The trained model.
        source: As for ``read_table``; a file is read chunk by chunk.
        find_known: Finds training and held-out rows; called once a row lacks a stream.
        progress: Reports progress.
        costs: Stream to what it costs to get it for one row; others cost 1.
        budget: Most cost in all.
        price: Loss that one unit of cost is worth.
        estimator: A name in ``ESTIMATORS``; None: "value", or "neighbours" where held-out rows are few.
        strict: Whether absent columns, broken cells and unseen categories raise.

    Returns:
        The order.

    Raises:
        ConfigError: If an option has a wrong value, or the model cannot say.
        SchemaError: If the table has no input column of the model.
        CellError: If strict and a cell cannot be decoded.
    """
    all_costs = check_request(model, costs, budget, price, estimator)
    built = _LazyEstimator(model, find_known, estimator, progress)
    absent, partly = (dict.fromkeys(model.network.streams, 0) for _ in range(2))
    rows: list[list[Entry]] = []
    num_rows, name = 0, "table"
    for table, check in iterate_chunks(model, source, progress, "estimating", strict=strict):
        columns, broken = decode_columns(model, table, check, progress)
        decoded = DecodedRows(columns, input_cells(model, table), table, broken)
        for stream, column in columns.items():
            absent[stream] += int((~column.row_present).sum())
            partly[stream] += _num_partly_present(column)
        rows += value_rows(decoded, built, all_costs, num_rows, progress)
        num_rows, name = num_rows + table.num_rows, table.name
    plan = make_plan(rows, budget, price)
    return Acquisition(
        table=name,
        rows=num_rows,
        rows_lacking=len(rows),
        absent={stream: count for stream, count in absent.items() if count},
        estimator=built.name,
        unit=_unit(model),
        targets=list(flat_targets(model)),
        costs=all_costs,
        budget=budget,
        price=price,
        entries=plan.entries,
        over_budget=plan.over_budget,
        not_worth=plan.not_worth,
        columns={stream.name: list(stream.columns) for stream in model.schema.streams},
        notices=[*_other_targets(model), *_partly_absent(partly), *built.notices],
    )


def _other_targets(model: TrainedModel) -> list[str]:
    others = {name: target.kind for name, target in model.targets.items() if name not in flat_targets(model)}
    return [f"The target {name!r} ({kind}) does not count: it has no expected loss." for name, kind in others.items()]


def _num_partly_present(column: Column) -> int:
    """Count the rows that have some cells of a stream of several columns, but not all."""
    return 0 if column.present.ndim == 1 else int((column.row_present & ~column.present.all(axis=1)).sum())


def _partly_absent(rows: Mapping[str, int]) -> list[str]:
    return [
        f"In {count:,} rows some cells of the stream {stream!r} are absent: a stream counts as absent where all are."
        for stream, count in rows.items()
        if count
    ]


class _LazyEstimator:
    """Builds the estimator when the first row lacks a stream: a table without any needs none."""

    def __init__(
        self, model: TrainedModel, find_known: Callable[[], KnownRows], name: str | None, progress: Progress
    ) -> None:
        self._model, self._find_known, self._progress = model, find_known, progress
        self._built: Estimator | None = None
        self.name, self.notices = name or ESTIMATORS[0], list[str]()
        self._is_free = name is None

    def start(self, rows: DecodedRows, absent: frozenset[str]) -> Group:
        if self._built is None:
            self._built = self._build(self._find_known())
        return self._built.start(rows, absent)

    def _build(self, known: KnownRows) -> Estimator:
        if self._is_free and not _can_learn(self._model, known.held_out):
            self.name = "neighbours"
            self.notices.append(
                f"Fewer than {MIN_HELD_OUT_ROWS} held-out rows have a known target: 'neighbours' estimates the gains."
            )
        return build_estimator(self._model, known, self.name, self._progress, self.notices)


def _can_learn(model: TrainedModel, table: Table | None) -> bool:
    return table is not None and int(_known_targets(model, table).sum()) >= MIN_HELD_OUT_ROWS


def _known_targets(model: TrainedModel, table: Table) -> NDArray[np.bool_]:
    """Return where every flat target has a known value, bool ``[rows]``."""
    absent = [None] * table.num_rows
    targets = flat_targets(model).items()
    return np.asarray(np.all([target.encode(table.columns.get(name, absent))[1] for name, target in targets], axis=0))


def build_estimator(
    model: TrainedModel, known: KnownRows, name: str, progress: Progress, notices: list[str]
) -> Estimator:
    """Build an estimator of what absent streams are worth.

    Args:
        model: The trained model.
        known: Training and held-out rows.
        name: In ``ESTIMATORS``.
        progress: Reports progress.
        notices: What was sampled or lacks is appended.

    Returns:
        The estimator.

    Raises:
        ConfigError: If values are to be learned without held-out rows.
    """
    held_out = _held_out(model, known.held_out, progress, notices)
    if name == "value":
        if held_out is None:
            raise ConfigError(
                "The estimator 'value' learns on held-out rows with a known target, and there are none. Give more rows "
                "by --training, or choose --estimator neighbours."
            )
        return ValueEstimator(model, held_out)
    table = _sample(known.training, TRAINING_ROWS, notices, "Absent streams are filled from")
    return NeighbourEstimator(model, decode_rows(model, table, progress), held_out, FILLINGS)


def _held_out(model: TrainedModel, table: Table | None, progress: Progress, notices: list[str]) -> DecodedRows | None:
    found = np.zeros(0, np.bool_) if table is None else _known_targets(model, table)
    if table is None or not found.any():
        notices.append("No held-out row has a known target: gains are those the model itself expects, not scaled.")
        return None
    table = _sample(table.take(np.flatnonzero(found)), HELD_OUT_ROWS, notices, "Values are measured on")
    if model.baselines:
        notices.append(
            "What streams are worth is measured without the baselines, which are fitted on validation rows too."
        )
    return decode_rows(model, table, progress)


def _sample(table: Table, number: int, notices: list[str], what: str) -> Table:
    if table.num_rows <= number:
        return table
    notices.append(
        f"{what[0].upper()}{what[1:]} {number:,} of {table.num_rows:,} rows of {table.name}, drawn at random."
    )
    return table.take(np.sort(np.random.default_rng(0).permutation(table.num_rows)[:number]))


def value_rows(
    rows: DecodedRows, estimator: Estimator, costs: Mapping[str, float], first_row: int, progress: Progress
) -> list[list[Entry]]:
    """Value the absent streams of rows.

    Args:
        rows: The rows.
        estimator: Tells gains.
        costs: Stream to cost.
        first_row: Number of rows of the table before these.
        progress: Reports sets of streams that are valued.

    Returns:
        The entries of each row that lacks a stream, in the order in which they would be got.
    """
    entries: dict[int, list[Entry]] = {}
    groups = list(_groups(rows.presence))
    with progress.phase(
        "valuing absent streams", sum(len(places) * _steps(absent) for absent, places in groups)
    ) as phase:
        for absent, places in groups:
            group = estimator.start(rows.take(places), absent)
            ordered = order_streams(group, len(places), absent, costs)
            for place, chosen in zip(places, ordered, strict=True):
                number = first_row + int(place) + 1
                entries[number] = [Entry(number, stream, gain, costs[stream]) for stream, gain in chosen]
            phase.advance(len(places) * _steps(absent))
    return [entries[number] for number in sorted(entries)]


def _groups(presence: Mapping[str, NDArray[np.bool_]]) -> Iterator[tuple[frozenset[str], Rows]]:
    for absent, places in rows_by_pattern(presence):
        if absent:
            for start in range(0, len(places), GROUP_ROWS):
                yield absent, places[start : start + GROUP_ROWS]


def _steps(absent: frozenset[str]) -> int:
    """Return how many sets of streams are valued for each row that lacks these."""
    return sum(len(absent) - step for step in range(min(len(absent), MAX_STEPS)))


def order_streams(
    group: Group, num_rows: int, absent: frozenset[str], costs: Mapping[str, float]
) -> list[list[tuple[str, float]]]:
    """Choose the absent streams of rows one after the other, the largest gain per cost first.

    Args:
        group: Tells gains.
        num_rows: N.
        absent: The streams that the rows lack.
        costs: Stream to cost.

    Returns:
        For each row, streams and what each adds to the gain of those before it.
    """
    chosen: list[list[tuple[str, float]]] = [[] for _ in range(num_rows)]
    for step in range(min(len(absent), MAX_STEPS)):
        is_last = step == MAX_STEPS - 1
        for had, places in _by_choice(chosen):
            left = sorted(absent - had)
            total = np.array([sum(gain for _, gain in chosen[place]) for place in places])
            added = np.stack([np.maximum(group.gains(places, had | {name}) - total, 0.0) for name in left])
            for column, place in enumerate(places):
                ranked = _ranked(left, added[:, column], costs)
                chosen[place] += ranked if is_last else ranked[:1]
    return chosen


def _ranked(streams: Sequence[str], gains: Floats, costs: Mapping[str, float]) -> list[tuple[str, float]]:
    """Order streams by gain per cost, then by gain."""
    pairs = zip(streams, gains.tolist(), strict=True)
    return sorted(pairs, key=lambda pair: (-gain_per_cost(pair[1], costs[pair[0]]), -pair[1]))


def _by_choice(chosen: Sequence[Sequence[tuple[str, float]]]) -> list[tuple[frozenset[str], Rows]]:
    """Group rows by the streams that were chosen for them so far."""
    groups: dict[frozenset[str], list[int]] = {}
    for place, streams in enumerate(chosen):
        groups.setdefault(frozenset(stream for stream, _ in streams), []).append(place)
    return [(had, np.array(places, np.int64)) for had, places in groups.items()]


def _unit(model: TrainedModel) -> str:
    kinds = {"variances of the target" if target.classes is None else "nats" for target in flat_targets(model).values()}
    return " and ".join(sorted(kinds))
