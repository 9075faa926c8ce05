"""A model that is served: its columns, its version and its answers to checked rows. It opens no file of a request."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polymodal.arrays import Cell
from polymodal.bundle.graph_network import GraphNetwork
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.tables.table import Table
from polymodal.errors import CheckpointError, ConfigError, PolymodalError
from polymodal.model.embed import Embeddings, embed_table
from polymodal.model.manifest import MANIFEST_FILE
from polymodal.model.predict_table import predict_chunks
from polymodal.model.prediction_sets import Wish
from polymodal.model.predictions import Predictions, join_predictions
from polymodal.model.search_index import SearchIndex, load_index
from polymodal.progress import SilentProgress
from polymodal.runs.model import Model, load
from polymodal.serving.answers import row_answers
from polymodal.serving.columns import InputColumn, input_columns
from polymodal.serving.questions import Options, Row, RowReader
from polymodal.serving.request_error import RequestError
from polymodal.serving.settings import Limits

TABLE_NAME = "The request"
NO_CACHE = ArrayCache(None)
MODEL_FOLDER = "model"
VERSION_DIGITS = 12
Stamp = tuple[int, int, int]


class ServedModel:
    """A loaded model and what clients are told of it.

    Attributes:
        model: The model; it has forgotten the path of its training table.
        name: The folder's name.
        version: Digest of the folder's manifest.
        columns: Columns that clients may send.
        reader: Checks rows against them.
        index: The search index, or None.
        has: What can be asked of the model.
    """

    def __init__(self, model: Model, name: str, version: str, limits: Limits, index: SearchIndex | None = None) -> None:
        """Describe a model, and let it answer once.

        Args:
            model: The model.
            name: Its name, for clients.
            version: Changes when the model does.
            limits: What the server takes.
            index: Rows for ``/search``, embedded by this model.

        Raises:
            ConfigError: If the index is of another model, or the model has feature functions.
        """
        model.trained.check_no_features("A server")
        config = model.trained.config.model_copy(update={"data": None})  # nothing of its training rows is shown
        recovery = None if model.trained.recovery is None else model.trained.recovery.without_cells()
        self.model = Model(dataclasses.replace(model.trained, config=config, recovery=recovery), model.folder)
        self.name = name
        self.version = version
        self.limits = limits
        self.index = index
        self.columns: dict[str, InputColumn] = input_columns(model.trained.preprocessor)
        schema = model.trained.schema
        others = {entry.name for entry in (*schema.ignored, *schema.columns)} | {t.name for t in schema.targets}
        self.reader = RowReader(self.columns, frozenset(others - set(self.columns)), limits)
        self.has = self._find_abilities()

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets."""
        return self.model.targets

    @property
    def example(self) -> dict[str, Any]:
        """A row that the model takes, as JSON."""
        return {name: column.example for name, column in self.columns.items() if column.example is not None}

    def schema(self) -> dict[str, Any]:
        """Return what ``/schema`` answers."""
        limits = self.limits
        return {
            "model": self.name,
            "version": self.version,
            "format": "bundle" if self.is_bundle else "run",
            "inputs": [column.to_json(limits.max_body_bytes) for column in self.columns.values()],
            "targets": self._target_entries(),
            "has": self.has,
            "limits": {
                "max_rows": limits.max_rows,
                "max_body_bytes": limits.max_body_bytes,
                "max_pixels": limits.max_pixels,
                "max_seconds": limits.max_seconds,
            },
            "example": self.example,
        }

    @property
    def is_bundle(self) -> bool:
        """Whether it is an exported bundle."""
        return isinstance(self.model.trained.network, GraphNetwork)

    def _target_entries(self) -> list[dict[str, Any]]:
        kinds = {target.name: target.kind for target in self.model.trained.schema.targets}
        classes = self.model.classes
        return [
            {"name": name, "kind": kind} | ({} if classes.get(name) is None else {"classes": classes[name]})
            for name, kind in kinds.items()
        ]

    def _find_abilities(self) -> dict[str, bool]:
        """Let the model answer an example, which also prepares what it prepares once."""
        rows, _ = self.reader.read([self.example or dict.fromkeys(self.columns)])
        has_reference = bool(self.targets) and self.model.trained.reference is not None
        weights = bool(self.targets and self._predict(rows, Options(weights=True, unusual=has_reference)).weights)
        vectors = self.embed(rows)
        if self.index is not None and self.index.vectors["row"].shape[1] != vectors.rows.shape[1]:
            raise ConfigError("The index was made by another model: its vectors have another length. Make it again.")
        return {
            "predict": bool(self.targets),
            "sets": bool(self.model.trained.calibrations),
            "explain": bool(self.targets),
            "embed": True,
            "search": self.index is not None,
            "weights": weights,
            "unusual": has_reference,
        }

    def check_options(self, options: Options) -> None:
        """Check that the model can do what a request wants.

        Args:
            options: What it wants of predictions.

        Raises:
            RequestError: With 422 if it cannot.
        """
        if not self.has["predict"]:
            raise RequestError(422, "This model has no target to predict: it embeds rows. Ask /embed or /search.")
        wanted = {"sets": options.coverage is not None, "weights": options.weights, "unusual": options.unusual}
        sentences = {
            "sets": "The field 'coverage' asks for prediction sets, but this model has no calibration rows.",
            "weights": "The field 'weights' asks for weights of streams, but this model's fusion has none.",
            "unusual": "The field 'unusual' asks how unusual rows are, but this model remembers none of its own.",
        }
        for name, is_wanted in wanted.items():
            if is_wanted and not self.has[name]:
                raise RequestError(422, f"{sentences[name]} Leave it out.")

    def predict(self, rows: Sequence[Row], options: Options) -> list[dict[str, Any]]:
        """Predict rows.

        Args:
            rows: Checked rows.
            options: What is wanted.

        Returns:
            One plain JSON object a row.

        Raises:
            RequestError: With 422 if the model refuses the rows.
        """
        try:
            return row_answers(self._predict(rows, options), list(rows))
        except PolymodalError as error:
            raise RequestError(422, str(error)) from None

    def _predict(self, rows: Sequence[Row], options: Options) -> Predictions:
        wish = Wish(coverage=options.coverage)
        table, progress = self.table(rows), SilentProgress()
        chunks = predict_chunks(
            self.model.trained, table, NO_CACHE, progress, options.weights, wish=wish, unusual=options.unusual
        )
        return join_predictions(list(chunks))

    def embed(self, rows: Sequence[Row]) -> Embeddings:
        """Turn rows into vectors.

        Args:
            rows: Checked rows.

        Returns:
            Their unit vectors.
        """
        return embed_table(self.model.trained, self.table(rows), NO_CACHE, SilentProgress())

    def search(self, row: Row, top: int, within: str) -> list[dict[str, Any]]:
        """Find the rows of the index that are nearest to a row.

        Args:
            row: A checked row.
            top: How many.
            within: The vectors to compare with: ``row``, or a stream.

        Returns:
            Their numbers, scores and cells, best first.

        Raises:
            RequestError: With 404 if there is no index, with 422 if it has no such vectors or the row no cell.
        """
        if self.index is None:
            raise RequestError(404, "This server has no index to search. It is started with --index.")
        vector = self.embed([row]).rows[0]
        if not vector.any():
            raise RequestError(422, "The row has no cell that could be searched by.")
        try:
            return [dataclasses.asdict(hit) for hit in self.index.search(vector, top, within)]
        except PolymodalError as error:
            raise RequestError(422, str(error)) from None

    def table(self, rows: Sequence[Row]) -> Table:
        """Make a table of rows, whose cells are never opened as paths.

        Args:
            rows: Checked rows.

        Returns:
            The table.
        """
        columns: dict[str, list[Cell]] = {name: [row.cells[name] for row in rows] for name in self.columns}
        return Table(columns, folder=None, name=TABLE_NAME)


