"""The training table of a model, which is not kept in its folder: where it is, and what is said where it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from polymodal.data.tables.table import Table, read_table
from polymodal.errors import PolymodalError
from polymodal.model.trained_model import TrainedModel

WITHOUT = "Nearest rows and swapped streams are left out"


def find_training_table(model: TrainedModel, given: Any) -> tuple[Table | None, list[str]]:
    """Read the training table.

    Args:
        model: The trained model.
        given: What the user gave, as for ``read_table``; None: the file that the model was trained on.

    Returns:
        The table, or None with a notice that says why.

    Raises:
        TableError: If the user gave a table that cannot be read.
    """
    if given is not None:
        return model.with_features(read_table(given)), []
    path = model.config.data
    if path is None:
        return None, [f"{WITHOUT}: the model was trained on a table in memory. Name training rows with --training."]
    if not Path(path).exists():
        return None, [f"{WITHOUT}: the training table {path} is not there any more. Name another with --training."]
    try:
        return _with_inputs(model, model.with_features(read_table(path))), []
    except PolymodalError as error:
        return None, [f"{WITHOUT}: the training table {path} cannot be used. {error}"]


def _with_inputs(model: TrainedModel, table: Table) -> Table:
    model.schema.with_derived(table).check_columns(model.preprocessor.column_names, "the model")
    return table
