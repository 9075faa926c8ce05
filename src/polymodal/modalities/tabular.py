"""The stream of a row's numbers, categories and dates together."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from dataclasses import field as dataclass_field
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel

from polymodal.arrays import BrokenCell, Cell, Column
from polymodal.errors import list_names, parameter_error
from polymodal.modalities.base import Modality
from polymodal.modalities.category import Category, CategorySettings
from polymodal.modalities.category_encoding import (
    CategoryEncoding,
    Floats,
    Mask,
    check_count,
    one_hot_encoding,
    ordinal_encoding,
)
from polymodal.modalities.category_order import rank_values
from polymodal.modalities.datetime import COMPONENTS, EVEN_EDGES, DateTime, DateTimeSettings
from polymodal.modalities.imputation import Imputation
from polymodal.modalities.number import Number, NumberSettings
from polymodal.modalities.tabular_settings import Kind, TabularSettings

Member = Number | Category | DateTime
SHOWN_VALUES = 8
"""Most values of an order that are told."""

MEMBERS: dict[str, type[Member]] = {"number": Number, "category": Category, "datetime": DateTime}


@dataclass(frozen=True)
class TabularField:
    """One value of a row.

    Attributes:
        column: The column it comes from.
        name: The column's name; for a date ``column.part``, for an encoded category ``column: number``.
        kind: ``number``, standardised, or ``category``, a code.
        cardinality: Codes lie in 0..cardinality - 1, 0 for unseen ones; 0 for numbers.
        quantiles: Rising edges in standardised units; None for categories.
    """

    column: str
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
        encodings: Category to the numbers that encoders read in place of its code.
    """

    members: dict[str, Member]
    imputation: Imputation | None = None
    encodings: dict[str, CategoryEncoding] = dataclass_field(default_factory=dict)

    name: ClassVar[str] = "tabular"
    summary: ClassVar[str] = "a row's numbers, categories and dates together"
    paper: ClassVar[str] = "Gorishniy et al. 2021, Revisiting Deep Learning Models for Tabular Data"
    is_column: ClassVar[bool] = False
    Settings: ClassVar[type[BaseModel]] = TabularSettings

    @cached_property
    def own_fields(self) -> list[TabularField]:
        """One entry for each value of a row without encodings; a date makes eight, named ``column.part``."""
        return [field for name, member in self.members.items() for field in _fields(name, member)]

    @cached_property
    def fields(self) -> list[TabularField]:
        """One entry for each value of a row: ``own_fields``, then the numbers of encoded categories."""
        return [*self.own_fields, *(field for name in self.encodings for field in self._encoded_fields(name))]

    def _encoded_fields(self, name: str) -> list[TabularField]:
        pairs = zip(self.encodings[name].names, self.encodings[name].quantiles, strict=True)
        return [TabularField(name, f"{name}: {number}", "number", 0, quantiles) for number, quantiles in pairs]

    @cached_property
    def encoder_places(self) -> list[int]:
        """Places, rising, of the values of a row that encoders read: not the codes of encoded categories."""
        coded = {self.places[name].start for name in self.encodings}
        return [place for place in range(len(self.fields)) if place not in coded]

    @property
    def encoder_fields(self) -> list[TabularField]:
        """The fields at ``encoder_places``."""
        return [self.fields[place] for place in self.encoder_places]

    @cached_property
    def places(self) -> dict[str, slice]:
        """Column name to the values that are its own among those of a row; of a category its code alone."""
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
            ConfigError: If a column's kind is not named, or a category cannot be encoded as was asked.
        """
        for name in cells:
            if name not in settings.kinds:
                raise parameter_error("kinds", "TabularSettings", f"a mapping that names {name!r}", settings.kinds)
        settings.check_encodings()
        fitted = {name: _fit(column, settings.kinds[name], settings, folder) for name, column in cells.items()}
        tabular = cls(members=fitted, encodings=_encodings(cells, fitted, settings, folder))
        if settings.impute == "learned":
            return tabular
        column, _ = replace(tabular, encodings={}).transform(cells, folder)
        is_category = [field.kind == "category" for field in tabular.own_fields]
        return replace(tabular, imputation=Imputation.fit(settings.impute, column.values, column.present, is_category))

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
        values = np.zeros((num_rows, len(self.own_fields)), np.float32)
        present = np.zeros(values.shape, bool)
        for name, (column, _) in found.items():
            place = self.places[name]
            values[:, place] = column.values.reshape(num_rows, place.stop - place.start)
            present[:, place] = column.present[:, None]
        values[~present] = 0
        if self.imputation is not None:
            values, present = self.imputation.apply(values, present)
        values, present = self._with_encoded(values, present)
        broken = [replace(failure, column=name) for name, (_, failures) in found.items() for failure in failures]
        return Column(values, present), sorted(broken, key=lambda cell: cell.row)

    def _with_encoded(self, values: Floats, present: Mask) -> tuple[Floats, Mask]:
        """Append the numbers of encoded categories to the values of rows."""
        parts = [(values, present)]
        for name, encoding in self.encodings.items():
            place = self.places[name].start
            parts.append(encoding.apply(values[:, place].astype(np.int64), present[:, place]))
        numbers, there = zip(*parts, strict=True)
        return np.concatenate(numbers, axis=1), np.concatenate(there, axis=1)

    def encoded_by(self, encodings: Mapping[str, CategoryEncoding], column: Column) -> Column:
        """Encode categories of rows in another way.

        Args:
            encodings: Category, one of ``encodings``, to another encoding by as many numbers.
            column: What ``transform`` returned.

        Returns:
            The same with other numbers of these categories.
        """
        num_own = len(self.own_fields)
        other = replace(self, encodings={**self.encodings, **encodings})
        return Column(*other._with_encoded(column.values[:, :num_own], column.present[:, :num_own]))

    def state(self) -> dict[str, Any]:
        """Return the fitted state, in plain JSON types; ``fields`` is there for readers, ``members`` is the state."""
        members = [
            {"column": name, "modality": member.name, "state": member.state()} for name, member in self.members.items()
        ]
        imputation = {} if self.imputation is None else {"imputation": self.imputation.state()}
        encodings = {name: encoding.state() for name, encoding in self.encodings.items()}
        return {
            "members": members,
            "fields": [asdict(field) for field in self.fields],
            **imputation,
            **({"encodings": encodings} if encodings else {}),
        }

    def notice(self, column: str, asked: Mapping[str, Any]) -> str:
        """Tell that absent cells are filled in, and how categories are encoded.

        Args:
            column: Name of the stream.
            asked: Options that the user gave.

        Returns:
            Sentences; empty where nothing was asked.
        """
        method = "" if self.imputation is None else self.imputation.method
        filled = f"Absent cells of {column!r} are filled in, as settings.{column}.impute={method} asked."
        return " ".join([*([filled] if method else []), *self._encoding_notices(column, asked.get("order", {}))])

    def _encoding_notices(self, stream: str, order: Collection[str]) -> Iterator[str]:
        one_hot = [name for name, found in self.encodings.items() if found.method == "one_hot"]
        if one_hot:
            counts = list_names(f"{name!r} ({len(self.encodings[name].names)} values)" for name in one_hot)
            yield f"Encoders read {counts} one-hot; a value that training rows lack is zeros."
        for name, found in self.encodings.items():
            if found.method == "ordinal":
                how = f"settings.{stream}.order" if name in order else "they are sorted"
                yield (
                    f"Encoders read the place of {name!r} in the order {self._in_order(name)}, as {how}; a value that "
                    "training rows lack counts as absent."
                )
            if found.method == "target":
                yield (
                    f"Encoders read {name!r} as {list_names(found.names, 3)} among the training rows with its value, "
                    "for training rows out of fold; a value that they lack gets that of all rows."
                )

    def _in_order(self, name: str) -> str:
        member = self.members[name]
        assert isinstance(member, Category)
        values = [value for _, value in sorted(zip(self.encodings[name].table, member.values, strict=True))]
        shown = values if len(values) <= SHOWN_VALUES else [*values[: SHOWN_VALUES - 1], "...", values[-1]]
        return " < ".join(shown)

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
        encodings = {name: CategoryEncoding(**found) for name, found in state.get("encodings", {}).items()}
        return cls(members=members, imputation=imputation, encodings=encodings)


def _fit(cells: Sequence[Cell], kind: Kind, settings: TabularSettings, folder: Path | None) -> Member:
    if kind == "category":
        return Category.fit(cells, CategorySettings(max_values=settings.max_values), folder)
    if kind == "number":
        return Number.fit(cells, NumberSettings(), folder)
    return DateTime.fit(cells, DateTimeSettings(), folder)


def _encodings(
    cells: Mapping[str, Sequence[Cell]], fitted: Mapping[str, Member], settings: TabularSettings, folder: Path | None
) -> dict[str, CategoryEncoding]:
    """Encode the categories that need no truth for it."""
    found: dict[str, CategoryEncoding] = {}
    for name, member in fitted.items():
        if not isinstance(member, Category):
            continue
        if settings.encoding_of(name) == "one_hot":
            check_count(name, "one_hot", len(member.values))
            found[name] = one_hot_encoding(member.values)
        if settings.encoding_of(name) == "ordinal":
            column, _ = member.transform(cells[name], folder)
            ranks = rank_values(name, member.values, settings.order.get(name))
            found[name] = ordinal_encoding(ranks, column.values[column.present & (column.values > 0)])
    return found


def _fields(name: str, member: Member) -> list[TabularField]:
    if isinstance(member, Category):
        return [TabularField(name, name, "category", member.cardinality, None)]
    if isinstance(member, Number):
        return [TabularField(name, name, "number", 0, member.quantiles)]
    quantiles = [member.quantiles, *[EVEN_EDGES] * (len(COMPONENTS) - 1)]
    pairs = zip(COMPONENTS, quantiles, strict=True)
    return [TabularField(name, f"{name}.{part}", "number", 0, edges) for part, edges in pairs]
