"""Reading the values of command-line options: pairs, lists, durations, dotted settings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Literal

from polymodal.cli.features_option import load_features
from polymodal.errors import ConfigError, parameter_error

if TYPE_CHECKING:
    from polymodal.runs.options import RunOptions

COMMAND = "the command line"
SECONDS_OF_UNIT = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, kw_only=True)
class RunArguments:
    """Options that ``train`` and ``compare`` have in common, as typed on the command line.

    Attributes:
        validation: Table to choose the best epoch by.
        test: Table to evaluate on.
        validation_share: Share of the rows to choose the best epoch by.
        test_share: Share of the rows to evaluate on.
        group: Column whose values never stand on both sides of a split.
        time: Column that orders the split.
        preset: fast, balanced or best.
        time_limit: A duration.
        fusion: Name of a fusion.
        modality: ``COL=MODALITY`` each.
        stream: ``NAME=GLOB,GLOB`` each.
        share: ``NAME=GLOB,GLOB`` each, or ``all``.
        features: ``MODULE:FUNCTION`` or names of installed feature functions.
        drop: Columns.
        slices: Columns.
        encoder: ``STREAM=NAME`` each.
        config: A ``run.yaml``.
        setting: ``NAME=VALUE`` each, the value in YAML.
        device: Where networks run.
        strict: Whether a broken cell stops the run.
    """

    validation: Path | None
    test: Path | None
    validation_share: float | None
    test_share: float | None
    group: str | None
    time: str | None
    preset: str | None
    time_limit: str | None
    fusion: str | None
    modality: list[str]
    stream: list[str]
    share: list[str]
    features: list[str]
    drop: list[str]
    slices: list[str]
    encoder: list[str]
    config: Path | None
    setting: list[str]
    device: str | None
    strict: bool

    def parsed(self) -> RunOptions:
        """Return the keywords of ``polymodal.fit`` and ``polymodal.compare``; what was not given is None."""
        return {
            "validation": path_text(self.validation),
            "test": path_text(self.test),
            "validation_share": self.validation_share,
            "test_share": self.test_share,
            "group": self.group,
            "time": self.time,
            "preset": self.preset,
            "time_limit": None if self.time_limit is None else parse_duration(self.time_limit),
            "fusion": self.fusion,
            "modality": parse_pairs("--modality", self.modality, last=True) or None,
            "stream": parse_streams(self.stream) or None,
            "share": parse_shares(self.share) or None,
            "features": load_features(self.features) or None,
            "drop": tuple(self.drop) or None,
            "slices": tuple(self.slices) or None,
            "encoder": parse_pairs("--encoder", self.encoder) or None,
            "config": self.config,
            "settings": parse_settings(self.setting) or None,
            "device": self.device,
            "strict": self.strict or None,
        }


def path_text(path: Path | None) -> str | None:
    """Write a path as text.

    Args:
        path: The path, or None.

    Returns:
        Its text, or None.
    """
    return None if path is None else str(path)


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
        option: The option's name, for messages.
        texts: The values.
        last: Whether to split at the last equals sign (column names may contain one), not at the first.

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
        option: The option's name, for messages.

    Returns:
        Name to patterns.
    """
    pairs = parse_pairs(option, texts)
    return {name: tuple(part.strip() for part in value.split(",") if part.strip()) for name, value in pairs.items()}


