"""Explaining rows of a table: streams, parts of cells, and what would change the answers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.data.cache.cache import ArrayCache
from polymodal.data.input_check import InputCheck
from polymodal.data.tables.table import Table
from polymodal.explain.answers import DecodedRows, final_predictions, with_outputs
from polymodal.explain.cells import PASSES, Inside
from polymodal.explain.changes import (
    NEAR_ROWS,
    SWAPPED_STREAMS,
    ChangeSearch,
    ExplainedRow,
    TrainingRows,
    table_columns,
)
from polymodal.explain.explanation import Change, Explanation, RowExplanation, TargetSummary
from polymodal.explain.inside import check_inside, explain_cells
from polymodal.explain.outputs import MAX_ITEMS, Output, items_of, outputs_of, unit_of
from polymodal.explain.plain_cells import plain_cell
from polymodal.explain.request import Request, check_request
from polymodal.explain.shapley import MAX_EXACT
from polymodal.explain.stream_values import StreamValues, stream_values
from polymodal.explain.summaries import PairAnswers, chosen_streams, pair_name, summarise
from polymodal.explain.training_table import find_training_table
from polymodal.model.predict import NO_CACHE
from polymodal.model.predict_table import MIN_CACHED_ROWS
from polymodal.model.trained_model import TrainedModel
from polymodal.progress import Progress

CHUNK_ROWS = 64
"""Most rows that are decoded at once."""
OTHER_PASSES = 2 + NEAR_ROWS * SWAPPED_STREAMS
"""Network passes a row that are not spent on its cells: one for all streams, one without each, and the swaps."""


@dataclass(frozen=True)
class _Explained:
    """Outputs with the values of their streams, and what else the rows that are shown need.

    Attributes:
        outputs: K of them.
        values: Their stream values.
        vectors: float32 ``[N, D]``, the embedding of each row that is shown.
    """

    outputs: list[Output]
    values: StreamValues
    vectors: NDArray[np.float32]


def explain_table(
    model: TrainedModel,
    table: Table,
    *,
    rows: Sequence[int] | None = None,
    targets: Sequence[str] | None = None,
    streams: Sequence[str] | None = None,
    training: Any = None,
    shown: Sequence[int] | None = None,
    method: str = "occlusion",
    passes: int = PASSES,
    strict: bool = False,
    cache: ArrayCache | None = None,
    progress: Progress,
) -> Explanation:
    """Explain the final answers of rows.

    Args:
        model: The trained model.
        table: The table.
        rows: Numbers of rows, from 1; None explains the first ones and summarises more.
        targets: Names of targets; None: all of them.
        streams: Streams of which cells are explained; None: all of them.
        training: Training rows, to show what would change an answer, as for ``read_table``; None: the file that the
            model was trained on.
        shown: Numbers of those of ``rows`` that are explained one by one, the others are summarised only; None: all.
        method: How cells are explained: "occlusion", "owen" or "gradients".
        passes: Most network passes a row; what streams and changes leave of them is for its cells. 0 leaves cells out.
        strict: Whether absent columns, broken cells and unseen categories raise.
        cache: Cache of decoded arrays; None: the user's.
        progress: Reports progress.

    Returns:
        The explanation.

    Raises:
        ConfigError: If the model has no target, there is no such row or method, or there are too few passes.
        SchemaError: If there is no such target or stream, or the table has no input column of the model.
        TableError: If the table has no rows.
        CellError: If ``strict`` and a cell cannot be decoded.
    """
    started = time.perf_counter()
    check_inside(method, passes)
    request = check_request(model, table, rows, targets, streams, shown)
    cache = cache or ArrayCache.default()
    pairs = PairAnswers(model, request.targets)
    training_table, notices = find_training_table(model, training)
    explained = _explain_streams(model, table, request, pairs, strict, cache, progress)
    searched = None if training_table is None else TrainingRows.read(model, training_table, table, cache, progress)
    changes = _changes(model, table, request, explained, searched, progress)
    outputs = [explained.outputs[k] for k in _shown(request, explained)]
    left = _cell_passes(passes, searched)
    inside = explain_cells(model, table, outputs, request.streams, method=method, passes=left, progress=progress)
    return Explanation(
        table=table.name,
        streams={stream: table_columns(model, stream) for stream in model.network.streams},
        units={name: unit_of(model.targets[name]) for name in request.targets},
        summaries=[_summary(name, explained, pairs) for name in request.targets],
        rows=_row_explanations(table, request, explained, changes, inside),
        notices=[*request.notices, *notices, *_notices(model, request, explained), *inside.notices],
        seconds=time.perf_counter() - started,
    )


def _cell_passes(passes: int, training: TrainingRows | None) -> int:
    """Return the passes that are left for a row's cells; of few passes, all of them."""
    return passes - OTHER_PASSES if training is not None and passes >= 2 * OTHER_PASSES else passes


def _explain_streams(
    model: TrainedModel,
    table: Table,
    request: Request,
    pairs: PairAnswers,
    strict: bool,
    cache: ArrayCache,
    progress: Progress,
) -> _Explained:
    """Explain the streams of all rows, some rows at a time."""
    check = InputCheck(model.preprocessor, table.name, strict=strict)
    check.see_columns(table.columns)
    parts, streams = [], None
    with progress.phase("explaining streams", len(request.rows)) as phase:
        for start in range(0, len(request.rows), CHUNK_ROWS):
            rows = request.rows[start : start + CHUNK_ROWS]
            part = table.take(rows)
            kept = cache if len(rows) >= MIN_CACHED_ROWS else NO_CACHE
            columns, _ = check.transform(part, kept, rows=(rows + 1).tolist())
            decoded = with_outputs(model, part, columns, kept)
            parts.append(_explain_chunk(model, decoded, request, start))
            streams = streams or chosen_streams(parts[0].values)
            pairs.add(decoded, streams)
            phase.advance(len(rows))
    check.finish()
    outputs = [output for part in parts for output in part.outputs]
    values = StreamValues.concatenate([part.values for part in parts])
    return _Explained(outputs, values, np.concatenate([part.vectors for part in parts]))


