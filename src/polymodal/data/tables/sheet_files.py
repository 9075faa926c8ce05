"""Readers of spreadsheets (Excel, OpenDocument) and of JSON files: lists of rows, and COCO's annotations."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from polymodal.data.tables.cells import check_names, clean_cell
from polymodal.data.tables.json_rows import rows_within
from polymodal.data.tables.text_files import Columns, check_rows, read_jsonl, records_columns
from polymodal.data.tables.title_rows import MAX_TITLES, count_titles
from polymodal.errors import TableError, warn
from polymodal.modalities.json_text import load_json

MAX_JSON_BYTES = 2**30
MAX_FOLDERS = 100
COCO_KEYS = frozenset({"images", "annotations"})


def read_sheet(path: Path) -> Iterator[Columns]:
    """Read the first sheet of a workbook that has cells: names in its first row, one row of the table in each other.

    Args:
        path: An ``.xlsx``, ``.xlsm``, ``.xlsb``, ``.xls`` or ``.ods`` file.

    Yields:
        Column name to all cells: numbers, texts, dates and truth values as the workbook has them.

    Raises:
        TableError: If it cannot be read, has no rows, or python-calamine is not installed.
    """
    try:
        import python_calamine
    except ImportError:
        raise TableError(
            f"{path.name} is a workbook, for which python-calamine is needed. Install it with "
            "`pip install 'polymodal[excel]'`, or save the sheet as CSV."
        ) from None
    try:
        workbook = python_calamine.CalamineWorkbook.from_path(str(path))
        sheets = (workbook.get_sheet_by_name(name).to_python() for name in workbook.sheet_names)
        rows = next((rows for rows in sheets if rows), [])
    except python_calamine.CalamineError as error:
        raise TableError(f"{path.name} cannot be read as a workbook: {str(error).strip()}.") from None
    rows = [row for row in rows if any(cell not in ("", None) for cell in row)]
    if not rows:
        raise TableError(f"{path.name} is empty. Expected a row of names and at least one row below it.")
    if num_titles := count_titles(rows[:MAX_TITLES]):
        warn(f"{path.name} has its names in row {num_titles + 1} of those with cells; what is above them is left out.")
        rows = rows[num_titles:]
    names = [_name(name) or f"unnamed_{place}" for place, name in enumerate(rows[0], start=1)]
    check_names(names, path.name)
    check_rows(len(rows) - 1, path.name)
    yield {name: [clean_cell(row[place]) for row in rows[1:]] for place, name in enumerate(names)}


def _name(cell: Any) -> str:
    """Return the name of a column; a workbook holds a year as 2020.0."""
    return str(int(cell) if isinstance(cell, float) and cell.is_integer() else cell).strip()


def read_json(path: Path) -> Iterator[Columns]:
    """Read a JSON file.

    Args:
        path: A list of objects, also within an object (``{"data": [...]}``); an object of columns; what pandas'
            ``to_json`` writes; COCO's annotations; or, as NeMo's manifests, one object a line.

    Yields:
        Column name to all cells. Of COCO: ``image``, the paths, and ``boxes``.

    Raises:
        TableError: If it holds something else, or no rows.
    """
    if path.stat().st_size > MAX_JSON_BYTES:
        raise TableError(f"{path.name} is larger than 1 GB. Write one JSON object a line, in a .jsonl file.")
    try:
        content = load_json(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError:
        raise TableError(f"{path.name} is not a UTF-8 file. Save it as UTF-8 and try again.") from None
    except ValueError:
        yield from read_jsonl(path)
        return
    columns = _columns_of(content, path)
    check_rows(len(next(iter(columns.values()), ())), path.name)
    yield columns


def _columns_of(content: Any, path: Path) -> Columns:
    if isinstance(content, list) and all(isinstance(row, dict) for row in content):
        return records_columns(content)
    if isinstance(content, dict) and set(content) >= COCO_KEYS:
        return _coco_columns(content, path)
    if isinstance(content, dict) and (rows := rows_within(content)) is not None:
        return records_columns(rows)
    if isinstance(content, dict) and content and all(isinstance(cells, list) for cells in content.values()):
        return {str(name): [clean_cell(cell) for cell in cells] for name, cells in content.items()}
    if isinstance(content, dict):
        return records_columns([content])
    raise TableError(
        f"{path.name} holds a JSON {type(content).__name__}. Expected a list of objects, one object a line, an object "
        "of columns, or COCO's images and annotations."
    )


def _coco_columns(content: Mapping[str, Any], path: Path) -> Columns:
    """Return one row for each image of COCO's annotations, with its boxes."""
    names = {entry.get("id"): entry.get("name") for entry in content.get("categories", [])}
    boxes: dict[Any, list[Any]] = {entry.get("id"): [] for entry in content["images"]}
    for entry in content["annotations"]:
        if entry.get("image_id") in boxes and "bbox" in entry and not entry.get("iscrowd"):
            left, top, width, height = entry["bbox"]
            label = names.get(entry.get("category_id"), str(entry.get("category_id")))
            corners = [left, top, left + width, top + height]
            boxes[entry["image_id"]].append({"label": label, "box": corners})
    files = [str(entry.get("file_name", "")) for entry in content["images"]]
    base = _folder_of_pictures(path.parent, files[0]) if files else ""
    files = [name if (path.parent / name).exists() else base + name for name in files]
    return {"image": list(files), "boxes": list(boxes.values())}


def _folder_of_pictures(folder: Path, first: str) -> str:
    """Return where COCO's pictures are, as in ``../train2017/`` beside ``annotations``; "" where they are not found."""
    around = [folder / "images", folder.parent, *_folders_in(folder.parent), *_folders_in(folder.parent / "images")]
    found = next((place for place in around if not (folder / first).exists() and (place / first).is_file()), None)
    return "" if found is None else f"{Path(os.path.relpath(found, folder)).as_posix()}/"


def _folders_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))[
        :MAX_FOLDERS
    ]