def parse_shares(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Read groups of streams that share weights.

    Args:
        texts: The values of ``--share``: ``name=pattern,pattern``, or ``all``.

    Returns:
        Name to patterns; ``all`` is a group of that name with every stream.
    """
    return parse_streams([f"{text}=*" if text.strip() == "all" else text for text in texts], "--share")


def parse_settings(texts: Sequence[str], option: str = "--set") -> dict[str, Any]:
    """Read values of the form ``dotted.name=value``, the value in YAML.

    Args:
        texts: The values of the option.
        option: The option's name, for messages.

    Returns:
        Dotted name to value.

    Raises:
        ConfigError: If a value is not YAML of plain values.
    """
    return {name: _parse_value(option, name, value) for name, value in parse_pairs(option, texts).items()}


def _parse_value(option: str, name: str, value: str) -> Any:
    from polymodal.config.yaml_text import parse_yaml

    try:
        return parse_yaml(value)
    except ValueError as error:
        form = f"of the form NAME=VALUE with a YAML value ({error})"
        raise parameter_error(option, COMMAND, form, shorten(f"{name}={value}", 100)) from None


def parse_variants(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read values of the form ``NAME: dotted.name=value, dotted.name=value``, the values in YAML.

    Args:
        texts: The values of ``--variant``.

    Returns:
        Name to dotted name to value.

    Raises:
        ConfigError: If a value has no name or no options, or a name comes twice.
    """
    variants: dict[str, dict[str, Any]] = {}
    for text in texts:
        name, _, rest = text.partition(":")
        settings = [part for part in re.split(r",(?=\s*[\w.-]+=)", rest) if part.strip()]
        if not (name.strip() and settings) or name.strip() in variants:
            form = "of the form NAME:OPTION=VALUE,OPTION=VALUE, each with a name of its own"
            raise parameter_error("--variant", COMMAND, form, text)
        variants[name.strip()] = parse_settings([part.strip() for part in settings], "--variant")
    return variants


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


def parse_columns(texts: Sequence[str]) -> list[str]:
    """Read names of columns divided by commas.

    Args:
        texts: The values of ``--keep``.

    Returns:
        The names, none twice.
    """
    return list(dict.fromkeys(name.strip() for text in texts for name in text.split(",") if name.strip()))


def parse_seeds(text: str, option: str = "--seeds") -> list[int]:
    """Read whole numbers divided by commas or spaces.

    Args:
        text: The value of the option.
        option: The option's name, for messages.

    Returns:
        The numbers.

    Raises:
        ConfigError: If the text holds anything else.
    """
    parts = text.replace(",", " ").split()
    if not parts or not all(part.isdecimal() for part in parts):
        raise parameter_error(option, COMMAND, "whole numbers divided by commas, such as 0,1,2", text)
    return [int(part) for part in parts]


def choose_run_folder(data: str, resume: bool, runs: Path = Path("runs")) -> Path:
    """Choose a run's folder where the user named none.

    Args:
        data: The table's path; its stem names the folder.
        resume: Whether to choose the newest existing folder, not a new one.
        runs: Folder of all runs.

    Returns:
        ``runs/STEM``, or ``runs/STEM-2`` and so on where that exists.

    Raises:
        ConfigError: If there is no run to resume.
    """
    stem = Path(data).resolve().stem or "run"
    newest, number, folder = None, 1, runs / stem
    while folder.exists():
        number += 1
        newest, folder = folder, runs / f"{stem}-{number}"
    if not resume:
        return folder
    if newest is None:
        raise ConfigError(f"There is no run in {runs / stem} to resume. Name its folder with --output.")
    return newest


def find_data(data: str | None, config: Path | None) -> str:
    """Choose the table that a run reads.

    Args:
        data: The table on the command line, if any.
        config: The ``run.yaml`` of a run, which names its table, if any.

    Returns:
        The table's path.

    Raises:
        ConfigError: If neither names a table.
    """
    if data is not None:
        return data
    if config is not None:
        from polymodal.config import load_config

        path = load_config(config).get("data")
        if isinstance(path, str):
            return path
    raise ConfigError("No table to learn from. Name it, as in: polymodal train train.csv --target label")


def parse_rows(text: str | None) -> list[int] | None:
    """Read numbers of rows.

    Args:
        text: Numbers from 1 and ranges of them by comma: ``1,5-9``; None where none are named.

    Returns:
        The numbers, or None.

    Raises:
        ConfigError: If the text holds something else.

    Example:
        >>> parse_rows("1,5-7")
        [1, 5, 6, 7]
    """
    if text is None:
        return None
    numbers: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if last < first:
            raise parameter_error("--rows", COMMAND, "row numbers and ranges such as 1,5-9", text)
        numbers += range(first, last + 1)
    return numbers
