"""Recovery of absent cells: what is remembered, and how cells are made of a recovered sketch (no torch)."""
