"""What a stress test tries: rows, kinds of noise, streams, severities, combinations of absent streams."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from polymodal.corruptions import CORRUPTIONS, NUM_SEVERITIES, find_kinds
from polymodal.data.corrupted import corrupt_stream, stream_kinds
from polymodal.data.schema.schema import StreamSchema
from polymodal.data.tables.table import Table
from polymodal.errors import ConfigError, did_you_mean, list_names, parameter_error
from polymodal.model.batches import Examples
from polymodal.model.inference_network import StreamMask
from polymodal.model.predict import NO_CACHE
from polymodal.model.trained_model import TrainedModel
from polymodal.progress import SilentProgress
from polymodal.targets import StructuredTarget

OWNER = "a stress test"
DEFAULT_ROWS = 500
DEFAULT_SEVERITIES = (1, 3, 5)
MAX_COMBINATIONS = 63
"""All combinations of up to six absent streams; of more streams, each and each pair."""


@dataclass(frozen=True, kw_only=True)
class StressOptions:
    """What a stress test tries.

    Attributes:
        kinds: Names, globs or modalities of noise; empty: all that the streams can have.
        streams: The streams that get noise; empty: all.
        severities: Of 1 to 5.
        rows: Rows that are used at most; a random sample of a longer table.
        seed: Fixes the sample and the noise.
    """

    kinds: Sequence[str] = ()
    streams: Sequence[str] = ()
    severities: Sequence[int] = DEFAULT_SEVERITIES
    rows: int = DEFAULT_ROWS
    seed: int = 0

    @property
    def sorted_severities(self) -> list[int]:
        """The severities, ascending, none twice."""
        return sorted(set(self.severities))


@dataclass(frozen=True)
class Noise:
    """Noise of one kind in one stream.

    Attributes:
        stream: The stream.
        kind: Name of the corruption.
    """

    stream: StreamSchema
    kind: str


def check_options(trained: TrainedModel, options: StressOptions) -> None:
    """Check that streams, kinds, severities and rows can be.

    Args:
        trained: The model.
        options: What is asked for.

    Raises:
        ConfigError: If one cannot; says which name is nearest.
    """
    names = [stream.name for stream in trained.schema.streams]
    for name in options.streams:
        if name not in names:
            advice = did_you_mean(name, names, "Its streams are")
            raise ConfigError(f"The model has no stream {name!r} to put noise into. {advice}")
    wrong = [severity for severity in options.severities if severity not in range(1, NUM_SEVERITIES + 1)]
    if wrong or not options.severities:
        raise parameter_error(
            "severities", OWNER, f"whole numbers from 1 to {NUM_SEVERITIES}", wrong[0] if wrong else ""
        )
    if options.rows < 1:
        raise parameter_error("rows", OWNER, "at least 1", options.rows)
    kinds, possible = find_kinds(options.kinds), _possible_kinds(trained, options)
    if kinds and not set(kinds) & possible:
        raise ConfigError(
            f"None of the streams can have the noise {list_names(map(repr, kinds))}. "
            f"Kinds for them: {list_names(kind for kind in CORRUPTIONS if kind in possible)}."
        )


def _possible_kinds(trained: TrainedModel, options: StressOptions) -> set[str]:
    """Return the kinds of noise that the chosen streams can have."""
    of_columns = [stream_kinds(trained.preprocessor, stream) for stream in chosen_streams(trained, options)]
    return {kind for columns in of_columns for kinds in columns.values() for kind in kinds}


def chosen_streams(trained: TrainedModel, options: StressOptions) -> list[StreamSchema]:
    """Return the streams that get noise.

    Args:
        trained: The model.
        options: What is asked for.

    Returns:
        The streams, in the model's order.
    """
    return [stream for stream in trained.schema.streams if not options.streams or stream.name in options.streams]


def sample_rows(trained: TrainedModel, table: Table, options: StressOptions) -> tuple[NDArray[np.int64], list[str]]:
    """Sample rows that have a value of a target.

    Args:
        trained: The model.
        table: The table.
        options: The number of rows, and the seed.

    Returns:
        int64, rows of the table in their order, all of them where none has a value; and what was left out.
    """
    targets = [table.columns[target.name] for target in trained.schema.targets if target.name in table.columns]
    known = [row for row in range(table.num_rows) if not targets or any(cells[row] is not None for cells in targets)]
    rows = np.array(known or range(table.num_rows), np.int64)
    if len(rows) <= options.rows:
        return rows, []
    drawn = np.sort(np.random.default_rng(options.seed).permutation(rows)[: options.rows])
    return drawn, [f"Used were {options.rows:,} of the {len(rows):,} rows with truth, drawn at random."]


def choose_noises(trained: TrainedModel, examples: Examples, options: StressOptions) -> tuple[list[Noise], list[str]]:
    """Choose the kinds of noise of each stream.

    Args:
        trained: The model.
        examples: The rows.
        options: What is asked for.

    Returns:
        Streams with kinds; and a sentence for each stream or kind that was left out although it was asked for.
    """
    asked = find_kinds(options.kinds) or tuple(CORRUPTIONS)
    noises: list[Noise] = []
    notices: list[str] = []
    for stream in chosen_streams(trained, options):
        possible = {kind for kinds in stream_kinds(trained.preprocessor, stream).values() for kind in kinds}
        present = int(examples.columns[stream.name].row_present.sum())
        if not possible:
            notices.append(f"The stream {stream.name!r} gets no noise: there is none for {stream.modality!r}.")
        elif not present:
            notices.append(f"The stream {stream.name!r} gets no noise: it has no present cell in these rows.")
        else:
            reasons = {kind: _reason_against(trained, stream, kind, present) for kind in asked if kind in possible}
            noises += [Noise(stream, kind) for kind, reason in reasons.items() if not reason]
            notices += [f"Left out: {kind} in {stream.name!r}: {reason}." for kind, reason in reasons.items() if reason]
    known = _possible_kinds(trained, options)
    unused = [kind for kind in options.kinds if kind in CORRUPTIONS and kind not in known]
    return noises, [*notices, *(f"None of the streams can have the noise {kind!r}." for kind in unused)]


def _reason_against(trained: TrainedModel, stream: StreamSchema, kind: str, present: int) -> str:
    """Say why a stream cannot be tested with a kind of noise; empty where it can."""
    if CORRUPTIONS[kind].needs_others and present < 2:
        return "it mixes in cells of other rows, and there is one only"
    targets = [target for target in trained.targets.values() if isinstance(target, StructuredTarget)]
    if CORRUPTIONS[kind].moves and any(stream.name in target.warp_limits for target in targets):
        return "it moves what the truth names the place of"
    return ""


def choose_masks(trained: TrainedModel) -> tuple[list[StreamMask], list[str]]:
    """Choose the combinations of absent streams: all of them, or each and each pair of many streams.

    Args:
        trained: The model.

    Returns:
        Sets of absent streams, the small ones first; and a sentence where some were left out.
    """
    streams = trained.network.streams
    total = 2 ** len(streams) - 1
    sizes = range(1, len(streams) + 1) if total <= MAX_COMBINATIONS else (1, 2)
    masks = [frozenset(absent) for size in sizes for absent in combinations(streams, size)]
    if len(masks) == total:
        return masks, []
    return masks, [f"Of the {total:,} combinations of absent streams, each stream and each pair of streams was tried."]


def corrupted_examples(
    trained: TrainedModel,
    table: Table,
    rows: NDArray[np.int64],
    examples: Examples,
    noise: Noise,
    severity: int,
    seed: int,
) -> Examples:
    """Put noise into a stream of examples.

    Args:
        trained: The model.
        table: The table, with derived columns.
        rows: int64, the table's row of each example.
        examples: The clean rows, all of them in use and in order.
        noise: Stream and kind.
        severity: 1 to 5.
        seed: Fixes the noise.

    Returns:
        The same rows and truth, with other cells in one stream.
    """
    own = stream_kinds(trained.preprocessor, noise.stream)
    found = corrupt_stream(
        trained.preprocessor,
        table,
        rows,
        noise.stream,
        lambda column, row: (noise.kind, severity) if noise.kind in own.get(column, ()) else None,  # noqa: ARG005
        seed=seed,
    )
    columns = trained.network.precompute({noise.stream.name: found.column}, NO_CACHE, SilentProgress())
    return dataclasses.replace(
        examples, columns={**examples.columns, **columns}, cells={**examples.cells, **found.cells}
    )
