"""Thumbnails of images, videos and audio as ``data:`` URIs."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

MAX_PIXELS = 50_000_000
"""An image whose header declares more is refused before it is decoded."""
THUMBNAIL_SIDE = 240
STRIP_FRAMES = 4
STRIP_SIDE = 120
STRIP_GAP = 2
STRIP_S = 600.0
"""Longer videos are cut to this length."""
CLIP_S = 10.0
CLIP_RATE_HZ = 16_000
WAV_BYTES = 40_000
"""Clips up to this size are kept as WAV; longer ones become MP3, which every browser plays."""
NUM_PEAKS = 120


def data_uri(kind: str, content: bytes) -> str:
    """Encode bytes as a ``data:`` URI.

    Args:
        kind: MIME type.
        content: The file's bytes.

    Returns:
        ``data:...;base64,...``.
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def image_uri(cell: Cell, folder: Path | None, side: int = THUMBNAIL_SIDE) -> tuple[str, int, int]:
    """Re-encode an image as a thumbnail.

    Args:
        cell: Path, bytes, struct, array or PIL image.
        folder: Base folder of relative paths; None: paths are not opened.
        side: Longest side in pixels.

    Returns:
        The URI, and the thumbnail's width and height in pixels.
    """
    from polymodal.modalities.image_files import open_image

    image = open_image(cell, folder, MAX_PIXELS, draft=lambda _: (side, side))
    image.thumbnail((side, side))
    return encode_picture(image)


def encode_picture(image: PILImage) -> tuple[str, int, int]:
    """Encode an image as PNG or JPEG, whichever is smaller.

    Args:
        image: The image.

    Returns:
        The URI, and the image's width and height in pixels.
    """
    kind, content = min((_encode(image, kind) for kind in ("png", "jpeg")), key=lambda pair: len(pair[1]))
    return data_uri(f"image/{kind}", content), image.width, image.height


def video_strip_uri(cell: Cell, folder: Path | None) -> tuple[str, int, int, int]:
    """Encode four frames of a video side by side, each of at most 120 pixels a side.

    Args:
        cell: Path, bytes, struct or array.
        folder: Base folder of relative paths; None: paths are not opened.

    Returns:
        The URI, the strip's width and height in pixels, and the number of frames in it.
    """
    from PIL import Image as pillow  # noqa: N813

    from polymodal.modalities.frame_sampling import FrameSampling
    from polymodal.modalities.video_frames import load_frames

    sampling = FrameSampling(frames=STRIP_FRAMES, rate_hz=None, max_pixels=MAX_PIXELS, max_duration_s=STRIP_S)
    frames = load_frames(cell, folder, sampling, _to_strip_size)
    width, height = (max(sides) for sides in zip(*(frame.size for frame in frames), strict=True))
    strip = pillow.new("RGB", (len(frames) * (width + STRIP_GAP) - STRIP_GAP, height), "white")
    for place, frame in enumerate(frames):
        strip.paste(frame, (place * (width + STRIP_GAP), 0))
    return *encode_picture(strip), len(frames)


def _to_strip_size(image: PILImage) -> PILImage:
    image.thumbnail((STRIP_SIDE, STRIP_SIDE))
    return image


def _encode(image: Any, kind: str) -> tuple[str, bytes]:
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=82, optimize=True)
    return kind, buffer.getvalue()


@dataclass(frozen=True)
class SoundClip:
    """The beginning of a sound, mono at ``CLIP_RATE_HZ``.

    Attributes:
        samples: float32 ``[samples]``, -1 to 1.
        is_cut: Whether the sound is longer.
    """

    samples: NDArray[np.float32]
    is_cut: bool

    @property
    def duration_s(self) -> float:
        """Its length in seconds."""
        return self.samples.size / CLIP_RATE_HZ

    @property
    def peaks(self) -> NDArray[np.float32]:
        """Maximum absolute sample of each of up to 120 segments, float32 0 to 1."""
        segments = np.array_split(np.abs(self.samples), min(NUM_PEAKS, self.samples.size))
        peaks = np.array([stretch.max() for stretch in segments], dtype=np.float32)
        return np.asarray(peaks / max(float(peaks.max()), 1e-4), np.float32)

    @property
    def uri(self) -> str:
        """The sound as a ``data:`` URI: WAV of short clips, MP3 of longer ones."""
        import soundfile

        is_small = self.samples.size * 2 <= WAV_BYTES or "MP3" not in soundfile.available_formats()
        buffer = io.BytesIO()
        soundfile.write(buffer, self.samples, CLIP_RATE_HZ, format="WAV" if is_small else "MP3")
        return data_uri("audio/wav" if is_small else "audio/mpeg", buffer.getvalue())


def read_sound(cell: Cell, folder: Path | None) -> SoundClip:
    """Read the first ten seconds of audio as mono.

    Args:
        cell: Path, bytes, struct, array or ``(array, sample_rate_hz)``.
        folder: Base folder of relative paths; None: paths are not opened.

    Returns:
        The clip.
    """
    from polymodal.modalities.audio import load_clip

    samples = np.clip(load_clip(cell, folder, CLIP_RATE_HZ, CLIP_S + 0.1), -1, 1)
    clip = samples[: int(CLIP_S * CLIP_RATE_HZ)]
    return SoundClip(clip, samples.size > clip.size)
