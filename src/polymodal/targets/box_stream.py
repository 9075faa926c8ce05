"""Which stream's images hold the boxes of a target."""

from __future__ import annotations

from polymodal.errors import SchemaError
from polymodal.targets.row_context import RowContext

IMAGES = frozenset({"image"})
"""Modalities of streams that can hold boxes."""


def choose_box_stream(context: RowContext, named: str | None) -> tuple[str, str]:
    """Choose the stream whose images hold the boxes.

    Args:
        context: The streams of the schema.
        named: The stream that the options name; None takes the first image stream.

    Returns:
        The stream and its column.

    Raises:
        SchemaError: If there is no image stream, or none of that name.
    """
    images = {stream.name: stream.columns[0] for stream in context.streams if stream.modality in IMAGES}
    if not images:
        raise SchemaError(
            "Boxes are detected in images, and no input column holds images. Add one, or drop this target."
        )
    if named is not None and named not in images:
        raise SchemaError(f"The setting image={named} names no image stream. There are: {', '.join(images)}.")
    stream = named or next(iter(images))
    return stream, images[stream]
