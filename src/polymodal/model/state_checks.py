"""Checks of a loaded model: the types of what its JSON holds, its arrays, that its parts fit (no torch)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import SchemaError
from safetensors import SafetensorError, safe_open

from polymodal.arrays import Column
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.tables.table import Table
from polymodal.model.batches import shapes_of
from polymodal.model.inference_network import NO_MASK, StreamMask
from polymodal.model.manifest import DamagedFileError, file_size
from polymodal.model.member_predictions import MemberPredictions
from polymodal.model.predict import combine, predict_members
from polymodal.model.trained_model import TrainedModel
from polymodal.progress import SilentProgress
from polymodal.targets import RowContext, StructuredTarget
from polymodal.targets.numeric import NumericTarget
from polymodal.targets.structured import StructuredPredictions

OBJECTIVES = ("embedding", "sketch")
"""Kinds of targets that are no column."""
PARTS = "the parts that model.json describes"
MAX_ROW_BYTES = 2**30
"""Most bytes of the arrays of one row."""
STRICT = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)


def check_fields(value: Any, where: str) -> None:
    """Check the fields of dataclasses that were made of JSON against their annotations; a dataclass checks nothing.

    Args:
        value: A dataclass, or lists, tuples and dicts that hold some; anything else is not looked at.
        where: Its place, for the message.

    Raises:
        DamagedFileError: If a field is of another type, or a number is not finite; one clause names it.
    """
    if is_dataclass(value) and not isinstance(value, type):
        for entry in fields(value):
            _check_field(type(value), entry.name, getattr(value, entry.name), f"{where}.{entry.name}")
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            check_fields(inner, f"{where}.{name}")
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            check_fields(inner, f"{where}.{index}")


def _check_field(owner: type, name: str, value: Any, where: str) -> None:
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):  # it holds other objects than JSON does
        check_fields(value, where)
        return
    adapter = _adapter(owner, name)
    try:
        if adapter is not None:
            adapter.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join([where, *map(str, first["loc"])])
        raise DamagedFileError(f"{place} is wrong: {first['msg'].lower()}") from None


@cache
def _adapter(owner: type, name: str) -> TypeAdapter[Any] | None:
    """Return the validator of a field; None where its annotation is none that JSON could be checked against."""
    try:
        return TypeAdapter(get_type_hints(owner, include_extras=True)[name], config=STRICT)
    except (PydanticUserError, SchemaError, NameError, TypeError):
        return None


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read a safetensors file of finite numbers as arrays.

    Args:
        path: The file.

    Returns:
        Name to array.

    Raises:
        DamagedFileError: If the file is damaged or holds NaN or infinity; one clause names it.
    """
    arrays = read_safetensors(path, "np")
    check_finite(
        path, {name: array.dtype.kind not in "fc" or np.isfinite(array).all() for name, array in arrays.items()}
    )
    return arrays


def read_safetensors(path: Path, framework: str) -> dict[str, Any]:
    """Read a safetensors file.

    Args:
        path: The file.
        framework: ``pt`` for tensors, ``np`` for arrays.

    Returns:
        Name to tensor or array.

    Raises:
        DamagedFileError: If the file is damaged; one clause names it.
    """
    file_size(path)
    try:
        with safe_open(path, framework=framework) as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:
        raise DamagedFileError(f"{path.name} is no whole safetensors file: {_first_line(error)}") from None


def check_finite(path: Path, is_finite: Mapping[str, Any]) -> None:
    """Check that the numbers of a file are finite.

    Args:
        path: The file.
        is_finite: Name of an array to whether all its numbers are.

    Raises:
        DamagedFileError: If some are not; one clause names the array.
    """
    wrong = next((name for name, finite in is_finite.items() if not finite), None)
    if wrong is not None:
        raise DamagedFileError(f"{path.name} holds numbers that are not finite (NaN or infinity) in {wrong!r}")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def check_prediction(model: TrainedModel) -> None:
    """Predict a row without any cell, and one of blank cells, with all members, to find parts that do not fit.

    Args:
        model: The loaded model, on the CPU.

    Raises:
        DamagedFileError: If the arrays of a row are too large, or a prediction has another shape or is not finite.
        Exception: Whatever a part raises that does not fit.
    """
    _check_targets(model)
    table = Table({name: [None] for name in model.preprocessor.column_names})
    columns, _ = model.preprocessor.transform(table)
    row_bytes = sum(column.values.nbytes for column in columns.values())
    if row_bytes > MAX_ROW_BYTES:
        raise DamagedFileError(f"{PARTS} are damaged: the arrays of one row would take {row_bytes:,} bytes")
    context = RowContext(dict(table.columns), None, shapes=shapes_of(columns))
    absent = model.network.precompute(columns, ArrayCache(None), SilentProgress())
    _check_row(model, absent, context, [NO_MASK])
    if model.network.has_pretrained:
        return  # what takes seconds to run, from a checkpoint that checks itself
    blank = {stream: _blank(column) for stream, column in columns.items()}
    if not all(isinstance(model.targets[name], NumericTarget) for name in model.network.structured):
        model.network.try_row(blank)
    else:
        _check_row(model, blank, context, [NO_MASK, frozenset(model.network.streams[:1])])


def _check_targets(model: TrainedModel) -> None:
    named = {target.name for target in model.schema.targets}
    unnamed = [name for name, target in model.targets.items() if target.kind not in OBJECTIVES and name not in named]
    if unnamed:
        raise DamagedFileError(f"{PARTS} do not fit: the schema lacks the target {unnamed[0]!r}")


def _blank(column: Column) -> Column:
    """Return the column with its cells present; what stands in them is what stands in absent ones."""
    lengths = None if column.lengths is None else np.full_like(column.lengths, min(1, column.values.shape[1]))
    is_empty = lengths is not None and not lengths.all()
    return column if is_empty else Column(column.values, np.ones_like(column.present), lengths)


def _check_row(
    model: TrainedModel, columns: Mapping[str, Column], context: RowContext, masks: Sequence[StreamMask]
) -> None:
    for members in predict_members(model, columns, context, masks):
        _check_predictions(model, members)


def _check_predictions(model: TrainedModel, members: MemberPredictions) -> None:
    for name, prediction in combine(model, members).items():
        target = model.targets[name]
        if isinstance(target, NumericTarget):
            _check_numbers(name, target, [prediction, *members.predictions[name].values()])
        if isinstance(target, StructuredTarget):
            continue
        classes = model.targets[name].classes
        expected = (1,) if classes is None else (1, len(classes))
        for values in (prediction, *members.predictions[name].values()):
            if np.shape(values) != expected or not np.isfinite(values).all():
                raise DamagedFileError(f"{PARTS} do not fit: {name!r} is not predicted as {list(expected)} numbers")


def _check_numbers(name: str, target: NumericTarget, predictions: Sequence[StructuredPredictions]) -> None:
    for found in predictions:
        if not np.isfinite(target.prediction_numbers(found)).all():
            raise DamagedFileError(f"{PARTS} do not fit: {name!r} is not predicted as finite numbers")
