"""Variation of training inputs, by modality and safe by default (torch).

No flips: a mirrored digit or word is another one. Shape legend: B rows, T frames, M mel bands,
N tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from polymodal.modalities import Modality, ModalityEntry
from polymodal.modalities.audio import Audio
from polymodal.modalities.tabular import Tabular
from polymodal.nn.layers import split_channels
from polymodal.plugins import AspectTable
from polymodal.tokens import ColumnBatch
from polymodal.training.sensor_augmentation import vary_points, vary_series

SHIFT = 0.08
ROTATION_RAD = math.radians(10)
SCALE = 0.10
BRIGHTNESS = 0.15
CROP = 0.25
"""At most this share of a video's frames is left out at its ends."""
TIME_WARP = 0.10
FREQUENCY_WARP = 0.15
NOISE = 0.3
NORMALISED = ("log_mel", "mfcc", "waveform")
"""Only sound brought to deviation 1 gets noise: for others its strength would have no measure."""
MASK_SHARE = 6
TOKEN_DROPOUT = 0.1
LONG_TEXT = 24
"""Only texts of so many tokens lose any: in a short question every word counts."""
NUMBER_JITTER = 0.1
LENGTH_STEP = 8
CORRUPTED = 0.3


def augment(modality: Modality, column: ColumnBatch) -> ColumnBatch:
    """Vary the cells of a training batch.

    Args:
        modality: The fitted modality of the stream.
        column: The batch; a frozen encoder's outputs pass unchanged.

    Returns:
        A varied batch; ``present`` is unchanged.
    """
    if column.is_encoded or not len(column):
        return column
    return AUGMENTATIONS[modality.name].vary(modality, column)


def uniform(size: int, reach: float) -> Tensor:
    """Draw numbers.

    Args:
        size: B.
        reach: The largest, and with a minus the smallest.

    Returns:
        float ``[B]``.
    """
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
    grid = _turned_places(len(column), *pixels.shape[2:])
    varied = functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    gain = 1 + uniform(len(column), BRIGHTNESS)
    varied = (varied * gain[:, None, None, None]).clamp(0, 255)
    return ColumnBatch(varied.permute(0, 2, 3, 1), column.present, column.lengths)


def _turned_places(size: int, height: int, width: int) -> Tensor:
    """Draw where each pixel is read from, in -1..1: ``[B, height, width, 2]``, x before y."""
    angle, scale = uniform(size, ROTATION_RAD), 1 + uniform(size, SCALE)
    cosine, sine = (scale * angle.cos()).view(-1, 1, 1), (scale * angle.sin()).view(-1, 1, 1)
    right, down = 2 * uniform(size, SHIFT).view(-1, 1, 1), 2 * uniform(size, SHIFT).view(-1, 1, 1)
    x_X = (torch.arange(width) * 2 + 1) / width - 1
    y_Y1 = ((torch.arange(height) * 2 + 1) / height - 1).unsqueeze(1)
    return torch.stack([(cosine * x_X + right) - sine * y_Y1, (sine * x_X + down) + cosine * y_Y1], dim=3)


def vary_video(modality: Modality, column: ColumnBatch) -> ColumnBatch:  # noqa: ARG001
    """Shift, turn, scale and brighten all frames of a video alike, and leave some out at its ends.

    Neither mirrored nor reversed: the direction of a motion may be what is to be learnt.

    Args:
        modality: The fitted video modality.
        column: uint8 ``[B, frames, height, width, channels]`` with lengths.

    Returns:
        The same layout as float32 in 0..255, with other lengths.
    """
    values, lengths = column.values, column.lengths
    assert lengths is not None
    size, num_frames = values.shape[:2]
    left_out = (torch.rand(size) * (lengths * CROP + 1)).long()
    start = (torch.rand(size) * (left_out + 1)).long()
    places = (torch.arange(num_frames)[None] + start[:, None]).clamp(max=num_frames - 1)
    frames = values[torch.arange(size)[:, None], places]
    pixels = frames.permute(0, 1, 4, 2, 3).flatten(1, 2).float()
    grid = _turned_places(size, *pixels.shape[2:])
    varied = functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    gain = 1 + uniform(size, BRIGHTNESS)
    varied = (varied * gain[:, None, None, None]).clamp(0, 255)
    varied = varied.reshape(size, num_frames, -1, *varied.shape[2:])
    return ColumnBatch(varied.permute(0, 1, 3, 4, 2), column.present, lengths - left_out)


