"""Rectangles of a picture, and of stretches of a video."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.explain.explanation import PartKind
from polymodal.explain.parts.base import (
    Atoms,
    Box,
    CellSource,
    DividedCell,
    Floats,
    IndivisibleCellError,
    atom_of,
    edges,
    enlarge,
    percent,
    spread,
)
from polymodal.modalities.image_files import convert_mode, open_image
from polymodal.modalities.letterbox import Letterbox
from polymodal.modalities.video_frames import load_frames, probe_video

IMAGE_ATOMS = 16
"""Most atoms along each side of a picture."""
FRAME_ATOMS = 8
"""Most atoms along each side of a video's frames."""
TIME_ATOMS = 8
"""Most stretches of a video's time."""
BLUR_SHARE = 1 / 6
"""Standard deviation of the blur that stands for a missing region, as a share of the longer side."""
LARGEST_SCALE = 2
"""Pictures are read at this many times the size at which the encoder reads them, at most."""


@dataclass(frozen=True)
class ImageRegions(DividedCell):
    """A picture and a grid over it; a region is taken away by a strong blur of the whole picture.

    Attributes:
        columns: The picture's column.
        pixels: uint8 ``[height, width, channels]``.
        blurred: The same, blurred.
        rows: Edges of the atoms from top to bottom, in pixels.
        lines: Edges of the atoms from left to right, in pixels.
    """

    columns: tuple[str, ...]
    pixels: NDArray[np.uint8]
    blurred: NDArray[np.uint8]
    rows: NDArray[np.int64]
    lines: NDArray[np.int64]

    kind: ClassVar[PartKind] = "regions"

    @classmethod
    def divide(cls, source: CellSource) -> Self:
        """Load a picture and lay a grid over it.

        Args:
            source: A picture.

        Returns:
            The picture.
        """
        image = open_image(source.cell, source.folder, source.modality.max_pixels)
        image = convert_mode(image, "L" if source.modality.channels == 1 else "RGB")
        side = LARGEST_SCALE * max(source.modality.height, source.modality.width)
        image.thumbnail((side, side))
        pixels = np.asarray(image).reshape(image.height, image.width, -1)
        rows, lines = edges(image.height, IMAGE_ATOMS), edges(image.width, IMAGE_ATOMS)
        return cls((source.column,), pixels, blur(pixels), rows, lines)

    @property
    def shape(self) -> tuple[int, ...]:
        """Atoms from top to bottom and from left to right."""
        return len(self.rows) - 1, len(self.lines) - 1

    def weights(self) -> tuple[float, ...]:
        """Return height and width of an atom."""
        return self.pixels.shape[0] / self.shape[0], self.pixels.shape[1] / self.shape[1]

    def remove(self, removed: Atoms) -> dict[str, Cell]:
        """Blur atoms.

        Args:
            removed: bool ``[rows, columns]``.

        Returns:
            Column to uint8 ``[height, width, channels]``, or ``[height, width]`` of a grey picture.
        """
        gone = enlarge(removed, self.rows, self.lines)[..., None]
        changed = np.where(gone, self.blurred, self.pixels)
        return {self.columns[0]: changed[..., 0] if changed.shape[2] == 1 else changed}

    def pool(self, values: Floats, array: NDArray[Any], modality: Any) -> Floats:  # noqa: ARG002
        """Add up the values of pixels by atoms; those of padding go to the nearest atom.

        Args:
            values: float64 ``[height, width, channels]``, as the encoder reads pictures.
            array: Not needed.
            modality: The fitted picture.

        Returns:
            float64 ``[rows, columns]``.
        """
        vertical, horizontal = _places(self.pixels.shape[:2], modality)
        atoms = [atom_of(vertical, self.rows), atom_of(horizontal, self.lines)]
        return spread(values.sum(axis=2), atoms, self.shape)

    def describe(self, box: Box) -> tuple[str, dict[str, Any]]:
        """Describe a rectangle.

        Args:
            box: Its atoms.

        Returns:
            Where it is, in shares of width and height.
        """
        shares = _shares(self.rows, self.lines, *box)
        return _region_label(shares), {"box": shares}


