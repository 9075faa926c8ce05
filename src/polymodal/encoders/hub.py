"""Where the files of a pretrained checkpoint are: a folder, or the hub's cache."""

from __future__ import annotations

from pathlib import Path

from polymodal.errors import ConfigError


def tokenizer_path(checkpoint: str) -> str:
    """Find the tokenizer of a pretrained text checkpoint.

    Args:
        checkpoint: Folder, or name on the Hugging Face hub.

    Returns:
        Path of the folder, or of its ``tokenizer.json``.

    Raises:
        ConfigError: If the checkpoint is neither a folder nor to be had from the hub.
    """
    if Path(checkpoint).is_dir():
        return checkpoint
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise ConfigError(
            "Pretrained encoders need the package transformers. Install it with `pip install polymodal[pretrained]`."
        ) from None
    try:
        return str(hf_hub_download(checkpoint, "tokenizer.json"))
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"The checkpoint {checkpoint!r} is no folder, and the hub gives no tokenizer.json for it ({reason}). "
            "Check the name, or download it and give its folder."
        ) from None
