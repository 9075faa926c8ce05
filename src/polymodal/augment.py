"""Variation of training inputs, by modality and safe by default (torch).

No flips: a mirrored digit or word is another one. Shape legend: B rows, T frames, M mel bands,
N tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from polymodal.augment_sensors import vary_points, vary_series
from polymodal.modalities import Modality
from polymodal.modalities.audio import Audio
from polymodal.modalities.tabular import Tabular
from polymodal.tokens import ColumnBatch

SHIFT = 0.08
ROTATION_RAD = math.radians(10)
SCALE = 0.10
BRIGHTNESS = 0.15
TIME_WARP = 0.10
FREQUENCY_WARP = 0.15
NOISE = 0.3
MASK_SHARE = 6
TOKEN_DROPOUT = 0.1
LONG_TEXT = 24
"""Only texts of so many tokens lose any: in a short question every word counts."""
NUMBER_JITTER = 0.1
LENGTH_STEP = 8


def augment(modality: Modality, column: ColumnBatch) -> ColumnBatch:
    """Vary the cells of a training batch.

    Args:
        modality: The fitted modality of the stream.
        column: The batch.

    Returns:
        A varied batch; ``present`` is unchanged.
    """
    vary = AUGMENTATIONS.get(modality.name)
    return column if vary is None or not len(column) else vary(modality, column)


def _uniform(size: int, reach: float) -> Tensor:
    return torch.empty(size).uniform_(-reach, reach)


def vary_image(modality: Modality, column: ColumnBatch) -> ColumnBatch:  # noqa: ARG001
    """Shift, turn, scale and brighten pictures a little.

    Args:
        modality: The fitted image modality.
        column: uint8 ``[B, height, width, channels]``.

    Returns:
        The same layout as float32 in 0..255.
    """
    pixels = column.values.permute(0, 3, 1, 2).float()
    grid = functional.affine_grid(_affine(len(column)), list(pixels.shape), align_corners=False)
    varied = functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    gain = 1 + _uniform(len(column), BRIGHTNESS)
    varied = (varied * gain[:, None, None, None]).clamp(0, 255)
    return ColumnBatch(varied.permute(0, 2, 3, 1), column.present, column.lengths)


def _affine(size: int) -> Tensor:
    angle, scale = _uniform(size, ROTATION_RAD), 1 + _uniform(size, SCALE)
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    first = torch.stack([cosine, -sine, 2 * _uniform(size, SHIFT)], dim=1)
    second = torch.stack([sine, cosine, 2 * _uniform(size, SHIFT)], dim=1)
    return torch.stack([first, second], dim=1)


def vary_audio(modality: Modality, column: ColumnBatch) -> ColumnBatch:
    """Change speed and pitch, add noise, and mask stretches of time and frequency.

    Speed is a stretch of the frames; pitch is vocal tract length perturbation, a warp of the
    frequency axis (Jaitly and Hinton 2013); masks are SpecAugment's (Park et al. 2019, section 2).

    Args:
        modality: The fitted audio modality.
        column: float ``[B, T, M]`` with lengths.

    Returns:
        The same layout in float32, with other lengths.
    """
    assert isinstance(modality, Audio)
    frames_BTM = column.values.float()
    lengths = column.lengths if column.lengths is not None else torch.full((len(column),), frames_BTM.shape[1])
    longer = (lengths * (1 + _uniform(len(column), TIME_WARP))).round().long().clamp(min=1)
    pitch = _uniform(len(column), FREQUENCY_WARP).exp() if modality.features == "log_mel" else torch.ones(len(column))
    warped = _warp(frames_BTM, lengths, longer, pitch, modality)
    if modality.features != "waveform":
        warped = _mask(_mask(warped, 1, longer), 2, torch.full_like(longer, warped.shape[2]))
    noise = NOISE * torch.rand(len(column), 1, 1) * torch.randn_like(warped)
    inside = torch.arange(warped.shape[1])[None] < longer[:, None]
    return ColumnBatch((warped + noise) * inside.unsqueeze(-1), column.present, longer)


def _warp(frames_BTM: Tensor, lengths: Tensor, longer: Tensor, pitch: Tensor, modality: Audio) -> Tensor:
    size, total, bands = frames_BTM.shape
    steps = int(math.ceil(int(longer.max()) / LENGTH_STEP) * LENGTH_STEP)
    ratio = (lengths / longer).unsqueeze(1)
    time = (torch.arange(steps)[None] + 0.5) * ratio - 0.5
    time = torch.minimum(time, (lengths - 1).unsqueeze(1).float())
    band = _pitched_bands(bands, pitch, modality.sample_rate_hz) if bands > 1 else torch.zeros(size, 1)
    grid_time = ((time + 0.5) / total * 2 - 1).unsqueeze(2).expand(size, steps, bands)
    grid_band = ((band + 0.5) / bands * 2 - 1).unsqueeze(1).expand(size, steps, bands)
    grid = torch.stack([grid_band, grid_time], dim=-1)
    warped = functional.grid_sample(frames_BTM.unsqueeze(1), grid, padding_mode="border", align_corners=False)
    return warped.squeeze(1)


def _pitched_bands(bands: int, pitch: Tensor, sample_rate_hz: int) -> Tensor:
    """Return the band from which each band is read when frequencies are multiplied by ``pitch``."""
    top = 2595 * math.log10(1 + sample_rate_hz / 2 / 700)
    mel = torch.arange(1, bands + 1) * top / (bands + 1)
    hertz = 700 * (10 ** (mel / 2595) - 1)
    source = 2595 * torch.log10(1 + hertz[None] * pitch[:, None] / 700)
    return (source / top * (bands + 1) - 1).clamp(0, bands - 1)


def _mask(frames_BTM: Tensor, dim: int, extents: Tensor) -> Tensor:
    """Set one random stretch, at most a sixth of each row's extent, to zero (the mean)."""
    width = (torch.rand(len(extents)) * extents / MASK_SHARE).long()
    start = (torch.rand(len(extents)) * (extents - width)).long()
    places = torch.arange(frames_BTM.shape[dim])[None]
    masked = (places >= start[:, None]) & (places < (start + width)[:, None])
    return frames_BTM.masked_fill(masked.unsqueeze(3 - dim), 0.0)


