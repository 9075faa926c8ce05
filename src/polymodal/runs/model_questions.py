"""What can be asked of a trained model besides predictions: why, what if, what is new, what to get next.

Each answer is made in a room of its own, which is imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polymodal.model.trained_model import TrainedModel
from polymodal.progress import LoggingProgress, Progress

if TYPE_CHECKING:
    from polymodal.acquisition.acquisition import Acquisition, Labelling


class ModelQuestions:
    """The part of ``Model`` that asks about a model rather than predicts with it.

    Attributes:
        trained: Network, fitted modalities and targets, baselines, ensembles.
        folder: The run folder it was written to, or None.
    """

    trained: TrainedModel
    folder: Path | None

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
        from polymodal.data.tables.table import read_table
        from polymodal.runs.known_rows import known_rows

        check_request(self.trained, costs, budget, price, estimator)
        source = table if isinstance(table, str | Path) else read_table(table)
        given = None if training is None else read_table(training)
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
        from polymodal.data.tables.table import read_table

        source = table if isinstance(table, str | Path) else read_table(table)
        return choose_labels(self.trained, source, budget, target, progress or LoggingProgress(), strict=strict)
