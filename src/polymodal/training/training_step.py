"""One step of training: a batch varied, its losses, their gradients (torch)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from polymodal.modalities import Modality
from polymodal.model.batches import rows_present, truth_batch
from polymodal.model.network import Batch, Mix, Network, NetworkOutput, Truth
from polymodal.nn.affine import Warp
from polymodal.nn.distributed import num_processes, process_number, share_of
from polymodal.nn.precision import lowered
from polymodal.targets import SketchTarget, StructuredTarget, TranscriptTarget
from polymodal.targets.evidence import targets_at
from polymodal.tokens import ColumnBatch
from polymodal.training.augmentation import augment, corrupt, mirrored
from polymodal.training.losses import LossInputs, Terms, count_rows, draw_hidden, loss_terms, stream_presence
from polymodal.training.modality_balance import backward, check_balance
from polymodal.training.speech_augmentation import vary_speech
from polymodal.training.state import TrainingInputs, TrainingState
from polymodal.training.strategy import Strategy

STEP_SEED_STRIDE = 1_000_003
PROCESS_SEED_STRIDE = 2**40
DRAWS_LATE = frozenset({"ogm_ge"})
"""Ways of balancing that draw random numbers after the way back."""


@dataclass(frozen=True)
class Drawn:
    """A batch as one step learns from it, or one of several processes its share of it.

    Attributes:
        places: int64 ``[B]``, rows of the table.
        batch: Stream to cells, varied.
        truth: Target to encoded cells, moved with them, and where they are known.
        present: bool ``[B, S]``, which streams a row has.
        hidden: bool ``[B, S]``, which of them the fusion does not see.
        counts: Target to how many rows of the whole batch count for it.
        whole: bool ``[W, S]``, ``present`` of the whole batch.
        is_idle: Whether the row is one that counts for nothing, as there was none for this process.
    """

    places: NDArray[np.int64]
    batch: Batch
    truth: Truth
    present: torch.Tensor
    hidden: torch.Tensor
    counts: dict[str, torch.Tensor]
    whole: torch.Tensor
    is_idle: bool


def take_step(
    strategy: Strategy,
    inputs: TrainingInputs,
    state: TrainingState,
    places: NDArray[np.int64],
    following: NDArray[np.int64] | None = None,
) -> None:
    """Learn from one batch; its randomness comes from the seed and the step's number.

    A batch that does not fit into the device's memory is computed in twice as many parts, one after the other; not
    where weights are shared out: the other processes would wait for this one in the midst of the step.

    Args:
        strategy: The network and its optimizer.
        inputs: Data and options.
        state: Where training stands; step and losses are counted on.
        places: Rows of the batch.
        following: Rows of the next step's batch, which is drawn meanwhile; None where none is known.
    """
    while True:
        try:
            losses = batch_gradients(strategy, inputs, state, places, following)
            break
        except torch.OutOfMemoryError:
            if inputs.settings.accumulate is not None or state.num_parts >= len(places) or strategy.shares is not None:
                raise
            check_balance(inputs.settings.balance, strategy.network, inputs.targets, 2)
            state.num_parts *= 2
        strategy.forget_gradients()
        torch.cuda.empty_cache()
    strategy.follow_gradients(inputs.settings.clip_norm)
    state.add_losses(losses)
    state.step += 1


def batch_gradients(
    strategy: Strategy,
    inputs: TrainingInputs,
    state: TrainingState,
    places: NDArray[np.int64],
    following: NDArray[np.int64] | None = None,
) -> torch.Tensor:
    """Compute all gradients of a batch.

    Where weights are shared out, all processes run the same parts of the network: a process without rows takes one
    that counts for nothing, and encoders that have no rows of their own run on a row of the batch.

    Args:
        strategy: The network, whose weights stay as they are; earlier gradients are forgotten.
        inputs: Data and options.
        state: Where training stands.
        places: Rows of the batch.
        following: Rows of the next step's batch.

    Returns:
        Losses ``[2 + S]``: followed, fused and each stream's.
    """
    network = strategy.module
    drawn = strategy.prefetcher.take(state.step, partial(draw, strategy, inputs, state.step, places))
    strategy.forget_gradients()
    losses = torch.zeros(2 + len(network.streams), device=strategy.device)
    num_parts = min(state.num_parts, max(len(places) // num_processes(), 1))  # the same in every process
    parts = torch.arange(len(drawn.places)).tensor_split(num_parts) if len(drawn.places) else ()
    for part in parts:
        rows = drawn.batch if len(part) == len(drawn.places) else {s: c.take(part) for s, c in drawn.batch.items()}
        lent = {} if strategy.shares is None else stand_ins(inputs, network.streams, places, drawn.whole, rows)
        loss_inputs = on_device(_loss_inputs_of_part(inputs, state, drawn, part), strategy.device)
        outputs, terms = _run(network, inputs, rows, drawn.hidden[part], loss_inputs, lent)
        if part is parts[-1] and following is not None and inputs.settings.balance not in DRAWS_LATE:
            strategy.prefetcher.begin(state.step + 1, partial(draw, strategy, inputs, state.step + 1, following))
        losses += _descend(network, state, outputs, terms, loss_inputs)
    return strategy.collect(losses)


def draw(strategy: Strategy, inputs: TrainingInputs, number: int, places: NDArray[np.int64]) -> Drawn:
    """Draw a step's batch; dropout draws on from where this ends.

    Args:
        strategy: Says which streams there are.
        inputs: Data and options.
        number: The step's number.
        places: Rows of the batch.

    Returns:
        The batch, or this process's share of it.
    """
    seed = inputs.seed * STEP_SEED_STRIDE + number
    torch.manual_seed(seed)
    network = strategy.module
    whole = rows_present(inputs.train, network.streams, places)
    hidden = draw_hidden(whole, inputs.settings.modality_dropout if network.fuses_streams else 0.0)
    counts = count_rows({name: torch.from_numpy(known[places]) for name, known in inputs.train.known.items()}, whole)
    share = share_of(places)
    is_idle = strategy.shares is not None and not len(places[share])
    share = slice(0, 1) if is_idle else share
    mine = places[share]
    if len(mine) < len(places):
        torch.manual_seed(seed + PROCESS_SEED_STRIDE * process_number())
    batch, truth = vary(inputs, inputs.train.batch(mine), truth_batch(inputs.train, mine))
    return Drawn(mine, batch, truth, whole[share], hidden[share], counts, whole, is_idle)


def _loss_inputs_of_part(inputs: TrainingInputs, state: TrainingState, drawn: Drawn, part: torch.Tensor) -> LossInputs:
    """Gather what some rows of a batch are to be learned for, and how much they count."""
    loss_inputs = loss_inputs_of(
        inputs, state, drawn.places[part.numpy()], taken(drawn.truth, part), drawn.present[part]
    )
    if len(part) < len(drawn.whole):
        loss_inputs = dataclasses.replace(loss_inputs, share=len(part) / len(drawn.whole), counts=drawn.counts)
    return without_weight(loss_inputs) if drawn.is_idle else loss_inputs


def stand_ins(
    inputs: TrainingInputs, streams: tuple[str, ...], places: NDArray[np.int64], present: torch.Tensor, part: Batch
) -> Batch:
    """Find a row of every stream that is there in the batch and not in this part of it.

    Args:
        inputs: Data.
        streams: Order of the columns of ``present``.
        places: Rows of the batch.
        present: bool ``[B, S]``, of the batch.
        part: Stream to cells.

    Returns:
        Stream to one row.
    """
    lacking = present.any(dim=0) & ~stream_presence(part, streams).any(dim=0)
    rows = {streams[index]: int(present[:, index].int().argmax()) for index in lacking.nonzero().flatten().tolist()}
    return {stream: inputs.train.batch(places[row : row + 1])[stream] for stream, row in rows.items()}


def without_weight(loss_inputs: LossInputs) -> LossInputs:
    """Let rows count for nothing.

    Args:
        loss_inputs: What they would be learned for.

    Returns:
        The same, with a share of zero and nothing known.
    """
    truth = {name: (values, torch.zeros_like(known)) for name, (values, known) in loss_inputs.truth.items()}
    return dataclasses.replace(loss_inputs, truth=truth, share=0.0)


def _run(
    network: Network, inputs: TrainingInputs, batch: Batch, hidden: torch.Tensor, loss_inputs: LossInputs, lent: Batch
) -> tuple[NetworkOutput, Terms]:
    """Run rows through the network, and compute what they lose."""
    device = loss_inputs.present.device
    moved, lent = ({stream: column.to(device) for stream, column in given.items()} for given in (batch, lent))
    with lowered(inputs.settings.precision, device):
        outputs = network(
            moved, hidden.to(device), loss_inputs.truth, inputs.settings.label_smoothing, loss_inputs.mix, lent
        )
    return outputs, loss_terms(network, outputs, loss_inputs)


def _descend(
    network: Network, state: TrainingState, outputs: NetworkOutput, terms: Terms, loss_inputs: LossInputs
) -> torch.Tensor:
    """Go the way back; return the losses."""
    loss = backward(network, terms, outputs, loss_inputs, state.history)
    return torch.cat([loss.detach().reshape(1), terms.fused.detach().reshape(1), terms.streams.detach()])


def vary(inputs: TrainingInputs, batch: Batch, truth: Truth) -> tuple[Batch, Truth]:
    """Vary a batch's inputs; an autoencoder sees them with holes.

    Pictures with known places are moved together with them. Where several targets warp one stream, the first one's
    limits hold.

    Args:
        inputs: Modalities, targets and options.
        batch: Stream to cells.
        truth: Target to encoded cells and where they are known.

    Returns:
        Varied inputs and the truth that belongs to them.
    """
    if inputs.settings.augment:
        batch, truth = _varied(inputs, batch, truth)
    if inputs.settings.flip:
        batch = {stream: mirrored(inputs.modalities[stream], column) for stream, column in batch.items()}
    if any(isinstance(target, SketchTarget) and not target.recovered for target in inputs.targets.values()):
        batch = {stream: corrupt(inputs.modalities[stream], column) for stream, column in batch.items()}
    return batch, truth


def _varied(inputs: TrainingInputs, batch: Batch, truth: Truth) -> tuple[Batch, Truth]:
    structured = {name: target for name, target in inputs.targets.items() if isinstance(target, StructuredTarget)}
    limits = {stream: found for t in reversed(structured.values()) for stream, found in t.warped.items()}
    varied = {
        s: column if s in limits else _varied_cells(inputs, inputs.modalities[s], column) for s, column in batch.items()
    }
    moved = dict(truth)
    for stream in [stream for stream in limits if len(batch[stream])]:
        height, width = batch[stream].values.shape[1:3]
        warp = Warp.draw(len(batch[stream]), (width, height), limits[stream])
        varied[stream] = warp.pictures(batch[stream])
        moved |= {n: (target.follow(stream, moved[n][0], warp), moved[n][1]) for n, target in structured.items()}
    return varied, moved


def _varied_cells(inputs: TrainingInputs, modality: Modality, column: ColumnBatch) -> ColumnBatch:
    """Vary a stream's cells; where a transcript is read from them, by what leaves every word audible."""
    is_spelt = any(isinstance(target, TranscriptTarget) for target in inputs.targets.values())
    if is_spelt and modality.name in TranscriptTarget.details:
        return vary_speech(modality, column)
    return augment(modality, column)


