"""A run and its bundle, as tests of bundles share them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import polymodal
from polymodal.data.tables.table import Table


class Shipped(NamedTuple):
    """A run and what was exported of it.

    Attributes:
        model: The run's model.
        run: Its folder.
        bundle: The bundle.
        table: Rows of all its columns, some cells of them absent.
        path: The same rows as CSV.
    """

    model: polymodal.Model
    run: Path
    bundle: Path
    table: Table
    path: Path
