"""A model's vectors: the part of ``Model`` that embeds, indexes and searches rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from polymodal.arrays import BrokenCell, Cell
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.tables.table import read_table
from polymodal.errors import tells_packages
from polymodal.model.embed import Embeddings, embed_chunks, embed_table
from polymodal.model.query import embed_query, find_query_cells
from polymodal.model.search_index import Hit, SearchIndex, build_index
from polymodal.model.trained_model import TrainedModel
from polymodal.progress import LoggingProgress, Progress

TableLike = Any


class ModelVectors:
    """The part of ``Model`` that embeds, indexes and searches rows.

    Attributes:
        trained: Network, fitted modalities and targets, baselines, ensembles.
    """

    trained: TrainedModel

    @tells_packages
    def embed(self, table: TableLike, *, strict: bool = False, progress: Progress | None = None) -> Embeddings:
        """Turn rows into vectors.

        Args:
            table: Rows to embed; absent columns count as missing cells.
            strict: As for ``predict``.
            progress: Reports progress; None: ``logging``, by the logger ``polymodal``.

        Returns:
            One unit vector a row and, of a model without targets, one a stream.

        Raises:
            SchemaError: As for ``predict``.
        """
        source, progress = read_table(table), progress or LoggingProgress()
        return embed_table(self.trained, source, ArrayCache.default(), progress, strict=strict)

    def embed_batches(
        self, table: TableLike, *, strict: bool = False, progress: Progress | None = None
    ) -> Iterator[Embeddings]:
        """Turn a table's rows into vectors batch by batch: a file of any length in bounded memory.

        Args:
            table: Rows to embed; a file is read lazily.
            strict: As for ``predict``.
            progress: Reports progress; None: ``logging``, by the logger ``polymodal``.

        Yields:
            The vectors of the next rows, in the table's order; broken cells are named by their row in the whole table.

        Raises:
            TableError: If the table cannot be read; for broken rows of a file, once they are reached.
        """
        source = table if isinstance(table, str | Path) else read_table(table)
        progress = progress or LoggingProgress()
        yield from embed_chunks(self.trained, source, ArrayCache.default(), progress, strict=strict)

    @tells_packages
    def index(
        self, table: TableLike, *, strict: bool = False, progress: Progress | None = None
    ) -> tuple[SearchIndex, list[BrokenCell]]:
        """Make a searchable index of rows.

        Args:
            table: Rows to index.
            strict: As for ``predict``.
            progress: Reports progress; None: ``logging``, by the logger ``polymodal``.

        Returns:
            The index, and the cells that could not be decoded.

        Raises:
            SchemaError: As for ``predict``.
        """
        source, progress = read_table(table), progress or LoggingProgress()
        embeddings = embed_table(self.trained, source, ArrayCache.default(), progress, strict=strict)
        return build_index(embeddings, source), embeddings.broken_cells

    def search(self, index: SearchIndex, cells: Mapping[str, Cell], *, top: int = 10, within: str = "row") -> list[Hit]:
        """Find the rows of an index that are nearest to some cells.

        Args:
            index: An index of ``Model.index`` or ``polymodal.model.search_index.load_index``.
            cells: Column to cell, such as ``{"caption": "a red circle"}``; other columns count as missing.
            top: How many rows at most.
            within: The vectors to compare with: ``row``, or a stream.

        Returns:
            The nearest rows, best first.

        Raises:
            ConfigError: If no cell is given, or a column is unknown.
            CellError: If a cell cannot be decoded.
        """
        return index.search(embed_query(self.trained, cells), top, within)

    def query_cells(self, values: Mapping[str, Cell]) -> dict[str, Cell]:
        """Find the columns that hold a modality.

        Args:
            values: Modality to cell.

        Returns:
            Column to cell.

        Raises:
            ConfigError: If a modality has no column or several.
        """
        return find_query_cells(self.trained.schema, values)
