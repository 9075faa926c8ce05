"""How unusual the rows of a table are, and whether many more of them are than expected."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Column
from polymodal.certainty.reference import Reference
from polymodal.data.tables.table import Table
from polymodal.errors import ConfigError, warn
from polymodal.metrics.counts import beta_binomial
from polymodal.model.row_vectors import row_vectors
from polymodal.model.trained_model import TrainedModel

UNUSUAL = "unusual"
"""The column of p-values."""
LEVELS = (0.01, 0.05)
MOST_CHANCE = 1e-3
"""So seldom may the notice be given of a table of ordinary rows."""


def check_unusual(model: TrainedModel) -> Reference:
    """Check that a model can tell how unusual rows are.

    Args:
        model: The trained model.

    Returns:
        What it remembers of its training rows.

    Raises:
        ConfigError: If it remembers nothing, or predicts a column of the name that is needed.
    """
    if model.reference is None:
        raise ConfigError(
            "This model was saved by an earlier version and remembers nothing of its training rows, so it cannot tell "
            "how unusual a row is. Train it again, or leave out --unusual."
        )
    if UNUSUAL in model.targets:
        raise ConfigError(
            f"The model predicts a column {UNUSUAL!r}, the name that --unusual needs. Leave --unusual out."
        )
    return model.reference


def unusual_rows(model: TrainedModel, table: Table, columns: Mapping[str, Column]) -> NDArray[np.float64]:
    """Compute how unusual rows are.

    Args:
        model: A model with a reference.
        table: The rows.
        columns: Stream to the same rows' arrays, frozen encoders' outputs included.

    Returns:
        p-values ``[rows]``; 1 in a row without any stream.
    """
    return check_unusual(model).unusual.p_values(row_vectors(model, table, columns))


class UnusualTeller:
    """Counts unusual rows, and tells at the end if there are many more than expected.

    Example:
        >>> teller = UnusualTeller(model)  # doctest: +SKIP
        >>> teller.see(p_values, "new.csv")  # doctest: +SKIP
        >>> teller.finish()  # doctest: +SKIP
    """

    def __init__(self, model: TrainedModel, *, is_asked: bool = True) -> None:
        """Choose the least level that the model's held-out rows allow.

        Args:
            model: The trained model.
            is_asked: Whether p-values are asked for; otherwise nothing is told.

        Raises:
            ConfigError: If they are, and the model cannot give them.
        """
        least = check_unusual(model).unusual.least_p_value if is_asked else 1.0
        self._num_held_out = round(1 / least) - 1
        self._level = next((level for level in LEVELS if least <= level), None)
        self._num_rows = self._num_unusual = 0
        self._name = ""

    def see(self, p_values: NDArray[np.float64] | None, name: str) -> None:
        """Count the next rows.

        Args:
            p_values: Their p-values, or None if they were not asked for.
            name: The table's name.
        """
        self._name = name
        if p_values is not None:
            self._num_rows += len(p_values)
            self._num_unusual += int((p_values <= (self._level or 0.0)).sum())

    def finish(self) -> None:
        """Warn if many more rows are unusual than expected, or if no row could be found unusual."""
        if not self._num_rows:
            return
        if self._level is None:
            warn(
                f"The model has only {self._num_held_out:,} validation rows to compare with: no p-value of 'unusual' "
                f"is below {1 / (1 + self._num_held_out):.2g}."
            )
        elif self._is_surprising(self._level):
            share = self._num_unusual / self._num_rows
            warn(
                f"{self._name}: {self._num_unusual:,} of {self._num_rows:,} rows ({share:.0%}) are unusual at "
                f"{self._level:.0%}, where {self._level:.0%} is expected. `polymodal drift` shows what has changed."
            )

    def _is_surprising(self, level: float) -> bool:
        """Return whether so many are hardly ever unusual by chance: the number is beta-binomial (Bates et al. 2023)."""
        rank = int(level * (self._num_held_out + 1))
        chances = beta_binomial(self._num_rows, rank, self._num_held_out + 1 - rank)
        return bool(chances[self._num_unusual :].sum() < MOST_CHANCE) and self._num_unusual > 2 * level * self._num_rows