def vary_text(modality: Modality, column: ColumnBatch) -> ColumnBatch:  # noqa: ARG001
    """Blank out a tenth of the tokens of long texts.

    Args:
        modality: The fitted text modality.
        column: int ``[B, N]``; 0 is padding. Outputs of a frozen checkpoint pass unchanged.

    Returns:
        The same layout.
    """
    if column.values.ndim > 2:  # outputs of a frozen checkpoint
        return column
    keep = torch.rand(column.values.shape) >= TOKEN_DROPOUT
    if column.lengths is not None:
        keep |= (column.lengths < LONG_TEXT).unsqueeze(1)
    return ColumnBatch(column.values * keep, column.present, column.lengths)


def vary_numbers(modality: Modality, column: ColumnBatch) -> ColumnBatch:
    """Jitter standardised numbers; categories stay.

    Args:
        modality: The fitted tabular or vector modality.
        column: float32 ``[B, cells]``.

    Returns:
        The same layout.
    """
    noise = NUMBER_JITTER * torch.randn_like(column.values)
    if isinstance(modality, Tabular):
        noise = noise * torch.tensor([field.kind == "number" for field in modality.fields])
    return ColumnBatch(column.values + noise, column.present, column.lengths)


AUGMENTATIONS: dict[str, Callable[[Modality, ColumnBatch], ColumnBatch]] = {
    "image": vary_image,
    "audio": vary_audio,
    "text": vary_text,
    "tabular": vary_numbers,
    "vector": vary_numbers,
    "series": vary_series,
    "points": vary_points,
}
