"""Pictures: any format, size and colour depth to ``uint8 [rows, height, width, channels]``."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from polymodal.arrays import BrokenCell, Cell, Column
from polymodal.modalities.base import CellReadError, Settings
from polymodal.modalities.cover import Resample, cover_box
from polymodal.modalities.decode import decode_fixed, each, sample
from polymodal.modalities.letterbox import fit_box
from polymodal.modalities.media import NUMPY_MAGIC, as_array, load_npy, read_media

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "PPM", "JPEG2000", "TGA", "ICO", "QOI")
ORIENTATION = 0x0112
SAMPLE_SIZE = 256
ALIKE = 0.05
GREY_TOLERANCE = 4
LOOK_SIDE = 64
JPEG = ("JPEG", "MPO")
TURNED = (5, 6, 7, 8)
"""Orientations in which width and height change places."""


class ImageSettings(Settings):
    """Options of pictures.

    Attributes:
        size: Height and width in pixels; None chooses both from the training pictures.
        max_side: Largest height or width that is chosen from the training pictures.
        channels: 1 for grey, 3 for colour; None chooses grey where every sampled picture is grey.
        max_pixels: A picture whose header declares more is refused before it is decoded.
        resize: How a picture comes to the size: ``pad`` keeps all of it and its aspect, ``stretch``
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
class Image:
    """Pictures of one size.

    A picture keeps its aspect: it is scaled to fit and padded with the colour of its own border, unless
    ``resize`` says otherwise.
    EXIF orientation is honoured, transparency is laid on white, the first frame of an animation
    counts. 16-bit values are divided by 257. Arrays are ``[height, width]``,
    ``[height, width, channels]`` or ``[channels, height, width]``; whole numbers are 0..255
    (uint16: 0..65535), floats are 0..1 where no value is above 1 and 0..255 otherwise.

    The size chosen from training pictures is their median, at most ``max_side``, in multiples of 4.
    It has their aspect where nine of ten share it, and is square otherwise.

    Attributes:
        height: In pixels.
        width: In pixels.
        channels: 1 or 3.
        mean: Mean of each channel over training pictures, in 0..1.
        std: Standard deviation of each channel, in 0..1.
        max_pixels: Pictures that declare more are refused.
        resize: ``pad``, ``stretch`` or ``crop``.
        crop_share: Share of each side that stays when the borders are cut off.
        resample: The filter that scales.
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

    name: ClassVar[str] = "image"
    summary: ClassVar[str] = "pictures as files, bytes, arrays or PIL images, brought to one size"
    paper: ClassVar[str] = (
        "EXIF 2.3 orientation; antialiased bilinear resampling (Pillow); padding as in YOLO's letterbox"
    )
    is_media: ClassVar[bool] = True
    Settings: ClassVar[type[BaseModel]] = ImageSettings

    @classmethod
    def fit(
        cls, cells: Sequence[Cell], settings: ImageSettings, folder: Path | None, *, num_threads: int | None = None
    ) -> Image:
        """Choose size and channels and measure mean and deviation on a sample of the cells.

        Args:
            cells: Training cells.
            settings: Options.
            folder: Where relative paths begin; None refuses strings as paths.
            num_threads: Threads that decode.

        Returns:
            The fitted modality; 32 x 32 where no picture can be read.
        """
        look = partial(_look, folder=folder, max_pixels=settings.max_pixels)
        looks = sample(cells, look, SAMPLE_SIZE, num_threads)
        height, width = choose_size([shape for _, (shape, _) in looks], settings.size, settings.max_side)
        channels = settings.channels or (1 if all(grey for _, (_, grey) in looks) else 3)
        kept = {name: getattr(settings, name) for name in ("max_pixels", "resize", "crop_share", "resample")}
        blank = cls(height=height, width=width, channels=channels, mean=[], std=[], **kept)
        column, _ = blank.transform([cell for cell, _ in looks], folder, num_threads=num_threads)
        mean, std = _measure(column)
        return cls(**{**blank.state(), "mean": mean, "std": std})

    def transform(
        self, cells: Sequence[Cell], folder: Path | None, *, num_threads: int | None = None
    ) -> tuple[Column, list[BrokenCell]]:
        """Decode pictures, each distinct file once.

        Args:
            cells: Paths, bytes, structs, arrays or PIL images.
            folder: Where relative paths begin; None refuses strings as paths.
            num_threads: Threads that decode.

        Returns:
            uint8 ``[rows, height, width, channels]`` in 0..255, and the broken cells.
        """
        work = each(partial(self._decode, folder=folder))
        return decode_fixed(cells, work, (self.height, self.width, self.channels), np.uint8, num_threads)

    def _decode(self, cell: Cell, folder: Path | None) -> NDArray[np.uint8]:
        picture = open_picture(cell, folder, self.max_pixels, draft=self._draft_size)
        picture = in_mode(picture, "L" if self.channels == 1 else "RGB")
        if self.resize != "pad":
            return cover_box(picture, self.height, self.width, self.resize == "crop", self.crop_share, self.resample)
        return fit_box(picture, self.height, self.width)

    def _draft_size(self, picture: Picture) -> tuple[int, int]:
        """Return twice the size that a picture comes to, whichever way up it is: a JPEG need not be decoded finer."""
        width, height = picture.size
        if self.resize != "pad":
            side = round(2 * max(self.height, self.width) / self.crop_share)
            return side, side
        upright = min(self.height / height, self.width / width)
        turned = min(self.height / width, self.width / height)
        scale = 2 * max(upright, turned)
        return math.ceil(scale * width), math.ceil(scale * height)

    def state(self) -> dict[str, Any]:
        """Return what was fitted, in plain JSON types."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Image:
        """Make the modality again from its state.

        Args:
            state: What ``state`` returned.

        Returns:
            The same modality.
        """
        return cls(**state)


