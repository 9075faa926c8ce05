"""What an index is searched by: some cells of a row."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.input_check import InputCheck
from polymodal.data.schema.schema import Schema
from polymodal.data.tables.table import read_table
from polymodal.errors import CellError, ConfigError, did_you_mean
from polymodal.model.trained_model import TrainedModel
from polymodal.progress import SilentProgress


def embed_query(model: TrainedModel, cells: Mapping[str, Cell]) -> NDArray[np.float32]:
    """Embed a row of which some cells are given.

    Args:
        model: The trained model.
        cells: Column to cell; all other cells are absent.

    Returns:
        Its unit vector, float32 ``[D]``.

    Raises:
        ConfigError: If no cell is given, or a column is unknown.
        CellError: If a cell cannot be decoded.
    """
    known = model.preprocessor.column_names
    unknown = next((name for name in cells if name not in known), "")
    if unknown or not cells:
        query = f"the column {unknown!r}, which the model does not know" if unknown else "nothing"
        raise ConfigError(f"The search asks for {query}. {did_you_mean(unknown, known, 'The columns are')}")
    check = InputCheck(model.preprocessor, "The query")
    columns, broken = check.transform(read_table({name: [cells.get(name)] for name in known}))
    if broken:
        raise CellError(f"The cell of {broken[0].column!r}: {broken[0].reason}.")
    check.see_columns(known)
    check.finish()
    rows, _ = model.network.embed(model.network.precompute(columns, ArrayCache(None), SilentProgress()))
    return np.asarray(rows[0])


def find_query_cells(schema: Schema, values: Mapping[str, Cell]) -> dict[str, Cell]:
    """Find the columns that hold a modality.

    Args:
        schema: The model's columns.
        values: Modality to cell.

    Returns:
        Column to cell.

    Raises:
        ConfigError: If a modality has no column or several.
    """
    cells = {}
    for modality, cell in values.items():
        columns = [entry.name for entry in schema.columns if entry.modality == modality]
        if len(columns) != 1:
            have = f"{len(columns)} such columns ({', '.join(columns)})" if columns else "no such column"
            raise ConfigError(f"The model has {have}; a search by {modality} needs one. Use --query COL=VALUE.")
        cells[columns[0]] = cell
    return cells
