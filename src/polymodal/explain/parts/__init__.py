"""How the cells of each modality are cut into parts, and how a part is taken away: one file for each kind."""

from __future__ import annotations

from polymodal.explain.parts.base import CellSource, DividedCell, IndivisibleCellError
from polymodal.explain.parts.dimensions import Dimensions
from polymodal.explain.parts.points import PointGroups
from polymodal.explain.parts.regions import ImageRegions, VideoRegions
from polymodal.explain.parts.seconds_bands import SecondsBands
from polymodal.explain.parts.table_columns import TableColumns
from polymodal.explain.parts.time_channels import TimeChannels
from polymodal.explain.parts.words import Words
from polymodal.modalities import CellReadError

__all__ = ["DIVISIONS", "CellSource", "DividedCell", "IndivisibleCellError", "divide_cell"]

DIVISIONS: dict[str, type[DividedCell]] = {
    "text": Words,
    "image": ImageRegions,
    "video": VideoRegions,
    "audio": SecondsBands,
    "series": TimeChannels,
    "points": PointGroups,
    "vector": Dimensions,
    "tabular": TableColumns,
}
"""Modality to how its cells are cut; what is not named (places on the Earth, modalities of packages) has no parts."""


def divide_cell(source: CellSource) -> DividedCell:
    """Cut a cell into parts.

    Args:
        source: The cells of one stream in one row.

    Returns:
        The divided cell.

    Raises:
        IndivisibleCellError: If its modality has no parts, it cannot be read, or there is nothing to cut.
    """
    name = source.modality.name
    if name not in DIVISIONS:
        raise IndivisibleCellError(f"the modality {name!r} has no parts")
    try:
        return DIVISIONS[name].divide(source)
    except CellReadError as error:
        raise IndivisibleCellError(f"it cannot be read: {error}") from None
