"""Parts of installed packages: rows for the tables of modalities, encoders, fusions and targets; feature functions.

A package names its rows as entry points in its ``pyproject.toml``::

    [project.entry-points."polymodal.fusions"]
    median = "polymodal_median:MEDIAN"

    [project.entry-points."polymodal.encoders"]
    "image.histogram" = "polymodal_median:HISTOGRAM"

Each is a row of the same kind as those that polymodal lists itself (``FusionEntry``, ``EncoderEntry``, ...). To list
the names imports nothing; a package is imported when one of its rows is looked up for the first time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from polymodal.errors import ConfigError

MODALITY_GROUP = "polymodal.modalities"
ENCODER_GROUP = "polymodal.encoders"
FEATURE_GROUP = "polymodal.features"
FUSION_GROUP = "polymodal.fusions"
TARGET_GROUP = "polymodal.targets"
NOUNS = {
    MODALITY_GROUP: "modality",
    ENCODER_GROUP: "encoder",
    FEATURE_GROUP: "feature function",
    FUSION_GROUP: "fusion",
    TARGET_GROUP: "target",
}
"""Entry-point group to what its rows are, for messages."""

Row = TypeVar("Row")


@dataclass(frozen=True)
class InstalledPart:
    """A row that an installed package names.

    Attributes:
        group: Entry-point group.
        name: Name in that group; of an encoder with its modality, such as ``image.histogram``.
        distribution: Name of the package as pip knows it.
        version: Its version.
        entry_point: Where the row is.
    """

    group: str
    name: str
    distribution: str
    version: str
    entry_point: EntryPoint

    def load(self, kind: type[Row]) -> Row:
        """Import the package and return the row.

        Args:
            kind: Class that the row must have.

        Returns:
            The row.

        Raises:
            ConfigError: If the package cannot be imported, or names something else than such a row.
        """
        try:
            row = self.entry_point.load()
        except Exception as error:
            reason = (str(error) or "no reason given").splitlines()[0]
            raise ConfigError(f"{self} cannot be loaded: {type(error).__name__}: {reason}. {self._advice}") from error
        if not isinstance(row, kind):
            raise ConfigError(
                f"{self} is no row of the table: {self.entry_point.value} must be of the class {kind.__name__}. "
                f"Got {type(row).__name__} instead. {self._advice}"
            )
        return row

    @property
    def _advice(self) -> str:
        return f"Update or uninstall {self.distribution}."

    def __str__(self) -> str:
        return f"The {NOUNS[self.group]} {self.name!r} of the installed package {self.distribution} {self.version}"


@lru_cache
def installed(group: str) -> dict[str, InstalledPart]:
    """List the parts that installed packages name, without importing them.

    Args:
        group: Entry-point group, such as ``polymodal.fusions``.

    Returns:
        Name to part.

    Raises:
        ConfigError: If two packages use the same name.
    """
    found: dict[str, InstalledPart] = {}
    for entry_point in sorted(entry_points(group=group), key=lambda point: point.name):
        package = entry_point.dist
        distribution, version = (package.name, package.version) if package else ("unknown", "")
        part = InstalledPart(group, entry_point.name, distribution, version, entry_point)
        other = found.setdefault(part.name, part)
        if other.distribution != part.distribution:
            raise ConfigError(f"{part} has the same name as that of {other.distribution}. Uninstall one of the two.")
    return found


class PartTable(Mapping[str, Row], Generic[Row]):
    """A table of parts that cannot be changed: the package's own rows, and those of installed packages.

    Example:
        >>> table = PartTable("polymodal.fusions", int, {"one": 1})
        >>> table["one"], "two" in table
        (1, False)
    """

    def __init__(self, group: str, kind: type[Row], own: Mapping[str, Row], prefix: str = "") -> None:
        """Keep the package's own rows; installed ones are looked for when they are first needed.

        Args:
            group: Entry-point group of the other rows.
            kind: Class of a row.
            own: Name to row.
            prefix: What the names of the entry points begin with; it is no part of the names in the table.
        """
        self.group = group
        self.kind = kind
        self.prefix = prefix
        self._own = dict(own)
        self._loaded: dict[str, Row] = {}

    @cached_property
    def _installed(self) -> dict[str, InstalledPart]:
        found = {
            name.removeprefix(self.prefix): part
            for name, part in installed(self.group).items()
            if name.startswith(self.prefix)
        }
        taken = next((part for name, part in found.items() if name in self._own), None)
        if taken is not None:
            raise ConfigError(f"{taken} has the name of a part of polymodal itself. {taken._advice}")
        return found

    def installed_part(self, name: str) -> InstalledPart | None:
        """Return the package that a row comes from.

        Args:
            name: Name of the row.

        Returns:
            The installed part; None for the package's own rows and for unknown names.
        """
        return None if name in self._own else self._installed.get(name)

    def __getitem__(self, name: str) -> Row:
        if name in self._own:
            return self._own[name]
        if name not in self._loaded:
            self._loaded[name] = self._installed[name].load(self.kind)
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in self._installed

    def __iter__(self) -> Iterator[str]:
        return iter([*self._own, *self._installed])

    def __len__(self) -> int:
        return len(self._own) + len(self._installed)


class PartTables(Mapping[str, PartTable[Row]], Generic[Row]):
    """A table of parts for each modality, where entry points are named ``MODALITY.NAME``."""

    def __init__(self, group: str, kind: type[Row], own: Mapping[str, Mapping[str, Row]]) -> None:
        """Keep the package's own rows.

        Args:
            group: Entry-point group of the other rows.
            kind: Class of a row.
            own: Modality to name to row.
        """
        self.group = group
        self.kind = kind
        self._tables = {modality: PartTable(group, kind, rows, f"{modality}.") for modality, rows in own.items()}

    @cached_property
    def _others(self) -> dict[str, PartTable[Row]]:
        """Tables of modalities for which only installed packages have rows."""
        modalities = dict.fromkeys(name.partition(".")[0] for name in installed(self.group))
        others = [modality for modality in modalities if modality not in self._tables]
        return {modality: PartTable(self.group, self.kind, {}, f"{modality}.") for modality in others}

    def __getitem__(self, modality: str) -> PartTable[Row]:
        return self._tables[modality] if modality in self._tables else self._others[modality]

    def __iter__(self) -> Iterator[str]:
        return iter([*self._tables, *self._others])

    def __len__(self) -> int:
        return len(self._tables) + len(self._others)


class AspectTable(Mapping[str, Row], Generic[Row]):
    """What is known of each modality in one respect: of the package's own ones, and of those of installed packages."""

    def __init__(self, kind: type[Any], aspect: str, own: Mapping[str, Row], default: Row | None = None) -> None:
        """Keep what the package knows of its own modalities.

        Args:
            kind: Class of the rows that packages name in the group ``polymodal.modalities``.
            aspect: Attribute of such a row.
            own: Modality to what is known of it.
            default: Stands for a modality of an installed package whose row says None; where the default is None too,
                such a modality is not in the table.
        """
        self.aspect = aspect
        self.own = dict(own)
        self.default = default
        self._rows: PartTable[Any] = PartTable(MODALITY_GROUP, kind, {})

    def installed_part(self, modality: str) -> InstalledPart | None:
        """Return the package that a modality comes from.

        Args:
            modality: Name of the modality.

        Returns:
            The installed part; None for the package's own modalities and for unknown names.
        """
        return None if modality in self.own else self._rows.installed_part(modality)

    def __getitem__(self, modality: str) -> Row:
        if modality in self.own:
            return self.own[modality]
        found = self._installed_row(modality)
        if found is None:
            raise KeyError(modality)
        return found

    def _installed_row(self, modality: str) -> Row | None:
        found: Row | None = getattr(self._rows[modality], self.aspect)
        return self.default if found is None else found

    def __iter__(self) -> Iterator[str]:
        known = (name for name in self._rows if self._installed_row(name) is not None)
        return iter([*self.own, *known])

    def __len__(self) -> int:
        return len(list(iter(self)))
