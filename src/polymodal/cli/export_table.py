"""What ``polymodal export`` prints: sizes of the files, and how far the answers are apart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from polymodal.export.parity import Parity


def print_export(parity: Parity, folder: Path) -> None:
    """Print a bundle's files and its check.

    Args:
        parity: How far its answers are from those of the run.
        folder: The bundle.
    """
    console = Console(highlight=False, soft_wrap=True)
    files = Table("file", "bytes", title=escape(f"Bundle {folder}"), title_justify="left")
    files.columns[1].justify = "right"
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        files.add_row(path.relative_to(folder).as_posix(), f"{path.stat().st_size:,}")
    console.print(files)
    rows = f"{parity.rows} rows under {parity.patterns} patterns of missing streams"
    for name, largest in parity.largest.items():
        console.print(f"{escape(name)}: {rows} are answered as by the run; largest difference {largest:.1e}.")
    console.print(f"Embeddings: {parity.rows} rows are embedded as by the run; {parity.embeddings:.1e}.")
    for name, apart in parity.rounding.items():
        console.print(
            f"{escape(name)}: the run rounds the outputs of frozen checkpoints to float16, the bundle does not: their "
            f"answers are up to {apart:.1e} apart."
        )
    if parity.rows < parity.of_rows:
        console.print(f"Only {parity.rows} of {parity.of_rows} rows were compared: a row of this model takes long.")
