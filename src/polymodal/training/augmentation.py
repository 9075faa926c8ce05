"""Data augmentation of each modality, with transformations that are safe by default (torch).

No flips by default: a mirrored digit or word is another one. Shape legend: B rows, T frames, M mel bands,
N tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from polymodal.encoders.geo import augment_places
from polymodal.modalities import Modality, ModalityEntry
from polymodal.modalities.audio import Audio
from polymodal.modalities.tabular import Tabular
from polymodal.nn.layers import split_channels
from polymodal.plugins import AspectTable
from polymodal.tokens import ColumnBatch
from polymodal.training.sensor_augmentation import augment_points, augment_series

SHIFT = 0.08
ROTATION_RAD = math.radians(10)
SCALE = 0.10
BRIGHTNESS = 0.15
CROP = 0.25
"""Largest fraction of a video's frames that is cropped at its ends."""
TIME_WARP = 0.10
FREQUENCY_WARP = 0.15
NOISE = 0.3
NORMALISED = ("log_mel", "mfcc", "waveform")
"""Features with standard deviation 1, to which noise is added; for others its strength would have no scale."""
MAX_MASK_DIVISOR = 6
"""The longest mask is the length of the axis divided by this."""
TOKEN_DROPOUT = 0.1
TOKEN_DROPOUT_MIN_LENGTH = 24
"""Token dropout applies to texts of at least this many tokens; in a short question every word matters."""
NUMBER_JITTER = 0.1
LENGTH_STEP = 8
"""Warped clips are padded to a multiple of this many frames."""
MASKING_NOISE_FRACTION = 0.3


def augment(modality: Modality, column: ColumnBatch) -> ColumnBatch:
    """Augment a training batch of one stream.

    Args:
        modality: The fitted modality of the stream.
        column: The batch; precomputed outputs of a frozen encoder are returned unchanged.

    Returns:
        The augmented batch; ``present`` is unchanged.
    """
    if column.is_encoded or not len(column):
        return column
    return AUGMENTATIONS[modality.name].transform(modality, column)


def uniform(size: int, limit: float) -> Tensor:
    """Sample from the uniform distribution from -limit to limit.

    Args:
        size: B.
        limit: The upper bound; its negative is the lower bound.

    Returns:
        float ``[B]``.
    """
    return torch.empty(size).uniform_(-limit, limit)


def augment_image(modality: Modality, column: ColumnBatch) -> ColumnBatch:  # noqa: ARG001
    """Apply a small random shift, rotation, scaling and change of brightness to pictures.

    Args:
        modality: The fitted image modality.
        column: uint8 ``[B, height, width, channels]``.

    Returns:
        The same layout as float32 in 0..255.
    """
    pixels = column.values.permute(0, 3, 1, 2).float()
    grid = _affine_grid(len(column), *pixels.shape[2:])
    augmented = functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    gain = 1 + uniform(len(column), BRIGHTNESS)
    augmented = (augmented * gain[:, None, None, None]).clamp(0, 255)
    return ColumnBatch(augmented.permute(0, 2, 3, 1), column.present, column.lengths)


def _affine_grid(size: int, height: int, width: int) -> Tensor:
    """Sample affine transformations: source coordinates of each pixel in -1..1, ``[B, height, width, 2]``, x first.

    Faster than ``functional.affine_grid``, which multiplies matrices.
    """
    angle, scale = uniform(size, ROTATION_RAD), 1 + uniform(size, SCALE)
    cosine, sine = (scale * angle.cos()).view(-1, 1, 1), (scale * angle.sin()).view(-1, 1, 1)
    right, down = 2 * uniform(size, SHIFT).view(-1, 1, 1), 2 * uniform(size, SHIFT).view(-1, 1, 1)
    x_X = (torch.arange(width) * 2 + 1) / width - 1
    y_Y1 = ((torch.arange(height) * 2 + 1) / height - 1).unsqueeze(1)
    return torch.stack([(cosine * x_X + right) - sine * y_Y1, (sine * x_X + down) + cosine * y_Y1], dim=3)


