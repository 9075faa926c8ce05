"""What of a model goes into a bundle: without the paths of the machine that trained it, and without rows."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from polymodal.config import build_config
from polymodal.model.trained_model import TrainedModel

FILES = ("data", "validation", "test", "teacher", "unlabelled", "init_from")
"""Options of a run that name files."""
MAYBE_FILES = ("encoder", "settings", "target_settings", "modality", "fusion")
"""Options that may name files somewhere in their values, such as a checkpoint's folder."""
OF_ROWS = ("explanation",)
"""What report data say of single rows."""


def shipped_model(model: TrainedModel) -> TrainedModel:
    """Return the model as a bundle describes it.

    Paths in its configuration and report data become file names; explanations of rows and the list of broken cells,
    which quote cells, are left out, as are the texts and paths of the training rows that cells are retrieved from.

    Args:
        model: The trained model.

    Returns:
        The same, with another configuration and other report data.
    """
    config = build_config(without_paths(model.config.model_dump(mode="json")))
    recovery = None if model.recovery is None else model.recovery.without_cells()
    return dataclasses.replace(model, config=config, report_data=shipped_report(model.report_data), recovery=recovery)


def shipped_report(report_data: Mapping[str, Any]) -> dict[str, Any]:
    """Return report data without paths and without single rows.

    Args:
        report_data: Plain JSON of a run.

    Returns:
        Plain JSON.
    """
    kept = {key: value for key, value in report_data.items() if key not in OF_ROWS} | {"broken_cells": []}
    if isinstance(kept.get("command"), str):
        kept["command"] = command_without_paths(kept["command"])
    if isinstance(kept.get("config"), Mapping):
        kept["config"] = without_paths(kept["config"])
    for key in ("streams", "tables"):
        kept[key] = _with_names(kept.get(key, []))
    return kept


def without_paths(config: Mapping[str, Any]) -> dict[str, Any]:
    """Reduce the paths in a configuration to file names.

    Args:
        config: Plain JSON of a ``RunConfig``.

    Returns:
        Plain JSON.
    """
    files = {key: file_name(config[key], always=True) for key in FILES if config.get(key) is not None}
    return {**config, **files, **{key: _with_names(config[key]) for key in MAYBE_FILES if key in config}}


def command_without_paths(command: str) -> str:
    """Reduce the paths in a command to file names.

    Args:
        command: As a shell takes it.

    Returns:
        The command.
    """
    try:
        words = shlex.split(command)
    except ValueError:
        return ""
    return shlex.join(_word(word) for word in words)


def _word(word: str) -> str:
    """Reduce the path in a word, also behind ``--option=`` and ``column=``."""
    before, equals, value = word.rpartition("=")
    return f"{before}{equals}{file_name(value)}"


def file_name(value: Any, always: bool = False) -> Any:
    """Return the last part of a path.

    Args:
        value: Anything.
        always: Whether relative paths are reduced too.

    Returns:
        The name of an absolute path, or of one that leads upwards or home; else the value.
    """
    if not isinstance(value, str):
        return value
    kind = PureWindowsPath if PureWindowsPath(value).drive else PurePosixPath
    path = kind(value)
    is_local = path.is_absolute() or path.parts[:1] in ((".",), ("..",), ("~",)) or ".." in path.parts
    return path.name if path.name and (is_local or always) else value


def _with_names(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _with_names(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_with_names(inner) for inner in value]
    return file_name(value)
