"""Loading of pretrained checkpoints with ``transformers`` (torch).

Only safetensors files are read, and no code of a checkpoint is ever run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from polymodal.errors import ConfigError, parameter_error
from polymodal.nn.convolution import convolve_float32
from polymodal.nn.precision import has_correct_bfloat16_convolutions, has_fast_bfloat16

EXAMPLES = {
    "text": "distilbert/distilbert-base-uncased",
    "image": "google/vit-base-patch16-224",
    "audio": "facebook/wav2vec2-base",
    "video": "MCG-NJU/videomae-base",
}
MODELS: dict[str, dict[str, str]] = {
    "text": {},
    "image": {
        "vit": "ViTModel",
        "deit": "DeiTModel",
        "dinov2": "Dinov2Model",
        "dinov2_with_registers": "Dinov2WithRegistersModel",
        "clip": "CLIPVisionModel",
        "clip_vision_model": "CLIPVisionModel",
        "siglip": "SiglipVisionModel",
        "siglip_vision_model": "SiglipVisionModel",
        "convnext": "ConvNextModel",
        "convnextv2": "ConvNextV2Model",
        "resnet": "ResNetModel",
    },
    "audio": {
        "wav2vec2": "Wav2Vec2Model",
        "hubert": "HubertModel",
        "whisper": "WhisperForAudioClassification",
        "audio-spectrogram-transformer": "ASTModel",
    },
    "video": {"videomae": "VideoMAEModel"},
}
"""Modality to supported model types and the class of ``transformers`` of their encoder.

