"""The training step: prepare a batch, augment it, compute losses and gradients, update the weights (torch)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from polymodal.modalities import Modality
from polymodal.model.collate import collate_examples, presence_mask, truth_batch
from polymodal.model.network import Batch, Mixup, Network, NetworkOutput, Truth
from polymodal.nn.affine import Warp
from polymodal.nn.distributed import rank_slice
from polymodal.nn.precision import autocast
from polymodal.nn.ranks import get_rank, get_world_size
from polymodal.targets import SketchTarget, StructuredTarget, TranscriptTarget
from polymodal.targets.evidence import with_annealed_penalty
from polymodal.tokens import ColumnBatch
from polymodal.training.augmentation import add_masking_noise, augment, random_flip
from polymodal.training.cell_hiding import hide_table_cells, recovers
from polymodal.training.confidence_penalty import hide_one_more
from polymodal.training.hardening import training_cells
from polymodal.training.inputs import TrainingInputs
from polymodal.training.losses import (
    LossInputs,
    LossTerms,
    count_rows,
    loss_terms,
    sample_modality_dropout,
    stream_presence,
)
from polymodal.training.modality_balance import backward, check_balance
from polymodal.training.speech_augmentation import augment_speech
from polymodal.training.state import TrainingState
from polymodal.training.strategy import Strategy

STEP_SEED_STRIDE = 1_000_003
PROCESS_SEED_STRIDE = 2**40
RANDOM_AFTER_BACKWARD = frozenset({"ogm_ge"})
"""Balancing methods that draw random numbers after the backward pass, so that the next batch cannot be prefetched."""


@dataclass(frozen=True)
class TrainingBatch:
    """The batch of a training step: all of its rows, or this process's.

    Attributes:
        indices: int64 ``[B]``, rows of this process, as indices into the training rows.
        inputs: Stream to augmented cells.
        truth: Target to encoded cells, augmented with the inputs, and where they are known.
        present: bool ``[B, S]``, which streams a row has.
        hidden: bool ``[B, S]``, which of them modality dropout hides from the fusion.
        fewer: bool ``[B, S]``, ``hidden`` and one more, for the penalty on confidence that rises and for streams that
            are recovered; None without both.
        counts: Target to number of rows of the full batch in each loss term.
        full_present: bool ``[W, S]``, ``present`` of the full batch.
        is_dummy: Whether the batch is one row of weight zero, as the full batch has no row for this process.
    """

    indices: NDArray[np.int64]
    inputs: Batch
    truth: Truth
    present: torch.Tensor
    hidden: torch.Tensor
    fewer: torch.Tensor | None
    counts: dict[str, torch.Tensor]
    full_present: torch.Tensor
    is_dummy: bool

    def take_masks(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return ``hidden`` and ``fewer`` of some rows."""
        return self.hidden[rows], None if self.fewer is None else self.fewer[rows]


def training_step(
    strategy: Strategy,
    inputs: TrainingInputs,
    state: TrainingState,
    indices: NDArray[np.int64],
    next_indices: NDArray[np.int64] | None = None,
) -> None:
    """Update the weights with one batch; random numbers are seeded by the run's seed and the step's number.

    If the device runs out of memory, the number of gradient-accumulation steps is doubled and the step repeated; not
    with sharded weights, as the other processes would wait for this one in the middle of the step.

    Args:
        strategy: The network and its optimizer.
        inputs: Data and options.
        state: The training state; the step and its losses are added.
        indices: Rows of the batch.
        next_indices: Rows of the next step's batch, to prefetch; None where there is none.
    """
    while True:
        try:
            losses = compute_gradients(strategy, inputs, state, indices, next_indices)
            break
        except torch.OutOfMemoryError:
            can_split = inputs.settings.accumulate is None and state.accumulation_steps < len(indices)
            if not can_split or strategy.sharded is not None:
                raise
            check_balance(inputs.settings.balance, strategy.network, inputs.targets, 2)
            state.accumulation_steps *= 2
        strategy.zero_grad()
        torch.cuda.empty_cache()
    strategy.optimizer_step(inputs.settings.clip_norm)
    state.add_losses(losses)
    state.step += 1


