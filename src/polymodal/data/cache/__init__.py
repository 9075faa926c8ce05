"""Decoded columns on disk: made once, memory-mapped ever after (numpy only)."""
