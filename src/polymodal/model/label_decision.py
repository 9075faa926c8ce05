"""How labels of categories are chosen from probabilities: the ``decision`` of a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from polymodal.config import RunConfig, TrainConfig
from polymodal.errors import parameter_error
from polymodal.targets import AnyTarget, CategoryTarget

BALANCED_LOSSES = ("logit_adjusted", "class_weighted")
"""Losses that make a network answer as if all classes were equally frequent."""
BALANCED = "each class's probability is divided by its frequency; probabilities are not changed"
MOST_PROBABLE = "probabilities follow the table's class frequencies, whatever the network learned from"


def with_label_decision(targets: Mapping[str, AnyTarget], config: RunConfig) -> dict[str, AnyTarget]:
    """Give categories the weights of their labels, and the offset of a network that learns from balanced classes.

    Args:
        targets: Name to fitted target.
        config: The run's configuration.

    Returns:
        Name to target; those of other kinds are unchanged.

    Raises:
        ConfigError: If there is a ``decision`` but no category.
    """
    names = [name for name, target in targets.items() if isinstance(target, CategoryTarget)]
    if config.decision != "auto" and not names:
        raise parameter_error("decision", "this run", "auto, where no target is a category", config.decision)
    decided: dict[str, AnyTarget] = dict(targets)
    for name, target in targets.items():
        if isinstance(target, CategoryTarget):
            wishes = _wishes(config.train, is_first=name == names[0])
            decided[name] = _decided(target, len(wishes), _is_balanced(config, wishes))
    return decided


def _decided(target: CategoryTarget, num_shifts: int, is_balanced: bool) -> CategoryTarget:
    prior = np.asarray(target.prior, dtype=np.float64)
    return dataclasses.replace(
        target,
        label_weights=(1 / (len(prior) * prior)).tolist() if is_balanced else None,
        logit_offset=(num_shifts * np.log(prior)).tolist() if num_shifts else None,
    )


def _wishes(settings: TrainConfig, is_first: bool) -> list[str]:
    """Return the training options that balance the classes of a category; rows are sampled by the first one."""
    sampling = ["train.sampling=balanced"] if settings.sampling == "balanced" and is_first else []
    return sampling + ([f"train.loss={settings.loss}"] if settings.loss in BALANCED_LOSSES else [])


def _is_balanced(config: RunConfig, wishes: list[str]) -> bool:
    return config.decision == "balanced" or (config.decision == "auto" and bool(wishes))


def decision_notices(targets: Mapping[str, AnyTarget], config: RunConfig) -> list[str]:
    """Tell how labels are chosen, where the user asked for balanced classes.

    Args:
        targets: Name to target, with its label decision.
        config: The run's configuration.

    Returns:
        At most one sentence for each category.
    """
    categories = {name: target for name, target in targets.items() if isinstance(target, CategoryTarget)}
    notices = []
    for index, (name, target) in enumerate(categories.items()):
        subject = "Labels" if len(targets) == 1 else f"Labels of {name!r}"
        asked = " and ".join(_wishes(config.train, is_first=index == 0))
        if target.label_weights is not None:
            by = "decision=balanced" if config.decision == "balanced" else asked
            notices.append(f"{subject} are chosen for balanced classes, as {by} asked: {BALANCED}.")
        elif asked and config.decision == "most_probable":
            notices.append(
                f"{subject} are the most probable classes, as decision=most_probable asked, in spite of {asked}: "
                f"{MOST_PROBABLE}."
            )
    return notices
