"""Recovered pictures beside the true ones, of some evaluated rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from polymodal.modalities import Image
from polymodal.model.batches import Examples
from polymodal.model.judge_recovery import hidden_rows
from polymodal.model.recovered_sketches import column_decoders, recovered_targets
from polymodal.model.trained_model import TrainedModel
from polymodal.report.recovery_section import METHOD_TITLES

SHOWN_ROWS = 10


def recovered_pictures(model: TrainedModel, examples: Examples) -> list[dict[str, Any]]:
    """Recover the hidden pictures of some rows.

    Args:
        model: A model.
        examples: Evaluated rows.

    Returns:
        For each column of pictures its ``column``, its ``form``, what is ``returned``, and ``rows``: each with its
        ``number`` in the table and ``pictures``, title to ``data:`` URI, the true one first. Empty where nothing is
        recovered.
    """
    if model.recovery is None:
        return []
    modalities, decoders = model.preprocessor.modalities, column_decoders(model)
    found = []
    for column in model.recovery.columns:
        name, target = recovered_targets(model.targets)[column.stream]
        decoder = decoders[column.column]
        if not isinstance(modalities[column.stream], Image) or decoder.decode is None:
            continue
        known = examples.subset(np.flatnonzero(examples.known[name]))
        hidden = hidden_rows(model, column.group, known, SHOWN_ROWS)
        sketches = {"true": hidden.truth} | {METHOD_TITLES[method]: of for method, of in hidden.sketches.items()}
        drawn = {title: decoder.decode(target.unstandardised(values)) for title, values in sketches.items()}
        rows = [
            {"number": int(known.rows[place]) + 1, "pictures": {title: uris[row] for title, uris in drawn.items()}}
            for row, place in enumerate(hidden.rows)
        ]
        returned = METHOD_TITLES[column.method]
        found.append({"column": column.column, "form": decoder.form, "returned": returned, "rows": rows})
    return found
