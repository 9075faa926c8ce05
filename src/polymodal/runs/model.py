"""The Python interface to a trained model: ``Model`` and ``load``.

Imports that only evaluation needs are made inside the functions that evaluate, so that prediction starts sooner.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.atomic_files import check_replaceable
from polymodal.bundle.load_bundle import is_bundle, load_bundle
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.features import GIVEN, FeatureFunction, functions_by_name
from polymodal.data.tables.table import read_table
from polymodal.errors import ConfigError, list_names, parameter_error, tells_packages, warn
from polymodal.model.predict_table import predict_chunks
from polymodal.model.prediction_sets import Wish
from polymodal.model.predictions import Predictions, join_predictions
from polymodal.model.saved_parts import MODEL_FILE, MODEL_FOLDER
from polymodal.model.trained_model import TrainedModel
from polymodal.progress import LoggingProgress, Progress
from polymodal.runs.model_questions import ModelQuestions
from polymodal.runs.model_shipping import ModelShipping
from polymodal.runs.model_vectors import ModelVectors

TableLike = Any
"""A path, a dataframe, an Arrow table, a mapping of lists, a list of rows, or a ``Table``."""


class Model(ModelVectors, ModelQuestions, ModelShipping):
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
    def record(self) -> dict[str, Any]:
        """The former name of ``report_data``."""
        return self.report_data

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

    def predict(self, table: TableLike, *, weights: bool = False, strict: bool = False) -> dict[str, list[Cell]]:
        """Predict every row.

        What the model lacks in the table is told by one ``PolymodalWarning`` each: absent columns, which count as
        missing cells; cells that cannot be read; categories that were not seen in training.

        Args:
            table: Rows to predict.
            weights: Whether to add ``weight:STREAM`` lists, where the fusion has weights.
            strict: Whether what the model lacks raises.

        Returns:
            Target to one plain value a row, in the table's order: a label, list of labels, number, text, ...

        Raises:
            ConfigError: If the model has no target.
            SchemaError: If the table has no input column of the model, or, where strict, lacks one.
            PolymodalError: If the table cannot be read.
        """
        self._check_has_columns()
        predictions = self.predictions(table, weights=weights, strict=strict)
        columns = {f"weight:{stream}": [float(w) for w in values] for stream, values in predictions.weights.items()}
        return predictions.labels | columns

    def predict_proba(
        self, table: TableLike, *, strict: bool = False
    ) -> dict[str, tuple[list[str], NDArray[np.float64]]]:
        """Predict probabilities.

        Args:
            table: Rows to predict.
            strict: As for ``predict``.

        Returns:
            Target to class names and probabilities ``[rows, classes]``; number targets are left out.
        """
        predictions = self.predictions(table, strict=strict)
        classes = {name: names for name, names in predictions.classes.items() if names is not None}
        return {name: (names, predictions.values[name]) for name, names in classes.items()}

    @tells_packages
    def predictions(
        self,
        table: TableLike,
        *,
        keep: Sequence[str] = (),
        weights: bool = False,
        coverage: float | None = None,
        abstain: float | None = None,
        strict: bool = False,
        unusual: bool = False,
        progress: Progress | None = None,
    ) -> Predictions:
        """Predict every row, with probabilities, confidences and broken cells.

        Args:
            table: Rows to predict.
            keep: Columns of the table to copy to the predictions, such as an identifier.
            weights: Whether to return the fusion's stream weights.
            coverage: How often ``sets`` and ``intervals`` are to hold the truth, such as 0.9; None: there are none.
            abstain: How often answers are to be right, such as 0.95: the labels of rows that are too unsure are None.
            strict: As for ``predict``.
            unusual: Whether to tell how unusual each row is, as a p-value.
            progress: Reports progress; None: ``logging``, by the logger ``polymodal``.

        Returns:
            Labels, probabilities, sets, intervals, weights and broken cells.

        Raises:
            ConfigError: If the model has no calibration rows, or nothing to tell unusual rows by, or a share is not
                between 0 and 1.
            SchemaError: As for ``predict``, or if there is no column to keep of that name.
            CellError: If ``strict`` and a cell cannot be decoded.
        """
        wish: dict[str, Any] = {"coverage": coverage, "abstain": abstain, "unusual": unusual}
        batches = self.predict_batches(table, keep=keep, weights=weights, strict=strict, progress=progress, **wish)
        return join_predictions(list(batches))

    def predict_batches(
        self,
        table: TableLike,
        *,
        rows: int | None = None,
        keep: Sequence[str] = (),
        weights: bool = False,
        coverage: float | None = None,
        abstain: float | None = None,
        strict: bool = False,
        unusual: bool = False,
        progress: Progress | None = None,
    ) -> Iterator[Predictions]:
        """Predict a table batch by batch: a file of any length in bounded memory.

        What the model lacks is told as ``predict`` does: absent columns before the first batch (of JSON lines behind
        the last one), what is counted over the rows behind the last one.

        Args:
            table: Rows to predict; a file is read lazily.
            rows: Most rows of a batch; None: as many as are predicted at once. The predictions are the same.
            keep: Columns of the table to copy to the predictions, such as an identifier.
            weights: Whether to return the fusion's stream weights.
            coverage: As for ``predictions``.
            abstain: As for ``predictions``.
            strict: As for ``predict``.
            unusual: Whether to tell how unusual each row is, as a p-value.
            progress: Reports progress; None: ``logging``, by the logger ``polymodal``.

        Yields:
            The predictions of the next rows, in the table's order; broken cells by their row in the whole table.

        Raises:
            ConfigError: If the model has no target or lacks what is asked of it, ``rows`` is below 1, or a kept column
                is named like a prediction.
            SchemaError: As for ``predict``, or if there is no column to keep of that name.
            TableError: If the table cannot be read; for broken rows of a file, once they are reached.
            CellError: If ``strict`` and a cell cannot be decoded.
        """
        if self.trained.recovery is None:
            self._check_has_columns()
        if rows is not None and rows < 1:
            raise parameter_error("rows", "predict_batches", "None or at least 1", rows)
        source = table if isinstance(table, str | Path) else read_table(table)
        cache, first_row, progress = ArrayCache.default(), 0, progress or LoggingProgress()
        options: dict[str, Any] = {"keep": keep, "wish": Wish(coverage=coverage, accuracy=abstain), "unusual": unusual}
        for chunk in predict_chunks(self.trained, source, cache, progress, weights, strict=strict, **options):
            if weights and not chunk.weights and not first_row:
                warn(f"The fusion {self.trained.config.fusion.name!r} has no weights of the streams: none are given.")
            step = rows or max(len(chunk), 1)
            for start in range(0, max(len(chunk), 1), step):
                yield chunk if step >= len(chunk) else chunk.take(slice(start, start + step), first_row + 1)
            first_row += len(chunk)

    def evaluate(
        self,
        table: TableLike,
        *,
        slices: Sequence[str] | None = None,
        strict: bool = False,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Evaluate the model on rows with truth.

        Args:
            table: Rows with the target columns.
            slices: Columns by whose values the rows are scored, value by value; None: those of the run, where the table
                has them.
            strict: As for ``predict``.
            progress: Reports progress; None: ``logging``, by the logger ``polymodal``.

        Returns:
            The object that ``polymodal evaluate --json`` prints.

        Raises:
            SchemaError: If the table lacks every target column or known value, or a column of ``slices``.
            CellError: If ``strict`` and a cell cannot be decoded.
        """
        from polymodal.model.summary import summary_of

        return summary_of(self.evaluation_report(table, slices=slices, strict=strict, progress=progress))

    @tells_packages
    def evaluation_report(
        self,
        table: TableLike,
        *,
        slices: Sequence[str] | None = None,
        strict: bool = False,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Evaluate the model on rows with truth, in full: calibration, confusion, curves.

        Args:
            table: Rows with the target columns.
            slices: As for ``evaluate``.
            strict: As for ``predict``.
            progress: Reports progress; None: ``logging``, by the logger ``polymodal``.

        Returns:
            The keys of a run's report data that an evaluation has.

        Raises:
            SchemaError: If the table lacks every target column or known value, or a column of ``slices``.
            CellError: If ``strict`` and a cell cannot be decoded.
        """
        from polymodal.model.evaluate_table import evaluate_table

        rows = self.trained.with_features(read_table(table))
        report = evaluate_table(self.trained, rows, slices, strict, progress or LoggingProgress())
        return {**report, "targets_info": self.report_data["targets_info"]}

    def _check_has_columns(self) -> None:
        if not self.trained.schema.targets:
            more = "" if self.trained.recovery is None else ", or `reconstruct`, as it recovers absent cells"
            raise ConfigError(f"This model has no target to predict: it embeds rows. Use `embed` or `search`{more}.")

    @tells_packages
    def save(self, path: str | Path) -> None:
        """Write the model: safetensors, JSON and text.

        Args:
            path: The model's folder; an older model there is replaced.

        Raises:
            ConfigError: If the folder holds something else.
            OSError: If the model cannot be written: disk full, no permission.
        """
        from polymodal.model.checkpoint import save_model

        check_replaceable(Path(path), MODEL_FILE, "a model")
        save_model(self.trained, Path(path))


@tells_packages
def load(
    path: str | Path,
    device: str | None = None,
    custom_objects: Mapping[str, Any] | None = None,
    features: Sequence[FeatureFunction] = (),
) -> Model:
    """Load a model.

    Args:
        path: A run folder, the model folder in it, or a bundle, which needs no torch.
        device: Where its network is to run, by torch's name: ``cpu``, ``cuda``, ``cuda:1``; None takes a GPU where
            torch finds one, else the CPU. A bundle runs on the CPU.
        custom_objects: Name to class, function or table row, for encoders and fusions that were given from Python
            when it was trained, such as ``{"MyFusion": MyFusion}``.
        features: The feature functions that were given from Python when it was trained; those of installed packages
            are found.

    Returns:
        The model, ready to predict.

    Raises:
        CheckpointError: If there is no model, it is damaged, or it needs a part that is not here.
        ConfigError: If there is no such device, or the model knows nothing of a feature function.
    """
    folder = Path(path)
    functions = {**GIVEN.get(), **functions_by_name(features)}
    if is_bundle(folder):
        if device not in (None, "cpu"):
            raise ConfigError(f"The bundle {folder} runs on the CPU: leave out --device {device}, or load its run.")
        return Model(_with_functions(load_bundle(folder), functions, folder))
    from polymodal.model.checkpoint import load_model

    trained = _with_functions(load_model(folder, device, custom_objects), functions, folder)
    return Model(trained, folder if (folder / MODEL_FOLDER).is_dir() else None)


def _with_functions(model: TrainedModel, functions: Mapping[str, FeatureFunction], folder: Path) -> TrainedModel:
    unknown = [name for name in functions if name not in model.config.features]
    if unknown:
        known = list_names(map(repr, model.config.features))
        raise ConfigError(
            f"The model {folder} was trained without the feature function {unknown[0]!r}. Its feature functions are: "
            f"{known}."
        )
    return dataclasses.replace(model, feature_functions=functions) if functions else model
