"""Heat over the regions of a picture or of a video's frames: as an overlay in HTML, and painted for PNG files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from polymodal.arrays import Cell
from polymodal.explain.explanation import Part, RowExplanation, box_name
from polymodal.modalities.image_size import image_size
from polymodal.report.heat import Heat
from polymodal.report.thumbnails import MAX_PIXELS, STRIP_S, encode_picture

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

SIDE = 320
"""Longest side of a drawn picture in pixels."""
FRAME_SIDE = 200
"""Longest side of a drawn frame in pixels."""
MAX_FRAMES = 8
SMALL = 160
"""Smaller pictures are enlarged without smoothing."""
MOST_OPAQUE = 0.8
PAINTED = {"for": (224, 98, 0), "against": (20, 110, 200)}
"""Colours of painted heat, those of the page's light theme."""
PAINTED_SIDE = 480
"""Least longest side of a painted picture in pixels."""
HATCH_STEP = 8


@dataclass(frozen=True)
class Frame:
    """A picture to draw heat over.

    Attributes:
        image: The picture.
        label: What it is, in words.
        parts: The parts that lie in it.
        item: The box that is explained, if one is: left, top, right and bottom in shares of the picture.
    """

    image: PILImage
    label: str
    parts: list[Part]
    item: tuple[float, ...] = ()


def read_picture(cell: Cell, parts: Sequence[Part], folder: Path | None, column: str) -> list[Frame]:
    """Read a picture.

    Args:
        cell: The raw cell.
        parts: Its parts.
        folder: Base folder of relative paths; None: paths are not opened.
        column: Name of the column.

    Returns:
        One frame.

    Raises:
        CellReadError: If there is no readable picture.
    """
    from polymodal.modalities.image_files import open_image

    image = open_image(cell, folder, MAX_PIXELS, draft=lambda _: (SIDE, SIDE))
    image.thumbnail((SIDE, SIDE))
    return [Frame(image, f"Picture in column {column}", list(parts))]


def mark_item(frames: Sequence[Frame], row: RowExplanation, cell: Cell, folder: Path | None) -> list[Frame]:
    """Mark the predicted box that a row explains, if it explains one.

    Args:
        frames: The picture.
        row: The row; ``explained`` names the label and the corners of one of its boxes.
        cell: The raw cell of the picture.
        folder: Base folder of relative paths.

    Returns:
        The frames, with the box.
    """
    size = image_size(cell, folder) if isinstance(row.answer, list) else None
    for box in row.answer if size else ():
        if isinstance(box, Mapping) and row.explained == box_name(box):
            height, width = size or (1, 1)
            item = tuple(float(edge) / length for edge, length in zip(box["box"], (width, height) * 2, strict=True))
            return [replace(frame, item=item) for frame in frames]
    return list(frames)


def read_frames(cell: Cell, parts: Sequence[Part], folder: Path | None, column: str) -> list[Frame]:
    """Read frames of a video, evenly over its time, with the parts that lie in each.

    Args:
        cell: The raw cell.
        parts: Its parts, with ``seconds``; those without lie in every frame.
        folder: Base folder of relative paths; None: paths are not opened.
        column: Name of the column.

    Returns:
        At most ``MAX_FRAMES`` frames.

    Raises:
        CellReadError: If there is no readable video.
    """
    from polymodal.modalities.frame_sampling import FrameSampling
    from polymodal.modalities.video_frames import load_frames, probe_video

    sampling = FrameSampling(frames=MAX_FRAMES, rate_hz=None, max_pixels=MAX_PIXELS, max_duration_s=STRIP_S)
    images = load_frames(cell, folder, sampling, _to_frame_size)
    duration_s = probe_video(cell, folder, sampling)[2] or max(
        (float(part.place["seconds"][1]) for part in parts if "seconds" in part.place), default=float(len(images))
    )
    frames = []
    for number, image in enumerate(images, start=1):
        time_s = (number - 0.5) * duration_s / len(images)
        label = f"Frame {number} of {len(images)} of the video in column {column}, {time_s:.1f} s"
        frames.append(Frame(image, label, [part for part in parts if _is_at(part, time_s)]))
    return frames


def _is_at(part: Part, time_s: float) -> bool:
    start_s, end_s = part.place.get("seconds", (time_s, time_s + 1))
    return float(start_s) <= time_s < float(end_s)


def _to_frame_size(image: PILImage) -> PILImage:
    image.thumbnail((FRAME_SIDE, FRAME_SIDE))
    return image


def draw_frames(frames: Sequence[Frame], heat: Heat) -> Markup:
    """Draw heat over pictures; of several, the page's script shows one at a time with a slider, the hottest first.

    Args:
        frames: At least one picture.
        heat: The scale.

    Returns:
        Safe HTML.
    """
    drawn = Markup("").join(_overlay(frame, heat) for frame in frames)
    if len(frames) == 1:
        return Markup('<div class="heated">{}</div>').format(drawn)
    amounts = [sum(heat.strength(part.value) for part in frame.parts) for frame in frames]
    return Markup('<div class="heated film" data-hottest="{}">{}</div>').format(amounts.index(max(amounts)), drawn)


