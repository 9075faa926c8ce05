"""Images of any format, size and colour depth, to ``uint8 [rows, height, width, channels]``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from polymodal.arrays import BrokenCell, Cell, Column
from polymodal.modalities.base import Modality, Settings
from polymodal.modalities.center_crop import Resample, resize_and_center_crop
from polymodal.modalities.decoding import decode_fixed, map_cells, sample_cells
from polymodal.modalities.image_files import (
    DEEPEST,
    TRANSPOSED_ORIENTATIONS,
    convert_mode,
    exif_orientation,
    largest_deep_value,
    open_image,
    white_of,
)
from polymodal.modalities.letterbox import resize_and_pad

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

SAMPLE_SIZE = 256
ASPECT_TOLERANCE = 0.05
GREY_TOLERANCE = 4
PROBE_SIDE = 64
ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm",
                     ".pgm", ".pbm", ".avif", ".heic", ".jp2", ".tga", ".ico", ".qoi",
                     ".heif", ".hif", ".dcm", ".dicom", ".svg"})  # fmt: skip


class ImageSettings(Settings):
    """Options of images.

    Attributes:
        size: Height and width in pixels; None chooses both from the training images.
        max_side: Largest height or width that is chosen from the training images.
        channels: 1 for grey, 3 for colour; None chooses grey where every sampled image is grey.
        max_pixels: An image whose header declares more is refused before it is decoded.
        resize: How an image comes to the size: ``pad`` keeps all of it and its aspect, ``stretch``
            keeps all of it, ``crop`` keeps its aspect and cuts off what is beyond the middle.
        crop_share: With ``stretch`` and ``crop``, the share of each side that stays when the borders are
            cut off last.
        resample: With ``stretch`` and ``crop``, the filter that scales; ``pad`` scales bilinearly.
    """

    size: int | None = Field(default=None, ge=4, le=1024)
    max_side: int = Field(default=128, ge=8, le=1024)
    channels: Literal[1, 3] | None = None
    max_pixels: int = Field(default=50_000_000, ge=1)
    resize: Literal["pad", "stretch", "crop"] = "pad"
    crop_share: float = Field(default=1.0, ge=0.1, le=1)
    resample: Resample = "bilinear"

    @field_validator("crop_share", "resample")
    @classmethod
    def _check_resize(cls, value: Any, info: ValidationInfo) -> Any:
        if info.data.get("resize") == "pad" and value not in (1.0, "bilinear"):
            raise PydanticCustomError("resize", "it needs resize to be stretch or crop")
        return value


@dataclass(frozen=True, kw_only=True)
class Image(Modality):
    """Images, transformed to one size.

    The aspect ratio is kept: an image is resized to fit and padded with the colour of its border, unless ``resize``
    says otherwise. EXIF orientation is applied, transparency is composited on white, of an animation the first frame is
        used. Values of 16 bits are divided so that the largest of the fewest bits (8, 10, 12, 14 or 16) that all
    training images fit into is white. Arrays are ``[height, width]``, ``[height, width, channels]`` or
    ``[channels, height, width]``; integers are 0..255 (uint16: 0..65535), floats are 0..1 where no value is above 1
    and 0..255 otherwise.

    The size chosen from training images is their median, at most ``max_side``, in multiples of 4.
    It has their aspect where nine of ten share it, and is square otherwise.

    Attributes:
        height: In pixels.
        width: In pixels.
        channels: 1 or 3.
        mean: Mean of each channel over training images, in 0..1.
        std: Standard deviation of each channel, in 0..1.
        max_pixels: Images that declare more are refused.
        resize: ``pad``, ``stretch`` or ``crop``.
        crop_share: Share of each side that stays when the borders are cut off.
        resample: The filter that scales.
        white: The value of 16-bit images that becomes 255.
    """

    height: int
    width: int
    channels: int
    mean: list[float]
    std: list[float]
    max_pixels: int = 50_000_000
    resize: Literal["pad", "stretch", "crop"] = "pad"
    crop_share: float = 1.0
    resample: Resample = "bilinear"
    white: int = DEEPEST

    name: ClassVar[str] = "image"
    summary: ClassVar[str] = "pictures as files, bytes, arrays or PIL images, brought to one size"
    paper: ClassVar[str] = (
        "EXIF 2.3 orientation; antialiased bilinear resampling (Pillow); padding as in YOLO's letterbox"
    )
    is_media: ClassVar[bool] = True
    is_file: ClassVar[bool] = True
    endings: ClassVar[frozenset[str]] = ENDINGS
    Settings: ClassVar[type[BaseModel]] = ImageSettings

    @classmethod
    def fit(
        cls, cells: Sequence[Cell], settings: ImageSettings, folder: Path | None, *, num_threads: int | None = None
    ) -> Image:
        """Fit size, channels, mean and standard deviation on a sample of the cells.

        Args:
            cells: Training cells.
            settings: Options.
            folder: Base folder of relative paths; None: strings are not opened as paths.
            num_threads: Number of decoding threads.

        Returns:
            The fitted modality; 32 x 32 where no image can be read.
        """
        probe = partial(_probe, folder=folder, max_pixels=settings.max_pixels)
        probes = sample_cells(cells, probe, SAMPLE_SIZE, num_threads)
        height, width = choose_size([shape for _, (shape, _) in probes], settings.size, settings.max_side)
        channels = settings.channels or (1 if all(grey for _, (_, grey) in probes) else 3)
        options = {name: getattr(settings, name) for name in ("max_pixels", "resize", "crop_share", "resample")}
        deep = partial(largest_deep_value, folder=folder, max_pixels=settings.max_pixels)
        options["white"] = white_of([found for _, found in sample_cells(cells, deep, SAMPLE_SIZE, num_threads)])
        unfitted = cls(height=height, width=width, channels=channels, mean=[], std=[], **options)
        column, _ = unfitted.transform([cell for cell, _ in probes], folder, num_threads=num_threads)
        mean, std = _channel_mean_std(column)
        return cls(**{**unfitted.state(), "mean": mean, "std": std})

    def transform(
        self, cells: Sequence[Cell], folder: Path | None, *, num_threads: int | None = None
    ) -> tuple[Column, list[BrokenCell]]:
        """Decode images, each distinct file once.

        Args:
            cells: Paths, bytes, structs, arrays or PIL images.
            folder: Base folder of relative paths; None: strings are not opened as paths.
            num_threads: Number of decoding threads.

        Returns:
            uint8 ``[rows, height, width, channels]`` in 0..255, and the broken cells.
        """
        work = map_cells(partial(self._decode, folder=folder))
        return decode_fixed(cells, work, (self.height, self.width, self.channels), np.uint8, num_threads)

    def _decode(self, cell: Cell, folder: Path | None) -> NDArray[np.uint8]:
        image = open_image(cell, folder, self.max_pixels, draft=self._draft_size, white=self.white)
        image = convert_mode(image, "L" if self.channels == 1 else "RGB")
        if self.resize != "pad":
            return resize_and_center_crop(
                image, self.height, self.width, self.resize == "crop", self.crop_share, self.resample
            )
        return resize_and_pad(image, self.height, self.width)

    def _draft_size(self, image: PILImage) -> tuple[int, int]:
        """Return twice the output size in either orientation: the scale at which a JPEG is decoded."""
        width, height = image.size
        if self.resize != "pad":
            side = round(2 * max(self.height, self.width) / self.crop_share)
            return side, side
        unrotated = min(self.height / height, self.width / width)
        rotated = min(self.height / width, self.width / height)
        scale = 2 * max(unrotated, rotated)
        return math.ceil(scale * width), math.ceil(scale * height)

    def notice(self, column: str, asked: Mapping[str, Any]) -> str:  # noqa: ARG002
        """Report the depth of 16-bit images that do not use all of it.

        Args:
            column: The column's name.
            asked: Not needed.

        Returns:
            A sentence for the user; empty where there is nothing to say.
        """
        if self.white == DEEPEST:
            return ""
        return f"The 16-bit pictures of the column {column!r} hold values up to {self.white:,}, which count as white."

    def state(self) -> dict[str, Any]:
        """Return the fitted state, in plain JSON types."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Image:
        """Restore the modality from its state.

        Args:
            state: What ``state`` returned.

        Returns:
            The same modality.
        """
        return cls(**state)


