"""What can be asked of a trained model besides predictions: why, what if, what is new, what to get next.

Each answer is made in a room of its own, which is imported when it is asked for.
"""

from __future__ import annotations

from pathlib import Path

from polymodal.model.trained_model import TrainedModel


class ModelQuestions:
    """The part of ``Model`` that asks about a model rather than predicts with it.

    Attributes:
        trained: Network, fitted modalities and targets, baselines, ensembles.
        folder: The run folder it was written to, or None.
    """

    trained: TrainedModel
    folder: Path | None
