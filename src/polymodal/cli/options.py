"""Reading the values of command-line options: pairs, lists, durations, dotted settings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from polymodal.errors import ConfigError, parameter_error

COMMAND = "the command line"
SECONDS_OF_UNIT = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(text: str) -> float:
    """Read a duration.

    Args:
        text: A number of seconds, or a number with the unit ``s``, ``m`` or ``h``: ``90``, ``5m``, ``1.5h``.

    Returns:
        Seconds.

    Raises:
        ConfigError: If the text is no positive duration.
    """
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*([smh]?)", text.strip().lower())
    seconds = float(match[1]) * SECONDS_OF_UNIT[match[2]] if match else 0.0
    if seconds <= 0:
        raise parameter_error("--time-limit", COMMAND, "a duration such as 90, 90s, 5m or 1h", text)
    return seconds


def parse_pairs(option: str, texts: Sequence[str], last: bool = False) -> dict[str, str]:
    """Read values of the form ``name=value``.

    Args:
        option: The option they were given to, for messages.
        texts: The values.
        last: Whether the last equals sign divides (column names may hold one), not the first.

    Returns:
        Name to value; a later value of the same name wins.

    Raises:
        ConfigError: If a value has no name, no equals sign or nothing after it.
    """
    pairs = {}
    for text in texts:
        name, sign, value = text.rpartition("=") if last else text.partition("=")
        if not (name and sign and value):
            raise parameter_error(option, COMMAND, "of the form NAME=VALUE", text)
        pairs[name] = value
    return pairs


def parse_streams(texts: Sequence[str], option: str = "--stream") -> dict[str, tuple[str, ...]]:
    """Read values of the form ``name=pattern,pattern``.

    Args:
        texts: The values of the option.
        option: Which it is, for messages.

    Returns:
        Name to patterns.
    """
    pairs = parse_pairs(option, texts)
    return {name: tuple(part.strip() for part in value.split(",") if part.strip()) for name, value in pairs.items()}


def parse_settings(texts: Sequence[str], option: str = "--set") -> dict[str, Any]:
    """Read values of the form ``dotted.name=value``, the value in YAML.

    Args:
        texts: The values of the option.
        option: Which it is, for messages.

    Returns:
        Dotted name to value.

    Raises:
        ConfigError: If a value is not YAML.
    """
    import yaml

    try:
        return {name: yaml.safe_load(value) for name, value in parse_pairs(option, texts).items()}
    except yaml.YAMLError:
        raise parameter_error(option, COMMAND, "of the form NAME=VALUE with a YAML value", list(texts)) from None


def parse_variants(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read values of the form ``NAME: dotted.name=value, dotted.name=value``, the values in YAML.

    Args:
        texts: The values of ``--variant``.

    Returns:
        Name to dotted name to value.

    Raises:
        ConfigError: If a value has no name or no options, or a name comes twice.
    """
    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        name, _, rest = text.partition(":")
        settings = [part for part in re.split(r",(?=\s*[\w.-]+=)", rest) if part.strip()]
        if not (name.strip() and settings) or name.strip() in found:
            form = "of the form NAME:OPTION=VALUE,OPTION=VALUE, each with a name of its own"
            raise parameter_error("--variant", COMMAND, form, text)
        found[name.strip()] = parse_settings([part.strip() for part in settings], "--variant")
    return found


def parse_names(text: str | None) -> list[str] | Literal["all"] | None:
    """Read names divided by commas.

    Args:
        text: The value of ``--fusions``, or None.

    Returns:
        The names, "all", or None where none is given.
    """
    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    return "all" if names == ["all"] else names


def parse_seeds(text: str) -> list[int]:
    """Read whole numbers divided by commas or spaces.

    Args:
        text: The value of ``--seeds``.

    Returns:
        The numbers.

    Raises:
        ConfigError: If there is anything else.
    """
    parts = text.replace(",", " ").split()
    if not parts or not all(part.isdecimal() for part in parts):
        raise parameter_error("--seeds", COMMAND, "whole numbers divided by commas, such as 0,1,2", text)
    return [int(part) for part in parts]


def choose_run_folder(data: str, resume: bool, runs: Path = Path("runs")) -> Path:
    """Name a run's folder where the user named none.

    Args:
        data: The table's path; its stem names the folder.
        resume: Whether the newest such folder is wanted, not a new one.
        runs: Folder of all runs.

    Returns:
        ``runs/STEM``, or ``runs/STEM-2`` and so on where that is taken.

    Raises:
        ConfigError: If there is no run to resume.
    """
    stem = Path(data).resolve().stem or "run"
    taken, number, folder = None, 1, runs / stem
    while folder.exists():
        number += 1
        taken, folder = folder, runs / f"{stem}-{number}"
    if not resume:
        return folder
    if taken is None:
        raise ConfigError(f"There is no run in {runs / stem} to resume. Name its folder with --output.")
    return taken


def find_data(data: str | None, config: Path | None) -> str:
    """Find which table a run reads.

    Args:
        data: What the command names.
        config: Configuration of a run; it knows its table.

    Returns:
        The table's path.

    Raises:
        ConfigError: If neither names a table.
    """
    if data is not None:
        return data
    if config is not None:
        from polymodal.config import load_config

        found = load_config(config).get("data")
        if isinstance(found, str):
            return found
    raise ConfigError("No table to learn from. Name it, as in: polymodal train train.csv --target label")
