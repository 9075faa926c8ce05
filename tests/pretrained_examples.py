"""Pretrained encoders of every family of tiny checkpoints, and cells for them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from polymodal.arrays import Column
from polymodal.encoders import PRETRAINED, Pretrained
from polymodal.encoders.checkpoint_settings import modality_settings
from polymodal.modalities import Audio, Image, Text, build_settings
from tiny_checkpoints import RECIPES, SIDE

WIDTH = 16
ROWS = 5
ABSENT = 3
TUNINGS = ("frozen", "lora", "full")
WITHOUT_ATTENTION = ("convnext", "convnextv2", "resnet")
LIKE_OTHERS = ("roberta", "vit-classifier", "deit", "dinov2", "dinov2-registers", "convnextv2", "hubert")
"""Families so like another one that a single way of use is enough."""
WAYS = {
    family: [
        tuning
        for tuning in TUNINGS
        if not (family in WITHOUT_ATTENTION and tuning == "lora") and not (family in LIKE_OTHERS and tuning != "full")
    ]
    for family in RECIPES
}


def fitted(modality: str, checkpoint: str) -> Any:
    if modality == "text":
        return Text(tokenizer="", num_ids=60, max_length=20)
    if modality == "video":
        return SimpleNamespace(channels=3)
    settings: Any = build_settings(modality, modality_settings(modality, checkpoint))
    return {"image": Image, "audio": Audio}[modality].fit([], settings, None)


def column(modality: str, fit: Any) -> Column:
    random = np.random.default_rng(0)
    present = np.arange(ROWS) != ABSENT
    if modality == "image":
        return Column(random.integers(0, 256, (ROWS, SIDE, SIDE, 3), dtype=np.uint8), present)
    if modality == "video":
        lengths = np.array([6, 1, 4, 3, 5])
        return Column(random.integers(0, 256, (ROWS, 6, 16, 16, 3), dtype=np.uint8), present, lengths)
    steps = {"text": 20, "audio": 900 if modality == "audio" and fit.is_waveform else 30}[modality]
    lengths = np.array([steps, steps // 3, 1, steps // 2, steps // 3])
    if modality == "text":
        values: Any = random.integers(4, 60, (ROWS, steps)).astype(np.int32)
    else:
        values = random.normal(0, 1, (ROWS, steps, fit.num_features)).astype(np.float16)
    values[np.arange(steps) >= lengths[:, None]] = 0
    return Column(values, present, lengths)


def build(family: str, tuning: str, checkpoints: dict[str, str], **hyperparameters: Any) -> tuple[Pretrained, Column]:
    modality, checkpoint = RECIPES[family].modality, checkpoints[family]
    fit = fitted(modality, checkpoint)
    torch.manual_seed(0)
    encoder = PRETRAINED[modality].build(fit, WIDTH, checkpoint=checkpoint, tuning=tuning, **hyperparameters)
    return encoder, column(modality, fit)