Text has no list: every encoder of token ids with hidden states is supported.
"""
CONFIG_PARTS = {"image": "vision_config"}
"""Modality to the part of the configuration of its encoder, in checkpoints of several modalities."""
UNUSED = re.compile(r"(?:^|\.)(?:pooler|head|classifier|projector|masked_spec_embed|mask_token)(?:\.|$)")
"""Unused parts of checkpoints; they may be missing, and they are not trained."""
DETERMINISTIC_OPTIONS = {"layerdrop": 0.0, "encoder_layerdrop": 0.0, "apply_spec_augment": False}
"""Options that turn off LayerDrop and SpecAugment; augmentation is part of the training loop."""


def load_config(checkpoint: str, modality: str) -> Any:
    """Load the configuration of a checkpoint.

    Args:
        checkpoint: Folder or hub name.
        modality: The modality to encode.

    Returns:
        The configuration of ``transformers``; of CLIP and SigLIP that of the vision encoder.

    Raises:
        ConfigError: If it cannot be read, or is no encoder of this modality.
    """
    owner = f"the {modality} encoder 'pretrained'"
    if not checkpoint:
        raise parameter_error("checkpoint", owner, "a folder or hub name", checkpoint)
    _check_folder(checkpoint, modality)
    transformers = _import_transformers()
    try:
        config = transformers.AutoConfig.from_pretrained(checkpoint, trust_remote_code=False)
    except Exception as error:  # a damaged file can make the library raise anything
        raise _unloadable(checkpoint, modality, error) from error
    kind = getattr(config, "model_type", "unknown")
    if MODELS[modality] and kind not in MODELS[modality]:
        raise parameter_error("checkpoint", owner, f"one of: {', '.join(MODELS[modality])}", kind)
    if not MODELS[modality] and (getattr(config, "is_encoder_decoder", False) or not hasattr(config, "hidden_size")):
        raise parameter_error("checkpoint", owner, "an encoder such as BERT", kind)
    return _part_of(config, modality)


def load_backbone(checkpoint: str, modality: str) -> Any:
    """Load a checkpoint's weights.

    Args:
        checkpoint: Folder or hub name.
        modality: The modality to encode.

    Returns:
        The module in float32, without the pooler.

    Raises:
        ConfigError: If there are no weights in safetensors form, or they do not fit.
    """
    transformers = _import_transformers()
    try:
        with _quiet(transformers):
            whole = transformers.AutoConfig.from_pretrained(checkpoint, trust_remote_code=False)
            config = _deterministic(_part_of(whole, modality))
            model = getattr(transformers, MODELS[modality].get(whole.model_type, "AutoModel"))
            backbone, report = model.from_pretrained(
                checkpoint, config=config, use_safetensors=True, trust_remote_code=False, output_loading_info=True
            )
    except Exception as error:  # a damaged file can make the library raise anything
        reason = "its weights do not fit its config.json" if "mismatched" in str(error) else error
        raise _unloadable(checkpoint, modality, reason) from error
    missing = sorted(name for name in report["missing_keys"] if not UNUSED.search(name))
    if missing:
        lack = f"its weights lack {len(missing):,} of the encoder's tensors, such as {missing[0]}"
        raise _unloadable(checkpoint, modality, lack)
    return _with_correct_convolutions(_without_unused(backbone.float()))


def _part_of(config: Any, modality: str) -> Any:
    return getattr(config, CONFIG_PARTS.get(modality, ""), config)


def _deterministic(config: Any) -> Any:
    for name, value in DETERMINISTIC_OPTIONS.items():
        if hasattr(config, name):
            setattr(config, name, value)
    return config


def _without_unused(backbone: Any) -> Any:
    if getattr(backbone, "pooler", None) is not None and any(True for _ in backbone.pooler.parameters()):
        backbone.pooler = None
    for name, parameter in backbone.named_parameters():
        if UNUSED.search(name):
            parameter.requires_grad_(False)
    return backbone


def save_backbone(backbone: Any, folder: Path) -> None:
    """Write a checkpoint's weights and configuration as safetensors and JSON.

    Args:
        backbone: Module of ``load_backbone``.
        folder: The folder to write to.
    """
    with _quiet(_import_transformers()):
        backbone.save_pretrained(folder)


def cast_backbone(backbone: Any, device: torch.device) -> Any:
    """Cast a frozen checkpoint to the dtype of inference: bfloat16 where the device is fast with it, else float32.

    Args:
        backbone: Module of ``load_backbone``; modified in place.
        device: The device of inference.

    Returns:
        The same module, in evaluation mode and without gradients.
    """
    return backbone.requires_grad_(False).eval().to(torch.bfloat16 if has_fast_bfloat16(device) else torch.float32)


def _with_correct_convolutions(backbone: Any) -> Any:
    """Patch convolutions to compute in float32 on a CPU whose bfloat16 convolutions are incorrect."""
    if not has_correct_bfloat16_convolutions(torch.device("cpu")):
        for module in backbone.modules():
            if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
                module.forward = MethodType(_convolve, module)  # type: ignore[method-assign]
    return backbone


def _convolve(layer: Any, x: Tensor) -> Tensor:
    found: Tensor = convolve_float32(layer, x).to(x.dtype) if x.device.type == "cpu" else type(layer).forward(layer, x)
    return found


def _import_transformers() -> Any:
    try:
        import transformers
    except ImportError:
        raise ConfigError(
            "Pretrained encoders need the package transformers. Install it: pip install 'polymodal[pretrained]'."
        ) from None
    return transformers


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Turn off progress bars and warnings of the library, and restore its settings afterwards."""
    logging = transformers.utils.logging
    had_bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if had_bars:
            logging.enable_progress_bar()


def _check_folder(checkpoint: str, modality: str) -> None:
    folder = Path(checkpoint)
    if not folder.is_dir():
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", checkpoint) or checkpoint.startswith("."):
            raise _unloadable(checkpoint, modality, f"there is no folder {folder}")
        return
    if not (folder / "config.json").is_file():
        raise _unloadable(checkpoint, modality, "the folder has no config.json")
    if not any(folder.glob("*.safetensors")):
        raise _unloadable(checkpoint, modality, "the folder has no weights in safetensors form")


def _unloadable(checkpoint: str, modality: str, reason: object) -> ConfigError:
    first_line = str(reason).strip().split("\n")[0].rstrip(".")
    return ConfigError(
        f"The pretrained {modality} checkpoint {checkpoint!r} cannot be loaded: {first_line}. Expected a folder with "
        f"config.json and model.safetensors, or a hub name such as {EXAMPLES[modality]!r} that can be reached from "
        "here."
    )
