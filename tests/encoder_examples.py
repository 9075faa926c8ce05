"""Encoders of every modality that are trained from scratch, and cells for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from modality_examples import example_column, fit_example
from polymodal.encoders import ENCODERS, build_encoder
from polymodal.modalities import Audio, Category, Image, Number, Points, Series, Tabular, Text, Vector, Video
from polymodal.tokens import ColumnBatch

WIDTH = 32
WORD_ENCODERS = [("text", name) for name in ENCODERS["text"] if name != "pretrained"]
SOUND_ENCODERS = [("audio", name) for name in ENCODERS["audio"] if name != "pretrained"]
CASES = [
    *((modality, name) for modality, entries in ENCODERS.items() for name in entries if name != "pretrained"),
    *((modality, f"{name}+vectors") for modality, name in WORD_ENCODERS),
    *((modality, f"{name}+frozen") for modality, name in WORD_ENCODERS),
    *((modality, f"{name}+stereo") for modality, name in SOUND_ENCODERS),
]
"""Modality and encoder; after a plus, what the cells are given as: word vectors, frozen ones, two channels."""


def fitted(modality: str, encoder: str = "") -> Any:
    encoder, _, form = encoder.partition("+")
    vectors = (
        np.random.default_rng(0).normal(size=(50, 12)).astype(np.float32) if form in ("vectors", "frozen") else None
    )
    number = Number(mean=0.0, std=1.0, quantiles=[-1.0, -0.3, 0.2, 1.4])
    category = Category(values=["a", "b", "c", "d"])
    members = {**dict.fromkeys("pqrs", number), **dict.fromkeys("tu", category), "v": number}
    audio: dict[str, Any] = dict.fromkeys(("window_length", "hop_length", "fft_length", "max_frames"), 1)
    made: dict[str, Any] = {
        "tabular": Tabular(members=members),
        "text": Text(tokenizer="", num_ids=50, max_length=40, vector_dim=0 if vectors is None else 12, vectors=vectors),
        "image": Image(height=28, width=20, channels=3, mean=[0.5] * 3, std=[0.25] * 3),
        "audio": Audio(
            features="waveform" if encoder == "waveform" else "log_mel",
            sample_rate_hz=8000,
            num_mels=16,
            num_mfcc=20,
            max_duration_s=5.0,
            median_duration_s=0.5,
            channels=2 if form == "stereo" else 1,
            **audio,
        ),
        "video": Video(height=20, width=16, channels=3, frames=40, rate_hz=None, mean=[0.5] * 3, std=[0.25] * 3),
        "vector": Vector(dim=6, mean=[0.0] * 6, std=[1.0] * 6),
        "series": Series(
            channels=3,
            channels_first=False,
            stride=1,
            max_length=1024,
            median_length=100,
            mean=[0.0] * 3,
            std=[1.0] * 3,
            has_gaps=[False, True, False],
        ),
        "points": Points(
            num_columns=5, frame_column=4, num_frames=38, stride=1, num_points=6, mean=[0.0] * 4, std=[1.0] * 4
        ),
    }
    return made[modality] if modality in made else fit_example(modality)


def column(modality: str, encoder: str, rows: int, seed: int = 0) -> ColumnBatch:
    generator = torch.Generator().manual_seed(seed)
    present = torch.ones(rows, dtype=torch.bool)
    lengths = torch.randint(3, 38, (rows,), generator=generator)
    if modality == "tabular":
        numbers = torch.randn(rows, 7, generator=generator)
        numbers[:, 4:6] = torch.randint(0, 5, (rows, 2), generator=generator).float()
        return ColumnBatch(numbers, torch.ones(rows, 7, dtype=torch.bool))
    if modality == "text":
        ids = torch.randint(1, 50, (rows, 38), generator=generator, dtype=torch.int32)
        return ColumnBatch(ids, present, lengths)
    if modality == "image":
        return ColumnBatch(torch.randint(0, 256, (rows, 28, 20, 3), generator=generator, dtype=torch.uint8), present)
    if modality == "video":
        pixels = torch.randint(0, 256, (rows, 38, 20, 16, 3), generator=generator, dtype=torch.uint8)
        return ColumnBatch(pixels, present, lengths)
    if modality == "vector":
        return ColumnBatch(torch.randn(rows, 6, generator=generator), present)
    if modality == "series":
        return ColumnBatch(torch.randn(rows, 38, 4, generator=generator), present, lengths)
    if modality == "points":
        points = torch.randn(rows, 38, 6, 5, generator=generator)
        points[..., -1] = (torch.rand(rows, 38, 6, generator=generator) < 0.7).float()
        return ColumnBatch(points, present, lengths)
    if modality != "audio":
        return ColumnBatch.from_column(example_column(modality, rows))
    channels = 2 if encoder.endswith("+stereo") else 1
    if encoder.startswith("waveform"):
        return ColumnBatch(torch.randn(rows, 3800, channels, generator=generator).half(), present, lengths * 100)
    return ColumnBatch(torch.randn(rows, 38, 16 * channels, generator=generator).half(), present, lengths)


def build(modality: str, name: str) -> nn.Module:
    torch.manual_seed(0)
    return build_from(modality, name, fitted(modality, name))


def build_from(modality: str, name: str, cells: Any) -> nn.Module:
    encoder, _, form = name.partition("+")
    return build_encoder(modality, encoder, cells, WIDTH, {"frozen": True} if form == "frozen" else {})
