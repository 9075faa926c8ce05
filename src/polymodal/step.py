"""One step of training: a batch varied, its losses, their gradients (torch)."""

from __future__ import annotations

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch.optim import AdamW

from polymodal.augment import augment, corrupt, mirror
from polymodal.augment_speech import vary_speech
from polymodal.balance import backward
from polymodal.batches import truth_batch
from polymodal.job import Job, State
from polymodal.losses import Aims, draw_hidden, loss_terms, stream_presence
from polymodal.modalities import Modality
from polymodal.network import Batch, Mix, Network, Truth
from polymodal.precision import lowered
from polymodal.targets import SketchTarget, StructuredTarget, TranscriptTarget
from polymodal.targets.evidence import targets_at
from polymodal.tokens import ColumnBatch
from polymodal.warp import Warp

STEP_SEED_STRIDE = 1_000_003


def take_step(
    accelerator: Accelerator, network: Network, optimizer: AdamW, job: Job, state: State, places: NDArray[np.int64]
) -> None:
    """Learn from one batch; its randomness comes from the seed and the step's number.

    Args:
        accelerator: Runs the backward pass.
        network: The prepared network.
        optimizer: Changes its weights.
        job: Data and options.
        state: Where training stands; step and losses are counted on.
        places: Rows of the batch.
    """
    torch.manual_seed(job.seed * STEP_SEED_STRIDE + state.step)
    plain: Network = accelerator.unwrap_model(network)
    batch, truth = vary(job, job.train.batch(places), truth_batch(job.train, places))
    present = stream_presence(batch, plain.streams)
    hidden = draw_hidden(present, job.settings.modality_dropout if plain.fuses_streams else 0.0)
    mix = draw_mix(len(places), job.settings.mixup)
    aims, device = aims_of(job, state, places, truth, present, mix, accelerator.device), accelerator.device
    on_device = {stream: column.to(device) for stream, column in batch.items()}
    with lowered(job.settings.precision, device):
        outputs = network(on_device, hidden.to(device), aims.truth, job.settings.label_smoothing, mix)
    terms = loss_terms(plain, outputs, aims)
    optimizer.zero_grad()
    loss = backward(accelerator, plain, terms, outputs, aims, state.history)
    accelerator.clip_grad_norm_(network.parameters(), job.settings.clip_norm)
    optimizer.step()
    parts = torch.cat([terms.fused.detach().reshape(1), terms.streams.detach()]).tolist()
    state.part_sums = [a + b for a, b in zip(state.part_sums or [0.0] * len(parts), parts, strict=True)]
    state.loss_sum += float(loss.detach())
    state.step += 1


def vary(job: Job, batch: Batch, truth: Truth) -> tuple[Batch, Truth]:
    """Vary a batch's inputs; an autoencoder sees them with holes.

    Pictures with known places are moved together with them. Where several targets warp one stream, the first one's
    limits hold.

    Args:
        job: Modalities, targets and options.
        batch: Stream to cells.
        truth: Target to encoded cells and where they are known.

    Returns:
        Varied inputs and the truth that belongs to them.
    """
    if job.settings.augment:
        batch, truth = _varied(job, batch, truth)
    if job.settings.flip:
        pictures = {s for s, c in batch.items() if job.modalities[s].name == "image" and not c.is_encoded}
        batch = {s: mirror(c) if s in pictures else c for s, c in batch.items()}
    if any(isinstance(target, SketchTarget) and not target.recovered for target in job.targets.values()):
        batch = {stream: corrupt(job.modalities[stream], column) for stream, column in batch.items()}
    return batch, truth


def _varied(job: Job, batch: Batch, truth: Truth) -> tuple[Batch, Truth]:
    structured = {name: target for name, target in job.targets.items() if isinstance(target, StructuredTarget)}
    limits = {stream: found for t in reversed(structured.values()) for stream, found in t.warped.items()}
    varied = {
        s: column if s in limits else _varied_cells(job, job.modalities[s], column) for s, column in batch.items()
    }
    moved = dict(truth)
    for stream in [stream for stream in limits if len(batch[stream])]:
        height, width = batch[stream].values.shape[1:3]
        warp = Warp.draw(len(batch[stream]), (width, height), limits[stream])
        varied[stream] = warp.pictures(batch[stream])
        moved |= {n: (target.follow(stream, moved[n][0], warp), moved[n][1]) for n, target in structured.items()}
    return varied, moved


def _varied_cells(job: Job, modality: Modality, column: ColumnBatch) -> ColumnBatch:
    """Vary a stream's cells; where a transcript is read from them, by what leaves every word audible."""
    is_spelt = any(isinstance(target, TranscriptTarget) for target in job.targets.values())
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


def aims_of(
    job: Job,
    state: State,
    places: NDArray[np.int64],
    truth: Truth,
    present: torch.Tensor,
    mix: Mix | None,
    device: torch.device,
) -> Aims:
    """Gather what a batch is to be learned for.

    Args:
        job: Truth, targets and options.
        state: Where training stands.
        places: Rows of the batch.
        truth: Target to encoded cells, as varied, and where they are known.
        present: bool ``[B, S]``.
        mix: How rows are mixed.
        device: Where tensors shall live.

    Returns:
        The aims.
    """
    truth = {name: (a.to(device), b.to(device)) for name, (a, b) in truth.items()}
    soft = {name: torch.from_numpy(values[places]).to(device) for name, values in job.soft.items()}
    targets = targets_at(job.targets, state.step / job.total_steps)
    return Aims(targets=targets, truth=truth, present=present.to(device), settings=job.settings, soft=soft, mix=mix)