def _explain_chunk(model: TrainedModel, decoded: DecodedRows, request: Request, first_row: int) -> _Explained:
    predictions = final_predictions(model, decoded)[0]
    targets = ((name, model.targets[name]) for name in request.targets)
    outputs = [output for name, target in targets for output in outputs_of(name, target, predictions[name])]
    values = stream_values(model, decoded, outputs, [output.row for output in outputs])
    rows = request.rows[first_row : first_row + len(decoded)].tolist()
    numbered = [replace(output, row=rows[output.row]) for output in outputs]
    shown = max(0, min(len(decoded), request.num_shown - first_row))
    vectors = model.network.embed(decoded.take(np.arange(shown)).columns)[0]
    return _Explained(numbered, values, vectors)


def _of_target(explained: _Explained, target: str) -> NDArray[np.int64]:
    return np.array([k for k, output in enumerate(explained.outputs) if output.target == target], np.int64)


def _summary(target: str, explained: _Explained, pairs: PairAnswers) -> TargetSummary:
    places = _of_target(explained, target)
    rows = np.array([explained.outputs[k].row for k in places.tolist()])
    information = pairs.information(target)
    return summarise(target, explained.values.take(places), rows, *information)


def _shown(request: Request, explained: _Explained) -> list[int]:
    """Return the outputs of the rows that are explained one by one, by row and target."""
    rows = set(request.rows[: request.num_shown].tolist())
    places = [k for k, output in enumerate(explained.outputs) if output.row in rows]
    return sorted(places, key=lambda k: (explained.outputs[k].row, k))


def _changes(
    model: TrainedModel,
    table: Table,
    request: Request,
    explained: _Explained,
    training: TrainingRows | None,
    progress: Progress,
) -> dict[int, tuple[list[Change], list[int]]]:
    """Return what would change each output that is shown, and its neighbours."""
    search, places, found = ChangeSearch(model, training), _shown(request, explained), {}
    of_row = {row: index for index, row in enumerate(request.rows.tolist())}
    swapped: set[tuple[int, str]] = set()
    with progress.phase("searching changes", len(places)) as phase:
        for k in places:
            output = explained.outputs[k]
            key = (output.row, output.target)
            row = _explained_row(table, explained, k, explained.vectors[of_row[output.row]])
            found[k] = search.find(output, row, swaps=key not in swapped)
            swapped.add(key)
            phase.advance()
    return found


def _explained_row(table: Table, explained: _Explained, k: int, vector: NDArray[np.float32]) -> ExplainedRow:
    values, output = explained.values, explained.outputs[k]
    order = np.argsort(-np.abs(values.shapley[k]), kind="stable").tolist()
    present = [values.streams[s] for s in order if values.present[k, s]]
    return ExplainedRow(table.take([output.row]), vector, present, float(values.value[k]))


def _row_explanations(
    table: Table,
    request: Request,
    explained: _Explained,
    changes: dict[int, tuple[list[Change], list[int]]],
    inside: Inside,
) -> list[RowExplanation]:
    shown = zip(_shown(request, explained), inside.cells, strict=True)
    return [replace(_row_explanation(table, explained, k, *changes[k]), cells=cells) for k, cells in shown]


def _row_explanation(
    table: Table, explained: _Explained, k: int, changes: list[Change], neighbours: list[int]
) -> RowExplanation:
    output, values = explained.outputs[k], explained.values
    cells, streams = table.columns.get(output.target), values.streams
    return RowExplanation(
        row=output.row + 1,
        target=output.target,
        answer=plain_cell(output.answer),
        explained=output.explained,
        value=float(values.value[k]),
        prior=float(values.prior[k]),
        truth=None if cells is None else plain_cell(cells[output.row]),
        streams=dict(zip(streams, values.shapley[k].tolist(), strict=True)),
        standard_errors=dict(zip(streams, values.errors[k].tolist(), strict=True)),
        interactions={} if values.is_sampled[k] else _interactions(values, k),
        absent=[stream for stream, present in zip(streams, values.present[k], strict=True) if not present],
        changes=changes,
        neighbours=neighbours,
    )


def _interactions(values: StreamValues, k: int) -> dict[str, float]:
    pairs = combinations(np.flatnonzero(values.present[k]).tolist(), 2)
    names = values.streams
    return {pair_name(names[i], names[j]): float(values.interactions[k, i, j]) for i, j in pairs}


def _notices(model: TrainedModel, request: Request, explained: _Explained) -> list[str]:
    return [*_sampling_notices(explained.values), *_cut_notices(model, request, explained)]


def _sampling_notices(values: StreamValues) -> list[str]:
    count = int(values.is_sampled.sum())
    if not count:
        return []
    return [
        f"{count:,} of {len(values.is_sampled):,} answers have more than {MAX_EXACT} present streams: their values are "
        "estimated from sampled permutations, with standard errors, and without interactions."
    ]


def _cut_notices(model: TrainedModel, request: Request, explained: _Explained) -> list[str]:
    notices = []
    for name in request.targets:
        answers = {output.row: output.answer for output in explained.outputs if output.target == name}
        cut = sum(items_of(model.targets[name], answer) > MAX_ITEMS for answer in answers.values())
        if cut:
            notices.append(f"Of {name!r}, {cut:,} answers have more than {MAX_ITEMS} items: the first are explained.")
    return notices