def compute_gradients(
    strategy: Strategy,
    inputs: TrainingInputs,
    state: TrainingState,
    indices: NDArray[np.int64],
    next_indices: NDArray[np.int64] | None = None,
) -> torch.Tensor:
    """Compute the gradients of a batch, micro-batch by micro-batch, and reduce them over all processes.

    With sharded weights all processes must run the same modules: a process without rows runs a dummy batch, and an
    encoder whose stream is absent in a micro-batch runs on a dummy row.

    Args:
        strategy: The network; earlier gradients are reset, weights are unchanged.
        inputs: Data and options.
        state: The training state.
        indices: Rows of the batch.
        next_indices: Rows of the next step's batch, to prefetch.

    Returns:
        Losses ``[2 + S]``: the minimised loss, the fused loss and each stream's.
    """
    network = strategy.module
    batch = strategy.prefetcher.get(state.step, partial(prepare_batch, strategy, inputs, state.step, indices))
    strategy.zero_grad()
    losses = torch.zeros(2 + len(network.streams), device=strategy.device)
    num_micro_batches = min(state.accumulation_steps, max(len(indices) // get_world_size(), 1))  # the same in all ranks
    micro_batches = torch.arange(len(batch.indices)).tensor_split(num_micro_batches) if len(batch.indices) else ()
    for rows in micro_batches:
        is_all = len(rows) == len(batch.indices)
        cells = batch.inputs if is_all else {stream: column.take(rows) for stream, column in batch.inputs.items()}
        dummies: Batch = {}
        if strategy.sharded is not None:
            dummies = dummy_rows(inputs, network.streams, indices, batch.full_present, cells)
        loss_inputs = to_device(_micro_batch_loss_inputs(inputs, state, batch, rows), strategy.device)
        outputs, terms = _forward(network, inputs, cells, batch.take_masks(rows), loss_inputs, dummies)
        if rows is micro_batches[-1]:
            _prefetch(strategy, inputs, state.step + 1, next_indices)
        losses += _backward(network, state, outputs, terms, loss_inputs)
    return strategy.reduce_gradients(losses)


def prepare_batch(strategy: Strategy, inputs: TrainingInputs, step: int, indices: NDArray[np.int64]) -> TrainingBatch:
    """Seed the random number generator, sample modality dropout, and collate and augment the batch of a step.

    Args:
        strategy: The network, for its streams.
        inputs: Data and options.
        step: Number of the step.
        indices: Rows of the full batch.

    Returns:
        This process's rows of the batch.
    """
    seed = inputs.seed * STEP_SEED_STRIDE + step
    torch.manual_seed(seed)
    network = strategy.module
    present = presence_mask(inputs.train, network.streams, indices)
    hidden = sample_modality_dropout(present, inputs.settings.modality_dropout if network.fuses_streams else 0.0)
    fewer = hide_one_more(present, hidden) if inputs.settings.confidence_penalty or recovers(inputs.targets) else None
    known = {name: torch.from_numpy(mask[indices]) for name, mask in inputs.train.known.items()}
    counts = count_rows(known, present)
    own = rank_slice(indices)
    is_dummy = strategy.sharded is not None and not len(indices[own])
    own = slice(0, 1) if is_dummy else own
    own_indices = indices[own]
    if len(own_indices) < len(indices):
        torch.manual_seed(seed + PROCESS_SEED_STRIDE * get_rank())
    cells = training_cells(inputs.train, inputs.noisy, own_indices)
    cells, truth = augment_batch(inputs, cells, truth_batch(inputs.train, own_indices))
    fewer = None if fewer is None else fewer[own]
    return TrainingBatch(own_indices, cells, truth, present[own], hidden[own], fewer, counts, present, is_dummy)


def _prefetch(strategy: Strategy, inputs: TrainingInputs, step: int, indices: NDArray[np.int64] | None) -> None:
    if indices is not None and inputs.settings.balance not in RANDOM_AFTER_BACKWARD:
        strategy.prefetcher.submit(step, partial(prepare_batch, strategy, inputs, step, indices))


def _micro_batch_loss_inputs(
    inputs: TrainingInputs, state: TrainingState, batch: TrainingBatch, rows: torch.Tensor
) -> LossInputs:
    loss_inputs = build_loss_inputs(
        inputs, state, batch.indices[rows.numpy()], take_rows(batch.truth, rows), batch.present[rows]
    )
    hidden, fewer = batch.take_masks(rows)
    if fewer is not None:
        loss_inputs = dataclasses.replace(loss_inputs, compared=(fewer != hidden).any(dim=1))
    num_rows = len(batch.full_present)
    if len(rows) < num_rows:
        loss_inputs = dataclasses.replace(loss_inputs, batch_fraction=len(rows) / num_rows, counts=batch.counts)
    return with_weight_zero(loss_inputs) if batch.is_dummy else loss_inputs


def dummy_rows(
    inputs: TrainingInputs,
    streams: tuple[str, ...],
    indices: NDArray[np.int64],
    present: torch.Tensor,
    micro_batch: Batch,
) -> Batch:
    """Find a row for every stream that is absent in a micro-batch, but present in the full batch.

    Args:
        inputs: Data.
        streams: Order of the columns of ``present``.
        indices: Rows of the full batch.
        present: bool ``[B, S]`` of the full batch.
        micro_batch: Stream to cells.

    Returns:
        Stream to one row.
    """
    absent = present.any(dim=0) & ~stream_presence(micro_batch, streams).any(dim=0)
    rows = {streams[index]: int(present[:, index].int().argmax()) for index in absent.nonzero().flatten().tolist()}
    return {stream: collate_examples(inputs.train, indices[row : row + 1])[stream] for stream, row in rows.items()}


def with_weight_zero(loss_inputs: LossInputs) -> LossInputs:
    """Give all rows the weight zero in the loss.

    Args:
        loss_inputs: Inputs of the loss.

    Returns:
        The same, with no known truth and a fraction of zero of the batch.
    """
    truth = {name: (values, torch.zeros_like(known)) for name, (values, known) in loss_inputs.truth.items()}
    return dataclasses.replace(loss_inputs, truth=truth, batch_fraction=0.0)


def _forward(
    network: Network,
    inputs: TrainingInputs,
    cells: Batch,
    masks: tuple[torch.Tensor, torch.Tensor | None],
    loss_inputs: LossInputs,
    dummies: Batch,
) -> tuple[NetworkOutput, LossTerms]:
    device = loss_inputs.present.device
    cells, dummies = ({stream: column.to(device) for stream, column in batch.items()} for batch in (cells, dummies))
    hidden, fewer = (None if mask is None else mask.to(device) for mask in masks)
    settings = inputs.settings
    with autocast(settings.precision, device):
        outputs = network(cells, hidden, loss_inputs.truth, settings.label_smoothing, loss_inputs.mixup, dummies, fewer)
    return outputs, loss_terms(network, outputs, loss_inputs)


def _backward(
    network: Network, state: TrainingState, outputs: NetworkOutput, terms: LossTerms, loss_inputs: LossInputs
) -> torch.Tensor:
    loss = backward(network, terms, outputs, loss_inputs, state.history)
    return torch.cat([loss.detach().reshape(1), terms.fused.detach().reshape(1), terms.streams.detach()])


def augment_batch(inputs: TrainingInputs, cells: Batch, truth: Truth) -> tuple[Batch, Truth]:
    """Augment the inputs of a batch; for a denoising autoencoder they are masked as well.

    Where table streams are recovered, some of their cells are hidden.

    Where a structured target has positions in pictures, pictures and truth get the same affine transformation. If
    several targets transform a stream, the limits of the first one apply.

    Args:
        inputs: Modalities, targets and options.
        cells: Stream to cells.
        truth: Target to encoded cells and where they are known.

    Returns:
        Augmented inputs and truth.
    """
    if inputs.settings.augment:
        cells, truth = _augment_inputs(inputs, cells, truth)
    if inputs.settings.flip:
        cells = {stream: random_flip(inputs.modalities[stream], column) for stream, column in cells.items()}
    if any(isinstance(target, SketchTarget) and not target.recovered for target in inputs.targets.values()):
        cells = {stream: add_masking_noise(inputs.modalities[stream], column) for stream, column in cells.items()}
    return hide_table_cells(inputs.targets, inputs.modalities, cells, truth)


def _augment_inputs(inputs: TrainingInputs, cells: Batch, truth: Truth) -> tuple[Batch, Truth]:
    structured = {name: target for name, target in inputs.targets.items() if isinstance(target, StructuredTarget)}
    limits = {stream: found for t in reversed(structured.values()) for stream, found in t.warp_limits.items()}
    augmented = {
        s: column if s in limits else _augment_stream(inputs, inputs.modalities[s], column)
        for s, column in cells.items()
    }
    warped_truth = dict(truth)
    for stream in [stream for stream in limits if len(cells[stream])]:
        height, width = cells[stream].values.shape[1:3]
        warp = Warp.sample(len(cells[stream]), (width, height), limits[stream])
        augmented[stream] = warp.apply_to_pictures(cells[stream])
        for name, target in structured.items():
            values, known = warped_truth[name]
            warped_truth[name] = target.warp_truth(stream, values, warp), known
    return augmented, warped_truth


def _augment_stream(inputs: TrainingInputs, modality: Modality, column: ColumnBatch) -> ColumnBatch:
    """Augment one stream; speech that a transcript is predicted from keeps every word audible."""
    has_transcript = any(isinstance(target, TranscriptTarget) for target in inputs.targets.values())
    if has_transcript and modality.name in TranscriptTarget.details:
        return augment_speech(modality, column)
    return augment(modality, column)


def sample_mixup(num_rows: int, alpha: float) -> Mixup | None:
    """Sample the partners and the weight of mixup.

    Args:
        num_rows: Rows of the batch.
        alpha: Both parameters of the beta distribution of the weight; 0: no mixup.

    Returns:
        A partner for each row and the row's own weight, or None.
    """
    if not alpha:
        return None
    weight = float(torch.distributions.Beta(alpha, alpha).sample())
    return Mixup(torch.randperm(num_rows), max(weight, 1 - weight))


def take_rows(truth: Truth, rows: torch.Tensor) -> Truth:
    """Select rows of the truth.

    Args:
        truth: Target to encoded cells and where they are known.
        rows: int64, rows of the batch.

    Returns:
        The same for those rows.
    """
    return {name: (values[rows], known[rows]) for name, (values, known) in truth.items()}


def build_loss_inputs(
    inputs: TrainingInputs, state: TrainingState, indices: NDArray[np.int64], truth: Truth, present: torch.Tensor
) -> LossInputs:
    """Collect the inputs of the loss of some rows.

    Args:
        inputs: Truth, targets and options.
        state: The training state.
        indices: The rows, as indices into the training rows.
        truth: Target to encoded cells, augmented, and where they are known.
        present: bool ``[B, S]``.

    Returns:
        The inputs of the loss.
    """
    return LossInputs(
        targets=with_annealed_penalty(inputs.targets, state.step / (state.planned_steps or inputs.total_steps)),
        truth=truth,
        present=present,
        settings=inputs.settings,
        teacher_predictions={
            name: (torch.from_numpy(values[indices]), torch.from_numpy(known[indices]))
            for name, (values, known) in inputs.teacher.predictions.items()
        },
        is_answer={name: torch.from_numpy(mask[indices]) for name, mask in inputs.teacher.is_answer.items()},
        mixup=sample_mixup(len(indices), inputs.settings.mixup),
    )


def to_device(loss_inputs: LossInputs, device: torch.device) -> LossInputs:
    """Move the inputs of the loss to the device of the network.

    Args:
        loss_inputs: The inputs of the loss.
        device: The device.

    Returns:
        The same on that device.
    """
    return dataclasses.replace(
        loss_inputs,
        truth={name: (values.to(device), known.to(device)) for name, (values, known) in loss_inputs.truth.items()},
        present=loss_inputs.present.to(device),
        teacher_predictions={
            name: (values.to(device), known.to(device))
            for name, (values, known) in loss_inputs.teacher_predictions.items()
        },
        is_answer={name: mask.to(device) for name, mask in loss_inputs.is_answer.items()},
        compared=None if loss_inputs.compared is None else loss_inputs.compared.to(device),
        counts={name: count.to(device) for name, count in loss_inputs.counts.items()},
    )
