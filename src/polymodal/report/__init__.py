"""What a person reads of a run: one HTML page with charts and a gallery of rows."""
