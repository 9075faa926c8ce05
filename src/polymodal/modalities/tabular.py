"""The stream of a row's numbers, categories and dates together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, Field

from polymodal.arrays import BrokenCell, Cell, Column
from polymodal.errors import parameter_error
from polymodal.modalities.base import Modality, Settings
from polymodal.modalities.category import Category, CategorySettings
from polymodal.modalities.datetime import COMPONENTS, EVEN_EDGES, DateTime, DateTimeSettings
from polymodal.modalities.imputation import Imputation
from polymodal.modalities.number import Number, NumberSettings

Kind = Literal["number", "category", "datetime"]
Member = Number | Category | DateTime

MEMBERS: dict[str, type[Member]] = {"number": Number, "category": Category, "datetime": DateTime}


class TabularSettings(Settings):
    """Options of tabular streams.

    Attributes:
        kinds: Column to modality: number, category or datetime. Filled in from the schema.
        max_values: Values of a category told apart, the most frequent ones.
        impute: What absent cells of a row with other cells are filled with; ``learned``: nothing, the encoder has a
            vector for each column that stands for an absent cell.
    """

    kinds: dict[str, Kind] = Field(default_factory=dict)
    max_values: int = Field(default=10_000, ge=1)
    impute: Literal["learned", "mean", "median", "most_frequent", "nearest"] = "learned"


@dataclass(frozen=True)
class TabularField:
    """One value of a row.

    Attributes:
        name: The column's name; for a date ``column.part``.
        kind: ``number``, standardised, or ``category``, a code.
        cardinality: Codes lie in 0..cardinality - 1, 0 for unseen ones; 0 for numbers.
        quantiles: Rising edges in standardised units; None for categories.
    """

    name: str
    kind: Literal["number", "category"]
    cardinality: int
    quantiles: list[float] | None


@dataclass(frozen=True, kw_only=True)
class Tabular(Modality):
    """Numbers, categories and dates of a row, side by side; each cell may be absent.

    Attributes:
        members: Column name to its fitted modality, in the order of the values.
        imputation: Fills in absent cells; None: they stay absent.
    """

    members: dict[str, Member]
    imputation: Imputation | None = None

    name: ClassVar[str] = "tabular"
    summary: ClassVar[str] = "a row's numbers, categories and dates together"
    paper: ClassVar[str] = "Gorishniy et al. 2021, Revisiting Deep Learning Models for Tabular Data"
    is_column: ClassVar[bool] = False
    Settings: ClassVar[type[BaseModel]] = TabularSettings

    @cached_property
    def fields(self) -> list[TabularField]:
        """One entry for each value of a row; a date makes eight, named ``column.part``."""
        return [field for name, member in self.members.items() for field in _fields(name, member)]

    @cached_property
    def places(self) -> dict[str, slice]:
        """Column name to the values that are its own among those of a row."""
        widths = [len(_fields(name, member)) for name, member in self.members.items()]
        ends = accumulate(widths)
        return {name: slice(end - width, end) for name, width, end in zip(self.members, widths, ends, strict=True)}

    @classmethod
    def fit(
        cls,
        cells: Mapping[str, Sequence[Cell]],
        settings: TabularSettings,
        folder: Path | None,
        *,
        num_threads: int | None = None,  # noqa: ARG003  (all modalities are called alike)
    ) -> Tabular:
        """Fit each column by itself.

        Args:
            cells: Column name to training cells.
            settings: Options; ``kinds`` must name every column.
            folder: Not needed.
            num_threads: Not needed.

        Returns:
            The fitted modality.

        Raises:
            ConfigError: If a column's kind is not named.
        """
        for name in cells:
            if name not in settings.kinds:
                raise parameter_error("kinds", "TabularSettings", f"a mapping that names {name!r}", settings.kinds)
        fitted = {name: _fit(column, settings.kinds[name], settings, folder) for name, column in cells.items()}
        tabular = cls(members=fitted)
        if settings.impute == "learned":
            return tabular
        column, _ = tabular.transform(cells, folder)
        is_category = [field.kind == "category" for field in tabular.fields]
        return cls(
            members=fitted, imputation=Imputation.fit(settings.impute, column.values, column.present, is_category)
        )

    def transform(
        self,
        cells: Mapping[str, Sequence[Cell]],
        folder: Path | None,
        *,
        num_threads: int | None = None,  # noqa: ARG002
    ) -> tuple[Column, list[BrokenCell]]:
        """Transform all columns and concatenate their values.

        Args:
            cells: Column name to cells; every fitted column, all of one length.
            folder: Not needed.
            num_threads: Not needed.

        Returns:
            float32 ``[rows, fields]`` with present ``[rows, fields]``, 0 where absent; and the broken
            cells, with their columns, by row.
        """
        num_rows = len(next(iter(cells.values()), ()))
        found = {name: member.transform(cells[name], folder) for name, member in self.members.items()}
        values = np.zeros((num_rows, len(self.fields)), np.float32)
        present = np.zeros(values.shape, bool)
        for name, (column, _) in found.items():
            place = self.places[name]
            values[:, place] = column.values.reshape(num_rows, place.stop - place.start)
            present[:, place] = column.present[:, None]
        values[~present] = 0
        if self.imputation is not None:
            values, present = self.imputation.apply(values, present)
        broken = [replace(failure, column=name) for name, (_, failures) in found.items() for failure in failures]
        return Column(values, present), sorted(broken, key=lambda cell: cell.row)

    def state(self) -> dict[str, Any]:
        """Return the fitted state, in plain JSON types; ``fields`` is there for readers, ``members`` is the state."""
        members = [
            {"column": name, "modality": member.name, "state": member.state()} for name, member in self.members.items()
        ]
        imputation = {} if self.imputation is None else {"imputation": self.imputation.state()}
        return {"members": members, "fields": [asdict(field) for field in self.fields], **imputation}

    def notice(self, column: str, asked: Mapping[str, Any]) -> str:  # noqa: ARG002
        """Tell that absent cells are filled in.

        Args:
            column: Name of the stream.
            asked: Options that the user gave.

        Returns:
            A sentence; empty where they are not.
        """
        if self.imputation is None:
            return ""
        method = self.imputation.method
        return f"Absent cells of {column!r} are filled in, as settings.{column}.impute={method} asked."

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Tabular:
        """Restore the modality from its state.

        Args:
            state: What ``state`` returned.

        Returns:
            The same modality.
        """
        members = {entry["column"]: MEMBERS[entry["modality"]].from_state(entry["state"]) for entry in state["members"]}
        imputation = Imputation(**state["imputation"]) if "imputation" in state else None
        return cls(members=members, imputation=imputation)


def _fit(cells: Sequence[Cell], kind: Kind, settings: TabularSettings, folder: Path | None) -> Member:
    if kind == "category":
        return Category.fit(cells, CategorySettings(max_values=settings.max_values), folder)
    if kind == "number":
        return Number.fit(cells, NumberSettings(), folder)
    return DateTime.fit(cells, DateTimeSettings(), folder)


def _fields(name: str, member: Member) -> list[TabularField]:
    if isinstance(member, Category):
        return [TabularField(name, "category", member.cardinality, None)]
    if isinstance(member, Number):
        return [_number_field(name, member.quantiles)]
    rest = [_number_field(f"{name}.{part}", EVEN_EDGES) for part in COMPONENTS[1:]]
    return [_number_field(f"{name}.{COMPONENTS[0]}", member.quantiles), *rest]


def _number_field(name: str, quantiles: list[float]) -> TabularField:
    return TabularField(name, "number", 0, quantiles)
