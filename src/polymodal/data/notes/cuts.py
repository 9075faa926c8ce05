"""Notices of clips, texts, series and clouds of which not all is used."""

from __future__ import annotations

from collections.abc import Mapping

from polymodal.data.notes.notice import Notice
from polymodal.data.notes.part import Part
from polymodal.modalities import Cut, Modality

MOST_ROWS = 10_000
NOUNS = {"audio": "clips", "video": "videos", "text": "texts", "series": "series", "points": "clouds"}


def cut_notices(modalities: Mapping[str, tuple[str, Modality]], part: Part, num_threads: int | None) -> list[Notice]:
    """Count the cells of media columns that are longer than what is read of them.

    Args:
        modalities: Stream to its column and the fitted modality.
        part: The training rows; a sample of them is looked at.
        num_threads: Threads that read files; None means all cores.

    Returns:
        One notice for each such column.
    """
    sample = part.sample(MOST_ROWS)
    notices = []
    for stream, (column, modality) in modalities.items():
        if modality.is_media:
            cut = modality.cut(sample.cells(column), sample.table.folder, num_threads=num_threads)
            notices += [] if cut is None or not cut.num_cut else [_notice(stream, column, modality, cut)]
    return notices


def _notice(stream: str, column: str, modality: Modality, cut: Cut) -> Notice:
    counted = f"{cut.num_cut:,} of {cut.num_cells:,} {NOUNS.get(modality.name, 'cells')}"
    change = f" To change that: --set settings.{stream}.{cut.option}=..." if cut.option else ""
    return Notice(
        kind="cut",
        columns=(column,),
        rows=cut.num_cut,
        of_rows=cut.num_cells,
        sentence=f"{column!r}: {counted} ({cut.num_cut / cut.num_cells:.0%}) {cut.effect}.{change}",
    )
