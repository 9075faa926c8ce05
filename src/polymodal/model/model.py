"""The Python interface to a trained model: ``Model`` and ``load``.

Imports that only evaluation needs are made inside the functions that evaluate, so that prediction starts sooner.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import BrokenCell, Cell
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.tables.table import Table, read_table
from polymodal.errors import CellError, ConfigError, SchemaError, parameter_error
from polymodal.model.batches import build_examples
from polymodal.model.checkpoint import MODEL_FOLDER, load_model, save_model
from polymodal.model.embed import Embeddings, embed_chunks, embed_table
from polymodal.model.predict import predict_chunks
from polymodal.model.predictions import Predictions, join_predictions
from polymodal.model.search_index import Hit, SearchIndex, build_index
from polymodal.model.trained_model import TrainedModel, precompute
from polymodal.progress import LoggingProgress, Progress

TableLike = Any
"""A path, a dataframe, an Arrow table, a mapping of lists, a list of rows, or a ``Table``."""


class Model:
    """A trained multimodal model.

    Example:
        >>> model = polymodal.fit("train.csv", target="label")  # doctest: +SKIP
        >>> model.predict("new.csv")["label"]  # doctest: +SKIP

    Attributes:
        trained: Network, fitted modalities and targets, baselines, ensembles.
        folder: The run folder it was written to, or None.
    """

    def __init__(self, trained: TrainedModel, folder: Path | None = None) -> None:
        """Wrap a trained model.

        Args:
            trained: The trained model.
            folder: The run folder it was written to, if any.
        """
        self.trained = trained
        self.folder = folder

    @property
    def report_data(self) -> dict[str, Any]:
        """Plain JSON with all that ``report.html`` and ``metrics.json`` show."""
        return self.trained.report_data

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the columns it predicts."""
        return tuple(target.name for target in self.trained.schema.targets)

    @property
    def classes(self) -> dict[str, list[str] | None]:
        """Target to class names, or None for numbers."""
        return {name: target.classes for name, target in self.trained.targets.items()}

    def summary(self) -> dict[str, Any]:
        """Return the scores as ``polymodal train --json`` prints them."""
        from polymodal.model.summary import summary_of

        return summary_of(self.report_data)

    def predict(self, table: TableLike, *, weights: bool = False) -> dict[str, list[Cell]]:
        """Predict every row.

        Args:
            table: Rows to predict; absent columns count as missing cells.
            weights: Whether to add ``weight:STREAM`` lists, where the fusion has weights.

        Returns:
            Target to one plain value a row, in the table's order: a label, list of labels, number, text, ...

        Raises:
            PolymodalError: If the table cannot be read.
        """
        predictions = self.predictions(table, weights=weights)
        columns = {f"weight:{stream}": [float(w) for w in values] for stream, values in predictions.weights.items()}
        return predictions.labels | columns

    def predict_proba(self, table: TableLike) -> dict[str, tuple[list[str], NDArray[np.float64]]]:
        """Predict probabilities.

        Args:
            table: Rows to predict.

        Returns:
            Target to class names and probabilities ``[rows, classes]``; number targets are left out.
        """
        predictions = self.predictions(table)
        classes = {name: names for name, names in predictions.classes.items() if names is not None}
        return {name: (names, predictions.values[name]) for name, names in classes.items()}

    def predictions(
        self, table: TableLike, *, weights: bool = False, strict: bool = False, progress: Progress | None = None
    ) -> Predictions:
        """Predict every row, with probabilities, confidences and broken cells.

        Args:
            table: Rows to predict.
            weights: Whether to return the fusion's stream weights.
            strict: Whether a broken cell raises.
            progress: Reports progress; None: ``logging``, by the logger ``polymodal``.

        Returns:
            Labels, probabilities, weights and broken cells.

        Raises:
            CellError: If ``strict`` and a cell cannot be decoded.
        """
        batches = self.predict_batches(table, weights=weights, strict=strict, progress=progress)
        return join_predictions(list(batches))

    def predict_batches(
        self,
        table: TableLike,
        *,
        rows: int | None = None,
        weights: bool = False,
        strict: bool = False,
        progress: Progress | None = None,
    ) -> Iterator[Predictions]:
        """Predict a table batch by batch: a file of any length in bounded memory.

        Args:
            table: Rows to predict; a file is read lazily.
            rows: Most rows of a batch; None: as many as are predicted at once. The predictions are the same.
            weights: Whether to return the fusion's stream weights.
            strict: Whether a broken cell raises.
            progress: Reports progress; None: ``logging``, by the logger ``polymodal``.

        Yields:
            Labels, probabilities, weights and broken cells of the next rows, in the table's order. Broken cells are
            named by their row in the whole table.

        Raises:
            ConfigError: If the model has no target, or ``rows`` is not at least 1.
            TableError: If the table cannot be read; for broken rows of a file, once they are reached.
            CellError: If ``strict`` and a cell cannot be decoded.
        """
        if not self._has_columns():
            raise ConfigError("This model has no target to predict: it embeds rows. Use `embed` or `search`.")
        if rows is not None and rows < 1:
            raise parameter_error("rows", "predict_batches", "None or at least 1", rows)
        source = table if isinstance(table, str | Path) else read_table(table)
        name = Path(source).name if isinstance(source, str | Path) else source.name
        first_row = 0
        for chunk in predict_chunks(self.trained, source, ArrayCache.default(), progress or LoggingProgress(), weights):
            if strict and chunk.broken_cells:
                first = chunk.broken_cells[0]
                raise CellError(f"{name}, row {first.row}, column {first.column!r}: {first.reason}.")
            step = rows or max(len(chunk), 1)
            for start in range(0, max(len(chunk), 1), step):
                yield chunk if step >= len(chunk) else chunk.take(slice(start, start + step), first_row + 1)
            first_row += len(chunk)

    def evaluate(self, table: TableLike, *, strict: bool = False, progress: Progress | None = None) -> dict[str, Any]:
        """Evaluate the model on rows with truth.

        Args:
            table: Rows with the target columns.
            strict: Whether a broken cell raises.
            progress: Reports progress; None: ``logging``, by the logger ``polymodal``.

        Returns:
            The object that ``polymodal evaluate --json`` prints.

        Raises:
            SchemaError: If the table lacks every target column or known value.
            CellError: If ``strict`` and a cell cannot be decoded.
        """
        from polymodal.model.summary import summary_of

        return summary_of(self.evaluation_report(table, strict=strict, progress=progress))

    def evaluation_report(
        self, table: TableLike, *, strict: bool = False, progress: Progress | None = None
    ) -> dict[str, Any]:
        """Evaluate the model on rows with truth, in full: calibration, confusion, curves.

        Args:
            table: Rows with the target columns.
            strict: Whether a broken cell raises.
            progress: Reports progress; None: ``logging``, by the logger ``polymodal``.

        Returns:
            The keys of a run's report data that an evaluation has.

        Raises:
            SchemaError: If the table lacks every target column or known value.
            CellError: If ``strict`` and a cell cannot be decoded.
        """
        from polymodal.model.evaluation import evaluate_examples
        from polymodal.targets.notices import invalid_target_cells

        started, source, progress = time.perf_counter(), read_table(table), progress or LoggingProgress()
        if self._has_columns():
            _check_has_targets(source, self.trained)
        cache = ArrayCache.default()
        with progress.phase(f"decoding {source.name}", None):
            columns, broken = self.trained.preprocessor.transform(source, cache)
            broken = broken + invalid_target_cells(source, self.trained.targets)
        if strict and broken:
            raise CellError(f"{source.name}, row {broken[0].row}, column {broken[0].column!r}: {broken[0].reason}.")
        columns = precompute(self.trained.network, columns, cache, progress)
        cells = _padded_cells(source, self.trained)
        rows = np.arange(source.num_rows)
        examples = build_examples(columns, cells, self.trained.targets, rows, source.name, source.folder)
        known = np.any(list(examples.known.values()), axis=0)
        if not known.any():
            raise SchemaError(
                f"{source.name}: no row has a target value known from training, so nothing can be judged."
            )
        examples = build_examples(columns, cells, self.trained.targets, rows[known], source.name, source.folder)
        with progress.phase("judging", None):
            evaluation = evaluate_examples(self.trained, examples, "test", cache)
        set_aside = source.num_rows - len(examples)
        return {
            "evaluation": evaluation.report,
            "tables": [{"name": source.name, "split": "test", "rows": len(examples), "set_aside": set_aside}],
            "broken_cells": [{"table": source.name, **dataclasses.asdict(cell)} for cell in broken],
            "targets_info": self.report_data["targets_info"],
            "notices": [],
            "seconds": {"total": time.perf_counter() - started},
        }

    def embed(self, table: TableLike, *, progress: Progress | None = None) -> Embeddings:
        """Turn rows into vectors.

        Args:
            table: Rows to embed; absent columns count as missing cells.
            progress: Reports progress; None: ``logging``, by the logger ``polymodal``.

        Returns:
            One unit vector a row and, of a model without targets, one a stream.
        """
        return embed_table(self.trained, read_table(table), ArrayCache.default(), progress or LoggingProgress())

    def embed_batches(self, table: TableLike, *, progress: Progress | None = None) -> Iterator[Embeddings]:
        """Turn a table's rows into vectors batch by batch: a file of any length in bounded memory.

        Args:
            table: Rows to embed; a file is read lazily.
            progress: Reports progress; None: ``logging``, by the logger ``polymodal``.

        Yields:
            The vectors of the next rows, in the table's order; broken cells are named by their row in the whole table.

        Raises:
            TableError: If the table cannot be read; for broken rows of a file, once they are reached.
        """
        source = table if isinstance(table, str | Path) else read_table(table)
        yield from embed_chunks(self.trained, source, ArrayCache.default(), progress or LoggingProgress())

    def index(self, table: TableLike, *, progress: Progress | None = None) -> tuple[SearchIndex, list[BrokenCell]]:
        """Make a searchable index of rows.

        Args:
            table: Rows to index.
            progress: Reports progress; None: ``logging``, by the logger ``polymodal``.

        Returns:
            The index, and the cells that could not be decoded.
        """
        source = read_table(table)
        embeddings = embed_table(self.trained, source, ArrayCache.default(), progress or LoggingProgress())
        return build_index(embeddings, source), embeddings.broken_cells

    def search(self, index: SearchIndex, cells: Mapping[str, Cell], *, top: int = 10, within: str = "row") -> list[Hit]:
        """Find the rows of an index that are nearest to some cells.

        Args:
            index: An index of ``Model.index`` or ``polymodal.model.search_index.load_index``.
            cells: Column to cell, such as ``{"caption": "a red circle"}``; other columns count as missing.
            top: How many rows at most.
            within: The vectors to compare with: ``row``, or a stream.

        Returns:
            The nearest rows, best first.

        Raises:
            ConfigError: If no cell is given, or a column is unknown.
            CellError: If a cell cannot be decoded.
        """
        known = self.trained.preprocessor.column_names
        unknown = sorted(set(cells) - set(known))
        if unknown or not cells:
            query = f"the column {unknown[0]!r}, which the model does not know" if unknown else "nothing"
            raise ConfigError(f"The search asks for {query}. The columns are: {', '.join(known)}.")
        embeddings = self.embed({name: [cell] for name, cell in cells.items()})
        if embeddings.broken_cells:
            broken = embeddings.broken_cells[0]
            raise CellError(f"The cell of {broken.column!r}: {broken.reason}.")
        return index.search(embeddings.rows[0], top, within)

    def query_cells(self, values: Mapping[str, Cell]) -> dict[str, Cell]:
        """Find the columns that hold a modality.

        Args:
            values: Modality to cell.

        Returns:
            Column to cell.

        Raises:
            ConfigError: If a modality has no column or several.
        """
        cells = {}
        for modality, cell in values.items():
            columns = [c.name for c in self.trained.schema.columns if c.modality == modality]
            if len(columns) != 1:
                have = f"{len(columns)} such columns ({', '.join(columns)})" if columns else "no such column"
                raise ConfigError(f"The model has {have}; a search by {modality} needs one. Use --query COL=VALUE.")
            cells[columns[0]] = cell
        return cells

    def _has_columns(self) -> bool:
        return bool(self.trained.schema.targets)

    def save(self, path: str | Path) -> None:
        """Write the model: safetensors, JSON and text.

        Args:
            path: The model's folder; an older model there is replaced.

        Raises:
            ConfigError: If the folder holds something else.
        """
        folder = Path(path)
        if folder.exists() and not (folder / "model.json").is_file() and any(folder.iterdir()):
            raise ConfigError(f"The folder {folder} holds something else than a model. Choose another one.")
        save_model(self.trained, folder)