def vary_audio(modality: Modality, column: ColumnBatch) -> ColumnBatch:
    """Change speed and pitch, add noise to normalised sound, and mask stretches of time and frequency.

    Speed is a stretch of the frames; pitch is vocal tract length perturbation, a warp of the
    frequency axis (Jaitly and Hinton 2013); masks are SpecAugment's (Park et al. 2019, section 2).

    Args:
        modality: The fitted audio modality.
        column: float ``[B, T, S * M]`` with lengths, S channels one after the other; all are varied alike.

    Returns:
        The same layout in float32, with other lengths.
    """
    assert isinstance(modality, Audio)
    frames_BSTM = split_channels(column.values.float(), modality.channels)
    lengths = column.lengths if column.lengths is not None else torch.full((len(column),), frames_BSTM.shape[2])
    longer = (lengths * (1 + uniform(len(column), TIME_WARP))).round().long().clamp(min=1)
    pitch = uniform(len(column), FREQUENCY_WARP).exp() if modality.features == "log_mel" else torch.ones(len(column))
    warped = warp_spectrum(frames_BSTM, lengths, longer, pitch, modality)
    if not modality.is_waveform:
        for dim, extents in ((2, longer), (3, torch.full_like(longer, warped.shape[3]))):
            warped = mask_stretch(warped, dim, extents, (torch.rand(len(column)) * extents / MASK_SHARE).long())
    if modality.features in NORMALISED:
        warped = warped + NOISE * torch.rand(len(column), 1, 1, 1) * torch.randn_like(warped)
    inside = torch.arange(warped.shape[2])[None] < longer[:, None]
    varied = warped * inside[:, None, :, None]
    return ColumnBatch(varied.transpose(1, 2).flatten(2), column.present, longer)


def warp_spectrum(frames_BSTM: Tensor, lengths: Tensor, longer: Tensor, pitch: Tensor, modality: Audio) -> Tensor:
    """Stretch clips in time and in frequency.

    Args:
        frames_BSTM: ``[B, S, T, M]``.
        lengths: int64 ``[B]``, frames in use.
        longer: int64 ``[B]``, frames wanted.
        pitch: float ``[B]``, factor of all frequencies; has no effect on samples.
        modality: The fitted audio modality.

    Returns:
        ``[B, S, T, M]`` with another T.
    """
    size, _, total, bands = frames_BSTM.shape
    steps = int(math.ceil(int(longer.max()) / LENGTH_STEP) * LENGTH_STEP)
    ratio = (lengths / longer).unsqueeze(1)
    time = (torch.arange(steps)[None] + 0.5) * ratio - 0.5
    time = torch.minimum(time, (lengths - 1).unsqueeze(1).float())
    band = _pitched_bands(bands, pitch, modality.sample_rate_hz) if bands > 1 else torch.zeros(size, 1)
    grid_time = ((time + 0.5) / total * 2 - 1).unsqueeze(2).expand(size, steps, bands)
    grid_band = ((band + 0.5) / bands * 2 - 1).unsqueeze(1).expand(size, steps, bands)
    grid = torch.stack([grid_band, grid_time], dim=-1)
    return functional.grid_sample(frames_BSTM, grid, padding_mode="border", align_corners=False)


def _pitched_bands(bands: int, pitch: Tensor, sample_rate_hz: int) -> Tensor:
    """Return the band from which each band is read when frequencies are multiplied by ``pitch``."""
    top = 2595 * math.log10(1 + sample_rate_hz / 2 / 700)
    mel = torch.arange(1, bands + 1) * top / (bands + 1)
    hertz = 700 * (10 ** (mel / 2595) - 1)
    source = 2595 * torch.log10(1 + hertz[None] * pitch[:, None] / 700)
    return (source / top * (bands + 1) - 1).clamp(0, bands - 1)


def mask_stretch(frames_BSTM: Tensor, dim: int, extents: Tensor, widths: Tensor) -> Tensor:
    """Set one random stretch, of all channels, to zero (the mean).

    Args:
        frames_BSTM: ``[B, S, T, M]``.
        dim: 2 for time, 3 for frequency.
        extents: int64 ``[B]``, how long that axis is.
        widths: int64 ``[B]``, how long the stretch is; at most the extent.

    Returns:
        ``[B, S, T, M]``.
    """
    start = (torch.rand(len(extents)) * (extents - widths)).long()
    places = torch.arange(frames_BSTM.shape[dim])[None]
    masked = (places >= start[:, None]) & (places < (start + widths)[:, None])
    return frames_BSTM.masked_fill(masked.unsqueeze(1).unsqueeze(5 - dim), 0.0)


def vary_text(modality: Modality, column: ColumnBatch) -> ColumnBatch:  # noqa: ARG001
    """Blank out a tenth of the tokens of long texts.

    Args:
        modality: The fitted text modality.
        column: int ``[B, N]``; 0 is padding.

    Returns:
        The same layout.
    """
    keep = torch.rand(column.values.shape) >= TOKEN_DROPOUT
    if column.lengths is not None:
        keep |= (column.lengths < LONG_TEXT).unsqueeze(1)
    return ColumnBatch(column.values * keep, column.present, column.lengths)


