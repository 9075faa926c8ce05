"""What can be asked of a trained model besides predictions: why, what if, what is new, what to get next.

Each answer is made in a room of its own, which is imported when it is asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from polymodal.model.trained_model import TrainedModel

if TYPE_CHECKING:
    from polymodal.arrays import Cell
    from polymodal.drift.comparison import Drift
    from polymodal.progress import Progress


class ModelQuestions:
    """The part of ``Model`` that asks about a model rather than predicts with it.

    Attributes:
        trained: Network, fitted modalities and targets, baselines, ensembles.
        folder: The run folder it was written to, or None.
    """

    trained: TrainedModel
    folder: Path | None

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
        from polymodal.data.tables.table import read_table
        from polymodal.model.predict import predict_chunks
        from polymodal.model.prediction_sets import Wish
        from polymodal.model.predictions import join_predictions
        from polymodal.progress import LoggingProgress

        source, wish = read_table(table), Wish(coverage=coverage)
        chunks = predict_chunks(self.trained, source, ArrayCache.default(), LoggingProgress(), strict=strict, wish=wish)
        found = join_predictions(list(chunks))
        intervals = {name: [(float(low), float(high)) for low, high in rows] for name, rows in found.intervals.items()}
        return {**found.sets, **intervals}

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
        from polymodal.data.tables.table import read_table
        from polymodal.drift.find_drift import find_drift
        from polymodal.progress import LoggingProgress

        return find_drift(
            self.trained,
            read_table(table),
            ArrayCache.default(),
            progress or LoggingProgress(),
            alpha=alpha,
            min_effect=min_effect,
            rows=rows,
            training=None if training is None else read_table(training),
        )
