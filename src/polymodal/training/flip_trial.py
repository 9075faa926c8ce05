"""Short trial runs that settle an option on validation before the run itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from polymodal.config import TrainConfig
from polymodal.errors import ConfigError
from polymodal.model.network import Network
from polymodal.progress import Progress
from polymodal.training.augmentation import AUGMENTATIONS
from polymodal.training.state import TrainingInputs
from polymodal.training.time_budget import Budget
from polymodal.training.trainer import train_network

SHARE_OF_EPOCHS = 0.25
FEWEST_EPOCHS = 2


def choose_flip(inputs: TrainingInputs, build: Callable[[], Network], progress: Progress) -> tuple[TrainConfig, str]:
    """Train shortly without and with mirrored pictures, and keep what validates better.

    Args:
        inputs: Data and options; ``flip`` is "auto".
        build: Builds a fresh network, the same each time.
        progress: Reports every step.

    Returns:
        The options with ``flip`` settled, and a sentence that says why.

    Raises:
        ConfigError: If there is no picture to mirror.
    """
    if not mirrored_streams(inputs):
        raise ConfigError("The option train.flip=auto mirrors pictures, but no stream of pictures is trained on.")
    losses = {flip: _validation_loss(inputs, flip, build(), progress) for flip in (False, True)}
    flip = losses[True] < losses[False]
    told = (
        f"Pictures are {'' if flip else 'not '}mirrored: after {_epochs(inputs.settings)} epochs of trial the "
        f"validation loss was {losses[True]:.3f} with mirrored pictures and {losses[False]:.3f} without."
    )
    return inputs.settings.model_copy(update={"flip": flip}), told


def mirrored_streams(inputs: TrainingInputs) -> list[str]:
    """Return the streams whose training pictures mirroring would change: not those that a frozen encoder has encoded.

    Args:
        inputs: Data and options.

    Returns:
        Their names.
    """
    columns = inputs.train.columns
    return [
        name
        for name, fitted in inputs.modalities.items()
        if AUGMENTATIONS[fitted.name].mirror is not None and columns[name].outputs is None
    ]


def _validation_loss(inputs: TrainingInputs, flip: bool, network: Network, progress: Progress) -> float:
    progress.message(f"trying {'mirrored' if flip else 'plain'} pictures")
    settings = inputs.settings.model_copy(update={"flip": flip, "epochs": _epochs(inputs.settings)})
    trial = dataclasses.replace(inputs, settings=settings, state_path=None, budget=_budget(inputs.budget))
    return train_network(network, trial, progress).best[0][0]


def _budget(whole: Budget | None) -> Budget | None:
    """Both trials together may take a third of the time that is left."""
    if whole is None:
        return None
    return dataclasses.replace(whole, ends_s=whole.clock() + whole.left_s / 6, judged_rows=0)


def _epochs(settings: TrainConfig) -> int:
    return max(round(SHARE_OF_EPOCHS * (settings.epochs or 1)), FEWEST_EPOCHS)
