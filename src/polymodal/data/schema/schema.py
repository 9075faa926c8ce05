"""The schema of a table: modalities of columns, streams and targets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

from polymodal.data.schema.columns import (
    ColumnSchema,
    TargetSchema,
    describe_column,
    join_columns,
    join_stretches,
    number_form,
    sound_column,
    with_derived,
)
from polymodal.data.schema.detect_modality import RECOGNISED_ONLY, identifier_reason
from polymodal.data.schema.detect_target import TARGET_KINDS, detect_target_kind
from polymodal.data.schema.samples import are_urls, evenly_spaced, present_cells
from polymodal.data.tables.table import Table
from polymodal.errors import SchemaError, did_you_mean, list_names
from polymodal.modalities import MODALITIES, Tabular, column_modalities
from polymodal.modalities.remote_files import HOW_TO_ALLOW, is_remote_allowed
from polymodal.plugins import TARGET_GROUP, installed

TABULAR = Tabular.name
LEFT_OUT = "left out by the user"
FOR_SPLIT = "used for the split"
PART_OF = "read as a part of"


@dataclass(frozen=True)
class StreamSchema:
    """One encoder's input.

    Attributes:
        name: The stream's name.
        modality: ``tabular`` for number, category and datetime columns, else the modality of its one column.
        columns: Its columns, in the table's order.
    """

    name: str
    modality: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Schema:
    """A table's columns, streams and targets.

    Attributes:
        columns: Input columns.
        streams: The streams they form; each column stands in exactly one.
        targets: Columns to predict.
        ignored: Columns that are neither inputs nor targets, each with the reason.
    """

    columns: tuple[ColumnSchema, ...]
    streams: tuple[StreamSchema, ...]
    targets: tuple[TargetSchema, ...] = ()
    ignored: tuple[ColumnSchema, ...] = field(default=())

    def modality_of(self, column: str) -> str:
        """Return what an input column holds.

        Args:
            column: Name of an input column.

        Returns:
            Its modality.

        Raises:
            KeyError: If the column is no input.
        """
        return self._modalities[column]

    @cached_property
    def _modalities(self) -> dict[str, str]:
        return {entry.name: entry.modality for entry in self.columns}

    @property
    def sounds(self) -> dict[str, str]:
        """Columns that are the sound of videos, to the video column."""
        return {entry.name: entry.source for entry in (*self.columns, *self.ignored) if entry.source}

    @cached_property
    def part_of(self) -> dict[str, str]:
        """The table's columns that are read as parts of an input column, to that column."""
        return {part: entry.name for entry in self.columns for part in entry.parts}

    def with_derived(self, table: Table) -> Table:
        """Return the table with the columns that are read from others, each behind the last of those.

        Args:
            table: A table.

        Returns:
            The table; a sound column holds the cells of its video column, one of several parts tuples of their cells.
        """
        forms = {entry.name: entry.form for entry in self.columns if entry.form is not None}
        forms |= {target.name: target.form for target in self.targets if target.form is not None}
        return with_derived(table, (*self.columns, *self.ignored), forms)

    def stream_of(self, column: str) -> str:
        """Return the stream an input column belongs to.

        Args:
            column: Name of an input column.

        Returns:
            The stream's name.

        Raises:
            KeyError: If the column is no input.
        """
        return self.stream_names[column]

    @cached_property
    def stream_names(self) -> dict[str, str]:
        """Each input column to its stream."""
        return {name: stream.name for stream in self.streams for name in stream.columns}

    def state(self) -> dict[str, Any]:
        """Return the schema as plain JSON."""
        return {
            "columns": [entry.state() for entry in self.columns],
            "streams": [{**asdict(entry), "columns": list(entry.columns)} for entry in self.streams],
            "targets": [entry.state() for entry in self.targets],
            "ignored": [entry.state() for entry in self.ignored],
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Schema:
        """Make a schema of what ``state`` returned.

        Args:
            state: Plain JSON.

        Returns:
            The same schema.
        """
        return cls(
            columns=tuple(map(ColumnSchema.from_state, state["columns"])),
            streams=tuple(StreamSchema(**{**entry, "columns": tuple(entry["columns"])}) for entry in state["streams"]),
            targets=tuple(map(TargetSchema.from_state, state["targets"])),
            ignored=tuple(map(ColumnSchema.from_state, state["ignored"])),
        )


def infer_schema(
    table: Table,
    *,
    targets: Sequence[str] = (),
    modality: Mapping[str, str] | None = None,
    streams: Mapping[str, Sequence[str]] | None = None,
    drop: Sequence[str] = (),
    ignore: Sequence[str] = (),
    check_supported: bool = True,
) -> Schema:
    """Infer the modalities of a table's columns and their streams.

    Empty and constant columns and identifiers are ignored, unless ``modality`` names them. Every media column is a
    stream of its own; all number, category and datetime columns together are the stream ``tabular``. The sound of a
    video column ``clip`` is one more column and stream, ``clip.audio``, if any of some videos has sound. Columns that
    are one column of a modality together are read as that one, unless ``modality`` or ``streams`` names one of them.

    Args:
        table: The table, usually of the training rows.
        targets: Columns to predict.
        modality: Column to modality, as given by the user; for a target, its kind.
        streams: Stream name to patterns of column names (``margin*``), where the user regroups.
        drop: Columns, or patterns of them, to leave out.
        ignore: Columns that the run uses for something else, such as the group of a split.
        check_supported: False keeps columns that cannot be inputs, to show them.

    Returns:
        The schema.

    Raises:
        SchemaError: If a name, modality, pattern or target does not fit the table, a column is of a modality that
            this version does not learn from, or no column is left to learn from.

    Example:
        >>> table = Table({"text": ["a b c", "d e f g"], "label": ["x", "y"]})
        >>> [stream.modality for stream in infer_schema(table, targets=["label"]).streams]
        ['text']
    """
    modality = dict(modality or {})
    _check_request(table, targets, modality, ignore)
    found = [describe_column(table, name, modality.get(name)) for name in table.columns if name not in targets]
    found = [part for entry in found for part in (entry, *sound_column(table, entry))]
    named = [*drop, *(pattern for patterns in (streams or {}).values() for pattern in patterns)]
    apart = {*modality, *ignore, *(name for pattern in named for name in _matches(pattern, table.columns))}
    found = join_stretches(table, join_columns(table, found, apart), apart)
    left_out = {part: f"{PART_OF} {entry.name!r}" for entry in found for part in entry.parts}
    left_out |= dict.fromkeys(_match_all(table, [entry.name for entry in found], drop), LEFT_OUT)
    left_out |= {entry.name: LEFT_OUT for entry in found if left_out.get(entry.source) == LEFT_OUT}
    left_out |= dict.fromkeys(ignore, FOR_SPLIT)
    forms = {entry.name: entry.form for entry in found if entry.form is not None}
    table = with_derived(table, found, forms)
    _check_targets_used(targets, left_out)
    reasons = {entry.name: left_out.get(entry.name) or _ignore_reason(table, entry, modality) for entry in found}
    columns = tuple(entry for entry in found if reasons[entry.name] is None)
    ignored = tuple(replace(entry, reason=reason) for entry in found if (reason := reasons[entry.name]) is not None)
    if check_supported:
        _check_supported(table, columns)
    return Schema(
        columns=columns,
        streams=_group(columns, streams or {}, table.name),
        targets=tuple(_target(table, name, modality.get(name), columns) for name in targets),
        ignored=ignored,
    )


def _check_request(table: Table, targets: Sequence[str], modality: Mapping[str, str], ignore: Sequence[str]) -> None:
    table.check_columns(targets, "--target")
    table.check_columns(modality, "--modality")
    table.check_columns(ignore, "--group or --time")
    if len(set(targets)) < len(targets):
        raise SchemaError(f"A target is named twice: {', '.join(targets)}. Name each target once.")
    for name, value in modality.items():
        is_target = name in targets
        known = (*TARGET_KINDS, *installed(TARGET_GROUP)) if is_target else column_modalities()
        if value not in known:
            raise SchemaError(_unknown_modality(name, value, known, is_target))


def _unknown_modality(column: str, value: str, known: Sequence[str], is_target: bool) -> str:
    what = "kind of target" if is_target else "modality"
    if value in RECOGNISED_ONLY and not is_target:
        return f"This version does not learn from {value!r} columns such as {column!r}. There are: {', '.join(known)}."
    return f"There is no {what} {value!r} (given for the column {column!r}). {did_you_mean(value, known)}"


def _match_all(table: Table, inputs: Iterable[str], patterns: Iterable[str]) -> list[str]:
    names: dict[str, None] = {}
    known = list(dict.fromkeys([*table.columns, *inputs]))
    for pattern in patterns:
        matches = _matches(pattern, known)
        if not matches:
            table.check_columns([pattern], "--drop")
        names |= dict.fromkeys(matches)
    return list(names)


def _matches(pattern: str, names: Iterable[str]) -> list[str]:
    names = list(names)
    return [pattern] if pattern in names else [name for name in names if fnmatchcase(name, pattern)]


def _check_targets_used(targets: Sequence[str], left_out: Mapping[str, str]) -> None:
    for name in targets:
        if name in left_out:
            raise SchemaError(f"The target {name!r} is {left_out[name]} at the same time. Choose one of the two.")


def _ignore_reason(table: Table, entry: ColumnSchema, modality: Mapping[str, str]) -> str | None:
    if entry.name in modality or entry.source:
        return None
    present = present_cells(table.columns[entry.name])
    if not present:
        return "every cell is empty"
    if _is_constant(entry.modality, present, table.num_rows):
        return f"every cell is the same: {str(present[0])[:40]}"
    return identifier_reason(entry.name, entry.modality, present)


def _is_constant(modality: str, present: Sequence[Any], num_rows: int) -> bool:
    """A constant with holes still says which rows have it."""
    if modality not in MODALITIES or MODALITIES[modality].is_media or len(present) < num_rows:
        return False
    first = str(present[0])
    return all(str(cell) == first for cell in present)


def _check_supported(table: Table, columns: Sequence[ColumnSchema]) -> None:
    if not columns:
        raise SchemaError(f"{table.name} has no column left to learn from. Drop fewer columns, or add inputs.")
    for entry in columns:
        leave_out = f"Leave it out with `--drop {entry.name}`."
        if entry.modality in RECOGNISED_ONLY:
            raise SchemaError(
                f"The column {entry.name!r} holds {RECOGNISED_ONLY[entry.modality]} ({entry.reason}), which this "
                f"version does not learn from. {leave_out}"
            )
        sample = evenly_spaced(present_cells(table.columns[entry.name]), 100)
        if MODALITIES[entry.modality].is_file and are_urls(sample) and not is_remote_allowed():
            raise SchemaError(
                f"The column {entry.name!r} holds URLs (such as {str(sample[0])[:80]}), which are not fetched. "
                f"{HOW_TO_ALLOW}; or download the files and give their paths. {leave_out}"
            )


def _group(
    columns: Sequence[ColumnSchema], requested: Mapping[str, Sequence[str]], table: str
) -> tuple[StreamSchema, ...]:
    taken: dict[str, str] = {}
    streams = [_requested_stream(name, patterns, columns, taken, table) for name, patterns in requested.items()]
    rest = [entry for entry in columns if entry.name not in taken]
    media = [StreamSchema(entry.name, entry.modality, (entry.name,)) for entry in rest if not _is_tabular(entry)]
    streams += media
    if together := tuple(entry.name for entry in rest if _is_tabular(entry)):
        streams.append(StreamSchema(_free_name(TABULAR, streams), TABULAR, together))
    _check_stream_names(streams)
    return tuple(sorted(streams, key=lambda stream: _position(stream, columns)))


def _is_tabular(entry: ColumnSchema) -> bool:
    return entry.modality in MODALITIES and not MODALITIES[entry.modality].is_stream


def _position(stream: StreamSchema, columns: Sequence[ColumnSchema]) -> tuple[bool, int]:
    return stream.modality == TABULAR, [entry.name for entry in columns].index(stream.columns[0])


def _free_name(name: str, streams: Sequence[StreamSchema]) -> str:
    names = {stream.name for stream in streams}
    while name in names:
        name += "_rest"
    return name


def _requested_stream(
    name: str, patterns: Sequence[str], columns: Sequence[ColumnSchema], taken: dict[str, str], table: str
) -> StreamSchema:
    matched: dict[str, None] = {}
    for pattern in patterns:
        matches = _matches(pattern, (entry.name for entry in columns))
        if not matches:
            raise SchemaError(
                f"The stream {name!r} asks for {pattern!r}, which matches no input column of {table}. "
                f"{did_you_mean(pattern, [entry.name for entry in columns], 'Input columns')}"
            )
        matched |= dict.fromkeys(matches)
    for column in matched:
        if column in taken:
            raise SchemaError(
                f"The column {column!r} stands in two streams, {taken[column]!r} and {name!r}. "
                "Give each column to one stream."
            )
        taken[column] = name
    return _checked_stream(name, [entry for entry in columns if entry.name in matched])


def _checked_stream(name: str, entries: Sequence[ColumnSchema]) -> StreamSchema:
    media = [entry for entry in entries if not _is_tabular(entry)]
    if not entries:
        raise SchemaError(f"The stream {name!r} names no columns. Write it as `--stream {name}=PATTERN`.")
    if media and len(entries) > 1:
        others = list_names([entry.name for entry in entries if entry is not media[0]], 10)
        raise SchemaError(
            f"The stream {name!r} mixes the {media[0].modality} column {media[0].name!r} with {others}. A stream is "
            "one media column alone, or several number, category and datetime columns."
        )
    modality = media[0].modality if media else TABULAR
    return StreamSchema(name, modality, tuple(entry.name for entry in entries))


def _check_stream_names(streams: Sequence[StreamSchema]) -> None:
    names = [stream.name for stream in streams]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SchemaError(f"Two streams are called {twice!r}. Call the one of --stream otherwise.")


def _target(table: Table, name: str, overruled: str | None, columns: Sequence[ColumnSchema]) -> TargetSchema:
    inputs = frozenset(column.modality for column in columns)
    kind, reason = detect_target_kind(name, table.columns[name], table.folder, overruled, inputs)
    return TargetSchema(name, kind, reason, number_form(table, name, kind))
