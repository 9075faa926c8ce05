"""Configurations as files: ``run.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from polymodal.atomic_files import write_text
from polymodal.config.run_config import RunConfig
from polymodal.errors import ConfigError


def load_config(path: Path) -> dict[str, Any]:
    """Read a ``run.yaml``.

    Args:
        path: The file.

    Returns:
        Its nested values, unchecked.

    Raises:
        ConfigError: If the file is missing or is not a YAML mapping.
    """
    from polymodal.config.yaml_text import MAX_CHARACTERS, parse_yaml

    try:
        with path.open(encoding="utf-8") as file:
            values = parse_yaml(file.read(MAX_CHARACTERS + 1))
    except (OSError, ValueError) as error:
        raise ConfigError(f"The configuration {path} cannot be read: {error}. Expected a YAML file.") from None
    if not isinstance(values, dict):
        raise ConfigError(f"The configuration {path} holds no options. Expected lines like `seed: 1`.")
    return values


def save_config(config: RunConfig, path: Path) -> None:
    """Write the resolved configuration as YAML.

    Args:
        config: What to write.
        path: Where; replaced atomically.
    """
    import yaml

    write_text(path, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
