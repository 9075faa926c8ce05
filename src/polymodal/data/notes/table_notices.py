"""What was done with a table and what the user should know of it: all notices, in one place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from polymodal.data.notes.cuts import cut_notices
from polymodal.data.notes.dropped import dropped_notices
from polymodal.data.notes.duplicates import duplicate_notices
from polymodal.data.notes.groups import group_notices
from polymodal.data.notes.labels import label_notices
from polymodal.data.notes.leaks import leak_notices
from polymodal.data.notes.notice import Notice, in_order
from polymodal.data.notes.part import Part
from polymodal.data.notes.values import value_notices
from polymodal.data.schema.schema import Schema
from polymodal.modalities import Modality

HEADING = "What I did with your table"
MOST_OF_A_KIND = 4


def table_notices(
    schema: Schema,
    parts: Sequence[Part],
    modalities: Mapping[str, tuple[str, Modality]],
    *,
    is_grouped: bool = False,
    num_threads: int | None = None,
) -> list[Notice]:
    """Look at a table before a model is trained on it.

    The number of cells that are looked at is bounded for each column and in all, and no two columns are compared.

    Args:
        schema: Columns, streams and targets.
        parts: The training rows, then validation and test; or all rows of a table that is not split yet.
        modalities: Media stream to its column and fitted modality.
        is_grouped: Whether the user has named the groups, or the time, that the split follows.
        num_threads: Threads that read files; None means all cores.

    Returns:
        The notices, by kind.
    """
    return in_order(
        [
            *dropped_notices(schema, parts[0]),
            *cut_notices(modalities, parts[0], num_threads),
            *value_notices(schema, parts[0]),
            *leak_notices(schema, parts[0]),
            *duplicate_notices(schema, parts),
            *([] if is_grouped else group_notices(schema, parts)),
            *label_notices(schema, parts),
        ]
    )


def notice_lines(notices: Iterable[Mapping[str, object]]) -> list[str]:
    """Return the lines to print, a few of each kind.

    Args:
        notices: Notices as plain JSON, by kind.

    Returns:
        The heading and one line a notice; no line where there is none.
    """
    of_kind: dict[object, list[str]] = {}
    for notice in notices:
        of_kind.setdefault(notice["kind"], []).append(f"- {notice['sentence']}")
    lines = []
    for sentences in of_kind.values():
        lines += sentences[:MOST_OF_A_KIND]
        left = len(sentences) - MOST_OF_A_KIND
        lines += [f"- and {left:,} more of this kind; the report lists them."] if left > 0 else []
    return [f"{HEADING}:", *lines] if lines else []
