"""An explanation together with the cells it is about: shown in a notebook, and written as a folder."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from markupsafe import escape

from polymodal.data.schema.schema import Schema
from polymodal.data.tables.table import Table
from polymodal.explain.explanation import Explanation
from polymodal.progress import LoggingProgress, Progress
from polymodal.report.explained_cells import ExplainedTable

NOTEBOOK_BYTES = 1_200_000
"""Maximum size of the rows that a notebook shows; it keeps them in its file."""
NOTEBOOK_HEIGHT = 720
"""Height of the frame in a notebook, in pixels."""


@dataclass(frozen=True)
class ShownExplanation(Explanation):
    """An explanation that knows its table, so that it can show the cells.

    In a notebook it shows itself: the page of ``polymodal explain -o``, in a frame of its own.

    Attributes:
        source: The table, with the columns that are read from others.
        modalities: Column to modality.

    Example:
        >>> explanation = model.explain("new.csv")  # doctest: +SKIP
        >>> explanation.save("why")  # doctest: +SKIP
    """

    source: Table = field(default_factory=lambda: Table({}), repr=False, compare=False)
    modalities: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, explanation: Explanation, table: Table, schema: Schema) -> Self:
        """Put an explanation and its table together.

        Args:
            explanation: The explanation.
            table: The explained table.
            schema: Schema of the model, which names the modalities.

        Returns:
            The same explanation, which can show its cells.
        """
        values = {entry.name: getattr(explanation, entry.name) for entry in fields(Explanation)}
        modalities = {column.name: column.modality for column in schema.columns}
        return cls(**values, source=schema.with_derived(table), modalities=modalities)

    def to_json(self) -> dict[str, Any]:
        """Return the explanation as plain JSON values, without the table."""
        return Explanation(**{entry.name: getattr(self, entry.name) for entry in fields(Explanation)}).to_json()

    def to_html(self) -> str:
        """Return the page of the explanation, which needs no other file."""
        from polymodal.report.explanation_page import explanation_html

        return explanation_html(self.with_cells)

    def save(self, folder: str | Path, progress: Progress | None = None) -> None:
        """Write the page, the JSON and figures for papers.

        Args:
            folder: The folder; an earlier explanation there is replaced.
            progress: Reports progress; None: ``logging``, by the logger ``polymodal``.

        Raises:
            ConfigError: If the folder holds something else.
            OSError: If it cannot be written: disk full, no permission.
        """
        from polymodal.report.explanation_folder import write_explanation_folder

        write_explanation_folder(self.with_cells, Path(folder), progress or LoggingProgress())

    @property
    def with_cells(self) -> ExplainedTable:
        """What the pages of ``polymodal.report`` are made from."""
        return ExplainedTable(self, self.source, self.modalities)

    def _repr_html_(self) -> str:
        """Return the page in a frame of its own, so that its style does not touch the notebook's."""
        from polymodal.report.explanation_page import explanation_html

        page = escape(explanation_html(self.with_cells, NOTEBOOK_BYTES))
        style = f"width:100%;height:{NOTEBOOK_HEIGHT}px;border:0"
        title = escape(f"Explanation of {self.table}")
        return f'<iframe title="{title}" sandbox="allow-scripts" style="{style}" srcdoc="{page}"></iframe>'
