"""Compressing a trained model: ``compress``."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from polymodal.compression.choice import choose, describe_choice, pareto_front
from polymodal.compression.limits import Limits, check_methods, read_limits
from polymodal.compression.output import open_output, write_outputs
from polymodal.compression.points import Compression
from polymodal.compression.rows import find_tables, prepare_rows
from polymodal.compression.search import Search
from polymodal.data.cache.cache import ArrayCache
from polymodal.model.saved_parts import MODEL_FOLDER
from polymodal.model.torch_network import torch_network
from polymodal.nn.devices import use_device
from polymodal.progress import LoggingProgress, Progress
from polymodal.runs.model import Model, load


def compress(
    model: Model | str | Path,
    *,
    table: Any = None,
    output: str | Path | None = None,
    size: str | float | None = None,
    latency: str | float | None = None,
    max_drop: str | float | None = None,
    methods: Sequence[str] | None = None,
    progress: Progress | None = None,
    command: str | None = None,
) -> Compression:
    """Make a trained model smaller and faster, and keep the smallest one that answers nearly as well.

    Students, pruned networks, fewer members of the ensemble and int8 weights are tried; every one is scored on
    validation rows, never on test rows.

    Args:
        model: A trained model, a run folder or the model folder in it.
        table: Rows like those it was trained on, as for ``polymodal.read_table``; None: the table of the run.
        output: Folder for the compressed model and the comparison; None: the folder of the run and ``-compressed``,
            or nothing is written where the model has no folder.
        size: Most bytes of the deployed folder, such as ``5MB``; None: no limit.
        latency: Most milliseconds of one row, such as ``2ms``; None: no limit.
        max_drop: Most points of the primary metric that may be lost, such as ``0.5%``; None: 0.5.
        methods: What is tried, of ``members``, ``pruned``, ``distilled`` and ``int8``; None: all of them.
        progress: Reports progress; None: ``logging``, by the logger ``polymodal``.
        command: The command line, for the page.

    Returns:
        Every point that was tried, and the one that was chosen.

    Raises:
        ConfigError: If a limit or method cannot be read, the model has no target or was exported, or its table is not
            known.
        TableError: If a table cannot be read.
        SchemaError: If a table lacks a target or has too few rows.
        CheckpointError: If there is no model.
        OSError: If the output cannot be written: disk full, no permission.

    Example:
        >>> found = polymodal.compress("runs/clothing", max_drop="0.5%")  # doctest: +SKIP
        >>> found.sentence  # doctest: +SKIP
    """
    limits, started = read_limits(size, latency, max_drop), time.perf_counter()
    tried = check_methods(methods)
    progress = progress or LoggingProgress()
    loaded = model if isinstance(model, Model) else load(model, "cpu")
    torch_network(loaded.trained, "A compression")
    loaded.trained.check_no_features("A bundle, which a compression makes,")
    source = loaded.folder if isinstance(model, Model) else Path(model)
    folder = _output_of(source, output)
    with ExitStack() as stack:
        stack.enter_context(use_device("cpu"))
        work = stack.enter_context(open_output(folder, _model_folder(source)))
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="polymodal-")))
        tables, notices = find_tables(loaded.trained, table)
        rows = prepare_rows(loaded.trained, tables, notices, ArrayCache.default(), progress)
        work, validation = work.opened(rows.counts), tables["validation"]
        search = Search(loaded.trained, rows, validation, limits, work, scratch, tried, bool(methods), progress)
        search.run()
        found = _conclude(search, limits, started, command)
        return write_outputs(found, search, folder, progress)


def _output_of(source: Path | None, output: str | Path | None) -> Path | None:
    if output is not None:
        return Path(output)
    return None if source is None else source.with_name(f"{source.resolve().name}-compressed")


def _model_folder(source: Path | None) -> Path | None:
    if source is None:
        return None
    return source / MODEL_FOLDER if (source / MODEL_FOLDER).is_dir() else source


def _conclude(search: Search, limits: Limits, started: float, command: str | None) -> Compression:
    points = search.points
    chosen = choose(points, limits)
    found = Compression(
        source=search.original.report_data.get("title", ""),
        limits=limits,
        points=points,
        chosen=None if chosen is None else chosen.name,
        front=pareto_front(points),
        sentence=describe_choice(points, chosen, limits),
        rows=search.rows.counts,
        test=search.test_scores(chosen),
        notices=search.notices,
        command=command,
    )
    return dataclasses.replace(found, seconds=time.perf_counter() - started)
