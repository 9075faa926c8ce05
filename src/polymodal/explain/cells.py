"""What is inside the streams: which parts of its cells decided the answer of a row.

Parts are taken away from a cell, and the changed cell goes the whole way of a row: it is decoded, and predicted by all
members up to the decision, so that an answer that leans on a baseline is explained as well.

Shape legend: K outputs of a row, R changed cells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from polymodal.data.tables.table import Table
from polymodal.errors import parameter_error
from polymodal.explain.answers import DecodedRows, decode_rows
from polymodal.explain.changed_cells import ChangedCells
from polymodal.explain.column_shapley import ColumnShapley, can_be_shapley
from polymodal.explain.explanation import CellParts, Part
from polymodal.explain.outputs import Output
from polymodal.explain.parts import CellSource, DividedCell, IndivisibleCellError, divide_cell
from polymodal.explain.parts.base import Atoms
from polymodal.explain.searches import Floats, Occlusion, Owen, PartSearch
from polymodal.modalities.parallel import chunked
from polymodal.model.trained_model import TrainedModel
from polymodal.progress import Progress

SEARCHES: dict[str, type[PartSearch]] = {"occlusion": Occlusion, "owen": Owen}
"""Ways to take parts away; columns of numbers, categories and dates get Shapley values where the passes suffice."""

PASSES = 50
"""Default number of network passes of a row."""
FEWEST_PASSES = 3
"""A cell with fewer is not searched."""
EVEN_WEIGHT = 0.25
"""Share of a row's passes that its cells share evenly; the others go by what the streams are worth."""
ROWS_AT_ONCE = 8
"""Rows whose changed cells are in memory at once."""


