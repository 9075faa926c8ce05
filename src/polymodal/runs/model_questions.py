"""What can be asked of a trained model besides predictions: why, what if, what is new, what to get next.

Each answer is made in a room of its own, which is imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polymodal.data.tables.table import read_table
from polymodal.errors import ConfigError, tells_packages
from polymodal.model.trained_model import TrainedModel
from polymodal.progress import LoggingProgress, Progress

if TYPE_CHECKING:
    from polymodal.acquisition.acquisition import Acquisition, Labelling
    from polymodal.arrays import Cell
    from polymodal.drift.comparison import Drift
    from polymodal.robustness import StressReport
    from polymodal.runs.explained import ShownExplanation


class ModelQuestions:
    """The part of ``Model`` that asks about a model rather than predicts with it.

    Attributes:
        trained: Network, fitted modalities and targets, baselines, ensembles.
        folder: The run folder it was written to, or None.
    """

    trained: TrainedModel
    folder: Path | None

    @tells_packages
    def predict_sets(
        self, table: Any, coverage: float, *, strict: bool = False
    ) -> dict[str, list[list[Cell]] | list[tuple[float, float]]]:
        """Predict a set of labels or an interval for every row, which holds the truth as often as was promised.

        Args:
            table: Rows to predict.
            coverage: The promise, above 0 and below 1, such as 0.9; of several labels a row, the share of true labels
                that are in the set, on average.
            strict: As for ``predict``.

        Returns:
            Target of classes or labels to a list of labels each row, the most probable first; target of a number to
            ``(low, high)`` each row, infinite where nothing can be excluded. Other targets are left out.

        Raises:
            ConfigError: If the model has no calibration rows, or the share is not between 0 and 1.
            SchemaError: As for ``predict``.
        """
        from polymodal.data.cache.cache import ArrayCache
        from polymodal.model.predict_table import predict_chunks
        from polymodal.model.prediction_sets import Wish
        from polymodal.model.predictions import join_predictions

        source, wish = read_table(table), Wish(coverage=coverage)
        chunks = predict_chunks(self.trained, source, ArrayCache.default(), LoggingProgress(), strict=strict, wish=wish)
        found = join_predictions(list(chunks))
        intervals = {name: [(float(low), float(high)) for low, high in rows] for name, rows in found.intervals.items()}
        return {**found.sets, **intervals}

    @tells_packages
    def reconstruct(
        self, table: Any, *, pictures: str | Path | None = None, strict: bool = False, progress: Progress | None = None
    ) -> dict[str, list[Cell]]:
        """Recover absent and broken cells from the other cells of their row.

        Each column is recovered by the network, by ridge regression or by its typical value, whichever was best on the
        validation rows of the run; the report says how good that is.

        Args:
            table: Rows of which some lack cells.
            pictures: Folder to write recovered pictures to, as ``COLUMN-ROW.png``; None: they are PNG ``data:`` URIs.
            strict: As for ``predict``.
            progress: Reports progress; None: ``logging``, by the logger ``polymodal``.

        Returns:
            Column to one cell a row, in the column's own units and spelling; None where the cell is there, and in rows
            without any cell. ``COLUMN:row`` is, where a training row's cell is returned, its number.

        Raises:
            ConfigError: If the model was not trained with ``reconstruct``, or the folder cannot be.
            SchemaError: As for ``predict``.
        """
        from polymodal.data.cache.cache import ArrayCache
        from polymodal.model.predict_table import predict_chunks
        from polymodal.model.predictions import join_predictions
        from polymodal.model.recover import PREFIX
        from polymodal.model.recovered_files import check_picture_folder, write_pictures

        self.check_recovers("reconstruct")
        if pictures is not None:
            check_picture_folder(Path(pictures))
        source, cache = read_table(table), ArrayCache.default()
        chunks = predict_chunks(self.trained, source, cache, progress or LoggingProgress(), strict=strict)
        found = join_predictions(list(chunks)).recovered
        found = found if pictures is None else write_pictures(found, Path(pictures))
        return {name.removeprefix(PREFIX): cells for name, cells in found.items()}

    def check_recovers(self, asked: str) -> None:
        """Check that the model recovers absent cells.

        Args:
            asked: What was asked for, for the message.

        Raises:
            ConfigError: If it does not.
        """
        if self.trained.recovery is None:
            raise ConfigError(
                f"This model was not trained to recover absent cells, which {asked} needs. Train it with --reconstruct."
            )

    @tells_packages
    def drift(
        self,
        table: Any,
        *,
        alpha: float = 0.05,
        min_effect: float = 0.05,
        rows: int = 2000,
        training: Any = None,
        progress: Progress | None = None,
    ) -> Drift:
        """Compare a new table with the training rows: each column, the streams' embeddings, and the predictions.

        Args:
            table: The new rows.
            alpha: Most probable share of tables like the training one in which anything is called drifted.
            min_effect: Smaller effects are no drift: at least so large a share of the rows would have to be others.
            rows: Most rows that are compared, drawn at random.
            training: The training table, for models of earlier versions, which remember nothing of it.
            progress: Reports progress; None: ``logging``, by the logger ``polymodal``.

        Returns:
            All comparisons, the worst first; ``is_drifted`` and ``sentence`` are the verdict.

        Raises:
            ConfigError: If an option has a wrong value, or the model remembers nothing and no training table is given.
            SchemaError: If the table has no input column of the model.
            TableError: If a table cannot be read or has no rows.
        """
        from polymodal.data.cache.cache import ArrayCache
        from polymodal.drift.find_drift import find_drift

        return find_drift(
            self.trained,
            self.trained.with_features(read_table(table)),
            ArrayCache.default(),
            progress or LoggingProgress(),
            alpha=alpha,
            min_effect=min_effect,
            rows=rows,
            training=None if training is None else self.trained.with_features(read_table(training)),
        )

    @tells_packages
    def explain(
        self,
        table: Any,
        *,
        rows: Sequence[int] | None = None,
        target: str | Sequence[str] | None = None,
        stream: str | Sequence[str] | None = None,
        training: Any = None,
        method: str = "occlusion",
        passes: int = 50,
        strict: bool = False,
        progress: Progress | None = None,
    ) -> ShownExplanation:
        """Explain why rows get their final answers: which streams, which parts of cells, and what would change them.

        Args:
            table: The rows, as for ``predict``.
            rows: Numbers of rows, from 1; None explains the first 20 and summarises the first 200.
            target: Target or targets; None: all of them.
            stream: Stream or streams whose cells are explained; None: all of them.
            training: Rows like those that the model was trained on, of which the nearest are shown; None: the file
                that it was trained on, where it is still there.
            method: How cells are explained: "occlusion" (what the answer loses without a part), "owen" (shares that add
                up to what the stream is worth), or "gradients" (integrated gradients of the network alone; needs
                ``captum``).
            passes: Network passes a row, at most: eleven for streams and changes (where there are at least 22), the
                others for its cells; 0 explains streams only.
            strict: As for ``predict``.
            progress: Reports progress; None: ``logging``, by the logger ``polymodal``.

        Returns:
            The explanation: Shapley values of the streams for each row, the parts of their cells, and a summary. A
            notebook shows its page; ``save`` writes it with JSON and figures.

        Raises:
            ConfigError: If the model has no target, there is no such row or method, or there are too few passes.
            SchemaError: If there is no such target or stream, or the table has no input column of the model.
            TableError: If a table cannot be read or has no rows.
            CellError: If ``strict`` and a cell cannot be decoded.
        """
        from polymodal.explain.explain import explain_table
        from polymodal.runs.explained import ShownExplanation

        source = self.trained.with_features(read_table(table))
        explanation = explain_table(
            self.trained,
            source,
            rows=rows,
            targets=_names(target),
            streams=_names(stream),
            training=training,
            method=method,
            passes=passes,
            strict=strict,
            progress=progress or LoggingProgress(),
        )
        return ShownExplanation.of(explanation, source, self.trained.schema)

    @tells_packages
    def stress(
        self,
        table: Any,
        *,
        kinds: Sequence[str] = (),
        streams: Sequence[str] = (),
        severities: Sequence[int] = (1, 3, 5),
        rows: int = 500,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> StressReport:
        """Score the model with noise in one stream at a time, and with every combination of absent streams.

        Args:
            table: Rows with the target columns, as for ``predict``.
            kinds: Names of noise, such as ``image_blur``, globs, or modalities; empty: all that the streams can have.
            streams: The streams that get noise; empty: all.
            severities: Of 1 to 5.
            rows: Rows that are used at most, drawn at random.
            seed: Fixes the rows and the noise.
            progress: Reports progress; None: ``logging``, by the logger ``polymodal``.

        Returns:
            Scores of the final answer, the network alone and the baselines, the worst noise first.

        Raises:
            SchemaError: If the table lacks every target column or known value.
            ConfigError: If a kind, a stream or a severity does not exist, or none of the kinds is for the streams.
        """
        from polymodal.robustness import StressOptions, stress_table

        options = StressOptions(kinds=kinds, streams=streams, severities=severities, rows=rows, seed=seed)
        source = self.trained.with_features(read_table(table))
        return stress_table(self.trained, source, options, progress or LoggingProgress())

    @tells_packages
    def acquire(
        self,
        table: Any,
        *,
        costs: Mapping[str, float] | None = None,
        budget: float | None = None,
        price: float = 0.0,
        training: Any = None,
        estimator: str | None = None,
        strict: bool = False,
        progress: Progress | None = None,
    ) -> Acquisition:
        """Order the absent streams of a table's rows by how much they are expected to lower the loss, for their cost.

        Args:
            table: Rows of which some lack streams; the targets need not be known.
            costs: Stream to what it costs to get it for one row, in any unit; others cost 1.
            budget: Most cost in all; None: no bound.
            price: Loss that one unit of cost is worth: what brings less than its cost at this price is left out.
            training: Rows like those it was trained on; None: those of the run, by the paths that it keeps.
            estimator: "value" or "neighbours"; None: "value", or "neighbours" where held-out rows are few.
            strict: As for ``predict``.
            progress: Reports progress; None: ``logging``, by the logger ``polymodal``.

        Returns:
            Rows and streams in the order in which to get them, with expected gains.

        Raises:
            ConfigError: If a cost, the budget or the price cannot be, the model has one stream alone or no flat target,
                or no training rows are known.
            SchemaError: As for ``predict``.
        """
        from polymodal.acquisition.acquire import acquire, check_request
        from polymodal.runs.known_rows import known_rows

        check_request(self.trained, costs, budget, price, estimator)
        source = table if isinstance(table, str | Path) else read_table(table)
        given = None if training is None else self.trained.with_features(read_table(training))
        progress = progress or LoggingProgress()
        return acquire(
            self.trained,
            source,
            lambda: known_rows(self.trained, given),
            progress,
            costs=costs,
            budget=budget,
            price=price,
            estimator=estimator,
            strict=strict,
        )

    @tells_packages
    def choose_labels(
        self,
        table: Any,
        *,
        budget: int | None = None,
        target: str | None = None,
        strict: bool = False,
        progress: Progress | None = None,
    ) -> Labelling:
        """Order the rows without a label by what their labels would teach: uncertain ones that differ.

        Args:
            table: Rows of which some have no value of the target.
            budget: Most rows to choose; None: all of them.
            target: The target; None: the first one that is a class, labels or a number.
            strict: As for ``predict``.
            progress: Reports progress; None: ``logging``, by the logger ``polymodal``.

        Returns:
            The rows in the order in which to label them.

        Raises:
            ConfigError: If the budget is below 1, or there is no such target.
            SchemaError: As for ``predict``.
        """
        from polymodal.acquisition.labelling import choose_labels

        source = table if isinstance(table, str | Path) else read_table(table)
        return choose_labels(self.trained, source, budget, target, progress or LoggingProgress(), strict=strict)


def _names(given: str | Sequence[str] | None) -> Sequence[str] | None:
    return [given] if isinstance(given, str) else given
