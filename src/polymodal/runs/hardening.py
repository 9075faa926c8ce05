"""Hardening: copies of the rows that a run learns from, with noise in their cells.

The network sees some of their cells in place of clean ones; the baselines are fitted on clean rows and one copy, and
the ensemble is fitted on clean and noisy validation rows, so that it does not lean on members that noise breaks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell, Column, concatenate_columns
from polymodal.corruptions import CORRUPTIONS, NUM_SEVERITIES
from polymodal.data.cache.cache import ArrayCache, content_key
from polymodal.data.cache.entry import Decoded
from polymodal.data.cache.keys import cell_keys
from polymodal.data.corrupted import CorruptedStream, corrupt_stream, stream_kinds
from polymodal.data.schema.schema import StreamSchema
from polymodal.data.tables.stored_columns import take_cells
from polymodal.data.tables.table import Table
from polymodal.model.batches import Examples
from polymodal.model.fit_ensemble import VALIDATION_ROWS
from polymodal.model.network import Network
from polymodal.progress import Progress, SilentProgress
from polymodal.runs.data_module import DataModule
from polymodal.targets import StructuredTarget
from polymodal.training.hardening import NoisyCopies

NUM_COPIES = 3
"""Copies of the training rows; each cell of a copy has one kind of noise."""
MAX_ROWS = VALIDATION_ROWS // 2
"""Most rows of a split that are copied, drawn at random: the ensemble is fitted on clean and noisy ones together."""
FORMAT = "hardened 1"


@dataclass(frozen=True)
class Hardening:
    """What a hardened run learns from.

    Attributes:
        noisy: Copies of the training rows for the network.
        data_module: The data with one copy below the clean rows of the training and validation splits.
        origins: Split to the table's row of each of those rows, int64: copies stay in one fold with their row.
        notices: Sentences for the user.
        num_clean: Validation rows that are no copies; None: too many of them have copies below.
    """

    noisy: NoisyCopies
    data_module: DataModule
    origins: Mapping[str, NDArray[np.int64]]
    notices: list[str]
    num_clean: int | None


@dataclass(frozen=True)
class _Copy:
    """Rows of a split with noise in every cell."""

    columns: dict[str, Column]
    cells: dict[str, list[Cell]]


def harden(
    data_module: DataModule, network: Network, seed: int, cache: ArrayCache, progress: Progress, num_threads: int | None
) -> Hardening:
    """Copy training and validation rows with noise in their cells.

    Args:
        data_module: The run's data.
        network: The network, whose frozen encoders' outputs are computed ahead of time.
        seed: Fixes rows, kinds, severities and noise.
        cache: Cache of decoded arrays.
        progress: Reports every stream of a copy.
        num_threads: Number of decoding threads; None: all cores.

    Returns:
        The copies.
    """
    chosen = {split: _drawn_rows(data_module.splits[split], seed) for split in ("train", "validation")}
    copier = _Copier(data_module, network, seed, cache, num_threads)
    streams = len(data_module.schema.streams)
    with progress.phase("adding noise to copies", (NUM_COPIES + 1) * streams) as phase:
        copies = [copier.copy("train", chosen["train"], number, phase.advance) for number in range(NUM_COPIES)]
        validation = copier.copy("validation", chosen["validation"], NUM_COPIES, phase.advance)
    splits = dict(data_module.splits)
    origins = {}
    for split, copy in (("train", copies[0]), ("validation", validation)):
        examples = splits[split]
        origins[split] = np.arange(data_module.tables[split].num_rows)
        if len(examples) <= MAX_ROWS:  # more of them do not stand in memory
            origins[split] = examples.rows[np.concatenate([np.arange(len(examples)), chosen[split]])]
            splits[split] = _stacked(examples, chosen[split], copy)
    places = np.full(len(data_module.splits["train"]), -1, np.int64)
    places[chosen["train"]] = np.arange(len(chosen["train"]))
    return Hardening(
        NoisyCopies([copy.columns for copy in copies], places),
        dataclasses.replace(data_module, splits=splits),
        origins,
        _notices(data_module, chosen),
        len(chosen["validation"]) if len(splits["validation"]) > len(data_module.splits["validation"]) else None,
    )


def _drawn_rows(examples: Examples, seed: int) -> NDArray[np.int64]:
    """Draw indices into the rows in use, rising."""
    return np.sort(np.random.default_rng(seed).permutation(len(examples))[:MAX_ROWS])


def _notices(data_module: DataModule, chosen: Mapping[str, NDArray[np.int64]]) -> list[str]:
    total, used = len(data_module.splits["train"]), len(chosen["train"])
    limited = [f"Noise was added to copies of {used:,} of the {total:,} training rows, for the network alone."]
    limited = limited if used < total else []
    without = [s.name for s in data_module.schema.streams if not stream_kinds(data_module.preprocessor, s)]
    return limited + [f"Hardening leaves the stream {name!r} as it is: there is no noise for it." for name in without]


@dataclass(frozen=True)
class _Copier:
    """Makes copies of rows with noise."""

    data_module: DataModule
    network: Network
    seed: int
    cache: ArrayCache
    num_threads: int | None

    def copy(self, split: str, indices: NDArray[np.int64], number: int, advance: Any) -> _Copy:
        """Return the rows at ``indices`` of a split with noise in every cell."""
        table = self.data_module.schema.with_derived(self.data_module.tables[split])
        rows = self.data_module.splits[split].rows[indices]
        columns: dict[str, Column] = {}
        cells: dict[str, list[Cell]] = {}
        for stream in self.data_module.schema.streams:
            found = self._stream(stream, table, rows, number)
            columns[stream.name] = found.column
            cells |= {name: list(of_column) for name, of_column in found.cells.items()}
            advance(note=f"{stream.name}, {split}")
        if split == "train" and self.data_module.target_encodings is not None:
            columns = self.data_module.target_encodings.out_of_fold(columns, rows)
        return _Copy(self.network.precompute(columns, self.cache, SilentProgress()), cells)

    def _stream(self, stream: StreamSchema, table: Table, rows: NDArray[np.int64], number: int) -> CorruptedStream:
        """Corrupt a stream; what was decoded from files comes from the cache if it is there."""
        modality = self.data_module.preprocessor.modalities[stream.name]
        corrupt = partial(self._corrupt, stream, table, rows, number)
        if not modality.is_file or stream.columns[0] not in table.columns:
            return corrupt()
        cells = take_cells(table.columns[stream.columns[0]], rows)
        flags = {"is_file": modality.is_file, "is_json": modality.is_json}
        keys = cell_keys(modality.name, modality.state(), cells, table.folder, **flags)
        kinds = [(kind, CORRUPTIONS[kind].levels) for kind in self._kinds(stream)]
        key = content_key(FORMAT, (stream.columns, keys.name, rows, kinds, self.seed, number))

        def decode(entry: Path | None) -> Decoded:  # noqa: ARG001
            return corrupt().column, []

        return CorruptedStream(self.cache.column(key, decode)[0], {})

    def _corrupt(self, stream: StreamSchema, table: Table, rows: NDArray[np.int64], number: int) -> CorruptedStream:
        kinds = self._kinds(stream)
        own = stream_kinds(self.data_module.preprocessor, stream)
        random = np.random.default_rng([self.seed, number])
        numbers = random.integers((len(kinds) or 1, NUM_SEVERITIES), size=(len(rows), 2))
        drawn = dict(zip(rows.tolist(), numbers.tolist(), strict=True))

        def draw(column: str, row: int) -> tuple[str, int] | None:
            kind, severity = drawn[row]
            return (kinds[kind], severity + 1) if kinds and kinds[kind] in own.get(column, ()) else None

        return corrupt_stream(
            self.data_module.preprocessor,
            table,
            rows,
            stream,
            draw,
            seed=self.seed + number,
            num_threads=self.num_threads,
        )

    def _kinds(self, stream: StreamSchema) -> list[str]:
        """Return the kinds of noise of a stream, without those that move what the truth names the place of."""
        found = stream_kinds(self.data_module.preprocessor, stream)
        structured = [target for target in self.data_module.targets.values() if isinstance(target, StructuredTarget)]
        has_places = any(stream.name in target.warp_limits for target in structured)
        kinds = dict.fromkeys(kind for kinds in found.values() for kind in kinds)
        return [kind for kind in kinds if not (has_places and CORRUPTIONS[kind].moves)]


def _stacked(examples: Examples, indices: NDArray[np.int64], copy: _Copy) -> Examples:
    """Return the rows in use with those of a copy below them."""
    columns = {
        stream: concatenate_columns([column, copy.columns[stream]])
        for stream, column in examples.columns_in_use().items()
    }
    clean = examples.cells_in_use()
    again = {name: copy.cells.get(name) or take_cells(cells, indices) for name, cells in clean.items()}
    both = np.concatenate([np.arange(len(examples)), indices])
    return dataclasses.replace(
        examples,
        columns=columns,
        rows=np.arange(len(both)),
        cells={name: [*cells, *again[name]] for name, cells in clean.items()},
        truth={name: values[both] for name, values in examples.truth.items()},
        known={name: mask[both] for name, mask in examples.known.items()},
    )
