"""What can be asked of a trained model besides predictions: why, what if, what is new, what to get next.

Each answer is made in a room of its own, which is imported when it is asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from polymodal.data.cache.cache import ArrayCache
from polymodal.data.tables.table import read_table
from polymodal.model.trained_model import TrainedModel
from polymodal.progress import LoggingProgress, Progress

if TYPE_CHECKING:
    from polymodal.drift.comparison import Drift


class ModelQuestions:
    """The part of ``Model`` that asks about a model rather than predicts with it.

    Attributes:
        trained: Network, fitted modalities and targets, baselines, ensembles.
        folder: The run folder it was written to, or None.
    """

    trained: TrainedModel
    folder: Path | None

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
        from polymodal.drift.find_drift import find_drift

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
