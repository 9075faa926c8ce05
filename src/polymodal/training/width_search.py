"""Choosing the network's width by the time there is: a narrow one that learns beats a wide one that hardly begins."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from polymodal.model.batches import epoch_batches
from polymodal.model.network import Network
from polymodal.nn.distributed import main_says
from polymodal.training.state import TrainingInputs
from polymodal.training.trainer import begin, measure_validation
from polymodal.training.training_step import take_step

LEAST_SHARE = 0.5
"""Where time is left for this share of the epochs that were asked for, the width stays."""
LEAST_GAIN = 1.5
"""A narrower network is taken where it has time for so many times the epochs."""
TIMED_STEPS = 2


@dataclasses.dataclass(frozen=True)
class Choice:
    """A width and what it has time for.

    Attributes:
        width: Of tokens.
        epochs: Epochs that fit, of each width that was tried, the widest first; empty where none was.
    """

    width: int
    epochs: dict[int, float]

    @property
    def notices(self) -> list[str]:
        """What the report says of it; nothing where nothing was given up."""
        first = next(iter(self.epochs), self.width)
        if self.width == first:
            return []
        return [
            f"The time limit leaves a network of width {first} about {self.epochs[first]:.1f} epochs; one of width "
            f"{self.width}, which has time for {self.epochs[self.width]:.1f}, was trained in its place."
        ]


def choose_width(inputs: TrainingInputs, build: Callable[[int], Network], widths: Sequence[int]) -> Choice:
    """Take steps with networks that are thrown away, from the widest on, while a narrower one has time for more.

    Args:
        inputs: Data, options and the budget.
        build: Makes a fresh network of a width.
        widths: What to try, falling.

    Returns:
        The first that has time for half of the epochs asked for, or from which the next one gains little.
    """
    chosen, found = widths[0], {}
    for width in widths:
        found[width] = main_says(_fitting(inputs, build(width))) / inputs.steps_per_epoch
        if found[width] < LEAST_GAIN * found[chosen] and width != chosen:
            break
        chosen = width
        if found[width] >= LEAST_SHARE * (inputs.settings.epochs or 1):
            break
    return Choice(chosen, found)


def _fitting(inputs: TrainingInputs, network: Network) -> int:
    """Return how many steps of a network fit, by the pace of a few."""
    strategy, state = begin(network, inputs)
    plan = inputs.plan(state)
    measure_validation(strategy, inputs, plan)
    strategy.module.train()
    batches = epoch_batches(len(inputs.train), inputs.settings.batch_size or 1, inputs.seed, 0)
    for places, _ in zip(batches, range(TIMED_STEPS + 1), strict=False):
        started = plan.clock()
        take_step(strategy, inputs, state, places)
        plan.note_step(state.step, plan.clock() - started)
    return plan.steps
