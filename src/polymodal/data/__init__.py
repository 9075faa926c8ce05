"""Reading, schema, splits, decoding and caching of the user's tables (numpy only)."""
