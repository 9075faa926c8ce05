"""How a new table differs from the one a model was trained on."""
