"""A fusion and an encoder for polymodal, named as entry points in ``pyproject.toml``."""
