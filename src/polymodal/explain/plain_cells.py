"""Cells of tables as plain JSON, for explanations that are written to a file."""

from __future__ import annotations

import datetime as dt
import math
import re
from pathlib import Path
from typing import Any

from polymodal.arrays import Cell

LONGEST_TEXT = 2000
MAX_NUMBERS = 200


def plain_cell(cell: Cell, folder: Path | None = None) -> Any:
    """Return a cell as JSON can hold it.

    Args:
        cell: Any cell.
        folder: Base folder of relative paths: the name of a file there becomes its whole path; None leaves paths as
            they are.

    Returns:
        Numbers, texts (long ones cut), lists of a few numbers; of bytes, pictures and larger arrays their description
        in brackets.
    """
    if cell is None or isinstance(cell, bool | int):
        return cell
    if isinstance(cell, float):
        return cell if math.isfinite(cell) else None
    if isinstance(cell, str | Path):
        return _plain_text(str(cell), folder)
    if isinstance(cell, dt.date | dt.time):
        return cell.isoformat()
    if isinstance(cell, dict):
        return {str(key): plain_cell(value, folder) for key, value in cell.items()}
    if hasattr(cell, "tolist"):
        return plain_cell(cell.tolist()) if getattr(cell, "size", 1) <= MAX_NUMBERS else _description(cell)
    if isinstance(cell, list | tuple):
        return [plain_cell(value, folder) for value in cell] if len(cell) <= MAX_NUMBERS else _description(cell)
    return _description(cell)


def _plain_text(text: str, folder: Path | None) -> str:
    if folder is not None and 0 < len(text) < 1000 and "\n" not in text and _is_file(folder / text):
        return str(folder / text)
    return text[:LONGEST_TEXT]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a sentence is too long for a name
        return False


def is_description(cell: Any) -> bool:
    """Whether a plain cell only describes the cell, which JSON does not hold.

    Args:
        cell: What ``plain_cell`` returned.

    Returns:
        True for the descriptions in brackets.
    """
    return isinstance(cell, str) and re.fullmatch(r"\[(?:[\d,]+ bytes|[A-Za-z]\w*, .+)\]", cell) is not None


def _description(cell: Cell) -> str:
    if isinstance(cell, bytes | bytearray | memoryview):
        return f"[{len(cell):,} bytes]"
    shape = getattr(cell, "shape", None) or getattr(cell, "size", None)
    size = " × ".join(f"{side:,}" for side in shape) if isinstance(shape, tuple) else f"{len(cell):,} values"
    return f"[{type(cell).__name__}, {size}]"
