"""Options of ``polymodal acquire``, read and checked, and where its order is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polymodal.cli import prediction_files
from polymodal.errors import ConfigError

PAGE = ".html"


def parse_costs(texts: Sequence[str]) -> dict[str, float]:
    """Read ``image=5,sound=1``; the option may be repeated.

    Args:
        texts: What the user gave.

    Returns:
        Stream to cost.

    Raises:
        ConfigError: If one is no pair of a name and a number, or a stream has two costs.
    """
    costs: dict[str, float] = {}
    for pair in (part.strip() for text in texts for part in text.split(",")):
        if not pair:
            continue
        name, separator, number = pair.rpartition("=")
        try:
            cost = float(number)
        except ValueError:
            separator = ""
        if not separator or not name.strip():
            raise ConfigError(f"The option --cost takes STREAM=NUMBER, as in image=5,sound=1. Got {pair!r} instead.")
        if name.strip() in costs:
            raise ConfigError(f"The option --cost names the stream {name.strip()!r} twice. Give it one cost.")
        costs[name.strip()] = cost
    return costs


def check_output(path: str | None, table: str) -> None:
    """Check that the order can be written there, before any work is done.

    Args:
        path: File to write; None or ``-`` writes none.
        table: The table that is asked about.

    Raises:
        ConfigError: If the ending is unknown, the folder is not there, or the file is the table itself.
    """
    if path is None:
        return
    if path == "-":
        raise ConfigError("The option --output takes a file. For the order on standard output use --json.")
    is_page = Path(path).suffix.lower() == PAGE
    prediction_files.check_output(str(Path(path).with_suffix(".csv")) if is_page else path, table)


def check_kind(label: bool, budget: float | None, target: str | None, others: Mapping[str, Any]) -> int | None:
    """Check that the options fit what is asked: cells, or labels.

    Args:
        label: Whether labels are asked for.
        budget: Most cost, or most rows.
        target: Given only for labels.
        others: Options that are for cells alone, with their values.

    Returns:
        The most rows to label; None where there is no bound, or cells are asked for.

    Raises:
        ConfigError: If an option does not go with the others.
    """
    if not label:
        if target is not None:
            raise ConfigError("The option --target goes with --label. Cells are chosen for all targets together.")
        return None
    given = [name for name, value in others.items() if value]
    if given:
        raise ConfigError(f"The option {given[0]} is about absent cells. Leave it out with --label.")
    if budget is not None and (budget < 1 or budget != int(budget)):
        raise ConfigError(f"With --label, --budget is a number of rows, at least 1. Got {budget:g} instead.")
    return None if budget is None else int(budget)


def write(found: Any, path: str | None) -> None:
    """Write an order as a table, or as a page.

    Args:
        found: An ``Acquisition`` or a ``Labelling``.
        path: The file, whose ending chooses the format; None writes nothing.

    Raises:
        OSError: If it cannot be written: disk full, no permission.
    """
    if path is None:
        return
    if Path(path).suffix.lower() == PAGE:
        from polymodal.report.acquisition_page import write_acquisition

        write_acquisition(found, Path(path))
        return
    with prediction_files.open_output(path) as put:
        put(found.to_columns(), (), ())
