"""Every error a user can cause, in one tree.

::

    PolymodalError            one clear sentence; the command line exits with 2
    ├── TableError            a table that cannot be read: encoding, ragged rows, duplicate columns
    ├── SchemaError           columns, targets or streams that do not fit the table
    ├── ConfigError           an option with a value that cannot work
    ├── CellError             a broken cell in a strict run, or every cell of a column broken
    ├── CheckpointError       a model or run folder that cannot be loaded or resumed
    └── MissingPackageError   a package of an extra that is not installed

A sentence says what is wrong, where (file, row, column), what was expected and what to do next.
Rows are counted from 1: row 1 is the first row below the header. What a user should know although the work goes on is a
``PolymodalWarning``.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

PACKAGE = os.path.dirname(__file__) + os.sep
SHOWN_NAMES = 30
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class PolymodalError(Exception):
    """The base of all errors a user can cause; its text is one clear sentence."""


class TableError(PolymodalError):
    """A table that cannot be read."""


class SchemaError(PolymodalError):
    """Columns, targets or streams that do not fit the table."""


class ConfigError(PolymodalError):
    """An option with a value that cannot work."""


class CellError(PolymodalError):
    """A broken cell in a strict run, or a column in which every cell is broken."""


class CheckpointError(PolymodalError):
    """A model or run folder that cannot be loaded or resumed."""


class MissingPackageError(PolymodalError, ImportError):
    """A package that what was asked for needs, and that is not installed."""


TRAINING = "Training needs torch: pip install 'polymodal[train]'. Run folders and gradients do too; bundles do not."
EXTRAS = {
    "lightgbm": "train",
    "onnx": "train",
    "onnxscript": "train",
    "pyarrow": "arrow",
    "rapidfuzz": "analysis",
    "sacrebleu": "analysis",
    "scipy": "analysis",
    "sklearn": "analysis",
    "threadpoolctl": "analysis",
}
"""Package to the extra that installs it."""


@contextmanager
def packages_told() -> Iterator[None]:
    """Turn a missing package of an extra into one sentence that says what to install.

    Yields:
        Nothing; what imports packages runs inside.

    Raises:
        MissingPackageError: If torch or a package of ``EXTRAS`` is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "torch":
            raise MissingPackageError(TRAINING) from None
        if package not in EXTRAS:
            raise
        extra = EXTRAS[package]
        raise MissingPackageError(f"This needs the package {package}: pip install 'polymodal[{extra}]'.") from None


def tells_packages(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Decorate a function so that ``packages_told`` goes for it.

    Args:
        function: It imports packages of extras.

    Returns:
        The function. The frames of a call stay in this package, so that ``warn`` finds the line that led to it.
    """

    @wraps(function)
    def told(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        with packages_told():
            return function(*args, **kwargs)

    return told


class PolymodalWarning(UserWarning):
    """What a user should know although the work goes on; its text is one clear sentence."""


def warn(sentence: str) -> None:
    """Warn a user; the warning names the line outside this package that led to it.

    Args:
        sentence: What the user should know.
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(sentence, PolymodalWarning, stacklevel=level)


def parameter_error(parameter: str, owner: str, expected: str, got: object, known: Iterable[str] = ()) -> ConfigError:
    """Build the one message for a parameter with a wrong value.

    Args:
        parameter: The parameter's name.
        owner: The class, encoder or command it belongs to.
        expected: What it must be, in words.
        got: The value received.
        known: The values it may have, of which the nearest one is suggested.

    Returns:
        The error, ready to raise.
    """
    near = closest(str(got), known)
    advice = "" if near is None else f" Did you mean {near!r}?"
    return ConfigError(f"The {parameter!r} parameter of {owner} must be {expected}. Got {got!r} instead.{advice}")


def closest(name: str, known: Iterable[str]) -> str | None:
    """Find the known name that is nearest to a wrong one, whatever its case and the blanks around it.

    Args:
        name: A name that a user gave.
        known: Names there are.

    Returns:
        One of them, or None where none is near.
    """
    import difflib

    plain = {one.strip().lower(): one for one in reversed(list(known))}
    near = difflib.get_close_matches(name.strip().lower(), plain, n=1)
    return plain[near[0]] if near else None


def did_you_mean(name: str, known: Iterable[str], heading: str = "There are") -> str:
    """Say what a user may have meant by an unknown name.

    Args:
        name: The unknown name.
        known: Names there are.
        heading: What the list of them is introduced by.

    Returns:
        A sentence with the nearest name, or else with all of them.
    """
    names = list(known)
    near = closest(name, names)
    return f"{heading}: {list_names(names)}." if near is None else f"Did you mean {near!r}?"


def list_names(names: Iterable[str], most: int = SHOWN_NAMES) -> str:
    """List names in a sentence.

    Args:
        names: The names.
        most: How many are shown.

    Returns:
        The names by comma; "none" without any.
    """
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return (", ".join(listed[:most]) or "none") + more