@dataclass(frozen=True)
class Inside:
    """What is inside the streams of explained outputs.

    Attributes:
        cells: For each output the parts of its row's cells, those of the most important stream first.
        notices: Which cells have no parts, a sentence each.
    """

    cells: list[list[CellParts]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _RowSearch:
    """The searches in the cells of one row.

    Attributes:
        place: The row among those that are decoded.
        numbers: Which of all outputs are explained in it.
        outputs: Those, K of them.
        searches: Stream to search, the most important stream first.
    """

    place: int
    numbers: list[int]
    outputs: list[Output]
    searches: dict[str, PartSearch]


def check_passes(passes: int) -> None:
    """Check the number of network passes of a row.

    Args:
        passes: What a user asked for.

    Raises:
        ConfigError: If it is too small to change anything.
    """
    if passes < FEWEST_PASSES + 1:
        raise parameter_error("passes", "explain", f"at least {FEWEST_PASSES + 1}", passes)


def search_cells(
    model: TrainedModel,
    table: Table,
    outputs: Sequence[Output],
    streams: Sequence[str],
    *,
    search: type[PartSearch] = Occlusion,
    passes: int = PASSES,
    progress: Progress,
) -> Inside:
    """Explain cells by taking parts away; all changed cells of some rows are predicted together.

    Args:
        model: The trained model.
        table: The table.
        outputs: What is explained; ``row`` counts the table's rows from 0.
        streams: The streams whose cells are explained.
        search: What a part is worth: one of ``SEARCHES``.
        passes: Network passes a row, all its cells together. A pass encodes a row once, however many of its streams are
            then left out in turn.
        progress: Reports progress.

    Returns:
        The parts, and which cells have none.

    Raises:
        ConfigError: If there are too few passes.
    """
    check_passes(passes)
    by_row: dict[int, list[int]] = {}
    for number, output in enumerate(outputs):
        by_row.setdefault(output.row, []).append(number)
    found: list[list[CellParts]] = [[] for _ in outputs]
    refused: Counter[str] = Counter()
    with progress.phase("explaining cells", len(by_row)) as phase:
        for rows in chunked(list(by_row), ROWS_AT_ONCE):
            game = ChangedCells(model, decode_rows(model, table.take(rows)))
            of_rows = [(by_row[row], [outputs[number] for number in by_row[row]]) for row in rows]
            searched = _begin(game, of_rows, streams, search, passes, refused)
            _run(game, searched)
            for row in searched:
                _collect(row, found)
            phase.advance(len(rows))
    return Inside(found, refusal_notices(refused))


def _begin(
    game: ChangedCells,
    of_rows: Sequence[tuple[list[int], list[Output]]],
    streams: Sequence[str],
    search: type[PartSearch],
    passes: int,
    refused: Counter[str],
) -> list[_RowSearch]:
    """Divide the cells of rows, and the passes among the cells by what their streams are worth."""
    read = [output for _, outputs in of_rows for output in outputs]
    places = [place for place, (_, outputs) in enumerate(of_rows) for _ in outputs]
    worth = {stream: game.with_and_without(stream, read, places) for stream in streams}
    searched, first = [], 0
    for place, (numbers, outputs) in enumerate(of_rows):
        mine = slice(first, first + len(outputs))
        first += len(outputs)
        cells = divide_row(game.model, game.decoded, place, streams, refused)
        gains = {stream: float(np.abs(worth[stream][0][mine] - worth[stream][1][mine]).max()) for stream in cells}
        shares = _shared_passes(gains, passes - 1)
        searches = {
            stream: _search(cells[stream], worth[stream][1][mine], left, search) for stream, left in shares.items()
        }
        searched.append(_RowSearch(place, numbers, outputs, searches))
    return searched


def divide_row(
    model: TrainedModel, decoded: DecodedRows, place: int, streams: Sequence[str], refused: Counter[str]
) -> dict[str, DividedCell]:
    """Divide the cells of one row that are there.

    Args:
        model: The trained model.
        decoded: Some rows.
        place: The row.
        streams: The streams whose cells are divided.
        refused: Counts why cells cannot be divided.

    Returns:
        Stream to divided cell.
    """
    cells: dict[str, DividedCell] = {}
    for entry in model.schema.streams:
        if entry.name not in streams or not decoded.columns[entry.name].row_present[place]:
            continue
        raw = {name: decoded.context.cells[name][place] for name in entry.columns}
        modality = model.preprocessor.modalities[entry.name]
        try:
            cells[entry.name] = divide_cell(CellSource(modality, raw, decoded.context.folder))
        except IndivisibleCellError as error:
            refused[f"of {entry.name!r} could not be cut into parts: {error}"] += 1
    return cells


def refusal_notices(refused: Counter[str]) -> list[str]:
    """Tell which cells have no parts.

    Args:
        refused: Why, and how many cells.

    Returns:
        A sentence for each reason.
    """
    return [f"{count:,} cell{'s' * (count > 1)} {reason}." for reason, count in refused.items()]


def _shared_passes(gains: dict[str, float], passes: int) -> dict[str, int]:
    """Divide passes among cells, the most important stream first; where there are too few, the last ones get none."""
    ordered = sorted(gains, key=lambda stream: -gains[stream])[: max(1, passes // FEWEST_PASSES)]
    total, even = sum(gains[stream] for stream in ordered), 1 / max(len(ordered), 1)
    shares = {stream: gains[stream] / total if total > 0 else even for stream in ordered}
    free = max(0, passes - FEWEST_PASSES * len(ordered))
    weights = {stream: EVEN_WEIGHT * even + (1 - EVEN_WEIGHT) * share for stream, share in shares.items()}
    return {stream: FEWEST_PASSES + int(free * weight) for stream, weight in weights.items()}


def _search(cell: DividedCell, absent: Floats, passes: int, search: type[PartSearch]) -> PartSearch:
    return (ColumnShapley if can_be_shapley(cell, passes) else search)(cell, absent, passes)


def _run(game: ChangedCells, searched: Sequence[_RowSearch]) -> None:
    """Run all searches to their end, round by round, stream by stream."""
    streams = list(dict.fromkeys(stream for row in searched for stream in row.searches))
    for stream in streams:
        waiting = [(row, row.searches[stream]) for row in searched if stream in row.searches]
        while waiting:
            asked = [(row, search, search.requests()) for row, search in waiting]
            asked = [(row, search, masks) for row, search, masks in asked if masks]
            _ask(game, stream, asked)
            waiting = [(row, search) for row, search, _ in asked]


def _ask(game: ChangedCells, stream: str, asked: Sequence[tuple[_RowSearch, PartSearch, list[Atoms]]]) -> None:
    cells = [search.cell.without(mask) for _, search, masks in asked for mask in masks]
    if not cells:
        return
    places = [row.place for row, _, masks in asked for _ in masks]
    outputs = [row.outputs for row, _, masks in asked for _ in masks]
    answers = game.answers(stream, places, cells, outputs)
    start = 0
    for _, search, masks in asked:
        search.tell(np.stack(answers[start : start + len(masks)]))
        start += len(masks)


def _collect(row: _RowSearch, found: list[list[CellParts]]) -> None:
    for place, number in enumerate(row.numbers):
        found[number] = [
            cell_parts(stream, search.cell, search.method, search.parts(place), search.passes)
            for stream, search in row.searches.items()
        ]


def cell_parts(stream: str, cell: DividedCell, method: str, parts: list[Part], passes: int) -> CellParts:
    """Name the parts of a cell.

    Args:
        stream: The stream.
        cell: The divided cell.
        method: How they were found.
        parts: The parts.
        passes: Network passes that were spent.

    Returns:
        The parts of the cell; without a column where they are columns.
    """
    column = None if cell.kind == "columns" else cell.columns[0]
    return CellParts(stream, column, cell.kind, method, parts, passes)