def draw_mix(num_rows: int, strength: float) -> Mix | None:
    """Draw how rows are mixed.

    Args:
        num_rows: Rows of the batch.
        strength: Both parameters of the beta distribution of shares; 0 mixes nothing.

    Returns:
        A partner for each row and the row's own share, or None.
    """
    if not strength:
        return None
    share = float(torch.distributions.Beta(strength, strength).sample())
    return Mix(torch.randperm(num_rows), max(share, 1 - share))


def taken(truth: Truth, rows: torch.Tensor) -> Truth:
    """Return the truth of some rows.

    Args:
        truth: Target to encoded cells and where they are known.
        rows: int64, places in the batch.

    Returns:
        The same of those rows.
    """
    return {name: (values[rows], known[rows]) for name, (values, known) in truth.items()}


def loss_inputs_of(
    inputs: TrainingInputs, state: TrainingState, places: NDArray[np.int64], truth: Truth, present: torch.Tensor
) -> LossInputs:
    """Gather what rows are to be learned for.

    Args:
        inputs: Truth, targets and options.
        state: Where training stands.
        places: Which rows.
        truth: Target to encoded cells, as varied, and where they are known.
        present: bool ``[B, S]``.

    Returns:
        The loss_inputs.
    """
    return LossInputs(
        targets=targets_at(inputs.targets, state.step / (state.planned_steps or inputs.total_steps)),
        truth=truth,
        present=present,
        settings=inputs.settings,
        soft={name: torch.from_numpy(values[places]) for name, values in inputs.soft.items()},
        mix=draw_mix(len(places), inputs.settings.mixup),
    )


def on_device(loss_inputs: LossInputs, device: torch.device) -> LossInputs:
    """Bring what is to be learned to where the network is.

    Args:
        loss_inputs: The loss_inputs.
        device: Where tensors shall live.

    Returns:
        The same there.
    """
    return dataclasses.replace(
        loss_inputs,
        truth={name: (values.to(device), known.to(device)) for name, (values, known) in loss_inputs.truth.items()},
        present=loss_inputs.present.to(device),
        soft={name: values.to(device) for name, values in loss_inputs.soft.items()},
        counts={name: count.to(device) for name, count in loss_inputs.counts.items()},
    )