def _overlay(frame: Frame, heat: Heat) -> Markup:
    uri, width, height = encode_picture(frame.image)
    kind = "pixels" if max(width, height) < SMALL else ""
    image = Markup('<img class="{}" src="{}" width="{}" height="{}" alt="">').format(kind, uri, width, height)
    rects = Markup("").join([*(_region(part, heat) for part in frame.parts), _item(frame)])
    svg = '<svg class="over" viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">{}</svg>'
    figure = '<div class="frame" role="img" aria-label="{}" data-label="{}" style="--ratio:{}/{}">{}{}</div>'
    label = f"{frame.label}, with heat"
    return Markup(figure).format(label, frame.label, width, height, image, Markup(svg).format(rects))


def _item(frame: Frame) -> Markup:
    if not frame.item:
        return Markup("")
    left, top, right, bottom = (100 * edge for edge in frame.item)
    corners = f'x="{left:.2f}" y="{top:.2f}" width="{right - left:.2f}" height="{bottom - top:.2f}"'
    return Markup('<rect class="item under" {0}/><rect class="item" {0}/>').format(Markup(corners))


def _region(part: Part, heat: Heat) -> Markup:
    side = heat.side(part.value)
    left, top, right, bottom = (round(100 * float(edge), 2) for edge in part.place["box"])
    tip = f"{part.label}: {heat.text(part.value)}"
    rect = '<rect class="{}" x="{}" y="{}" width="{}" height="{}" fill-opacity="{}"><title>{}</title></rect>'
    opacity = round(MOST_OPAQUE * heat.strength(part.value), 2) if side else 0
    drawn = Markup(rect).format(side, left, top, round(right - left, 2), round(bottom - top, 2), opacity, tip)
    if side != "against":
        return drawn
    lines = f"M{left} {bottom}L{right} {top}M{left} {(top + bottom) / 2:.2f}L{(left + right) / 2:.2f} {top}"
    lines += f"M{(left + right) / 2:.2f} {bottom}L{right} {(top + bottom) / 2:.2f}"
    return drawn + Markup('<path d="{}" stroke-opacity="{}"/>').format(lines, round(0.25 + opacity * 0.75, 2))


def paint_frames(frames: Sequence[Frame], heat: Heat) -> PILImage:
    """Paint heat into pictures, for a PNG file; several stand side by side.

    Args:
        frames: At least one picture.
        heat: The scale.

    Returns:
        An image in mode RGB.
    """
    from polymodal.modalities.image_files import pillow

    painted = [_paint(frame, heat, PAINTED_SIDE if len(frames) == 1 else FRAME_SIDE) for frame in frames]
    gap = 4
    width = sum(image.width + gap for image in painted) - gap
    sheet: PILImage = pillow().new("RGB", (width, max(image.height for image in painted)), "white")
    left = 0
    for image in painted:
        sheet.paste(image, (left, 0))
        left += image.width + gap
    return sheet


def _paint(frame: Frame, heat: Heat, side: int) -> PILImage:
    from PIL import Image as pillow  # noqa: N813
    from PIL import ImageDraw

    image = frame.image.convert("RGB")
    scale = max(1.0, side / max(image.size))
    size = (round(image.width * scale), round(image.height * scale))
    is_small = max(image.size) < SMALL
    image = image.resize(size, pillow.Resampling.NEAREST if is_small else pillow.Resampling.BICUBIC)
    layer = pillow.new("RGBA", size)
    for part in frame.parts:
        paint_part(layer, part, [edge * length for edge, length in zip(part.place["box"], size * 2, strict=True)], heat)
    if frame.item:
        corners = [edge * length for edge, length in zip(frame.item, size * 2, strict=True)]
        ImageDraw.Draw(layer).rectangle(corners, outline="white", width=3)
    return pillow.alpha_composite(image.convert("RGBA"), layer).convert("RGB")


def paint_part(layer: PILImage, part: Part, box: Sequence[float], heat: Heat) -> None:
    """Paint one part into a transparent layer: a filled rectangle, hatched where it speaks against the answer.

    Args:
        layer: Image in mode RGBA.
        part: The part.
        box: Left, top, right and bottom in pixels.
        heat: The scale.
    """
    from PIL import Image as pillow  # noqa: N813
    from PIL import ImageDraw

    side = heat.side(part.value)
    left, top, right, bottom = (round(edge) for edge in box)
    if not side or right <= left or bottom <= top:
        return
    opacity = round(255 * 0.7 * heat.strength(part.value))
    tile = pillow.new("RGBA", (right - left, bottom - top), (*PAINTED[side], opacity))
    if side == "against":
        lines = ImageDraw.Draw(tile)
        for start in range(-tile.height, tile.width, HATCH_STEP):
            lines.line((start, tile.height, start + tile.height, 0), fill=(*PAINTED[side], min(255, opacity + 90)))
    layer.paste(tile, (left, top))


def picture_bytes(image: Any) -> bytes:
    """Encode an image as PNG.

    Args:
        image: The image.

    Returns:
        The file's content.
    """
    import io

    buffer = io.BytesIO()
    image.save(buffer, "png", optimize=True)
    return buffer.getvalue()
