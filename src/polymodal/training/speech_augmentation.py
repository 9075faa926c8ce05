"""Data augmentation of speech for transcripts: stronger than of other sounds, but no word becomes inaudible (torch).

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
    mask_span,
    uniform,
    warp_spectrum,
)

SPEED = 0.20
TILT = 0.5
"""Largest change of the first and the last band, in standard deviations of the clip's values."""
LOWEST_FLOOR, HIGHEST_FLOOR = -2.5, -0.8
"""Range of the noise floor in standard deviations from the clip's mean: from below silence to faint speech."""
TIME_MASKS = 2
MASK_S = 0.08
"""Longest time mask: about one phoneme, so that no word is masked completely."""
MAX_MASKED_BANDS = 1 / 6


def augment_speech(modality: Modality, column: ColumnBatch) -> ColumnBatch:
    """Perturb speed, pitch, timbre and background noise, and mask short spans of time and frequency.

    Speed is a time warp; pitch is vocal tract length perturbation, a warp of the frequency axis (Jaitly and Hinton
    2013); masks are those of SpecAugment (Park et al. 2019, section 2). Timbre is a random spectral tilt, as of rooms
    and microphones; background noise is a random floor under all values. For MFCCs, which mix the bands, pitch and
    timbre are unchanged; waveforms are augmented as those of any sound.

    Args:
        modality: The fitted audio modality.
        column: float ``[B, T, S * M]`` with lengths, S channels one after the other; all channels are
            transformed alike. Precomputed outputs of a frozen encoder are returned unchanged.

    Returns:
        The same layout in float32, with other lengths.
    """
    assert isinstance(modality, Audio)
    if modality.is_waveform or column.is_encoded or not len(column):
        return augment(modality, column)
    has_bands = modality.features == "log_mel"
    size, frames_BSTM = len(column), split_channels(column.values.float(), modality.channels)
    lengths = column.lengths if column.lengths is not None else torch.full((size,), frames_BSTM.shape[2])
    new_lengths = (lengths * (1 + uniform(size, SPEED))).round().long().clamp(min=1)
    pitch = uniform(size, FREQUENCY_WARP if has_bands else 0.0).exp()
    frames_BSTM = warp_spectrum(frames_BSTM, lengths, new_lengths, pitch, modality)
    frames_BSTM = _tilt_and_floor(frames_BSTM) if has_bands else frames_BSTM
    if modality.features in NORMALISED:
        frames_BSTM = frames_BSTM + NOISE * torch.rand(size, 1, 1, 1) * torch.randn_like(frames_BSTM)
    frames_BSTM = _mask_spans(frames_BSTM, new_lengths, MASK_S * modality.sample_rate_hz / modality.hop_length)
    inside = torch.arange(frames_BSTM.shape[2])[None] < new_lengths[:, None]
    augmented = frames_BSTM * inside[:, None, :, None]
    return ColumnBatch(augmented.transpose(1, 2).flatten(2), column.present, new_lengths)


def _tilt_and_floor(frames_BSTM: Tensor) -> Tensor:
    """Apply a random spectral tilt and noise floor."""
    size, bands = len(frames_BSTM), frames_BSTM.shape[3]
    slope = torch.linspace(-1, 1, bands)
    floor = LOWEST_FLOOR + (HIGHEST_FLOOR - LOWEST_FLOOR) * torch.rand(size, 1, 1, 1)
    return torch.maximum(frames_BSTM + uniform(size, TILT)[:, None, None, None] * slope, floor)


def _mask_spans(frames_BSTM: Tensor, lengths: Tensor, max_frames: float) -> Tensor:
    num_bands = frames_BSTM.shape[3]
    bands = torch.full_like(lengths, num_bands)
    for dim, extents, max_width in ((2, lengths, max_frames),) * TIME_MASKS + (
        (3, bands, MAX_MASKED_BANDS * num_bands),
    ):
        widths = torch.minimum((torch.rand(len(extents)) * max_width).long(), extents)
        frames_BSTM = mask_span(frames_BSTM, dim, extents, widths)
    return frames_BSTM
