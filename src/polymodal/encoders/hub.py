"""Finding the files of a pretrained checkpoint in a folder or on the Hugging Face hub."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polymodal.errors import ConfigError


def tokenizer_path(checkpoint: str) -> str:
    """Find the tokenizer of a pretrained text checkpoint.

    Args:
        checkpoint: Folder, or name on the Hugging Face hub.

    Returns:
        Path of the folder, or of its ``tokenizer.json``.

    Raises:
        ConfigError: If the checkpoint is neither a folder nor available on the hub.
    """
    return checkpoint if Path(checkpoint).is_dir() else str(_find(checkpoint, ["tokenizer.json"]))


def read_json(checkpoint: str, *names: str) -> dict[str, Any]:
    """Read the first of some JSON files that a checkpoint has.

    Args:
        checkpoint: Folder, or name on the Hugging Face hub.
        *names: File names, the preferred one first.

    Returns:
        The file's content.

    Raises:
        ConfigError: If the checkpoint has none of the files, or the file holds no JSON object.
    """
    path = _find(checkpoint, names)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"The file {path} of the checkpoint {checkpoint!r} cannot be read: {error}.") from None
    if not isinstance(found, dict):
        raise ConfigError(f"The file {path} of the checkpoint {checkpoint!r} holds no JSON object.")
    return found


def find_file(checkpoint: str, name: str) -> Path | None:
    """Find a file that a checkpoint may have.

    Args:
        checkpoint: Folder, or name on the Hugging Face hub.
        name: The file's name.

    Returns:
        Its path, or None where there is none.
    """
    try:
        return _find(checkpoint, [name])
    except ConfigError:
        return None


def _find(checkpoint: str, names: Sequence[str]) -> Path:
    folder = Path(checkpoint)
    if folder.is_dir():
        for name in names:
            if (folder / name).is_file():
                return folder / name
        raise ConfigError(
            f"The checkpoint {checkpoint!r} has no {' or '.join(names)}. Its own files must lie beside its weights: "
            "copy them there."
        )
    return _download(checkpoint, names)


def _download(checkpoint: str, names: Sequence[str]) -> Path:
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise ConfigError(
            "Pretrained encoders need the package transformers. Install it with `pip install 'polymodal[pretrained]'`."
        ) from None
    reason = ""
    for name in names:
        try:
            return Path(hf_hub_download(checkpoint, name))
        except (OSError, ValueError) as error:
            reason = reason or str(error).splitlines()[0]
    raise ConfigError(
        f"The checkpoint {checkpoint!r} is no folder, and the hub gives no {' or '.join(names)} for it ({reason}). "
        "Check the name, or download it and give its folder."
    )
