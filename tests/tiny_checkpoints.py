"""Checkpoints of every family that can be read, small enough to make in a moment, with random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

import tiny

SIDE = 32
RATE_HZ = 4000
NORMALISED = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.25, 0.3], "do_normalize": True, "resample": 3}
STRETCHED = {"image_processor_type": "ViTImageProcessor", "size": {"height": SIDE, "width": SIDE}, **NORMALISED}
CROPPED = {
    "image_processor_type": "CLIPImageProcessor",
    "size": {"shortest_edge": SIDE + 8},
    "crop_size": {"height": SIDE, "width": SIDE},
    "do_center_crop": True,
    **NORMALISED,
}
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
PATCHES = {"image_size": SIDE, "patch_size": 8, **SMALL}
TEXT = {"vocab_size": 60, "max_position_embeddings": 32, **SMALL}
STAGES = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 2, 1]}
WAVES = {
    "conv_dim": (8, 8, 8),
    "conv_kernel": (10, 3, 2),
    "conv_stride": (5, 2, 2),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
    **SMALL,
}
SPEECH = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": RATE_HZ, "do_normalize": True}
WHISPER = {
    "feature_extractor_type": "WhisperFeatureExtractor",
    "sampling_rate": RATE_HZ * 4,
    "feature_size": 16,
    "n_fft": 400,
    "hop_length": 160,
    "chunk_length": 1,
}
AST = {
    "feature_extractor_type": "ASTFeatureExtractor",
    "sampling_rate": RATE_HZ * 4,
    "num_mel_bins": 16,
    "max_length": 40,
    "mean": -4.0,
    "std": 4.5,
    "do_normalize": True,
}
VIDEO = {
    "image_processor_type": "VideoMAEImageProcessor",
    "size": {"shortest_edge": 16},
    "crop_size": {"height": 16, "width": 16},
    **NORMALISED,
}


class Recipe(NamedTuple):
    """How a tiny checkpoint is made.

    Attributes:
        modality: What it reads.
        model: Its class in transformers.
        config: Its configuration's class.
        sizes: The configuration's values.
        preprocessor: What its preprocessor_config.json holds; None writes none.
    """

    modality: str
    model: str
    config: str
    sizes: dict[str, Any]
    preprocessor: dict[str, Any] | None


def _both(**vision: Any) -> dict[str, Any]:
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    return {"text_config": {**TEXT, **ids}, "vision_config": vision}


RECIPES: dict[str, Recipe] = {
    "bert": Recipe("text", "BertModel", "BertConfig", TEXT, None),
    "roberta": Recipe("text", "RobertaModel", "RobertaConfig", {**TEXT, "max_position_embeddings": 34}, None),
    "distilbert": Recipe(
        "text",
        "DistilBertModel",
        "DistilBertConfig",
        {"vocab_size": 60, "max_position_embeddings": 32, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24},
        None,
    ),
    "vit": Recipe("image", "ViTModel", "ViTConfig", PATCHES, STRETCHED),
    "vit-classifier": Recipe("image", "ViTForImageClassification", "ViTConfig", PATCHES, STRETCHED),
    "deit": Recipe("image", "DeiTModel", "DeiTConfig", PATCHES, STRETCHED),
    "dinov2": Recipe("image", "Dinov2Model", "Dinov2Config", {**PATCHES, "image_size": 56, "mlp_ratio": 2}, CROPPED),
    "dinov2-registers": Recipe(
        "image",
        "Dinov2WithRegistersModel",
        "Dinov2WithRegistersConfig",
        {**PATCHES, "image_size": 56, "mlp_ratio": 2},
        CROPPED,
    ),
    "clip": Recipe("image", "CLIPModel", "CLIPConfig", _both(**PATCHES), CROPPED),
    "siglip": Recipe("image", "SiglipModel", "SiglipConfig", _both(**PATCHES), STRETCHED),
    "convnext": Recipe("image", "ConvNextModel", "ConvNextConfig", STAGES, CROPPED),
    "convnextv2": Recipe("image", "ConvNextV2Model", "ConvNextV2Config", STAGES, CROPPED),
    "resnet": Recipe(
        "image", "ResNetModel", "ResNetConfig", {"embedding_size": 8, "layer_type": "basic", **STAGES}, CROPPED
    ),
    "wav2vec2": Recipe("audio", "Wav2Vec2Model", "Wav2Vec2Config", WAVES, SPEECH),
    "wav2vec2-layer": Recipe(
        "audio",
        "Wav2Vec2Model",
        "Wav2Vec2Config",
        {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True, **WAVES},
        {**SPEECH, "do_normalize": False},
    ),
    "hubert": Recipe("audio", "HubertModel", "HubertConfig", WAVES, SPEECH),
    "whisper": Recipe(
        "audio",
        "WhisperForConditionalGeneration",
        "WhisperConfig",
        {
            "vocab_size": 60,
            "d_model": 16,
            "encoder_layers": 2,
            "decoder_layers": 1,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 24,
            "decoder_ffn_dim": 24,
            "max_source_positions": 50,
            "max_target_positions": 8,
            "num_mel_bins": 16,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "decoder_start_token_id": 3,
        },
        WHISPER,
    ),
    "ast": Recipe("audio", "ASTModel", "ASTConfig", {"num_mel_bins": 16, "max_length": 40, **SMALL}, AST),
    "videomae": Recipe(
        "video", "VideoMAEModel", "VideoMAEConfig", {**PATCHES, "image_size": 16, "num_frames": 4}, VIDEO
    ),
}


def save_checkpoint(family: str, folder: Path, *, change: Callable[[dict[str, Any]], dict[str, Any]] = dict) -> str:
    """Make the tiny checkpoint of a family, the same one every time.

    Args:
        family: Name in ``RECIPES``.
        folder: Where.
        change: Changes what the preprocessor_config.json holds.

    Returns:
        The folder as text.
    """
    import transformers

    recipe = RECIPES[family]
    torch.manual_seed(0)
    model = getattr(transformers, recipe.model)(getattr(transformers, recipe.config)(**recipe.sizes))
    model.save_pretrained(folder)
    if recipe.preprocessor is not None:
        text = json.dumps(change(dict(recipe.preprocessor)))
        (folder / "preprocessor_config.json").write_text(text, encoding="utf-8")
    return str(folder)


def save_reader(folder: Path) -> str:
    """Make a tiny checkpoint that reads the tables' texts, with its tokenizer; it drops nothing out.

    Args:
        folder: Where.

    Returns:
        The folder as text.
    """
    import transformers
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    words = sorted({word for sentence in tiny.WORDS for word in sentence.split()})
    engine = Tokenizer(WordLevel({"[PAD]": 0, "[UNK]": 1} | {w: n + 2 for n, w in enumerate(words)}, unk_token="[UNK]"))
    engine.pre_tokenizer = Whitespace()
    sizes = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    dropouts = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = transformers.BertConfig(vocab_size=len(words) + 2, max_position_embeddings=32, **sizes, **dropouts)
    torch.manual_seed(0)
    transformers.BertModel(config).save_pretrained(folder)
    engine.save(str(folder / "tokenizer.json"))
    return str(folder)
