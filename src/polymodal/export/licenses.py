"""The licences of pretrained checkpoints, as their own files say."""

from __future__ import annotations

from typing import Any

import yaml

from polymodal.encoders.checkpoint_settings import MODEL_CARD
from polymodal.encoders.hub import find_file, read_json
from polymodal.errors import ConfigError

CONFIG = "config.json"
MAX_CARD_BYTES = 2**20


def license_of(checkpoint: str) -> str | None:
    """Read the licence of a checkpoint from the head of its model card, else from its configuration.

    Args:
        checkpoint: Folder, or name on the Hugging Face hub.

    Returns:
        Its identifier or name, or None where the files say nothing.
    """
    head = _card_head(checkpoint)
    return _named(head.get("license_name")) or _named(head.get("license")) or _named(_config(checkpoint).get("license"))


def card_head(text: str) -> dict[str, Any]:
    """Read the YAML block that a model card begins with.

    Args:
        text: The card.

    Returns:
        Its values; none where there is no such block or it is no YAML.
    """
    lines = text.lstrip("\ufeff").splitlines()
    if not lines or lines[0].strip() != "---" or "---" not in (rest := [line.rstrip() for line in lines[1:]]):
        return {}
    try:
        found = yaml.safe_load("\n".join(rest[: rest.index("---")]))
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def _card_head(checkpoint: str) -> dict[str, Any]:
    path = find_file(checkpoint, MODEL_CARD)
    if path is None or path.stat().st_size > MAX_CARD_BYTES:
        return {}
    return card_head(path.read_text(encoding="utf-8", errors="replace"))


def _config(checkpoint: str) -> dict[str, Any]:
    try:
        return read_json(checkpoint, CONFIG)
    except ConfigError:
        return {}


def _named(value: Any) -> str | None:
    """Return a name of one line; some cards list several licences."""
    values = value if isinstance(value, list) else [value]
    names = [" ".join(name.split())[:80] for name in values if isinstance(name, str) and name.strip()]
    return ", ".join(names) or None
