"""Options of a run as Python callers give them, and the configuration and tables that they name."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

from polymodal.config import RunConfig, build_config, load_config
from polymodal.data.features import FeatureFunction, add_features, feature_name, functions_by_name
from polymodal.data.tables.table import Table, read_table
from polymodal.encoders import EncoderChoice
from polymodal.errors import ConfigError, did_you_mean, parameter_error
from polymodal.fusion import FusionChoice
from polymodal.runs.data_module import Tables
from polymodal.runs.model import TableLike


class RunOptions(TypedDict, total=False):
    """Keywords that ``polymodal.fit`` and ``polymodal.compare`` share.

    An option that is left out, or None, keeps the value of ``config``, else the default of ``RunConfig``.

    Attributes:
        validation: Rows to choose the best epoch by; held out from the table if not given.
        test: Rows to evaluate on; held out from the table if not given; False for none.
        validation_share: Share of the rows that is held out as validation rows, where ``validation`` is not given.
        test_share: Share of the rows that is held out as test rows, where ``test`` is not given; 0 for none.
        group: Column whose values never stand on both sides of a split.
        time: Column that orders the split; the latest rows are held out.
        features: Functions that add columns to every table before modalities are inferred: from column to cells to new
            columns of as many cells; or names of those of installed packages.
        drop: Columns to leave out.
        slices: Columns by whose values the evaluated rows are scored, value by value; they may be inputs or not.
        relevance: Without a target: column whose equal values count as a match when retrieval is evaluated.
        reconstruct: Whether each stream is also learned to be recovered from the others.
        teacher: A trained model, or a bundle, whose predictions the new one also learns from (distillation).
        unlabelled: Further rows, whose targets are not looked at: the teacher answers them.
        init_from: An earlier run whose encoders the new one starts from.
        modality: Column to modality, where the inferred one is wrong.
        stream: Stream name to column patterns, to encode columns together.
        share: Group name to stream patterns, or "all". Streams of one modality share one encoder, streams of several
            modalities the layers behind their own encoders.
        preset: "fast", "balanced" or "best".
        time_limit: Seconds after which the whole run is to end; the learning-rate schedule covers the steps that fit.
        fusion: Name of the fusion, or a class of your own.
        encoder: Stream to encoder name, the folder or hub name of a pretrained checkpoint, or a class of your own.
        config: A ``run.yaml``, or its values.
        settings: Dotted option names to values, such as ``{"train.epochs": 20}``; they win over all others.
        explain: Whether the report explains some evaluated rows; it needs an ``output``.
        device: Where networks run, by torch's name: ``cpu``, ``cuda``, ``cuda:1``; by default a GPU if there is one.
        strict: Whether a broken cell stops the run.
        stress: Whether the report has a stress test: noise in the cells, and absent streams.
        harden: Whether the network learns from cells with noise in them too.
    """

    validation: TableLike | None
    test: TableLike | Literal[False] | None
    validation_share: float | None
    test_share: float | None
    group: str | None
    time: str | None
    features: Sequence[FeatureFunction | str] | None
    drop: Sequence[str] | None
    slices: Sequence[str] | None
    relevance: str | None
    reconstruct: bool | None
    teacher: str | Path | None
    unlabelled: TableLike | None
    init_from: str | Path | None
    modality: Mapping[str, str] | None
    stream: Mapping[str, Sequence[str]] | None
    share: Mapping[str, Sequence[str]] | Literal["all"] | None
    preset: str | None
    time_limit: float | None
    fusion: FusionChoice | None
    encoder: Mapping[str, EncoderChoice] | None
    config: str | Path | Mapping[str, Any] | None
    settings: Mapping[str, Any] | None
    explain: bool | None
    device: str | None
    strict: bool | None
    stress: bool | None
    harden: bool | None


CONFIG_FIELDS = (
    "validation_share",
    "test_share",
    "group",
    "time",
    "drop",
    "slices",
    "relevance",
    "reconstruct",
    "modality",
    "stream",
    "share",
    "preset",
    "explain",
    "strict",
    "stress",
)
"""Options that ``RunConfig`` has by the same name and in the same form."""


def check_options(function: Callable[..., Any], options: Mapping[str, object]) -> None:
    """Check that keywords are options of a run.

    Args:
        function: The function they were given to.
        options: The keywords that are no parameters of its own.

    Raises:
        TypeError: If a keyword is unknown; the message names the nearest known one.
    """
    known = [*RunOptions.__annotations__, *inspect.signature(function).parameters]
    for name in options:
        if name not in RunOptions.__annotations__:
            advice = did_you_mean(name, known, "The options are")
            raise TypeError(f"{function.__name__}() got an unexpected keyword argument {name!r}. {advice}")


def build_run_config(
    table: TableLike,
    target: str | Sequence[str] | None,
    options: RunOptions,
    seed: int | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> RunConfig:
    """Build the configuration that options ask for.

    Args:
        table: Rows to learn from; the configuration notes their path.
        target: Column or columns to predict.
        options: The options.
        seed: Fixes every random choice.
        defaults: Values that win over the defaults of ``RunConfig`` only.

    Returns:
        The checked configuration.

    Raises:
        ConfigError: If an option has a wrong value, or two of them contradict each other.
    """
    for split in ("validation", "test"):
        if options.get(split) is not None and options.get(f"{split}_share") is not None:
            raise ConfigError(
                f"Rows are held out for {split} by --{split}-share, or --{split} names a table of them. Leave out one."
            )
    named = {
        "data": _path_text(table),
        "target": (target,) if isinstance(target, str) else target,
        "validation": _path_text(options.get("validation")),
        "test": _path_text(options.get("test")),
        "teacher": _model_path("teacher", options.get("teacher")),
        "unlabelled": _path_text(options.get("unlabelled")),
        "init_from": _model_path("init_from", options.get("init_from")),
        "features": _feature_names(options),
        "seed": seed,
        **{name: options.get(name) for name in CONFIG_FIELDS},
    }
    given = {name: value for name, value in named.items() if value is not None}
    return build_config({**(defaults or {}), **_config_values(options), **given}, _overrides(options))


def _feature_names(options: RunOptions) -> tuple[str, ...] | None:
    features = options.get("features")
    return None if features is None else tuple(map(feature_name, features))


def _path_text(value: object) -> str | None:
    return str(value) if isinstance(value, str | Path) else None


def _model_path(option: str, value: object) -> str | None:
    if value is not None and not isinstance(value, str | Path):
        raise parameter_error(option, "a run", "the path of a saved model (save it first: Model.save)", value)
    return _path_text(value)


def _config_values(options: RunOptions) -> dict[str, Any]:
    config = options.get("config")
    return load_config(Path(config)) if isinstance(config, str | Path) else dict(config or {})


def _overrides(options: RunOptions) -> dict[str, Any]:
    """Return the options that ``RunConfig`` has in one of its sections, by their dotted names."""
    named = {
        "train.time_limit_s": options.get("time_limit"),
        "train.harden": options.get("harden"),
        "fusion.name": options.get("fusion"),
    }
    encoders = {f"encoder.{stream}.name": name for stream, name in (options.get("encoder") or {}).items()}
    given = {name: value for name, value in named.items() if value is not None}
    return {**given, **encoders, **(options.get("settings") or {})}


def read_tables(table: TableLike, options: RunOptions, config: RunConfig) -> Tables:
    """Read the tables of a run.

    Args:
        table: Rows to learn from.
        options: Their ``validation``, ``test`` and ``unlabelled`` win over those of the configuration.
        config: The run's configuration.

    Returns:
        The tables, no two of the same name, with the columns of the run's feature functions.

    Raises:
        ConfigError: If there is no such feature function.
        SchemaError: If one fails, or computes a row from others.
    """
    validation, test, unlabelled = (options.get(name) for name in ("validation", "test", "unlabelled"))
    sources = {
        "train": table,
        "validation": config.validation if validation is None else validation,
        "test": config.test if test is None else None if test is False else test,
        "unlabelled": config.unlabelled if unlabelled is None else unlabelled,
    }
    functions = functions_by_name(options.get("features") or ())
    tables: dict[str, Table] = {}
    for split, source in sources.items():
        if source is not None:
            names = {other.name for other in tables.values()}
            read = _with_unique_name(read_table(source), split, names)
            is_train = split == "train"
            tables[split] = add_features(read, config.features, functions, config.target, is_checked=is_train)
    return Tables(
        train=tables["train"],
        validation=tables.get("validation"),
        test=tables.get("test"),
        unlabelled=tables.get("unlabelled"),
        has_test=test is not False,
    )


def _with_unique_name(table: Table, split: str, names: set[str]) -> Table:
    """Name a table from memory after its split, and add the split to a name that another table has."""
    name = split if table.name == "table" else table.name
    return dataclasses.replace(table, name=f"{name} ({split})" if name in names else name)
