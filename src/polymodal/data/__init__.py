"""The user's table: read, understood, split, decoded and cached (numpy only)."""
