"""Former place of what detects the kind of a target; see ``polymodal.data.schema``. Kept for scripts of version 0.1."""

from __future__ import annotations

from polymodal.data.schema.detect_target import detect_target_kind as infer_target_kind

__all__ = ["infer_target_kind"]
