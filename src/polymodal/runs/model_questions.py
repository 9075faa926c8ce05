"""What can be asked of a trained model besides predictions: why, what if, what is new, what to get next.

Each answer is made in a room of its own, which is imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polymodal.model.trained_model import TrainedModel
from polymodal.progress import LoggingProgress, Progress

if TYPE_CHECKING:
    from polymodal.robustness import StressReport


class ModelQuestions:
    """The part of ``Model`` that asks about a model rather than predicts with it.

    Attributes:
        trained: Network, fitted modalities and targets, baselines, ensembles.
        folder: The run folder it was written to, or None.
    """

    trained: TrainedModel
    folder: Path | None

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
        from polymodal.data.tables.table import read_table
        from polymodal.robustness import StressOptions, stress_table

        options = StressOptions(kinds=kinds, streams=streams, severities=severities, rows=rows, seed=seed)
        return stress_table(self.trained, read_table(table), options, progress or LoggingProgress())