def augment_video(modality: Modality, column: ColumnBatch) -> ColumnBatch:  # noqa: ARG001
    """Apply the transformation of ``augment_image`` to all frames of a video alike, and crop it in time.

    Videos are neither flipped nor reversed: the direction of a motion may be what is to be predicted.

    Args:
        modality: The fitted video modality.
        column: uint8 ``[B, frames, height, width, channels]`` with lengths.

    Returns:
        The same layout as float32 in 0..255, with other lengths.
    """
    values, lengths = column.values, column.lengths
    assert lengths is not None
    size, num_frames = values.shape[:2]
    num_cropped = (torch.rand(size) * (lengths * CROP + 1)).long()
    start = (torch.rand(size) * (num_cropped + 1)).long()
    indices = (torch.arange(num_frames)[None] + start[:, None]).clamp(max=num_frames - 1)
    frames = values[torch.arange(size)[:, None], indices]
    pixels = frames.permute(0, 1, 4, 2, 3).flatten(1, 2).float()
    grid = _affine_grid(size, *pixels.shape[2:])
    augmented = functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    gain = 1 + uniform(size, BRIGHTNESS)
    augmented = (augmented * gain[:, None, None, None]).clamp(0, 255)
    augmented = augmented.reshape(size, num_frames, -1, *augmented.shape[2:])
    return ColumnBatch(augmented.permute(0, 1, 3, 4, 2), column.present, lengths - num_cropped)


def augment_audio(modality: Modality, column: ColumnBatch) -> ColumnBatch:
    """Perturb speed and pitch, mask spans of time and frequency, and add noise to normalised features.

    Speed is a time warp; pitch is vocal tract length perturbation, a warp of the frequency axis (Jaitly and Hinton
    2013); masks are those of SpecAugment (Park et al. 2019, section 2).

    Args:
        modality: The fitted audio modality.
        column: float ``[B, T, S * M]`` with lengths, S channels one after the other; all are transformed alike.

    Returns:
        The same layout in float32, with other lengths.
    """
    assert isinstance(modality, Audio)
    frames_BSTM = split_channels(column.values.float(), modality.channels)
    lengths = column.lengths if column.lengths is not None else torch.full((len(column),), frames_BSTM.shape[2])
    new_lengths = (lengths * (1 + uniform(len(column), TIME_WARP))).round().long().clamp(min=1)
    pitch = uniform(len(column), FREQUENCY_WARP).exp() if modality.features == "log_mel" else torch.ones(len(column))
    warped = warp_spectrum(frames_BSTM, lengths, new_lengths, pitch, modality)
    if not modality.is_waveform:
        for dim, extents in ((2, new_lengths), (3, torch.full_like(new_lengths, warped.shape[3]))):
            warped = mask_span(warped, dim, extents, (torch.rand(len(column)) * extents / MAX_MASK_DIVISOR).long())
    if modality.features in NORMALISED:
        warped = warped + NOISE * torch.rand(len(column), 1, 1, 1) * torch.randn_like(warped)
    inside = torch.arange(warped.shape[2])[None] < new_lengths[:, None]
    augmented = warped * inside[:, None, :, None]
    return ColumnBatch(augmented.transpose(1, 2).flatten(2), column.present, new_lengths)


