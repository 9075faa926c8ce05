"""Short trial runs that choose an option by the validation loss, before the run itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from polymodal.config import TrainConfig
from polymodal.errors import ConfigError
from polymodal.model.network import Network
from polymodal.progress import Progress
from polymodal.training.augmentation import AUGMENTATIONS
from polymodal.training.inputs import TrainingInputs
from polymodal.training.time_budget import TimeBudget
from polymodal.training.trainer import train_network

EPOCH_FRACTION = 0.25
MIN_EPOCHS = 2


def choose_flip(inputs: TrainingInputs, build: Callable[[], Network], progress: Progress) -> tuple[TrainConfig, str]:
    """Train briefly without and with horizontal flips of pictures, and choose by the validation loss.

    Args:
        inputs: Data and options; ``flip`` is "auto".
        build: Builds a new network, the same each time.
        progress: Reports every step.

    Returns:
        The options with ``flip`` True or False, and a sentence with both losses.

    Raises:
        ConfigError: If no stream has pictures that can be flipped.
    """
    if not flippable_streams(inputs):
        raise ConfigError("The option train.flip=auto mirrors pictures, but no stream of pictures is trained on.")
    losses = {flip: _validation_loss(inputs, flip, build(), progress) for flip in (False, True)}
    flip = losses[True] < losses[False]
    notice = (
        f"Pictures are {'' if flip else 'not '}mirrored: after {_epochs(inputs.settings)} epochs of trial the "
        f"validation loss was {losses[True]:.3f} with mirrored pictures and {losses[False]:.3f} without."
    )
    return inputs.settings.model_copy(update={"flip": flip}), notice


def flippable_streams(inputs: TrainingInputs) -> list[str]:
    """Return the streams of pictures that can be flipped: not those with precomputed outputs of a frozen encoder.

    Args:
        inputs: Data and options.

    Returns:
        Names of the streams.
    """
    columns = inputs.train.columns
    return [
        name
        for name, fitted in inputs.modalities.items()
        if AUGMENTATIONS[fitted.name].flip is not None and columns[name].outputs is None
    ]


def _validation_loss(inputs: TrainingInputs, flip: bool, network: Network, progress: Progress) -> float:
    progress.message(f"trying {'mirrored' if flip else 'plain'} pictures")
    settings = inputs.settings.model_copy(update={"flip": flip, "epochs": _epochs(inputs.settings)})
    trial = dataclasses.replace(inputs, settings=settings, checkpoint_path=None, budget=_trial_budget(inputs.budget))
    return train_network(network, trial, progress).best[0][0]


def _trial_budget(budget: TimeBudget | None) -> TimeBudget | None:
    """Give each of the two trials a sixth of the remaining time."""
    if budget is None:
        return None
    return dataclasses.replace(budget, deadline_s=budget.clock() + budget.remaining_s / 6, evaluation_rows=0)


def _epochs(settings: TrainConfig) -> int:
    return max(round(EPOCH_FRACTION * (settings.epochs or 1)), MIN_EPOCHS)
