"""What is written of a compressed model: all that answers need, without what only pages and drift read."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from polymodal.model.build import num_parameters
from polymodal.model.checkpoint import save_model
from polymodal.model.network import Network
from polymodal.model.saved_parts import REFERENCE_FILE
from polymodal.model.trained_model import TrainedModel
from polymodal.runs.report_data import shared_layer_rows, stream_rows
from polymodal.version import VERSION

MAX_REFERENCE_SHARE = 0.1
"""The rows that are remembered for drift are kept where they take no more than this share of the bytes."""
EVALUATED = ("split", "rows", "targets", "fusion", "streams", "baselines", "missing", "intervals", "decision")
"""What is kept of an evaluation: scores without the data of charts."""
PARTS = ("streams", "shared_layers", "fusion", "parameters")
"""What report data say of the network."""
KEPT = ("command", "title", "seed", "tables", "targets_info", "seconds", "best_epoch")
"""What is kept of the report data of the original."""


def slimmed(model: TrainedModel, evaluation: dict[str, Any] | None = None) -> TrainedModel:
    """Return a model without what answers do not need: charts' data and what is remembered for drift.

    Args:
        model: The model.
        evaluation: The ``evaluation`` of its report data; None: that of the original stands in, which takes as many
            bytes.

    Returns:
        The same answers in fewer bytes.
    """
    kept = {name: model.report_data[name] for name in KEPT if name in model.report_data}
    kept |= _parts_of(model) | {"version": VERSION, "broken_cells": [], "table_notices": [], "notices": []}
    own = model.report_data.get("evaluation", {}) if evaluation is None else evaluation
    scores = {name: value for name, value in own.items() if name in EVALUATED}
    empty: dict[str, Any] = {"split": "validation", "rows": 0, "targets": {}}
    return dataclasses.replace(model, report_data={**kept, "evaluation": {**empty, **scores}}, reference=None)


def _parts_of(model: TrainedModel) -> dict[str, Any]:
    """Describe the network; of an exported one, the description that it was exported with."""
    if not isinstance(model.network, Network):
        return {name: model.report_data[name] for name in PARTS if name in model.report_data}
    fusion = {"name": model.config.fusion.name, "parameters": num_parameters(model.network.fusion)}
    parts = {"streams": stream_rows(model), "shared_layers": shared_layer_rows(model), "fusion": fusion}
    return {**parts, "parameters": num_parameters(model.network)}


def keeps_reference(original: Path | None, num_bytes: int) -> bool:
    """Tell whether what is remembered for drift is small beside a deployed model.

    Args:
        original: The model folder of the original; None where it has none.
        num_bytes: Bytes of the deployed model without it.

    Returns:
        Whether it is kept.
    """
    if original is None:
        return False
    reference = original / REFERENCE_FILE
    return reference.is_file() and reference.stat().st_size <= MAX_REFERENCE_SHARE * num_bytes


def save_slim(model: TrainedModel, folder: Path) -> None:
    """Write a slim model atomically.

    Args:
        model: The model.
        folder: The model's folder.

    Raises:
        OSError: If it cannot be written: disk full, no permission.
    """
    save_model(slimmed(model), folder)