def vary_vector(modality: Modality, column: ColumnBatch) -> ColumnBatch:  # noqa: ARG001
    """Jitter standardised numbers.

    Args:
        modality: The fitted vector modality.
        column: float32 ``[B, cells]``.

    Returns:
        The same layout.
    """
    noise = NUMBER_JITTER * torch.randn_like(column.values)
    return ColumnBatch(column.values + noise, column.present, column.lengths)


def vary_table(modality: Modality, column: ColumnBatch) -> ColumnBatch:
    """Jitter standardised numbers; categories stay.

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


def mirrored(modality: Modality, column: ColumnBatch) -> ColumnBatch:
    """Mirror half of the rows of a batch, if the modality can be mirrored.

    Args:
        modality: The fitted modality of the stream.
        column: The batch; a frozen encoder's outputs pass unchanged.

    Returns:
        The same layout.
    """
    mirror = AUGMENTATIONS[modality.name].mirror
    return column if mirror is None or column.is_encoded else mirror(column)


def mirror(column: ColumnBatch) -> ColumnBatch:
    """Mirror half of the pictures, left to right.

    Args:
        column: ``[B, height, width, channels]``.

    Returns:
        The same layout.
    """
    turned = torch.rand(len(column)) < 0.5
    values = torch.where(turned[:, None, None, None], column.values.flip(2), column.values)
    return ColumnBatch(values, column.present, column.lengths)


def corrupt(modality: Modality, column: ColumnBatch) -> ColumnBatch:
    """Set a third of the places to zero: the masking noise of Vincent et al. 2008, section 2.3.

    Args:
        modality: The fitted modality of the stream.
        column: The batch; places are tokens, frames, numbers, points, or 4x4 squares of pictures.

    Returns:
        The same layout.
    """
    draw = draw_places if column.is_encoded else AUGMENTATIONS[modality.name].draw
    drawn = draw(column.values)
    keep = (drawn >= CORRUPTED).reshape(*drawn.shape, *(1,) * (column.values.ndim - drawn.ndim))
    return ColumnBatch(column.values * keep, column.present, column.lengths, column.is_encoded)


def draw_places(values: Tensor) -> Tensor:
    """Draw one number for each token, frame or number.

    Args:
        values: ``[B, N, ...]``.

    Returns:
        float ``[B, N]`` in 0..1.
    """
    return torch.rand(values.shape[:2])


def draw_points(values: Tensor) -> Tensor:
    """Draw one number for each point.

    Args:
        values: ``[B, T, P, F]``.

    Returns:
        float ``[B, T, P]`` in 0..1.
    """
    return torch.rand(values.shape[:3])


def draw_squares(values: Tensor) -> Tensor:
    """Draw one number for each square of 4 x 4 pixels.

    Args:
        values: ``[B, height, width, channels]``.

    Returns:
        float ``[B, height, width]`` in 0..1, the same for all pixels of a square.
    """
    coarse = torch.rand(len(values), 1, -(-values.shape[1] // 4), -(-values.shape[2] // 4))
    return functional.interpolate(coarse, scale_factor=4.0)[:, 0, : values.shape[1], : values.shape[2]]


def unvaried(modality: Modality, column: ColumnBatch) -> ColumnBatch:  # noqa: ARG001
    """Leave a batch as it is.

    Args:
        modality: The fitted modality.
        column: The batch.

    Returns:
        The same batch.
    """
    return column


class Augmentation(NamedTuple):
    """How training inputs of one modality are varied.

    Attributes:
        vary: Varies a batch that is not empty and not encoded; ``unvaried`` for modalities that stay as they are.
        draw: From values to one number in 0..1 for each place that ``corrupt`` may set to zero, ``[B, ...]``: the
            first axes of the values.
        mirror: Mirrors half of the rows, for the option ``train.flip``; None where that would make no sense.
    """

    vary: Callable[[Modality, ColumnBatch], ColumnBatch] = unvaried
    draw: Callable[[Tensor], Tensor] = draw_places
    mirror: Callable[[ColumnBatch], ColumnBatch] | None = None


AUGMENTATIONS: AspectTable[Augmentation] = AspectTable(
    ModalityEntry,
    "augmentation",
    {
        "tabular": Augmentation(vary_table),
        "text": Augmentation(vary_text),
        "image": Augmentation(vary_image, draw_squares, mirror),
        "audio": Augmentation(vary_audio),
        "video": Augmentation(vary_video),
        "vector": Augmentation(vary_vector),
        "series": Augmentation(vary_series),
        "points": Augmentation(vary_points, draw_points),
    },
    default=Augmentation(),
)
"""Modality of a stream to how its training inputs are varied."""
