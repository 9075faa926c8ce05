"""What noise in the cells and absent streams do to a model's scores."""
