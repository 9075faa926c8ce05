"""What the user should know of a table before a model is trained on it."""
