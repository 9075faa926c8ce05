"""Choice of the network's width under a time limit: a narrow network gets more epochs than a wide one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from polymodal.model.batches import epoch_batches
from polymodal.model.network import Network
from polymodal.nn.distributed import broadcast_from_main
from polymodal.training.inputs import TrainingInputs
from polymodal.training.trainer import set_up, time_validation
from polymodal.training.training_step import training_step

MIN_EPOCH_FRACTION = 0.5
"""A width is accepted if this fraction of the requested epochs fits into the time limit."""
MIN_EPOCH_GAIN = 1.5
"""A narrower network is chosen only if at least this many times the epochs fit."""
TIMED_STEPS = 2


@dataclasses.dataclass(frozen=True)
class WidthChoice:
    """The chosen width, and the epochs that fit into the time limit.

    Attributes:
        width: Width of the tokens.
        epochs: Width to number of epochs that fit, for each width that was tried, the widest first; may be empty.
    """

    width: int
    epochs: dict[int, float]

    @property
    def notices(self) -> list[str]:
        """Sentences for the report; empty if the widest network was chosen."""
        first = next(iter(self.epochs), self.width)
        if self.width == first:
            return []
        return [
            f"The time limit leaves a network of width {first} about {self.epochs[first]:.1f} epochs; one of width "
            f"{self.width}, which has time for {self.epochs[self.width]:.1f}, was trained instead."
        ]


def choose_width(inputs: TrainingInputs, build: Callable[[int], Network], widths: Sequence[int]) -> WidthChoice:
    """Time a few training steps of each width, from the widest on, with networks that are discarded.

    Args:
        inputs: Data, options and the time limit.
        build: Builds a new network of a width.
        widths: Widths to try, in falling order.

    Returns:
        The first width for which half of the requested epochs fit, or whose successor gains too few epochs.
    """
    chosen, epochs = widths[0], {}
    for width in widths:
        epochs[width] = broadcast_from_main(_num_steps_that_fit(inputs, build(width))) / inputs.steps_per_epoch
        if epochs[width] < MIN_EPOCH_GAIN * epochs[chosen] and width != chosen:
            break
        chosen = width
        if epochs[width] >= MIN_EPOCH_FRACTION * (inputs.settings.epochs or 1):
            break
    return WidthChoice(chosen, epochs)


def _num_steps_that_fit(inputs: TrainingInputs, network: Network) -> int:
    strategy, state = set_up(network, inputs)
    planner = inputs.step_planner(state)
    time_validation(strategy, inputs, planner)
    strategy.module.train()
    batches = epoch_batches(len(inputs.train), inputs.settings.batch_size or 1, inputs.seed, 0)
    for indices, _ in zip(batches, range(TIMED_STEPS + 1), strict=False):
        started = planner.clock()
        training_step(strategy, inputs, state, indices)
        planner.record_step(state.step, planner.clock() - started)
    return planner.num_steps
