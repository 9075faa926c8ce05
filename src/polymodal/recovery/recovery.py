"""What is kept of a run to recover absent cells: ridge regressions, remembered rows, and which predictor is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Column, arrays_under, put_under
from polymodal.ensemble.baselines import Baseline, Linear
from polymodal.recovery.memory import Memory

Method = Literal["network", "ridge", "mean"]
NETWORK: Method = "network"
RIDGE: Method = "ridge"
MEAN: Method = "mean"
METHODS: tuple[Method, ...] = (NETWORK, RIDGE, MEAN)
"""What recovers a cell: the network, ridge regression on the baselines' features, or the mean of the training rows."""
MAX_GROUPS = 8
"""Columns of a table stream are hidden in so many groups at most, to judge how they are recovered."""


@dataclass(frozen=True, kw_only=True)
class HiddenGroup:
    """Columns of one stream that are hidden together.

    Attributes:
        stream: The stream.
        columns: The columns.
        fields: Their places among the values of a row of a table stream; empty: the stream as a whole is hidden.
    """

    stream: str
    columns: list[str]
    fields: list[int]

    def hide(self, columns: Mapping[str, Column]) -> dict[str, Column]:
        """Hide the cells.

        Args:
            columns: Stream to arrays.

        Returns:
            The same with these cells absent in every row.
        """
        column = columns[self.stream]
        if not self.fields:
            return {**columns, self.stream: column.without(np.ones(len(column), np.bool_))}
        present = column.present.copy()
        present[:, self.fields] = False
        return {**columns, self.stream: Column(column.values, present, column.lengths)}


@dataclass(frozen=True, kw_only=True)
class RecoveredColumn:
    """How the absent cells of one column are recovered.

    Attributes:
        column: Name of the column.
        stream: Its stream.
        group: Index of the group that it is hidden with, and of its ridge regression.
        method: What recovers it: the best on validation rows.
    """

    column: str
    stream: str
    group: int
    method: Method


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """What recovers absent cells beside the network.

    Attributes:
        columns: One entry a column.
        groups: The columns that are hidden together.
        ridges: Index of a group to the ridge regression of its sketch; empty where no stream has
            features.
        memories: Stream whose cells are retrieved to its remembered training rows.
    """

    columns: list[RecoveredColumn]
    groups: list[HiddenGroup]
    ridges: dict[int, Linear] = field(default_factory=dict)
    memories: dict[str, Memory] = field(default_factory=dict)

    def methods(self, column: RecoveredColumn) -> list[Method]:
        """Return what can recover a column."""
        return [method for method in METHODS if method != RIDGE or column.group in self.ridges]

    def without_cells(self) -> Recovery:
        """Return the same without any cell of a training row, as a bundle has it."""
        return replace(self, memories={name: memory.without_cells() for name, memory in self.memories.items()})

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return everything as plain JSON and named arrays."""
        plain: dict[str, Any] = {
            "columns": [vars(column) for column in self.columns],
            "groups": [vars(group) for group in self.groups],
            "ridges": [],
            "memories": [],
        }
        arrays: dict[str, NDArray[Any]] = {}
        for group, ridge in self.ridges.items():
            state, own, _ = ridge.state()
            plain["ridges"].append({"group": group, "state": state})
            arrays |= put_under(own, f"ridge{group}/")
        for number, (stream, memory) in enumerate(self.memories.items()):
            state, own = memory.state()
            plain["memories"].append({"stream": stream, "state": state})
            arrays |= put_under(own, f"memory{number}/")
        return plain, arrays

    @classmethod
    def from_state(cls, state: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Recovery:
        """Restore it.

        Args:
            state: The plain part of ``state``.
            arrays: Its arrays.

        Returns:
            An equal recovery.

        Raises:
            ValueError: If its parts do not fit each other.
        """
        ridges = {}
        for saved in state["ridges"]:
            group = int(saved["group"])
            restored = Baseline.from_state(saved["state"], arrays_under(arrays, f"ridge{group}/"), {})
            if not isinstance(restored, Linear):
                raise ValueError("a ridge regression of the recovery is none")
            ridges[group] = restored
        memories = {
            saved["stream"]: Memory.from_state(saved["state"], arrays_under(arrays, f"memory{number}/"))
            for number, saved in enumerate(state["memories"])
        }
        found = cls(
            columns=[RecoveredColumn(**saved) for saved in state["columns"]],
            groups=[HiddenGroup(**saved) for saved in state["groups"]],
            ridges=ridges,
            memories=memories,
        )
        if any(column.method not in found.methods(column) for column in found.columns):
            raise ValueError("a column is recovered by what the model lacks")
        return found