def _probe(cell: Cell, folder: Path | None, max_pixels: int) -> tuple[tuple[int, int], bool]:
    """Return height and width of an image and whether it is grey; a JPEG is decoded at a reduced scale."""
    shapes: list[tuple[int, int]] = []

    def draft(image: PILImage) -> tuple[int, int]:
        is_transposed = exif_orientation(image) in TRANSPOSED_ORIENTATIONS
        shapes.append(image.size if is_transposed else (image.height, image.width))
        return PROBE_SIDE, PROBE_SIDE

    image = open_image(cell, folder, max_pixels, draft=draft)
    shape = shapes[0] if shapes else (image.height, image.width)
    if image.mode == "L":
        return shape, True
    image.thumbnail((PROBE_SIDE, PROBE_SIDE))
    pixels = np.asarray(image).astype(np.int16)
    return shape, bool(np.ptp(pixels, axis=2).max() <= GREY_TOLERANCE)


def choose_size(shapes: list[tuple[int, int]], size: int | None, max_side: int) -> tuple[int, int]:
    """Choose the common size of all images.

    Args:
        shapes: Height and width of training images.
        size: Height and width that the user wants; None chooses both.
        max_side: Largest height or width that is chosen.

    Returns:
        Height and width in pixels; 32 x 32 without images.
    """
    if size is not None:
        return size, size
    if not shapes:
        return 32, 32
    sizes = np.array(shapes, np.float64)
    aspects = np.log(sizes[:, 0] / sizes[:, 1])
    has_usual_aspect = np.abs(aspects - np.median(aspects)) <= ASPECT_TOLERANCE
    side = float(np.median(sizes.max(axis=1)))
    box = np.median(sizes, axis=0) if has_usual_aspect.mean() >= 0.9 else np.array([side, side])
    box = box * min(1.0, max_side / box.max())
    height, width = np.maximum(8, 4 * np.rint(box / 4)).astype(int)
    return int(height), int(width)


def _channel_mean_std(column: Column) -> tuple[list[float], list[float]]:
    channels = column.values.shape[3]
    pixels = column.values[column.present].reshape(-1, channels).astype(np.float64) / 255
    if not len(pixels):
        return [0.5] * channels, [0.25] * channels
    std = np.maximum(pixels.std(axis=0), 0.01)
    return [float(value) for value in pixels.mean(axis=0)], [float(value) for value in std]
