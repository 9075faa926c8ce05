"""The cache of decoded columns on disk, which are memory-mapped (numpy only)."""
