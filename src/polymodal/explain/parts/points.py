"""Groups of neighbouring points of a cloud or of a sequence of clouds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.explain.explanation import PartKind
from polymodal.explain.parts.base import Atoms, Box, CellSource, DividedCell, Floats, IndivisibleCellError, spread
from polymodal.modalities.point_clouds import Cloud, read_point_clouds

MOST_GROUPS = 64
FEWEST_POINTS = 4
"""No group has fewer points where the cloud can be cut into larger ones."""


@dataclass(frozen=True)
class PointGroups(DividedCell):
    """A cloud and boxes of its points, over all frames together; points are taken away by leaving them out.

    The boxes are the leaves of a balanced k-d tree (Bentley 1975): the points are halved at the median of the axis
    along which they extend farthest, again and again. Neighbouring leaves of one branch are one box.

    Attributes:
        columns: The cloud's column.
        frames: The points as they stand in the cell, one array a frame.
        groups: The leaf of each point, all frames one after another; -1 for points that are not finite.
        places: float64 ``[points, axes]``, coordinates of the same points.
        num_groups: Leaves, a power of two.
    """

    columns: tuple[str, ...]
    frames: tuple[Cloud, ...]
    groups: NDArray[np.int64]
    places: NDArray[np.float64]
    num_groups: int

    kind: ClassVar[PartKind] = "points"

    @classmethod
    def divide(cls, source: CellSource) -> Self:
        """Read a cloud and group its points.

        Args:
            source: A cloud or a sequence of clouds.

        Returns:
            The cloud.

        Raises:
            IndivisibleCellError: If no point has finite coordinates.
        """
        modality = source.modality
        frames = read_point_clouds(source.cell, source.folder, modality.bin_columns)
        points = np.concatenate(frames)
        if modality.frame_column >= 0:
            points = np.delete(points, modality.frame_column, axis=1)
        places = points[:, : modality.num_axes]
        finite = np.flatnonzero(np.isfinite(places).all(axis=1))
        if not len(finite):
            raise IndivisibleCellError("it has no finite points")
        depth = int(np.log2(max(1, min(MOST_GROUPS, len(finite) // FEWEST_POINTS))))
        groups = np.full(len(points), -1)
        for number, members in enumerate(_leaves(places, finite, depth)):
            groups[members] = number
        return cls((source.column,), tuple(frames), groups, places, 2**depth)

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of groups."""
        return (self.num_groups,)

    def remove(self, removed: Atoms) -> dict[str, Cell]:
        """Leave points out.

        Args:
            removed: bool ``[groups]``.

        Returns:
            Column to one array a frame.
        """
        kept = (self.groups < 0) | ~removed[self.groups]
        ends = np.cumsum([len(frame) for frame in self.frames])[:-1]
        pairs = zip(self.frames, np.split(kept, ends), strict=True)
        return {self.columns[0]: [frame[inside] for frame, inside in pairs]}

    def pool(self, values: Floats, array: NDArray[Any], modality: Any) -> Floats:
        """Add up the values of the points that the encoder reads by groups: a point is in the group of its nearest one.

        Args:
            values: float64 ``[frames, points, features]``, as the encoder reads clouds.
            array: The decoded cell, of the same shape.
            modality: The fitted cloud.

        Returns:
            float64 ``[groups]``.
        """
        from scipy.spatial import cKDTree

        is_point, axes = array[..., -1] > 0, modality.num_axes
        places = array[is_point][:, :axes] * np.array(modality.std[:axes]) + np.array(modality.mean[:axes])
        known = np.flatnonzero(self.groups >= 0)
        _, nearest = cKDTree(self.places[known]).query(places)
        return spread(values[is_point].sum(axis=1), [self.groups[known][nearest]], self.shape)

    def describe(self, box: Box) -> tuple[str, dict[str, Any]]:
        """Describe a group.

        Args:
            box: Its leaves.

        Returns:
            The number of its points and the smallest box around them, in the cloud's units.
        """
        inside = (self.groups >= box[0][0]) & (self.groups < box[0][1])
        points = self.places[inside]
        low, high = (np.round(bound, 4).tolist() for bound in (points.min(axis=0), points.max(axis=0)))
        middle = ", ".join(f"{value:.3g}" for value in points.mean(axis=0))
        return f"{len(points):,} points around ({middle})", {"box": [low, high]}


def _leaves(places: NDArray[np.float64], members: NDArray[np.int64], depth: int) -> list[NDArray[np.int64]]:
    if not depth:
        return [members]
    inside = places[members]
    axis = int(np.argmax(inside.max(axis=0) - inside.min(axis=0)))
    order = members[np.argsort(inside[:, axis], kind="stable")]
    half = len(order) // 2
    return _leaves(places, order[:half], depth - 1) + _leaves(places, order[half:], depth - 1)