def _check_has_targets(table: Table, trained: TrainedModel) -> None:
    if not any(name in table.columns for name in trained.targets):
        names = ", ".join(repr(name) for name in trained.targets)
        raise SchemaError(f"{table.name} has no target column: expected {names}, got {', '.join(table.columns)}.")


def _padded_cells(table: Table, trained: TrainedModel) -> dict[str, Sequence[Cell]]:
    needed = [*trained.preprocessor.column_names, *trained.targets]
    relevance = {name: cells for name, cells in table.columns.items() if name == trained.config.relevance}
    given = trained.schema.with_derived(table).columns
    absent: Sequence[Cell] = [None] * table.num_rows
    return {name: given.get(name, absent) for name in needed} | relevance


def load(path: str | Path, device: str | None = None, custom_objects: Mapping[str, Any] | None = None) -> Model:
    """Load a model.

    Args:
        path: A run folder, or the model folder in it.
        device: Where its network is to run, by torch's name: ``cpu``, ``cuda``, ``cuda:1``; None takes a GPU where
            torch finds one, else the CPU.
        custom_objects: Name to class, function or table row, for encoders and fusions that were given from Python
            when it was trained, such as ``{"MyFusion": MyFusion}``.

    Returns:
        The model, ready to predict.

    Raises:
        CheckpointError: If there is no model, it is damaged, or it needs a part that is not here.
        ConfigError: If there is no such device.
    """
    folder = Path(path)
    return Model(load_model(folder, device, custom_objects), folder if (folder / MODEL_FOLDER).is_dir() else None)
