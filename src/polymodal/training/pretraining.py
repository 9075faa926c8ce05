"""Self-supervised pretraining of image encoders: reconstruction of masked pictures (torch).

A convolutional autoencoder (Masci et al. 2011, "Stacked convolutional auto-encoders for hierarchical feature
extraction", ICANN) with masked inputs (Vincent et al. 2008, "Extracting and composing robust features with denoising
autoencoders", ICML, section 2.3). Its encoder is the network's; its decoder is discarded after pretraining.

Shape legend: B rows of the batch, C channels, Y and X height and width.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from polymodal.arrays import Column
from polymodal.config import TrainConfig
from polymodal.encoders.image import ImageEncoder
from polymodal.encoders.image_decoder import ImageDecoder, build_image_decoder
from polymodal.errors import parameter_error
from polymodal.modalities import Modality
from polymodal.model.batches import epoch_batches
from polymodal.model.network import Network
from polymodal.nn.precision import autocast
from polymodal.progress import Phase, Progress
from polymodal.tokens import ColumnBatch
from polymodal.training.augmentation import augment
from polymodal.training.lr_schedule import lr_factor
from polymodal.training.optimizers import build_optimizer

if TYPE_CHECKING:
    from polymodal.training.inputs import TrainingInputs

MASKED_FRACTION = 0.3
"""Fraction of the pixels that are masked; masks of 4 x 4 pixels helped less than single pixels."""
STEP_SEED_STRIDE = 1_000_003
VALIDATION_ROWS = 256
TIME_FRACTION = 0.5
"""Fraction of the time limit after which no further pretraining epoch starts."""


@dataclass(frozen=True)
class Pictures:
    """The present pictures of a stream.

    Attributes:
        column: All rows of the table.
        rows: int64, the rows in use.
    """

    column: Column
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.rows)

    def batch(self, indices: NDArray[np.int64] | slice) -> ColumnBatch:
        """Collate pictures into tensors.

        Args:
            indices: Indices into the rows in use.

        Returns:
            uint8 ``[B, Y, X, C]``.
        """
        return ColumnBatch.from_column(self.column.take(self.rows[indices]))

    @staticmethod
    def of(column: Column, rows: NDArray[np.int64]) -> Pictures:
        """Select the rows with a picture.

        Args:
            column: All rows of a table.
            rows: Rows to select from.

        Returns:
            The present pictures of those rows.
        """
        return Pictures(column, rows[column.row_present[rows]])


@dataclass(frozen=True)
class Autoencoder:
    """An image encoder and a decoder.

    Attributes:
        encoder: The encoder of the network.
        decoder: Reconstructs pictures; discarded after pretraining.
    """

    encoder: ImageEncoder
    decoder: ImageDecoder

    def loss(self, pixels_BYXC: Tensor) -> Tensor:
        """Mask pixels of pictures, and compute the reconstruction error.

        Args:
            pixels_BYXC: uint8 or float, 0..255.

        Returns:
            Mean squared error of standardised pixels: a fraction of their variance over the training pictures.
        """
        pixels_BCYX = self.encoder.normalise(pixels_BYXC)
        reconstruction_BCYX = self.decoder(self.encoder.feature_map(mask_pixels(pixels_BCYX)))
        return functional.mse_loss(reconstruction_BCYX, pixels_BCYX)

    def parameters(self) -> list[Tensor]:
        """Return the parameters of encoder and decoder."""
        return [*self.encoder.parameters(), *self.decoder.parameters()]

    def train(self, mode: bool) -> None:
        """Set encoder and decoder to training or evaluation mode.

        Args:
            mode: True for training.
        """
        self.encoder.train(mode)
        self.decoder.train(mode)


def describe_epoch(entry: Mapping[str, Any], num_epochs: int) -> str:
    """Describe an epoch of pretraining in one line.

    Args:
        entry: Its entry of the history.
        num_epochs: Number of planned epochs.

    Returns:
        Epoch, from 1, and the reconstruction errors.
    """
    errors = [("reconstruction error", entry["train_error"]), ("validation error", entry["validation_error"])]
    shown = ", ".join(f"{name} {error:.4g}" for name, error in errors if error is not None)
    return f"epoch {entry['epoch']} of {num_epochs}: {shown}"


def mask_pixels(pixels_BCYX: Tensor) -> Tensor:
    """Set all channels of random pixels of standardised pictures to zero, the mean.

    Args:
        pixels_BCYX: Standardised pictures.

    Returns:
        The same shape.
    """
    masked = torch.rand(len(pixels_BCYX), 1, *pixels_BCYX.shape[2:]) < MASKED_FRACTION
    return pixels_BCYX.masked_fill(masked.to(pixels_BCYX.device), 0.0)


def pretrain_images(
    network: Network, inputs: TrainingInputs, device: torch.device, progress: Progress
) -> dict[str, Any]:
    """Pretrain every image encoder on the training pictures, those without a target included.

    Args:
        network: The network, freshly built; its image encoders are trained.
        inputs: Data and options.
        device: Device of the network.
        progress: Reports every step.

    Returns:
        Stream to results: ``pictures``, ``unlabelled`` (how many of them have no target), ``seconds`` and
        ``history`` (``epoch``, ``train_error`` and ``validation_error`` of each).

    Raises:
        ConfigError: If no stream has an image encoder that is trained from scratch.
    """
    encoders = dict(zip(network.streams, network.encoders, strict=True))
    images = {stream: encoder for stream, encoder in encoders.items() if isinstance(encoder, ImageEncoder)}
    if not images:
        expected = "0 where no image column has an encoder that is trained from scratch"
        raise parameter_error("train.pretrain_epochs", "this run", expected, inputs.settings.pretrain_epochs)
    return {stream: _pretrain(stream, encoder, inputs, device, progress) for stream, encoder in images.items()}


def _pretrain(
    stream: str, encoder: ImageEncoder, inputs: TrainingInputs, device: torch.device, progress: Progress
) -> dict[str, Any]:
    column, started = inputs.train.columns[stream], time.perf_counter()
    train = Pictures.of(column, np.concatenate([inputs.labelled.rows, inputs.unlabelled]))
    history: list[dict[str, Any]] = []
    if len(train):
        pretraining = Pretraining(
            autoencoder=_build_autoencoder(encoder, train, inputs.seed, device),
            train=train,
            validation=Pictures.of(inputs.validation.columns[stream], inputs.validation.rows),
            modality=inputs.modalities[stream],
            settings=inputs.settings,
            seed=inputs.seed,
            device=device,
        )
        with progress.phase(f"pretraining {stream}", pretraining.total_steps) as phase:
            history = pretraining.run(phase, lambda line: progress.log(f"pretraining {stream}, {line}"))
    return {
        "pictures": len(train),
        "unlabelled": len(Pictures.of(column, inputs.unlabelled)),
        "seconds": time.perf_counter() - started,
        "history": history,
    }


def _build_autoencoder(encoder: ImageEncoder, train: Pictures, seed: int, device: torch.device) -> Autoencoder:
    torch.manual_seed(seed)
    first = encoder.normalise(train.batch(slice(0, 1)).values.to(device))
    return Autoencoder(encoder, build_image_decoder(encoder, first))


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """The pretraining of one encoder.

    Attributes:
        autoencoder: The encoder and its decoder.
        train: Training pictures.
        validation: Validation pictures; their error is reported, it selects nothing.
        modality: The stream's fitted modality, for augmentation.
        settings: Resolved training options.
        seed: Random seed of the run.
        device: Device of the encoder.
    """

    autoencoder: Autoencoder
    train: Pictures
    validation: Pictures
    modality: Modality
    settings: TrainConfig
    seed: int
    device: torch.device

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches in an epoch."""
        return math.ceil(len(self.train) / (self.settings.batch_size or 1))

    @property
    def total_steps(self) -> int:
        """Number of batches in all epochs."""
        return self.steps_per_epoch * self.settings.pretrain_epochs

    def run(self, phase: Phase, log: Callable[[str], None]) -> list[dict[str, Any]]:
        """Train for all epochs, or until half of the time limit is spent.

        Args:
            phase: Reports every step.
            log: Takes a line about every epoch.

        Returns:
            ``epoch``, ``train_error`` and ``validation_error`` (None without validation pictures) of each epoch.
        """
        groups = [{"params": list(self.autoencoder.parameters()), "weight_decay": self.settings.weight_decay}]
        optimizer = build_optimizer(self.settings.optimizer, groups, self.settings.learning_rate or 1e-3)
        limit_s, started = TIME_FRACTION * (self.settings.time_limit_s or math.inf), time.perf_counter()
        history: list[dict[str, Any]] = []
        for epoch in range(self.settings.pretrain_epochs):
            if epoch and time.perf_counter() - started >= limit_s:
                break
            error = self._run_epoch(optimizer, epoch, phase)
            history.append({"epoch": epoch + 1, "train_error": error, "validation_error": self._validate()})
            phase.advance(0, note=f"reconstruction error {error:.3f}")
            log(describe_epoch(history[-1], self.settings.pretrain_epochs))
        return history

    def _run_epoch(self, optimizer: Optimizer, epoch: int, phase: Phase) -> float:
        self.autoencoder.train(True)
        total = 0.0
        batches = epoch_batches(len(self.train), self.settings.batch_size or 1, self.seed, epoch)
        for number, indices in enumerate(batches):
            total += len(indices) * self._step(optimizer, epoch * self.steps_per_epoch + number, indices)
            phase.advance(1)
        return total / len(self.train)

    def _step(self, optimizer: Optimizer, step: int, indices: NDArray[np.int64]) -> float:
        torch.manual_seed(-1 - step - self.seed * STEP_SEED_STRIDE)
        batch = self.train.batch(indices)
        if self.settings.augment:
            batch = augment(self.modality, batch)
        with autocast(self.settings.precision, self.device):
            loss = self.autoencoder.loss(batch.values.to(self.device))
        factor = lr_factor(step, self.total_steps, self.settings.warmup_fraction, self.settings.schedule)
        for group in optimizer.param_groups:
            group["lr"] = factor * (self.settings.learning_rate or 1e-3)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        clip_grad_norm_(self.autoencoder.parameters(), self.settings.clip_norm)
        optimizer.step()
        return float(loss.detach())

    @torch.no_grad()
    def _validate(self) -> float | None:
        """Compute the error on the validation pictures, with the same masked pixels every time."""
        if not len(self.validation):
            return None
        self.autoencoder.train(False)
        torch.manual_seed(self.seed)
        total = 0.0
        for start in range(0, len(self.validation), VALIDATION_ROWS):
            values = self.validation.batch(slice(start, start + VALIDATION_ROWS)).values.to(self.device)
            total += len(values) * float(self.autoencoder.loss(values))
        return total / len(self.validation)