def model_folder(path: Path) -> Path:
    """Return the folder that has a model's manifest.

    Args:
        path: A bundle, a run folder, or the model folder in it.

    Returns:
        The bundle's or the model's folder.
    """
    return path / MODEL_FOLDER if (path / MODEL_FOLDER / MANIFEST_FILE).is_file() else path


def stamp(path: Path) -> Stamp | None:
    """Return what changes when a model is replaced.

    Args:
        path: A bundle, a run folder, or the model folder in it.

    Returns:
        Inode, time and size of its manifest; None where there is none at this moment.
    """
    try:
        status = (model_folder(path) / MANIFEST_FILE).stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def load_served(path: Path, limits: Limits, *, device: str | None = None, index: Path | None = None) -> ServedModel:
    """Load a model to serve.

    Args:
        path: A bundle, a run folder, or the model folder in it.
        limits: What the server takes.
        device: Where a run folder's network runs.
        index: Folder of a search index.

    Returns:
        The model, which has answered once.

    Raises:
        CheckpointError: If there is no model, or it is damaged.
        ConfigError: If the index is of another model.
    """
    model = load(path, device)
    try:
        manifest = (model_folder(path) / MANIFEST_FILE).read_bytes()
    except OSError:
        raise CheckpointError(
            f"{path} has no {MANIFEST_FILE}: it was saved by an earlier version. Save it again."
        ) from None
    version = hashlib.sha256(manifest).hexdigest()[:VERSION_DIGITS]
    resolved = path.resolve()
    name = resolved.parent.name if resolved.name == MODEL_FOLDER else resolved.name
    return ServedModel(model, name, version, limits, None if index is None else load_index(index))