def open_picture(
    cell: Cell, folder: Path | None, max_pixels: int, *, draft: Callable[[Picture], tuple[int, int]] | None = None
) -> Picture:
    """Open a picture cell, upright and without transparency.

    Args:
        cell: Path, bytes, struct, array or PIL image.
        folder: Where relative paths begin; None refuses strings as paths.
        max_pixels: A picture that declares more is refused before it is decoded.
        draft: Given the picture before it is decoded, returns the width and height that are large enough: a JPEG is
            decoded at a half, a quarter or an eighth where that is no smaller. None: full scale.

    Returns:
        A PIL image in mode L or RGB.

    Raises:
        CellReadError: If there is no readable picture.
    """
    from PIL import Image as pillow  # noqa: N813

    content = read_media(cell, folder)
    if isinstance(content, bytes) and not content.startswith(NUMPY_MAGIC):
        picture = open_header(io.BytesIO(content), max_pixels)
        check_pixels(picture.width, picture.height, max_pixels)
        if draft is not None and picture.format in JPEG:
            picture.draft(None, draft(picture))
        return _plain(picture)
    if isinstance(content, pillow.Image):
        check_pixels(content.width, content.height, max_pixels)
        return _plain(_copy(content))
    values = load_npy(content) if isinstance(content, bytes) else as_array(content)
    return _plain(pillow.fromarray(_picture_array(values, max_pixels)))


@cache
def _quiet_pillow() -> None:
    """Silence Pillow's own pixel limit below its hard one: ``max_pixels`` is the limit here."""
    from PIL import Image as pillow  # noqa: N813

    warnings.filterwarnings("ignore", category=pillow.DecompressionBombWarning)


