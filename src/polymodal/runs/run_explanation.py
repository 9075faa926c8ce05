"""The explanation of a few evaluated rows, for the report of a run."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping

import numpy as np

from polymodal.data.cache.cache import ArrayCache
from polymodal.explain.explain import explain_table
from polymodal.explain.outputs import explained_targets
from polymodal.explain.request import summary_rows
from polymodal.progress import Progress
from polymodal.report.gallery import GalleryRow
from polymodal.report.gallery_rows import build_gallery
from polymodal.runs.explained import ShownExplanation
from polymodal.runs.run import Run

SHOWN = 2
"""Right rows that are explained, and wrong ones; right ones take the places of wrong ones that there are not."""
SUMMARISED = 100
"""Evaluated rows that are summarised at most."""
TRAINING_ROWS = 300
"""Training rows, the first ones, that are searched for what would change an answer."""


def explain_run(run: Run, cache: ArrayCache, progress: Progress) -> Run:
    """Explain evaluated rows of a run whose configuration asks for it: two right ones and two wrong ones.

    Args:
        run: The finished run.
        cache: Cache of decoded arrays.
        progress: Reports progress.

    Returns:
        The run with the explanation, which its report data holds too; the run itself where there is nothing to explain.
    """
    shown = _choose_rows(run) if run.model.config.explain else []
    if not shown:
        return run
    started = time.perf_counter()
    table, training = run.data_module.tables[run.split], run.data_module.tables["train"]
    explanation = explain_table(
        run.model,
        table,
        rows=[*shown, *_summarised(run)],
        shown=shown,
        training=training.take(np.arange(min(training.num_rows, TRAINING_ROWS))),
        cache=cache,
        progress=progress,
    )
    found = ShownExplanation.of(explanation, table, run.model.schema)
    return _with_explanation(run, found, time.perf_counter() - started)


def _choose_rows(run: Run) -> list[int]:
    """Return the numbers of two right and two wrong rows of the first target, as the gallery chooses them."""
    examples = run.data_module.splits[run.split]
    targets = explained_targets(run.model.targets)
    gallery = build_gallery(run.model, examples, run.evaluation.predictions) if targets else {}
    return _first_rows(gallery[targets[0]]) if targets else []


def _first_rows(group: Mapping[str, list[GalleryRow]]) -> list[int]:
    wrong = [row.row for row in group.get("wrong", [])][:SHOWN]
    right = [row.row for row in group.get("right", []) if row.row not in wrong]
    return [*right[: 2 * SHOWN - len(wrong)], *wrong]


def _summarised(run: Run) -> list[int]:
    rows = run.data_module.splits[run.split].rows
    most = min(SUMMARISED, summary_rows(len(run.model.network.streams)))
    return [int(row) + 1 for row in rows[:most]]


def _with_explanation(run: Run, explanation: ShownExplanation, seconds: float) -> Run:
    report_data = run.model.report_data
    timed = {**report_data["seconds"], "explain": seconds, "total": report_data["seconds"]["total"] + seconds}
    model = dataclasses.replace(
        run.model, report_data={**report_data, "seconds": timed, "explanation": explanation.to_json()}
    )
    return dataclasses.replace(run, model=model, explanation=explanation)
