"""Tables: read from files and dataframes, and split into training, validation and test rows (numpy only)."""
