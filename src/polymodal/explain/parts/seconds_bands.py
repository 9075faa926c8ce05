"""Seconds × frequency bands of a sound."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.explain.explanation import PartKind
from polymodal.explain.parts.base import Atoms, Box, CellSource, DividedCell, Floats, atom_of, edges, enlarge, spread
from polymodal.modalities.mel import hertz_to_mel
from polymodal.modalities.silence import non_silent_span

TIME_ATOMS, BAND_ATOMS = 32, 16
SHORTEST_S = 0.02
"""No atom is shorter."""
WINDOW_S = 0.032
SMALLEST_SIZE = 1e-12
MEL_WEIGHT = 2.0
"""The whole range of frequencies counts as long as half of a clip: a band is cut in two after time was, twice."""


@dataclass(frozen=True)
class SecondsBands(DividedCell):
    """A clip's short-time spectrum and a grid over it; an atom is taken away by a filter on its band for its time.

    The filter softens what is louder than the clip's median to it. Silence in its place would be far below the noise of
    a recording: in a logarithmic spectrogram the most striking thing of all.

    Attributes:
        columns: The sound's column.
        clip: float32 ``[samples, channels]``.
        rate_hz: Samples per second.
        window: Samples of the spectrum's windows; they overlap by three quarters.
        times: Edges of the atoms in samples, of the part that is not silent at the ends.
        bands: Edges of the atoms in bins of the spectrum, even on the mel scale.
        starts_s: Seconds of the recording where the parts of the clip begin: one, or its segments, equally long.
    """

    columns: tuple[str, ...]
    clip: NDArray[np.float32]
    rate_hz: int
    window: int
    times: NDArray[np.int64]
    bands: NDArray[np.int64]
    starts_s: tuple[float, ...] = (0.0,)

    kind: ClassVar[PartKind] = "seconds_bands"

    @classmethod
    def divide(cls, source: CellSource) -> Self:
        """Load a clip as the model does.

        Args:
            source: A sound.

        Returns:
            The clip.
        """
        modality, rate = source.modality, source.modality.sample_rate_hz
        parts = modality.reader.read(source.cell, source.folder)
        length = len(parts[0][1]) if len(parts) == 1 else modality.segment_length
        clip = np.concatenate([samples[:length] for _, samples in parts])
        is_trimmed = modality.trim_db and len(parts) == 1
        span = non_silent_span(clip, rate, modality.trim_db) if is_trimmed else slice(0, len(clip))
        heard = (span.stop - span.start) // len(parts)
        most = max(1, TIME_ATOMS // len(parts))
        inside = edges(heard, min(most, max(1, int(heard / rate / SHORTEST_S))))
        times = np.append([span.start + part * heard + inside[:-1] for part in range(len(parts))], span.stop)
        window = 2 ** max(4, round(math.log2(WINDOW_S * rate)))
        starts_s = tuple(start_s for start_s, _ in parts)
        return cls((source.column,), clip, rate, window, times, _band_edges(rate, window), starts_s)

    @property
    def shape(self) -> tuple[int, ...]:
        """Stretches of time and frequency bands."""
        return len(self.times) - 1, len(self.bands) - 1

    def weights(self) -> tuple[float, ...]:
        """Return the length of an atom along time and along frequency."""
        return MEL_WEIGHT / self.shape[0], 1 / self.shape[1]

    def remove(self, removed: Atoms) -> dict[str, Cell]:
        """Filter bands out.

        Args:
            removed: bool ``[times, bands]``.

        Returns:
            Column to the bytes of a WAV file, as sounds and videos are read alike from them.
        """
        return {self.columns[0]: to_wav(self._filtered(removed) if removed.any() else self.clip, self.rate_hz)}

    def _filtered(self, removed: Atoms) -> NDArray[np.float32]:
        from scipy.signal import istft, stft

        layout = {"fs": self.rate_hz, "nperseg": self.window, "noverlap": 3 * self.window // 4}
        _, centres_s, spectrum = stft(self.clip.T, **layout)
        atom = np.searchsorted(self.times, centres_s * self.rate_hz, side="right") - 1
        gone = enlarge(removed, np.arange(len(removed) + 1), self.bands)
        inside = (atom >= 0) & (atom < len(removed))
        sizes = np.abs(spectrum[..., inside])
        softer = np.minimum(1.0, np.median(sizes) / np.maximum(sizes, SMALLEST_SIZE))
        spectrum[..., inside] *= np.where(gone[atom[inside]].T, softer, 1.0)
        _, filtered = istft(spectrum, **layout)
        return np.asarray(filtered[:, : len(self.clip)].T, np.float32)

    def pool(self, values: Floats, array: NDArray[Any], modality: Any) -> Floats:  # noqa: ARG002
        """Add up the values of a spectrogram by time and band; where it has no bands, they are spread over all of them.

        Args:
            values: float64 ``[frames, features]``, as the encoder reads clips.
            array: Not needed.
            modality: The fitted sound.

        Returns:
            float64 ``[times, bands]``.
        """
        hop = 1 if modality.is_waveform else modality.hop_length
        step = max(hop, (self.times[-1] - self.times[0]) / max(len(values), 1))
        times = atom_of(self.times[0] + (np.arange(len(values)) + 0.5) * step, self.times)
        bands = self._bands_of_features(modality)
        if bands is None:
            of_time = spread(values.sum(axis=1, keepdims=True), [times, np.zeros(1, np.int64)], (self.shape[0], 1))
            return np.repeat(of_time / self.shape[1], self.shape[1], axis=1)
        return spread(values, [times, np.resize(bands, values.shape[1])], self.shape)

    def _bands_of_features(self, modality: Any) -> NDArray[np.int64] | None:
        """Return the band of each mel filter by the middle of the filter, once for each channel."""
        if modality.is_waveform or modality.features == "mfcc":
            return None
        top = hertz_to_mel(np.array(modality.sample_rate_hz / 2))
        middles = top * np.arange(1, modality.num_mels + 1) / (modality.num_mels + 1)
        edges_hz = self.bands * self.rate_hz / self.window
        return np.asarray(np.searchsorted(hertz_to_mel(edges_hz), middles, side="right") - 1, np.int64)

    def describe(self, box: Box) -> tuple[str, dict[str, Any]]:
        """Describe some seconds of a band.

        Args:
            box: Its atoms.

        Returns:
            Seconds from the clip's beginning, and hertz.
        """
        first, last = (int(self.times[place]) for place in box[0])
        seconds = [round(self._second_of(first), 3), round(self._second_of(last - 1) + 1 / self.rate_hz, 3)]
        hertz = [round(float(self.bands[place]) * self.rate_hz / self.window) for place in box[1]]
        hertz[1] = min(hertz[1], self.rate_hz // 2)
        label = f"{seconds[0]:.2f}-{seconds[1]:.2f} s, {hertz[0]:,}-{hertz[1]:,} Hz"
        return label, {"seconds": seconds, "hertz": hertz}

    def _second_of(self, sample: int) -> float:
        """Return where a sample of the clip is in the recording."""
        length = len(self.clip) // len(self.starts_s)
        part = min(sample // length, len(self.starts_s) - 1)
        return self.starts_s[part] + (sample - part * length) / self.rate_hz


def to_wav(clip: NDArray[np.float32], rate_hz: int) -> bytes:
    """Write a clip as a WAV file of float32 samples.

    Args:
        clip: ``[samples, channels]``.
        rate_hz: Samples per second.

    Returns:
        The file's bytes.
    """
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, clip, rate_hz, format="WAV", subtype="FLOAT")
    return file.getvalue()


def _band_edges(rate_hz: int, window: int) -> NDArray[np.int64]:
    """Return edges in bins, even on the mel scale, each band at least one bin wide."""
    bins = window // 2 + 1
    mels = hertz_to_mel(np.arange(bins) * rate_hz / window)
    wanted = np.linspace(0, mels[-1], BAND_ATOMS + 1)[1:-1]
    inner = np.unique(np.searchsorted(mels, wanted))
    return np.array([0, *inner[(inner > 0) & (inner < bins)], bins], np.int64)
