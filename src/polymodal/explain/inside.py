"""What is inside the streams, in the way that was asked for; gradients alone need torch."""

from __future__ import annotations

from collections.abc import Sequence

from polymodal.data.tables.table import Table
from polymodal.errors import parameter_error
from polymodal.explain.cells import SEARCHES, Inside, check_passes, search_cells
from polymodal.explain.outputs import Output
from polymodal.model.trained_model import TrainedModel
from polymodal.progress import Progress

GRADIENTS = "gradients"
METHODS = (*SEARCHES, GRADIENTS)
"""Ways to find what is inside a stream."""


def check_inside(method: str, passes: int) -> None:
    """Check how cells are to be explained, before anything is read.

    Args:
        method: A name in ``METHODS``.
        passes: Network passes a row; 0 leaves cells out.

    Raises:
        ConfigError: If there is no such method, its package is not installed, or there are too few passes.
    """
    if method not in METHODS:
        raise parameter_error("method", "explain", f"one of: {', '.join(METHODS)}", method)
    if passes:
        check_passes(passes)
    if method == GRADIENTS:
        from polymodal.explain.gradients import check_captum

        check_captum()


def explain_cells(
    model: TrainedModel,
    table: Table,
    outputs: Sequence[Output],
    streams: Sequence[str],
    *,
    method: str,
    passes: int,
    progress: Progress,
) -> Inside:
    """Explain the cells of rows.

    Args:
        model: The trained model.
        table: The table.
        outputs: What is explained; ``row`` counts the table's rows from 0.
        streams: The streams whose cells are explained.
        method: A name in ``METHODS``.
        passes: Network passes a row; 0 leaves cells out.
        progress: Reports progress.

    Returns:
        For each output the parts of its row's cells, and what cannot be explained.

    Raises:
        ConfigError: As ``check_inside``.
    """
    check_inside(method, passes)
    if not passes:
        return Inside([[] for _ in outputs])
    if method == GRADIENTS:
        from polymodal.explain.gradient_cells import integrate_cells

        return integrate_cells(model, table, outputs, streams, passes=passes, progress=progress)
    search = SEARCHES[method]
    return search_cells(model, table, outputs, streams, search=search, passes=passes, progress=progress)
