"""Variation of speech that is to be spelt: speakers and rooms change, no word gets lost (torch).

Shape legend: B rows, S channels of the sound, T frames, M mel bands.
"""

from __future__ import annotations

import torch
from torch import Tensor

from polymodal.modalities import Modality
from polymodal.modalities.audio import Audio
from polymodal.nn.layers import split_channels
from polymodal.tokens import ColumnBatch
from polymodal.training.augmentation import (
    FREQUENCY_WARP,
    NOISE,
    NORMALISED,
    augment,
    mask_stretch,
    uniform,
    warp_spectrum,
)

SPEED = 0.20
TILT = 0.5
"""Slope from the middle band to the first and the last, in deviations of the clip's values."""
LOWEST_FLOOR, HIGHEST_FLOOR = -2.5, -0.8
"""In deviations of the clip's values from their mean: from below all silence to faint speech."""
TIME_MASKS = 2
MASK_S = 0.08
"""A masked stretch of time is at most about one sound of speech, so that no word is masked whole."""
MASKED_BANDS = 1 / 6


def vary_speech(modality: Modality, column: ColumnBatch) -> ColumnBatch:
    """Change speed, pitch, timbre and background, and mask short stretches of time and frequency.

    Speed is a stretch of the frames; pitch is vocal tract length perturbation, a warp of the
    frequency axis (Jaitly and Hinton 2013); masks are SpecAugment's (Park et al. 2019, section 2).
    Timbre is a random slope over the bands, as rooms and microphones have; the background is a floor
    under all values, as noise is. MFCCs, which mix the bands, keep pitch and timbre; samples are
    varied as those of any sound.

    Args:
        modality: The fitted audio modality.
        column: float ``[B, T, S * M]`` with lengths, S channels one after the other; all are varied alike.
            A frozen encoder's outputs pass unchanged.

    Returns:
        The same layout in float32, with other lengths.
    """
    assert isinstance(modality, Audio)
    if modality.is_waveform or column.is_encoded or not len(column):
        return augment(modality, column)
    has_bands = modality.features == "log_mel"
    size, frames_BSTM = len(column), split_channels(column.values.float(), modality.channels)
    lengths = column.lengths if column.lengths is not None else torch.full((size,), frames_BSTM.shape[2])
    longer = (lengths * (1 + uniform(size, SPEED))).round().long().clamp(min=1)
    pitch = uniform(size, FREQUENCY_WARP if has_bands else 0.0).exp()
    frames_BSTM = warp_spectrum(frames_BSTM, lengths, longer, pitch, modality)
    frames_BSTM = _coloured(frames_BSTM) if has_bands else frames_BSTM
    if modality.features in NORMALISED:
        frames_BSTM = frames_BSTM + NOISE * torch.rand(size, 1, 1, 1) * torch.randn_like(frames_BSTM)
    frames_BSTM = _masked(frames_BSTM, longer, MASK_S * modality.sample_rate_hz / modality.hop_length)
    inside = torch.arange(frames_BSTM.shape[2])[None] < longer[:, None]
    varied = frames_BSTM * inside[:, None, :, None]
    return ColumnBatch(varied.transpose(1, 2).flatten(2), column.present, longer)


def _coloured(frames_BSTM: Tensor) -> Tensor:
    """Tilt the spectrum and raise its floor."""
    size, bands = len(frames_BSTM), frames_BSTM.shape[3]
    slope = torch.linspace(-1, 1, bands)
    floor = LOWEST_FLOOR + (HIGHEST_FLOOR - LOWEST_FLOOR) * torch.rand(size, 1, 1, 1)
    return torch.maximum(frames_BSTM + uniform(size, TILT)[:, None, None, None] * slope, floor)


def _masked(frames_BSTM: Tensor, lengths: Tensor, longest: float) -> Tensor:
    num_bands = frames_BSTM.shape[3]
    bands = torch.full_like(lengths, num_bands)
    for dim, extents, most in ((2, lengths, longest),) * TIME_MASKS + ((3, bands, MASKED_BANDS * num_bands),):
        widths = torch.minimum((torch.rand(len(extents)) * most).long(), extents)
        frames_BSTM = mask_stretch(frames_BSTM, dim, extents, widths)
    return frames_BSTM