def warp_spectrum(frames_BSTM: Tensor, lengths: Tensor, new_lengths: Tensor, pitch: Tensor, modality: Audio) -> Tensor:
    """Warp clips in time and in frequency.

    Args:
        frames_BSTM: ``[B, S, T, M]``.
        lengths: int64 ``[B]``, lengths of the clips.
        new_lengths: int64 ``[B]``, their lengths after the warp.
        pitch: float ``[B]``, factor of all frequencies; has no effect on waveforms.
        modality: The fitted audio modality.

    Returns:
        ``[B, S, T, M]`` with another T.
    """
    size, _, total, bands = frames_BSTM.shape
    steps = int(math.ceil(int(new_lengths.max()) / LENGTH_STEP) * LENGTH_STEP)
    ratio = (lengths / new_lengths).unsqueeze(1)
    time = (torch.arange(steps)[None] + 0.5) * ratio - 0.5
    time = torch.minimum(time, (lengths - 1).unsqueeze(1).float())
    band = _pitched_bands(bands, pitch, modality.sample_rate_hz) if bands > 1 else torch.zeros(size, 1)
    grid_time = ((time + 0.5) / total * 2 - 1).unsqueeze(2).expand(size, steps, bands)
    grid_band = ((band + 0.5) / bands * 2 - 1).unsqueeze(1).expand(size, steps, bands)
    grid = torch.stack([grid_band, grid_time], dim=-1)
    return functional.grid_sample(frames_BSTM, grid, padding_mode="border", align_corners=False)


def _pitched_bands(bands: int, pitch: Tensor, sample_rate_hz: int) -> Tensor:
    """Return the source band of each band when frequencies are multiplied by ``pitch``."""
    top = 2595 * math.log10(1 + sample_rate_hz / 2 / 700)
    mel = torch.arange(1, bands + 1) * top / (bands + 1)
    hertz = 700 * (10 ** (mel / 2595) - 1)
    source = 2595 * torch.log10(1 + hertz[None] * pitch[:, None] / 700)
    return (source / top * (bands + 1) - 1).clamp(0, bands - 1)


def mask_span(frames_BSTM: Tensor, dim: int, extents: Tensor, widths: Tensor) -> Tensor:
    """Set one random span, of all channels, to zero (the mean).

    Args:
        frames_BSTM: ``[B, S, T, M]``.
        dim: 2 for time, 3 for frequency.
        extents: int64 ``[B]``, length of that axis.
        widths: int64 ``[B]``, length of the span; at most the extent.

    Returns:
        ``[B, S, T, M]``.
    """
    start = (torch.rand(len(extents)) * (extents - widths)).long()
    index = torch.arange(frames_BSTM.shape[dim])[None]
    masked = (index >= start[:, None]) & (index < (start + widths)[:, None])
    return frames_BSTM.masked_fill(masked.unsqueeze(1).unsqueeze(5 - dim), 0.0)


def augment_text(modality: Modality, column: ColumnBatch) -> ColumnBatch:  # noqa: ARG001
    """Apply token dropout: replace a tenth of the tokens of long texts by padding.

    Args:
        modality: The fitted text modality.
        column: int ``[B, N]``; 0 is padding.

    Returns:
        The same layout.
    """
    keep = torch.rand(column.values.shape) >= TOKEN_DROPOUT
    if column.lengths is not None:
        keep |= (column.lengths < TOKEN_DROPOUT_MIN_LENGTH).unsqueeze(1)
    return ColumnBatch(column.values * keep, column.present, column.lengths)


def augment_vector(modality: Modality, column: ColumnBatch) -> ColumnBatch:  # noqa: ARG001
    """Add Gaussian noise to standardised numbers.

    Args:
        modality: The fitted vector modality.
        column: float32 ``[B, cells]``.

    Returns:
        The same layout.
    """
    noise = NUMBER_JITTER * torch.randn_like(column.values)
    return ColumnBatch(column.values + noise, column.present, column.lengths)


def augment_table(modality: Modality, column: ColumnBatch) -> ColumnBatch:
    """Add Gaussian noise to standardised numbers; categories are unchanged.

    Args:
        modality: The fitted tabular modality.
        column: float32 ``[B, cells]``.

    Returns:
        The same layout.
    """
    assert isinstance(modality, Tabular)
    numbers = torch.tensor([field.kind == "number" for field in modality.fields])
    noise = NUMBER_JITTER * torch.randn_like(column.values) * numbers
    return ColumnBatch(column.values + noise, column.present, column.lengths)


def random_flip(modality: Modality, column: ColumnBatch) -> ColumnBatch:
    """Flip each row of a batch with probability 0.5, if its modality can be flipped.

    Args:
        modality: The fitted modality of the stream.
        column: The batch; precomputed outputs of a frozen encoder are returned unchanged.

    Returns:
        The same layout.
    """
    transform = AUGMENTATIONS[modality.name].flip
    return column if transform is None or column.is_encoded else transform(column)


