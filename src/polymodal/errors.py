"""Every error a user can cause, in one tree.

::

    PolymodalError            one clear sentence; the command line exits with 2
    ├── TableError            a table that cannot be read: encoding, ragged rows, duplicate columns
    ├── SchemaError           columns, targets or streams that do not fit the table
    ├── ConfigError           an option with a value that cannot work
    ├── CellError             a broken cell in a strict run, or every cell of a column broken
    └── CheckpointError       a model or run folder that cannot be loaded or resumed

A sentence says what is wrong, where (file, row, column), what was expected and what to do next.
Rows are counted from 1: row 1 is the first row below the header.
"""


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


def parameter_error(parameter: str, owner: str, expected: str, got: object) -> ConfigError:
    """Build the one message for a parameter with a wrong value.

    Args:
        parameter: The parameter's name.
        owner: The class, encoder or command it belongs to.
        expected: What it must be, in words.
        got: The value received.

    Returns:
        The error, ready to raise.
    """
    return ConfigError(f"The {parameter!r} parameter of {owner} must be {expected}. Got {got!r} instead.")
