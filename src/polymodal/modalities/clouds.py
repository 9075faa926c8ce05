"""Former place of what reads point clouds. Kept for scripts of version 0.1."""

from __future__ import annotations

from polymodal.modalities.point_clouds import read_point_clouds as read_clouds

__all__ = ["read_clouds"]