def random_horizontal_flip(column: ColumnBatch) -> ColumnBatch:
    """Flip each picture horizontally with probability 0.5.

    Args:
        column: ``[B, height, width, channels]``.

    Returns:
        The same layout.
    """
    flipped = torch.rand(len(column)) < 0.5
    values = torch.where(flipped[:, None, None, None], column.values.flip(2), column.values)
    return ColumnBatch(values, column.present, column.lengths)


def add_masking_noise(modality: Modality, column: ColumnBatch) -> ColumnBatch:
    """Set a fraction of the inputs to zero: the masking noise of Vincent et al. 2008, section 2.3.

    Args:
        modality: The fitted modality of the stream.
        column: The batch; tokens, frames, numbers, points, or 4 x 4 squares of pictures are masked.

    Returns:
        The same layout.
    """
    sample = sample_positions if column.is_encoded else AUGMENTATIONS[modality.name].sample_mask
    noise = sample(column.values)
    keep = (noise >= MASKING_NOISE_FRACTION).reshape(*noise.shape, *(1,) * (column.values.ndim - noise.ndim))
    return ColumnBatch(column.values * keep, column.present, column.lengths, column.is_encoded)


def sample_positions(values: Tensor) -> Tensor:
    """Sample a uniform random number for each token, frame or number.

    Args:
        values: ``[B, N, ...]``.

    Returns:
        float ``[B, N]`` in 0..1.
    """
    return torch.rand(values.shape[:2])


def sample_points(values: Tensor) -> Tensor:
    """Sample a uniform random number for each point.

    Args:
        values: ``[B, T, P, F]``.

    Returns:
        float ``[B, T, P]`` in 0..1.
    """
    return torch.rand(values.shape[:3])


def sample_patches(values: Tensor) -> Tensor:
    """Sample a uniform random number for each patch of 4 x 4 pixels.

    Args:
        values: ``[B, height, width, channels]``.

    Returns:
        float ``[B, height, width]`` in 0..1, the same for all pixels of a patch.
    """
    coarse = torch.rand(len(values), 1, -(-values.shape[1] // 4), -(-values.shape[2] // 4))
    return functional.interpolate(coarse, scale_factor=4.0)[:, 0, : values.shape[1], : values.shape[2]]


def identity(modality: Modality, column: ColumnBatch) -> ColumnBatch:  # noqa: ARG001
    """Return a batch unchanged.

    Args:
        modality: The fitted modality.
        column: The batch.

    Returns:
        The same batch.
    """
    return column


class Augmentation(NamedTuple):
    """Data augmentation of one modality.

    Attributes:
        transform: Augments a batch that is not empty and not precomputed; ``identity`` for no augmentation.
        sample_mask: From values to a random number in 0..1 for each position that ``add_masking_noise`` may set to
            zero, ``[B, ...]``: the first axes of the values.
        flip: Flips each row with probability 0.5, for the option ``train.flip``; None: no flips.
    """

    transform: Callable[[Modality, ColumnBatch], ColumnBatch] = identity
    sample_mask: Callable[[Tensor], Tensor] = sample_positions
    flip: Callable[[ColumnBatch], ColumnBatch] | None = None


AUGMENTATIONS: AspectTable[Augmentation] = AspectTable(
    ModalityEntry,
    "augmentation",
    {
        "tabular": Augmentation(augment_table),
        "text": Augmentation(augment_text),
        "image": Augmentation(augment_image, sample_patches, random_horizontal_flip),
        "audio": Augmentation(augment_audio),
        "video": Augmentation(augment_video),
        "vector": Augmentation(augment_vector),
        "series": Augmentation(augment_series),
        "points": Augmentation(augment_points, sample_points),
        "geo": Augmentation(augment_places),
    },
    default=Augmentation(),
)
"""Modality to its data augmentation."""