def open_header(file: IO[bytes], max_pixels: int) -> Picture:
    """Open a picture file without decoding its pixels.

    Args:
        file: The file, at its start.
        max_pixels: For the message where the header declares more than Pillow opens.

    Returns:
        A PIL image that is not loaded.

    Raises:
        CellReadError: If the file is in no known format.
    """
    from PIL import Image as pillow  # noqa: N813
    from PIL import UnidentifiedImageError

    _quiet_pillow()
    try:
        return pillow.open(file, formats=FORMATS)
    except (pillow.DecompressionBombError, pillow.DecompressionBombWarning) as error:
        declared = re.search(r"\d+", str(error))
        count = f"{int(declared.group()):,}" if declared else "too many"
        raise CellReadError(f"declares {count} pixels, above the limit of {max_pixels:,}") from None
    except UnidentifiedImageError:
        raise CellReadError("is not a picture in a known format (PNG, JPEG, WebP, TIFF, GIF, BMP, ...)") from None


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Refuse a picture that is too large or has no pixels.

    Args:
        width: In pixels.
        height: In pixels.
        max_pixels: Most pixels that are decoded.

    Raises:
        CellReadError: If it is refused.
    """
    if width * height > max_pixels:
        raise CellReadError(f"declares {width} x {height} pixels, above the limit of {max_pixels:,}")
    if not width * height:
        raise CellReadError("is a picture without pixels")


def _copy(picture: Picture) -> Picture:
    _load(picture)
    return picture.copy()


def _load(picture: Picture) -> None:
    try:
        picture.load()
    except Exception as error:  # Pillow's decoders raise many kinds on damaged files
        raise CellReadError(f"is a damaged picture: {error}") from None


def in_mode(picture: Picture, mode: str) -> Picture:
    """Return a picture in a mode, itself where it is in that mode already.

    Args:
        picture: Any picture.
        mode: Pillow's name of the mode.

    Returns:
        The picture.
    """
    return picture if picture.mode == mode else picture.convert(mode)


def _plain(picture: Picture) -> Picture:
    """Return a picture upright, on white, in mode L or RGB."""
    _load(picture)
    picture = _upright(picture)
    if picture.mode.startswith(("I", "F")):
        return _from_deep(picture)
    if picture.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
        return _on_white(picture)
    return in_mode(picture, "L" if picture.mode in ("1", "L") else "RGB")


def _orientation(picture: Picture) -> int:
    try:
        return int(picture.getexif().get(ORIENTATION, 1))
    except Exception:  # damaged metadata does not break a picture
        return 1


def _upright(picture: Picture) -> Picture:
    orientation = _orientation(picture)
    if orientation == 1:
        return picture
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return picture.transpose(turns[orientation]) if orientation in turns else picture


def _from_deep(picture: Picture) -> Picture:
    """Bring 16-bit, 32-bit and float pictures to 8 bits."""
    from PIL import Image as pillow  # noqa: N813

    values = np.asarray(picture)
    if picture.mode.startswith("I;16") or (picture.mode == "I" and values.max() > 255):
        if values.max() > 65535 or values.min() < 0:
            raise CellReadError("holds 32-bit values outside 0..65535")
        values = values.astype(np.uint16)
    return pillow.fromarray(to_bytes(values))


def _on_white(picture: Picture) -> Picture:
    from PIL import Image as pillow  # noqa: N813

    is_grey = picture.mode in ("LA", "La", "L", "1")
    picture = picture.convert("RGBA")
    ground = pillow.new("RGBA", picture.size, "white")
    return pillow.alpha_composite(ground, picture).convert("L" if is_grey else "RGB")


def _picture_array(values: NDArray[Any], max_pixels: int) -> NDArray[np.uint8]:
    if values.ndim == 3 and values.shape[0] in (1, 3, 4) and values.shape[2] not in (1, 2, 3, 4):
        values = values.transpose(1, 2, 0)
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in (1, 2, 3, 4)):
        raise CellReadError(
            f"is an array of shape {list(values.shape)}; expected [height, width] or [height, width, 1..4]"
        )
    check_pixels(values.shape[1], values.shape[0], max_pixels)
    pixels = to_bytes(values)
    return np.ascontiguousarray(pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)


def to_bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Bring the pixels of an array to 0..255.

    Args:
        values: Any shape; see ``Image`` for what each dtype means.

    Returns:
        uint8 of the same shape.

    Raises:
        CellReadError: If a value is out of range, NaN or infinite.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype == np.uint16:
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if not np.isfinite(values).all():
        raise CellReadError(f"holds {int((~np.isfinite(values)).sum()):,} values that are NaN or infinite")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 255:
        raise CellReadError(f"holds values in {low:g}..{high:g}; expected 0..255, or 0..1 for floats")
    scale = 255.0 if values.dtype.kind == "f" and high <= 1 else 1.0
    return np.rint(values * scale).astype(np.uint8)


def _look(cell: Cell, folder: Path | None, max_pixels: int) -> tuple[tuple[int, int], bool]:
    """Return a picture's height and width, and whether it is grey; a JPEG is decoded as coarsely as that needs."""
    shapes: list[tuple[int, int]] = []

    def draft(picture: Picture) -> tuple[int, int]:
        is_turned = _orientation(picture) in TURNED
        shapes.append(picture.size if is_turned else (picture.height, picture.width))
        return LOOK_SIDE, LOOK_SIDE

    picture = open_picture(cell, folder, max_pixels, draft=draft)
    shape = shapes[0] if shapes else (picture.height, picture.width)
    if picture.mode == "L":
        return shape, True
    picture.thumbnail((LOOK_SIDE, LOOK_SIDE))
    pixels = np.asarray(picture).astype(np.int16)
    return shape, bool(np.ptp(pixels, axis=2).max() <= GREY_TOLERANCE)


def choose_size(shapes: list[tuple[int, int]], size: int | None, max_side: int) -> tuple[int, int]:
    """Choose one size for all pictures.

    Args:
        shapes: Height and width of training pictures.
        size: Height and width that the user wants; None chooses both.
        max_side: Largest height or width that is chosen.

    Returns:
        Height and width in pixels; 32 x 32 without pictures.
    """
    if size is not None:
        return size, size
    if not shapes:
        return 32, 32
    sizes = np.array(shapes, np.float64)
    aspects = np.log(sizes[:, 0] / sizes[:, 1])
    is_alike = np.abs(aspects - np.median(aspects)) <= ALIKE
    side = float(np.median(sizes.max(axis=1)))
    box = np.median(sizes, axis=0) if is_alike.mean() >= 0.9 else np.array([side, side])
    box = box * min(1.0, max_side / box.max())
    height, width = np.maximum(8, 4 * np.rint(box / 4)).astype(int)
    return int(height), int(width)


def _measure(column: Column) -> tuple[list[float], list[float]]:
    channels = column.values.shape[3]
    pixels = column.values[column.present].reshape(-1, channels).astype(np.float64) / 255
    if not len(pixels):
        return [0.5] * channels, [0.25] * channels
    std = np.maximum(pixels.std(axis=0), 0.01)
    return [float(value) for value in pixels.mean(axis=0)], [float(value) for value in std]
