"""Corruptions of sound: white noise, babble, clipping, dropouts, speed."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.corruptions.base import CorruptCell, CorruptionContext
from polymodal.modalities.audio_files import load_clip, load_stereo, read_header
from polymodal.modalities.base import CellReadError
from polymodal.modalities.media import unwrap

Samples = NDArray[np.float32]
"""``[samples, channels]``, in -1..1."""

ASSUMED_RATE_HZ = 16_000
"""Rate of arrays without one, where the column is not fitted."""
MAX_DURATION_S = 4 * 3600.0
"""The rest of a longer clip is lost."""
VOICE_S = 30.0
"""Longest part of another row that is mixed into a clip, again and again."""
DROPOUT_S = 0.03
"""Length of one dropout: about that of a lost packet."""
SPEAKERS = 4


def on_clip(corrupt: Callable[[Samples, int, float, np.random.Generator], Samples]) -> CorruptCell:
    """Turn a corruption of samples into one of cells.

    Args:
        corrupt: From samples ``[samples, channels]``, rate in Hz, level and random numbers to samples.

    Returns:
        The corruption of a cell; the corrupted cell is an array, or ``(array, rate)``, where the cell was one, and the
        bytes of a WAV file of the same rate and number of channels otherwise.
    """

    def corrupt_cell(cell: Cell, level: float, random: np.random.Generator, context: CorruptionContext) -> Cell:
        samples, rate = read_samples(cell, context)
        return _like(cell, corrupt(samples, rate, level, random), rate)

    return corrupt_cell


def read_samples(cell: Cell, context: CorruptionContext) -> tuple[Samples, int]:
    """Read a clip at its own rate.

    Args:
        cell: A cell of sound.
        context: Base folder, and the fitted modality if there is one.

    Returns:
        float32 ``[samples, channels]`` of one or two channels, and the rate in Hz.

    Raises:
        CellReadError: If there is no readable sound.
    """
    own_rate, _, channels = read_header(cell, context.folder)
    rate = own_rate or context.option("sample_rate_hz", ASSUMED_RATE_HZ)
    longest_s = context.option("max_duration_s", None) or MAX_DURATION_S
    if channels > 1:
        return load_stereo(cell, context.folder, rate, longest_s), rate
    return load_clip(cell, context.folder, rate, longest_s)[:, None], rate


def _like(cell: Cell, samples: Samples, rate: int) -> Cell:
    """Return samples in the form of a cell: an array with or without its rate, or the bytes of a file."""
    content = unwrap(cell)
    array = samples[:, 0] if samples.shape[1] == 1 else samples
    if isinstance(content, Mapping):
        return {**content, "array": array}
    if isinstance(content, tuple):
        return array, rate
    if hasattr(content, "__array__") or isinstance(content, list):
        return array
    return to_wav(samples, rate)


def to_wav(samples: Samples, rate: int) -> bytes:
    """Write samples as a WAV file of 32-bit floats.

    Args:
        samples: float32 ``[samples, channels]``.
        rate: In Hz.

    Returns:
        The file.
    """
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="FLOAT")
    return file.getvalue()


def add_white_noise(samples: Samples, rate: int, level: float, random: np.random.Generator) -> Samples:  # noqa: ARG001
    """Add white noise.

    Args:
        samples: float32 ``[samples, channels]``.
        rate: Not needed.
        level: Ratio of the clip's power to that of the noise, in dB; of a silent clip nothing changes.
        random: Random numbers.

    Returns:
        The same shape.
    """
    return mix(samples, random.standard_normal(samples.shape, np.float32), level)


def add_babble(cell: Cell, level: float, random: np.random.Generator, context: CorruptionContext) -> Cell:
    """Mix the sound of other rows into a clip.

    Args:
        cell: A cell of sound.
        level: Ratio of the clip's power to that of the others, in dB.
        random: Random numbers; choose at most four of ``context.voices``, none of them the cell itself.
        context: Cells of other rows.

    Returns:
        The corrupted cell, as for ``on_clip``; unchanged where there is no other.
    """
    samples, rate = read_samples(cell, context)
    others = [number for number, voice in enumerate(context.voices) if not _is_same(voice, cell)]
    if not others:
        return cell
    chosen = random.permutation(others)[:SPEAKERS]
    voices = np.stack([_tile(_voice(int(number), rate, context), len(samples)) for number in chosen], axis=1)
    return _like(cell, mix(samples, voices.mean(axis=1, keepdims=True), level), rate)


def _is_same(first: Cell, second: Cell) -> bool:
    one, other = unwrap(first), unwrap(second)
    return one is other or (isinstance(one, str | bytes) and isinstance(other, str | bytes) and one == other)


def _voice(number: int, rate: int, context: CorruptionContext) -> NDArray[np.float32]:
    """Return a clip of another row ``[samples]``, of the power 1; silence where it cannot be read."""
    if (number, rate) not in context.decoded:
        context.decoded[number, rate] = _load_voice(context.voices[number], rate, context)
    voice: NDArray[np.float32] = context.decoded[number, rate]
    return voice


def _load_voice(cell: Cell, rate: int, context: CorruptionContext) -> NDArray[np.float32]:
    try:
        clip = load_clip(cell, context.folder, rate, VOICE_S)
    except CellReadError:
        return np.zeros(1, np.float32)
    power = float(np.sqrt(np.mean(clip.astype(np.float64) ** 2)))
    return clip / np.float32(power) if power else clip


def _tile(clip: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    return np.tile(clip, -(-length // len(clip)))[:length]


def mix(samples: Samples, noise: NDArray[np.float32], snr_db: float) -> Samples:
    """Add noise at a ratio of powers.

    Args:
        samples: float32 ``[samples, channels]``.
        noise: float32 that broadcasts to it.
        snr_db: Power of the samples by that of the noise, in dB.

    Returns:
        The same shape; unchanged where one of the two is silent.
    """
    power, noise_power = (float(np.mean(part.astype(np.float64) ** 2)) for part in (samples, noise))
    if not power or not noise_power:
        return samples
    gain = (power / noise_power / 10 ** (snr_db / 10)) ** 0.5
    return np.asarray(samples + np.float32(gain) * noise, np.float32)


def clip_peaks(samples: Samples, rate: int, level: float, random: np.random.Generator) -> Samples:  # noqa: ARG001
    """Cut the peaks off, as an overdriven recording does, and bring the clip back to its loudest.

    Args:
        samples: float32 ``[samples, channels]``.
        rate: Not needed.
        level: Where it is cut, as a share of the clip's loudest sample.
        random: Not needed.

    Returns:
        The same shape.
    """
    loudest = float(np.abs(samples).max())
    return np.asarray(np.clip(samples, -level * loudest, level * loudest) / level, np.float32)


def drop_out(samples: Samples, rate: int, level: float, random: np.random.Generator) -> Samples:
    """Silence stretches of 30 ms at random.

    Args:
        samples: float32 ``[samples, channels]``.
        rate: In Hz.
        level: Share of the stretches that are silenced; one stays at least.
        random: Random numbers.

    Returns:
        The same shape.
    """
    length = max(1, min(round(DROPOUT_S * rate), len(samples) // 4))
    num_stretches = -(-len(samples) // length)
    chances = random.random(num_stretches)
    lost = (chances < level) & (chances < chances.max())
    heard = ~np.repeat(lost, length)[: len(samples), None]
    return np.asarray(samples * heard, np.float32)


def change_speed(samples: Samples, rate: int, level: float, random: np.random.Generator) -> Samples:
    """Play faster or slower, which changes the pitch too, by resampling (soxr).

    Args:
        samples: float32 ``[samples, channels]``.
        rate: In Hz.
        level: By how much: the speed is ``1 + level``, or one divided by it.
        random: Random numbers; choose between the two.

    Returns:
        float32 ``[other number of samples, channels]``.
    """
    import soxr

    factor = 1 + level if random.random() < 0.5 else 1 / (1 + level)
    changed: Any = soxr.resample(samples, rate * factor, rate, quality="HQ")
    return np.asarray(changed, np.float32) if len(changed) else samples
