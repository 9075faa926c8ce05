"""Heat over the waveform and the spectrum of a sound that plays."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from polymodal.arrays import Cell
from polymodal.explain.explanation import Part
from polymodal.modalities.mel import hertz_to_mel, log_mel
from polymodal.report.heat import Heat
from polymodal.report.heat_regions import paint_part
from polymodal.report.thumbnails import CLIP_RATE_HZ, SoundClip, encode_picture, read_sound

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

WIDTH, WAVE, SPECTRUM = 480, 40, 96
"""The drawing: its width, the height of the waveform and that of the spectrum below it, in SVG units."""
NYQUIST = CLIP_RATE_HZ / 2
NUM_MELS = 64
MAX_COLUMNS = 240
MOST_OPAQUE = 0.75
PAINTED_SCALE = 2


def draw_sound(cell: Cell, parts: Sequence[Part], heat: Heat, folder: Path | None, column: str) -> Markup:
    """Draw the waveform above the spectrum of a sound, both with heat, and a player below.

    Args:
        cell: The raw cell.
        parts: Parts with ``seconds`` and ``hertz``.
        heat: The scale.
        folder: Base folder of relative paths; None: paths are not opened.
        column: Name of the column.

    Returns:
        Safe HTML.

    Raises:
        CellReadError: If there is no readable sound.
    """
    clip, top_hz = read_sound(cell, folder), _top_hz(parts)
    length = f"{'the first ' if clip.is_cut else ''}{clip.duration_s:.1f} s"
    label = f"Sound in column {column}, {length}"
    body = _spectrum(clip, top_hz) + _wave(clip) + _heat(clip, parts, heat, top_hz) + _playhead()
    svg = '<svg class="sound over" role="img" viewBox="0 0 {} {}" preserveAspectRatio="none" aria-label="{}">{}</svg>'
    drawing = Markup(svg).format(WIDTH, WAVE + SPECTRUM, f"Loudness and spectrum of {label}, with heat", body)
    player = Markup('<audio controls preload="none" src="{}" aria-label="{}"></audio>').format(clip.uri, label)
    note = '<span class="note axis-note"><span>0 s</span><span>{}</span><span>{:.1f} s</span></span>'
    axis = Markup(note).format(f"loudness; 0 to {top_hz / 1000:.3g} kHz, evenly in mel", clip.duration_s)
    cut = Markup('<span class="note">Only {} are drawn and played.</span>').format(length) if clip.is_cut else ""
    return Markup('<div class="heated heard">{}{}{}{}</div>').format(drawing, axis, player, cut)


def _top_hz(parts: Sequence[Part]) -> float:
    """Return the highest frequency of all parts, the edge of the drawing."""
    return min(
        max((float(part.place["hertz"][1]) for part in parts if "hertz" in part.place), default=NYQUIST), NYQUIST
    )


def _spectrum(clip: SoundClip, top_hz: float) -> Markup:
    uri, _, _ = encode_picture(spectrum_image(clip, top_hz))
    image = '<image href="{}" x="0" y="{}" width="{}" height="{}" preserveAspectRatio="none"/>'
    return Markup(image).format(uri, WAVE, WIDTH, SPECTRUM)


def spectrum_image(clip: SoundClip, top_hz: float) -> PILImage:
    """Return the mel spectrum of a clip as a grey picture, low frequencies at the bottom, loud parts bright.

    Args:
        clip: The clip.
        top_hz: Upper edge of the picture.

    Returns:
        An image in mode L.
    """
    from PIL import Image as pillow  # noqa: N813

    hop = max(160, -(-clip.samples.size // MAX_COLUMNS))
    (mel_TM,) = log_mel(
        [clip.samples],
        sample_rate_hz=CLIP_RATE_HZ,
        window_length=400,
        hop_length=hop,
        fft_length=1024,
        num_mels=NUM_MELS,
        max_frames=MAX_COLUMNS,
    )
    edge, all_mels = hertz_to_mel(np.array([top_hz, NYQUIST]))
    mel_TM = mel_TM[:, : max(1, round(NUM_MELS * float(edge / all_mels)))]
    low, high = float(mel_TM.min()), float(mel_TM.max())
    grey = 16 + 224 * (mel_TM - low) / max(high - low, 1e-6)
    return pillow.fromarray(np.ascontiguousarray(grey.T[::-1]).astype(np.uint8))


def _wave(clip: SoundClip) -> Markup:
    peaks = clip.peaks.tolist()
    step, middle = WIDTH / len(peaks), WAVE / 2
    path = "".join(
        f"M{(place + 0.5) * step:.1f} {middle - (middle - 2) * peak:.1f}V{middle + (middle - 2) * peak + 0.5:.1f}"
        for place, peak in enumerate(peaks)
    )
    return Markup('<path class="peaks" d="{}"/>').format(path)


def _heat(clip: SoundClip, parts: Sequence[Part], heat: Heat, top_hz: float) -> Markup:
    drawn = [_rect(part, _across(*_seconds(part), clip), (0, WAVE), loudest) for part, loudest in _sums(parts, heat)]
    drawn += [_rect(part, _box(part, clip, top_hz), (WAVE, WAVE + SPECTRUM), heat) for part in parts]
    return Markup('<g class="parts">{}</g>').format(Markup("").join(drawn))


def _sums(parts: Sequence[Part], heat: Heat) -> list[tuple[Part, Heat]]:
    """Sum the parts over all frequencies, in the stretches between their edges; colour stands for the sum a second."""
    edges = sorted({edge for part in parts for edge in _seconds(part)})
    found = []
    for start_s, end_s in pairwise(edges):
        value = sum(part.value * _share(part, start_s, end_s) for part in parts)
        label = f"{start_s:.2f} to {end_s:.2f} s, all frequencies"
        found.append(Part(label, {"seconds": [start_s, end_s]}, value))
    most = max((abs(part.value) / _length(part) for part in found), default=0.0) or 1.0
    return [(part, Heat(most * _length(part), heat.unit)) for part in found]


def _share(part: Part, start_s: float, end_s: float) -> float:
    first_s, last_s = _seconds(part)
    return max(0.0, min(end_s, last_s) - max(start_s, first_s)) / _length(part)


def _length(part: Part) -> float:
    start_s, end_s = _seconds(part)
    return max(end_s - start_s, 1e-6)


def _seconds(part: Part) -> tuple[float, float]:
    start_s, end_s = part.place["seconds"]
    return float(start_s), float(end_s)


def _across(start_s: float, end_s: float, clip: SoundClip) -> list[float]:
    return [min(start_s / clip.duration_s, 1.0), 0.0, min(end_s / clip.duration_s, 1.0), 1.0]


def _box(part: Part, clip: SoundClip, top_hz: float) -> list[float]:
    """Return left, top, right and bottom of a part in shares of the spectrum."""
    low, high = (float(edge) for edge in part.place.get("hertz", (0.0, top_hz)))
    mels = hertz_to_mel(np.clip([low, high, top_hz], 0, top_hz))
    left, _, right, _ = _across(*_seconds(part), clip)
    return [left, float(1 - mels[1] / mels[2]), right, float(1 - mels[0] / mels[2])]


def _rect(part: Part, box: Sequence[float], lane: tuple[int, int], heat: Heat) -> Markup:
    side, height = heat.side(part.value), lane[1] - lane[0]
    left, right = round(WIDTH * box[0], 1), round(WIDTH * box[2], 1)
    top, bottom = round(lane[0] + height * box[1], 1), round(lane[0] + height * box[3], 1)
    opacity = round(MOST_OPAQUE * heat.strength(part.value), 2) if side else 0
    rect = '<rect class="{}" x="{}" y="{}" width="{}" height="{}" fill-opacity="{}"><title>{}: {}</title></rect>'
    drawn = Markup(rect).format(
        side, left, top, round(right - left, 1), round(bottom - top, 1), opacity, part.label, heat.text(part.value)
    )
    line = Markup('<path d="M{} {}L{} {}" stroke-opacity="{}"/>').format(left, bottom, right, top, round(opacity, 2))
    return drawn + line if side == "against" else drawn


def _playhead() -> Markup:
    return Markup('<line class="playhead" x1="0" x2="0" y1="0" y2="{}"/>').format(WAVE + SPECTRUM)


def paint_sound(cell: Cell, parts: Sequence[Part], heat: Heat, folder: Path | None) -> PILImage:
    """Paint heat into the spectrum of a sound, for a PNG file.

    Args:
        cell: The raw cell.
        parts: Parts with ``seconds`` and ``hertz``.
        heat: The scale.
        folder: Base folder of relative paths; None: paths are not opened.

    Returns:
        An image in mode RGB.
    """
    from PIL import Image as pillow  # noqa: N813

    clip, top_hz = read_sound(cell, folder), _top_hz(parts)
    size = (WIDTH * PAINTED_SCALE, SPECTRUM * PAINTED_SCALE)
    image = spectrum_image(clip, top_hz).resize(size).convert("RGBA")
    layer = pillow.new("RGBA", size)
    for part in parts:
        box = [share * length for share, length in zip(_box(part, clip, top_hz), size * 2, strict=True)]
        paint_part(layer, part, box, heat)
    return pillow.alpha_composite(image, layer).convert("RGB")
