"""Nearest-neighbour search: an index of the embeddings of a table's rows.

An index is a folder: ``index.json`` (metadata), ``vectors.safetensors`` (unit vectors), ``rows.jsonl``
(the rows' own cells, to show), ``manifest.json`` (size and digest of each file) and, for large tables,
``graph.usearch`` (Malkov and Yashunin 2018, HNSW). Without a manifest, as an earlier version saved it, the graph is not
read and every vector is compared.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from polymodal.arrays import Cell
from polymodal.atomic_files import atomic_folder, check_replaceable
from polymodal.data.tables.table import Table
from polymodal.errors import CheckpointError, ConfigError, did_you_mean
from polymodal.modalities.json_text import load_json
from polymodal.model.embed import Embeddings
from polymodal.model.manifest import MANIFEST_FILE, check_files, read_json, write_manifest
from polymodal.model.state_checks import read_arrays

FORMAT = 1
INDEX_FILE, VECTORS_FILE, ROWS_FILE, GRAPH_FILE = "index.json", "vectors.safetensors", "rows.jsonl", "graph.usearch"
REQUIRED = (INDEX_FILE, VECTORS_FILE, ROWS_FILE)
CONTENTS = (*REQUIRED, GRAPH_FILE, MANIFEST_FILE)
"""What an index's folder may consist of; anything else in it is someone else's."""
EXACT_ROWS = 50_000
"""Number of rows from which on a graph is searched; below it every vector is compared."""
ROW = "row"
LONGEST_TEXT = 500


@dataclass(frozen=True)
class Hit:
    """A search result.

    Attributes:
        row: Its number in the indexed table, from 1.
        score: Cosine similarity, -1 to 1.
        cells: Its cells that JSON can hold.
    """

    row: int
    score: float
    cells: dict[str, Any]


@dataclass(frozen=True)
class SearchIndex:
    """Vectors of a table's rows, ready to be searched.

    Attributes:
        vectors: ``row``, and each stream of a model without targets, to unit vectors float32 ``[rows, D]``.
        cells: The rows' cells.
        source: The table's name.
        graph: The HNSW graph over ``row`` of a large table.
    """

    vectors: dict[str, NDArray[np.float32]]
    cells: list[dict[str, Any]]
    source: str
    graph: Any = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.cells)

    def search(self, vector: NDArray[np.float32], top: int = 10, within: str = ROW) -> list[Hit]:
        """Find the rows nearest to a vector.

        Args:
            vector: A unit vector ``[D]``.
            top: How many rows at most.
            within: The vectors to compare with: ``row``, or a stream.

        Returns:
            The nearest rows, best first; rows without that vector are left out.

        Raises:
            ConfigError: If there are no such vectors.
        """
        if within not in self.vectors:
            raise ConfigError(f"The index has no vectors of {within!r}. {did_you_mean(within, self.vectors)}")
        if self.graph is not None and within == ROW:
            matches = self.graph.search(vector, min(top, len(self)))
            indices, scores = matches.keys.astype(np.int64), 1 - matches.distances
        else:
            indices, scores = _exact_search(self.vectors[within], vector, top)
        return [Hit(int(i) + 1, float(s), self.cells[i]) for i, s in zip(indices, scores, strict=True)]


def _exact_search(
    vectors: NDArray[np.float32], vector: NDArray[np.float32], top: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    scores = vectors @ vector
    usable = np.flatnonzero(vectors.any(axis=1))
    best = usable[np.argsort(-scores[usable], kind="stable")][:top]
    return best, scores[best]


def build_index(embeddings: Embeddings, table: Table) -> SearchIndex:
    """Make an index of a table's rows.

    Args:
        embeddings: Their vectors.
        table: The rows.

    Returns:
        The index.

    Raises:
        ConfigError: If the table is large and usearch is not installed.
    """
    vectors = {ROW: embeddings.rows, **embeddings.streams}
    cells = [
        _json_cells(dict(zip(table.columns, row, strict=True))) for row in zip(*table.columns.values(), strict=True)
    ]
    graph = _build_graph(embeddings.rows) if table.num_rows >= EXACT_ROWS else None
    return SearchIndex(vectors, cells, table.name, graph)


def _json_cells(cells: Mapping[str, Cell]) -> dict[str, Any]:
    """Keep the cells that JSON can hold: paths, texts, numbers; long texts are cut."""
    return {
        name: cell[:LONGEST_TEXT] if isinstance(cell, str) else cell
        for name, cell in cells.items()
        if isinstance(cell, str | int | float | bool)
    }


def _build_graph(vectors: NDArray[np.float32]) -> Any:
    graph = _usearch().Index(ndim=vectors.shape[1], metric="cos", dtype="f32")
    usable = np.flatnonzero(vectors.any(axis=1))
    graph.add(usable.astype(np.uint64), vectors[usable])
    return graph


def _usearch() -> Any:
    try:
        import usearch.index
    except ImportError:
        raise ConfigError(
            f"Searching {EXACT_ROWS:,} rows or more needs usearch. Install it with: pip install 'polymodal[search]'"
        ) from None
    return usearch.index


def save_index(index: SearchIndex, folder: Path) -> None:
    """Write an index atomically; an older one of that name is replaced.

    Args:
        index: What to write.
        folder: The index's folder.

    Raises:
        ConfigError: If the folder holds something else.
        OSError: If it cannot be written: disk full, no permission.
    """
    check_index_folder(folder)
    with atomic_folder(folder, CONTENTS) as temporary:
        save_file(index.vectors, temporary / VECTORS_FILE)
        lines = "".join(json.dumps(cells, ensure_ascii=False) + "\n" for cells in index.cells)
        (temporary / ROWS_FILE).write_text(lines, encoding="utf-8")
        if index.graph is not None:
            (temporary / GRAPH_FILE).write_bytes(index.graph.save())  # a full disk is no OSError of its own
        metadata = {"format": FORMAT, "source": index.source, "graph": index.graph is not None}
        (temporary / INDEX_FILE).write_text(json.dumps(metadata), encoding="utf-8")
        write_manifest(temporary)


def check_index_folder(folder: Path) -> None:
    """Check that an index can be written to a folder, before any work is done.

    Args:
        folder: The index's folder, which need not exist.

    Raises:
        ConfigError: If the folder holds something else.
    """
    check_replaceable(folder, INDEX_FILE, "an index")


def load_index(folder: Path) -> SearchIndex:
    """Read an index.

    Args:
        folder: The index's folder.

    Returns:
        The index.

    Raises:
        CheckpointError: If there is none, or it is damaged.
        ConfigError: If it holds a graph and usearch is not installed.
    """
    if not (folder / INDEX_FILE).is_file():
        raise CheckpointError(f"There is no index in {folder}. Make one with: polymodal index MODEL DATA -o {folder}")
    try:
        has_manifest = check_files(folder, REQUIRED)
        metadata = _read_metadata(folder)
        vectors = _read_vectors(folder)
        cells = _read_rows(folder, len(vectors[ROW]))
        graph = _read_graph(folder, vectors[ROW]) if metadata["graph"] and has_manifest else None
    except (OSError, ValueError, RuntimeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"The index {folder} is damaged: {reason}. Make it again.") from None
    return SearchIndex(vectors, cells, metadata["source"], graph)


def _read_metadata(folder: Path) -> dict[str, Any]:
    metadata = read_json(folder / INDEX_FILE)
    if metadata.get("format") != FORMAT:
        raise ValueError(f"index.json has format {str(metadata.get('format'))[:40]!r}, this version reads {FORMAT}")
    if not (isinstance(metadata.get("source"), str) and isinstance(metadata.get("graph"), bool)):
        raise ValueError("index.json does not describe an index")
    return metadata


def _read_vectors(folder: Path) -> dict[str, NDArray[np.float32]]:
    vectors = read_arrays(folder / VECTORS_FILE)
    shapes = {of_stream.shape for of_stream in vectors.values()}
    is_right = all(of_stream.dtype == np.float32 and of_stream.ndim == 2 for of_stream in vectors.values())
    if ROW not in vectors or len(shapes) != 1 or not is_right:
        raise ValueError(f"{VECTORS_FILE} does not hold float32 vectors of all rows, of one length")
    return vectors


def _read_rows(folder: Path, num_rows: int) -> list[dict[str, Any]]:
    """Read the rows' cells; only a line feed ends a row, as text may hold other ends of lines."""
    try:
        lines = (folder / ROWS_FILE).read_bytes().decode("utf-8").removesuffix("\n").split("\n")
        cells = [load_json(line) for line in lines if line]
    except ValueError as error:
        raise ValueError(f"{ROWS_FILE} does not hold JSON: {error}") from None
    if len(cells) != num_rows or not all(isinstance(row, dict) for row in cells):
        raise ValueError(f"{ROWS_FILE} does not hold one JSON object for each of {num_rows:,} rows")
    return cells


def _read_graph(folder: Path, vectors: NDArray[np.float32]) -> Any:
    """Read the graph, which usearch does not check: only if a manifest says that it is whole."""
    graph = _usearch().Index.restore(str(folder / GRAPH_FILE))
    if graph is None or graph.ndim != vectors.shape[1] or len(graph) > len(vectors):
        raise ValueError(f"{GRAPH_FILE} is no graph of these vectors")
    return graph
