"""Former place of what reads sound files. Kept for scripts of version 0.1."""

from __future__ import annotations

from polymodal.modalities.audio_files import load_clip, load_stereo

__all__ = ["load_clip", "load_stereo"]
