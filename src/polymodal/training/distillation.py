"""Knowledge distillation: a trained model's predictions of the training rows, as further training targets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polymodal.data.cache.cache import ArrayCache
from polymodal.data.tables.table import Table
from polymodal.errors import ConfigError
from polymodal.model.batches import Examples
from polymodal.model.checkpoint import load_model
from polymodal.model.predict_table import predict_chunks
from polymodal.model.predictions import join_predictions
from polymodal.progress import Progress
from polymodal.targets import AnyTarget, StructuredTarget


def predict_with_teacher(
    teacher: str, table: Table, train: Examples, targets: Mapping[str, AnyTarget], cache: ArrayCache, progress: Progress
) -> dict[str, NDArray[np.float32]]:
    """Predict the training rows with a trained model (Hinton et al. 2015, arXiv 1503.02531).

    The teacher may have streams that the student lacks.

    Args:
        teacher: A run folder, or the model folder in it.
        table: The training table, with every column that the teacher needs.
        train: The training rows.
        targets: The student's targets.
        cache: Where decoded arrays are kept.
        progress: Reports progress.

    Returns:
        Flat target to probabilities ``[rows, classes]`` or values ``[rows]`` of the training rows.

    Raises:
        CheckpointError: If there is no such model.
        ConfigError: If it predicts none of the targets, or other classes.
    """
    model = load_model(Path(teacher))
    shared = [name for name, t in targets.items() if not isinstance(t, StructuredTarget) and name in model.targets]
    if not shared:
        raise ConfigError(
            f"The teacher {teacher} predicts {', '.join(model.targets)}, none of the classes, labels or numbers to "
            f"learn: {', '.join(targets)}. Name another --teacher."
        )
    for name in shared:
        known, wanted = model.targets[name].classes, targets[name].classes
        if known != wanted:
            raise ConfigError(
                f"The teacher {teacher} knows other classes of {name!r} than the training rows: {_few(known)} "
                f"instead of {_few(wanted)}. Name another --teacher."
            )
    chunks = predict_chunks(model, table.take(train.rows), cache, progress)
    values = join_predictions(list(chunks)).values
    return {name: values[name].astype(np.float32) for name in shared}


def _few(classes: list[str] | None) -> str:
    if classes is None:
        return "numbers"
    return ", ".join(classes[:5]) + (", ..." if len(classes) > 5 else "")
