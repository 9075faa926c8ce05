"""Variation of speech that is to be spelt: speakers and rooms change, no word gets lost (torch).

Shape legend: B rows, T frames, M mel bands.
"""

from __future__ import annotations

import torch
from torch import Tensor

from polymodal.augment import FREQUENCY_WARP, NOISE, augment, mask_stretch, uniform, warp_spectrum
from polymodal.modalities import Modality
from polymodal.modalities.audio import Audio
from polymodal.tokens import ColumnBatch

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
        column: float ``[B, T, M]`` with lengths.

    Returns:
        The same layout in float32, with other lengths.
    """
    assert isinstance(modality, Audio)
    if modality.features == "waveform" or not len(column):
        return augment(modality, column)
    has_bands = modality.features == "log_mel"
    size, frames_BTM = len(column), column.values.float()
    lengths = column.lengths if column.lengths is not None else torch.full((size,), frames_BTM.shape[1])
    longer = (lengths * (1 + uniform(size, SPEED))).round().long().clamp(min=1)
    pitch = uniform(size, FREQUENCY_WARP if has_bands else 0.0).exp()
    frames_BTM = warp_spectrum(frames_BTM, lengths, longer, pitch, modality)
    frames_BTM = _coloured(frames_BTM) if has_bands else frames_BTM
    frames_BTM = frames_BTM + NOISE * torch.rand(size, 1, 1) * torch.randn_like(frames_BTM)
    frames_BTM = _masked(frames_BTM, longer, MASK_S * modality.sample_rate_hz / modality.hop_length)
    inside = torch.arange(frames_BTM.shape[1])[None] < longer[:, None]
    return ColumnBatch(frames_BTM * inside.unsqueeze(-1), column.present, longer)


def _coloured(frames_BTM: Tensor) -> Tensor:
    """Tilt the spectrum and raise its floor."""
    size, _, bands = frames_BTM.shape
    slope = torch.linspace(-1, 1, bands)
    floor = LOWEST_FLOOR + (HIGHEST_FLOOR - LOWEST_FLOOR) * torch.rand(size, 1, 1)
    return torch.maximum(frames_BTM + uniform(size, TILT)[:, None, None] * slope, floor)


def _masked(frames_BTM: Tensor, lengths: Tensor, longest: float) -> Tensor:
    bands = torch.full_like(lengths, frames_BTM.shape[2])
    for dim, extents, most in ((1, lengths, longest),) * TIME_MASKS + ((2, bands, MASKED_BANDS * frames_BTM.shape[2]),):
        widths = torch.minimum((torch.rand(len(extents)) * most).long(), extents)
        frames_BTM = mask_stretch(frames_BTM, dim, extents, widths)
    return frames_BTM
