"""Former place of what detects the modality of a column; see ``data.schema``. Kept for scripts of version 0.1."""

from __future__ import annotations

from polymodal.data.schema.detect_modality import detect_modality as infer_modality
from polymodal.data.schema.detect_modality import identifier_reason

__all__ = ["identifier_reason", "infer_modality"]
