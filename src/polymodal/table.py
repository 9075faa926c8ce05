"""Former place of tables; see ``polymodal.data.tables``. Kept for scripts of version 0.1."""

from __future__ import annotations

from polymodal.data.tables.table import Table, read_table

__all__ = ["Table", "read_table"]