@dataclass(frozen=True)
class VideoRegions(DividedCell):
    """The frames of a video that are read, and a grid over time and frame.

    A region is taken away by the blurred mean of all frames, so that neither what is there nor its motion is left.

    Attributes:
        columns: The video's column.
        frames: uint8 ``[frames, height, width, channels]``.
        background: Their blurred mean, uint8 ``[height, width, channels]``.
        times: Edges of the stretches, in frames.
        rows: Edges from top to bottom, in pixels.
        lines: Edges from left to right, in pixels.
        duration_s: Of the whole video; one second a frame where the cell has no time.
    """

    columns: tuple[str, ...]
    frames: NDArray[np.uint8]
    background: NDArray[np.uint8]
    times: NDArray[np.int64]
    rows: NDArray[np.int64]
    lines: NDArray[np.int64]
    duration_s: float

    kind: ClassVar[PartKind] = "regions"

    @classmethod
    def divide(cls, source: CellSource) -> Self:
        """Load the frames of a video that the model reads.

        Args:
            source: A video.

        Returns:
            The frames.

        Raises:
            IndivisibleCellError: If the model reads videos at a rate of its own, which changed frames would not have.
        """
        modality = source.modality
        if modality.rate_hz is not None:
            raise IndivisibleCellError("its frames are read at a fixed rate (rate_hz)")

        def small(image: Any) -> NDArray[np.uint8]:
            image = convert_mode(image, "L" if modality.channels == 1 else "RGB")
            image.thumbnail((modality.width, modality.height))
            return np.asarray(image).reshape(image.height, image.width, -1)

        frames = np.stack(load_frames(source.cell, source.folder, modality.sampling, small))
        _, _, duration_s = probe_video(source.cell, source.folder, modality.sampling)
        background = blur(frames.mean(axis=0).astype(np.uint8))
        times, rows, lines = (
            edges(size, most)
            for size, most in zip(frames.shape[:3], (TIME_ATOMS, FRAME_ATOMS, FRAME_ATOMS), strict=True)
        )
        return cls((source.column,), frames, background, times, rows, lines, duration_s or float(len(frames)))

    @property
    def shape(self) -> tuple[int, ...]:
        """Stretches of time, atoms from top to bottom and from left to right."""
        return len(self.times) - 1, len(self.rows) - 1, len(self.lines) - 1

    def weights(self) -> tuple[float, ...]:
        """Return the length of an atom along each axis: all of time counts as one side of a frame."""
        _, height, width, _ = self.frames.shape
        return max(height, width) / self.shape[0], height / self.shape[1], width / self.shape[2]

    def remove(self, removed: Atoms) -> dict[str, Cell]:
        """Replace atoms by the background.

        Args:
            removed: bool ``[stretches, rows, columns]``.

        Returns:
            Column to uint8 ``[frames, height, width, channels]``.
        """
        gone = enlarge(removed, self.times, self.rows, self.lines)[..., None]
        return {self.columns[0]: np.where(gone, self.background, self.frames)}

    def pool(self, values: Floats, array: NDArray[Any], modality: Any) -> Floats:  # noqa: ARG002
        """Add up the values of pixels by atoms; those of padding go to the nearest atom.

        Args:
            values: float64 ``[frames, height, width, channels]``, as the encoder reads videos.
            array: Not needed.
            modality: The fitted video.

        Returns:
            float64 ``[stretches, rows, columns]``.
        """
        box = Letterbox.fit(self.frames.shape[1:3], (modality.height, modality.width))
        vertical, horizontal = _padded_places(box, modality)
        times = atom_of(np.arange(len(values)), self.times)
        return spread(
            values.sum(axis=3), [times, atom_of(vertical, self.rows), atom_of(horizontal, self.lines)], self.shape
        )

    def describe(self, box: Box) -> tuple[str, dict[str, Any]]:
        """Describe a rectangle of some frames.

        Args:
            box: Its atoms.

        Returns:
            When it is and where, in seconds and in shares of width and height.
        """
        shares = _shares(self.rows, self.lines, *box[1:])
        unit = self.duration_s / len(self.frames)
        seconds = [round(float(self.times[place]) * unit, 3) for place in box[0]]
        return f"{seconds[0]:g}-{seconds[1]:g} s, {_region_label(shares)}", {"box": shares, "seconds": seconds}


def blur(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Blur a picture so strongly that nothing but its coarse light and dark is left.

    Args:
        pixels: uint8 ``[height, width, channels]``.

    Returns:
        The same shape.
    """
    from scipy.ndimage import gaussian_filter

    sigma = BLUR_SHARE * max(pixels.shape[:2])
    return np.asarray(gaussian_filter(pixels.astype(np.float32), (sigma, sigma, 0), mode="nearest").astype(np.uint8))


def _places(size: tuple[int, ...], modality: Any) -> tuple[Floats, Floats]:
    """Return where the middles of an encoder's pixels lie in a picture, in its pixels: rows and columns."""
    height, width = size[0], size[1]
    if modality.resize == "pad":
        return _padded_places(Letterbox.fit((height, width), (modality.height, modality.width)), modality)
    shares = [(np.arange(side) + 0.5) / side - 0.5 for side in (modality.height, modality.width)]
    if modality.resize == "stretch":
        spans = [height * modality.crop_share, width * modality.crop_share]
    else:
        scale = max(modality.height / height, modality.width / width) / modality.crop_share
        spans = [modality.height / scale, modality.width / scale]
    return height / 2 + shares[0] * spans[0], width / 2 + shares[1] * spans[1]


def _padded_places(box: Letterbox, modality: Any) -> tuple[Floats, Floats]:
    vertical = (np.arange(modality.height) + 0.5 - box.top) * box.original_size[0] / box.resized_size[0]
    horizontal = (np.arange(modality.width) + 0.5 - box.left) * box.original_size[1] / box.resized_size[1]
    return vertical, horizontal


def _shares(
    rows: NDArray[np.int64], lines: NDArray[np.int64], vertical: tuple[int, int], horizontal: tuple[int, int]
) -> list[float]:
    """Return left, top, right and bottom in shares of width and height."""
    left, right = (float(lines[place] / lines[-1]) for place in horizontal)
    top, bottom = (float(rows[place] / rows[-1]) for place in vertical)
    return [round(share, 4) for share in (left, top, right, bottom)]


def _region_label(shares: list[float]) -> str:
    left, top, right, bottom = shares
    return f"{percent(left, right)} across, {percent(top, bottom)} down"
