"""Detection of the modality of each column, and of the kind of each target (numpy only)."""
