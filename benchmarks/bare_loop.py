"""avdigits by hand: the network and training of ``polymodal train`` as one plain PyTorch script.

The opponent of ``benchmarks/speed.py``: the same layers, augmentations, schedule and files, and
nothing of the framework. Prints one JSON line.

    python benchmarks/bare_loop.py --data ../shared/data/avdigits --epochs 40 --batch-size 64
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

DIGITS = ("eight", "five", "four", "nine", "one", "seven", "six", "three", "two", "zero")
RATE, WINDOW, HOP, FFT, MELS = 8000, 200, 80, 256, 40
MEL_TOP = 2595 * math.log10(1 + RATE / 2 / 700)
WIDTH, HEADS, TOKENS, DROPOUT = 128, 4, 16, 0.1
LEARNING_RATE, WEIGHT_DECAY, SMOOTHING, HIDDEN, KEPT = 1e-3, 0.05, 0.05, 0.2, 3


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read a table's rows."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def log_mel(path: Path) -> np.ndarray:
    """Decode a clip to a standardised log-mel spectrum ``[frames, MELS]``."""
    clip, _ = soundfile.read(path, dtype="float32")
    frames = 1 + max(0, -(-(len(clip) - WINDOW) // HOP))
    clip = np.pad(clip, (0, max(0, (frames - 1) * HOP + WINDOW - len(clip))))
    windows = np.lib.stride_tricks.sliding_window_view(clip, WINDOW)[::HOP][:frames] * HANN
    spectrum = np.fft.rfft(windows, FFT)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32) @ FILTERS
    values = np.log(np.maximum(power, max(1e-10, power.max() * 1e-8)))
    return (values - values.mean()) / max(values.std(), 1e-5)


def mel_filters() -> np.ndarray:
    """Return triangular filters ``[bins, MELS]``, even on the mel scale, each of sum 1."""
    mels = 2595 * np.log10(1 + np.linspace(0, RATE / 2, FFT // 2 + 1) / 700)
    edges = np.linspace(0, MEL_TOP, MELS + 2)
    filters = np.maximum(0, 1 - np.abs(mels[:, None] - edges[None, 1:-1]) / edges[1])
    return (filters / filters.sum(axis=0)).astype(np.float32)


HANN = np.hanning(WINDOW + 1)[:-1].astype(np.float32)
FILTERS = mel_filters()


class Rows:
    """Decoded rows: pictures in 0..1 ``[N, 1, 28, 28]``, padded clips, their lengths, digits."""

    def __init__(self, folder: Path, rows: list[dict[str, str]], threads: int) -> None:
        with ThreadPoolExecutor(threads) as pool:
            pixels = pool.map(lambda row: np.asarray(Image.open(folder / row["image"]).convert("L")), rows)
            clips = list(pool.map(lambda row: log_mel(folder / row["audio"]), rows))
            self.images = torch.from_numpy(np.stack(list(pixels))).float().unsqueeze(1) / 255
        self.lengths = torch.tensor([len(clip) for clip in clips])
        self.clips = torch.zeros(len(rows), int(self.lengths.max()), MELS)
        for number, clip in enumerate(clips):
            self.clips[number, : len(clip)] = torch.from_numpy(clip)
        self.digits = torch.tensor([DIGITS.index(row["digit"]) for row in rows])

    def batch(self, places: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return pictures, clips cut to the longest, lengths and digits of some rows."""
        lengths = self.lengths[places]
        return self.images[places], self.clips[places, : int(lengths.max())], lengths, self.digits[places]


def uniform(size: int, reach: float) -> Tensor:
    """Draw ``[size]`` values in -reach..reach."""
    return torch.empty(size).uniform_(-reach, reach)


def vary_images(images: Tensor) -> Tensor:
    """Turn, scale, shift and brighten pictures in 0..1."""
    size = len(images)
    angle, scale = uniform(size, math.radians(10)), 1 + uniform(size, 0.1)
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    top = torch.stack([cosine, -sine, 2 * uniform(size, 0.08)], 1)
    bottom = torch.stack([sine, cosine, 2 * uniform(size, 0.08)], 1)
    grid = functional.affine_grid(torch.stack([top, bottom], 1), list(images.shape), align_corners=False)
    varied = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return (varied * (1 + uniform(size, 0.15))[:, None, None, None]).clamp(0, 1)


def vary_clips(clips: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Change speed and pitch, mask a stretch of time and one of frequency, add noise."""
    size, total, _ = clips.shape
    longer = (lengths * (1 + uniform(size, 0.1))).round().long().clamp(min=1)
    steps = math.ceil(int(longer.max()) / 8) * 8
    times = torch.minimum((torch.arange(steps) + 0.5) * (lengths / longer)[:, None], lengths[:, None] - 0.5)
    hertz = 700 * (10 ** (torch.arange(1, MELS + 1) * MEL_TOP / (MELS + 1) / 2595) - 1)
    pitched = 2595 * torch.log10(1 + hertz * uniform(size, 0.15).exp()[:, None] / 700)
    bands = (pitched / MEL_TOP * (MELS + 1) - 1).clamp(0, MELS - 1) + 0.5
    shape = (size, steps, MELS)
    grid = torch.stack([(bands / MELS)[:, None].expand(shape), (times / total)[:, :, None].expand(shape)], -1)
    warped = functional.grid_sample(clips[:, None], grid * 2 - 1, padding_mode="border", align_corners=False)[:, 0]
    masked = stretch_of(longer, steps)[:, :, None] | stretch_of(torch.full_like(longer, MELS), MELS)[:, None]
    noise = 0.3 * torch.rand(size, 1, 1) * torch.randn(shape)
    inside = torch.arange(steps) < longer[:, None]
    return (warped.masked_fill(masked, 0.0) + noise) * inside[:, :, None], longer


def stretch_of(extents: Tensor, size: int) -> Tensor:
    """Draw a random stretch of at most a sixth of each row's extent: bool ``[rows, size]``."""
    width = (torch.rand(len(extents)) * extents / 6).long()
    start = (torch.rand(len(extents)) * (extents - width)).long()
    places = torch.arange(size)
    return (places >= start[:, None]) & (places < (start + width)[:, None])


def stretch(clips: Tensor, lengths: Tensor, frames: int) -> Tensor:
    """Resample every clip to the same number of frames with a triangle filter."""
    scale = (lengths / frames)[:, None]
    last = (lengths - 1)[:, None]
    centre = torch.minimum(((torch.arange(frames) + 0.5) * scale - 0.5).clamp(min=0), last)
    step = torch.arange(clips.shape[1])
    weights = (1 - (step - centre[:, :, None]).abs() / scale.clamp(min=1)[:, :, None]).clamp(min=0)
    weights = weights * (step <= last)[:, None]
    return (weights / weights.sum(2, keepdim=True)) @ clips


class MaskedGroupNorm(nn.GroupNorm):
    """Group norm of clips ``[B, C, T, F]`` over the frames in use; padding becomes zero."""

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        """Normalise; ``keep`` is ``[B, 1, T, 1]``, 1 where a frame is in use."""
        size, channels = x.shape[:2]
        x = x * keep
        count = keep.sum((1, 2, 3)) * x.shape[3] * (channels // self.num_groups)
        mean = x.sum((2, 3)).view(size, self.num_groups, -1).sum(2) / count[:, None]
        square = (x * x).sum((2, 3)).view(size, self.num_groups, -1).sum(2) / count[:, None]
        each = channels // self.num_groups
        scale = (square - mean * mean + self.eps).rsqrt().repeat_interleave(each, 1) * self.weight
        shift = self.bias - mean.repeat_interleave(each, 1) * scale
        return (x * scale[:, :, None, None] + shift[:, :, None, None]) * keep


class ImageEncoder(nn.Module):
    """Pictures to 16 tokens."""

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.mean, self.std = mean, std
        blocks: list[nn.Module] = []
        for num_in, num_out, stride in ((1, 32, 1), (32, 64, 2), (64, 128, 2), (128, 128, 2)):
            blocks += [nn.Conv2d(num_in, num_out, 3, stride, 1, bias=False), nn.GroupNorm(8, num_out), nn.ReLU()]
        self.stages = nn.Sequential(*blocks)
        self.positions = nn.Parameter(torch.randn(16, WIDTH) * 0.02)
        self.project = nn.Linear(128, WIDTH)
        self.norm, self.dropout = nn.LayerNorm(WIDTH), nn.Dropout(DROPOUT)

    def forward(self, images: Tensor) -> Tensor:
        """Encode ``[B, 1, 28, 28]`` to ``[B, 16, WIDTH]``."""
        features = self.stages((images - self.mean) / self.std).flatten(2).transpose(1, 2)
        return self.dropout(self.norm(self.project(features))) + self.positions


class AudioEncoder(nn.Module):
    """Log-mel spectra to a token for every 16 frames."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.frames = frames
        norm = nn.GroupNorm if frames else MaskedGroupNorm
        dims = (1, 24, 48, 96, 96)
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1, bias=False) for a, b in pairwise(dims))
        self.norms = nn.ModuleList(norm(8, dim) for dim in dims[1:])
        self.positions = nn.Parameter(torch.randn(TOKENS, WIDTH) * 0.02)
        self.project = nn.Linear(4 * 96, WIDTH)
        self.norm, self.dropout = nn.LayerNorm(WIDTH), nn.Dropout(DROPOUT)

    def forward(self, clips: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encode ``[B, T, MELS]``; return ``[B, K, WIDTH]`` and, bool ``[B, K]``, which tokens are there."""
        if self.frames:
            clips, lengths = stretch(clips, lengths, self.frames), torch.full_like(lengths, self.frames)
        features = clips.unsqueeze(1)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            features, lengths = convolution(features), (lengths + 1) // 2
            present = torch.arange(features.shape[2]) < lengths[:, None]
            normed = norm(features) if self.frames else norm(features, present[:, None, :, None].float())
            features = torch.relu(normed)
        features = functional.adaptive_avg_pool2d(features, (features.shape[2], 4)).transpose(1, 2).flatten(2)
        return self.dropout(self.norm(self.project(features))) + self.positions[: features.shape[1]], present


class Layer(nn.Module):
    """A pre-norm transformer layer."""

    def __init__(self) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(WIDTH)
        self.project_in, self.project_out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH)
        )
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Run the layer on ``[B, T, WIDTH]``; ``mask`` is bool ``[B, 1, 1, T]``."""
        parts = self.project_in(self.attention_norm(x)).view(len(x), -1, 3, HEADS, WIDTH // HEADS)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = x + self.dropout(self.project_out(mixed.transpose(1, 2).flatten(2)))
        return x + self.dropout(self.feed_forward(x))


class Classifier(nn.Module):
    """Both encoders, their own heads, and a transformer over all tokens with its head."""

    def __init__(self, mean: float = 0.13, std: float = 0.31, frames: int = 64) -> None:
        super().__init__()
        self.image, self.audio = ImageEncoder(mean, std), AudioEncoder(frames)
        self.missing, self.kinds = (nn.Parameter(torch.randn(2, WIDTH) * 0.02) for _ in range(2))
        self.summarise = nn.Sequential(nn.LayerNorm(2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH))
        self.layers = nn.ModuleList(Layer() for _ in range(2))
        self.norm = nn.LayerNorm(WIDTH)
        self.heads = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(WIDTH), nn.Dropout(DROPOUT), nn.Linear(WIDTH, len(DIGITS))) for _ in range(3)
        )

    def forward(self, images: Tensor, clips: Tensor, lengths: Tensor, hidden: Tensor) -> tuple[Tensor, ...]:
        """Return the logits ``[B, 10]`` of both streams fused, the picture and the clip.

        Args:
            images: ``[B, 1, 28, 28]`` in 0..1.
            clips: ``[B, T, MELS]``.
            lengths: ``[B]``, frames in use.
            hidden: bool ``[B, 2]``, streams the fusion does not see.
        """
        image, (audio, present) = self.image(images), self.audio(clips, lengths)
        streams = [(image, torch.ones(image.shape[:2], dtype=torch.bool)), (audio, present)]
        own = [pool(values, there) for values, there in streams]
        filled = [hide(*stream, hidden[:, i], self.missing[i]) for i, stream in enumerate(streams)]
        summary = self.summarise(torch.cat([pool(*stream) for stream in filled], 1))
        x = torch.cat([summary[:, None], *(values + self.kinds[i] for i, (values, _) in enumerate(filled))], 1)
        there = torch.cat([torch.ones(len(x), 1, dtype=torch.bool), *(there for _, there in filled)], 1)
        for layer in self.layers:
            x = layer(x, there[:, None, None])
        return tuple(head(y) for head, y in zip(self.heads, [self.norm(x[:, 0]), *own], strict=True))


def pool(values: Tensor, present: Tensor) -> Tensor:
    """Return the mean of the tokens that are there."""
    return (values * present[:, :, None]).sum(1) / present.sum(1, keepdim=True)


def hide(values: Tensor, present: Tensor, hidden: Tensor, missing: Tensor) -> tuple[Tensor, Tensor]:
    """Put one missing token in place of all tokens of the hidden rows."""
    first = torch.arange(values.shape[1]) == 0
    present = torch.where(hidden[:, None], first, present)
    return torch.where(hidden[:, None, None], missing, values), present


def draw_hidden(size: int) -> Tensor:
    """Hide each stream from the fusion by chance, never both: bool ``[size, 2]``."""
    hidden = torch.rand(size, 2) < HIDDEN
    spared = functional.one_hot(torch.randint(2, (size,)), 2).bool()
    return hidden & ~(hidden.all(1, keepdim=True) & spared)


def train(model: Classifier, rows: Rows, validation: Rows, epochs: int, batch_size: int) -> list[float]:
    """Train, look at validation after each epoch, and keep the mean of the best epochs' weights.

    Returns:
        Seconds of each epoch, its look at validation included.
    """
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, fused=True)
    total = epochs * math.ceil(len(rows.digits) / batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_factor(step, total))
    best: list[tuple[float, dict[str, Tensor]]] = []
    seconds = []
    for _ in range(epochs):
        started = time.perf_counter()
        model.train()
        for places in torch.randperm(len(rows.digits)).split(batch_size):
            images, clips, lengths, digits = rows.batch(places)
            outputs = model(vary_images(images), *vary_clips(clips, lengths), draw_hidden(len(places)))
            loss = sum(functional.cross_entropy(output, digits, label_smoothing=SMOOTHING) for output in outputs)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        loss_seen, _ = judge(model, validation)
        weights = {name: value.clone() for name, value in model.state_dict().items()}
        best = sorted([*best, (loss_seen, weights)], key=lambda kept: kept[0])[:KEPT]
        seconds.append(time.perf_counter() - started)
    names = model.state_dict()
    model.load_state_dict({name: torch.stack([kept[name] for _, kept in best]).mean(0) for name in names})
    return seconds


def rate_factor(step: int, total: int) -> float:
    """Return the factor of the learning rate: linear warm-up, then cosine."""
    warmup = max(total // 10, 1)
    if step < warmup:
        return (step + 1) / warmup
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1)))


@torch.inference_mode()
def judge(model: Classifier, rows: Rows) -> tuple[float, float]:
    """Return the fused head's mean loss and accuracy."""
    model.eval()
    logits = torch.cat(
        [
            model(images, clips, lengths, torch.zeros(len(images), 2, dtype=torch.bool))[0]
            for images, clips, lengths, _ in map(rows.batch, torch.arange(len(rows.digits)).split(256))
        ]
    )
    loss = functional.cross_entropy(logits, rows.digits)
    return float(loss), float((logits.argmax(1) == rows.digits).float().mean())


def main() -> None:
    """Decode, train and judge."""
    parser = argparse.ArgumentParser(description="avdigits in plain PyTorch")
    parser.add_argument("--data", type=Path, required=True, help="folder with train.csv, validation.csv and test.csv")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--frames", type=int, default=64, help="stretch clips to so many frames; 0: natural length")
    parser.add_argument("--held-out", default="lucas", help="the validation speaker; polymodal draws lucas with seed 0")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    started = time.perf_counter()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(asked.seed)
    pooled = read_rows(asked.data / "train.csv") + read_rows(asked.data / "validation.csv")
    parts = (
        [row for row in pooled if row["speaker"] != asked.held_out],
        [row for row in pooled if row["speaker"] == asked.held_out],
        read_rows(asked.data / "test.csv"),
    )
    rows, validation, test = (Rows(asked.data, part, asked.threads) for part in parts)
    model = Classifier(float(rows.images.mean()), float(rows.images.std()), asked.frames)
    model = model.to(memory_format=torch.channels_last)
    epochs_s = train(model, rows, validation, asked.epochs, asked.batch_size)
    found = {
        "accuracy": judge(model, test)[1],
        "parameters": sum(p.numel() for p in model.parameters()),
        "rows": len(rows.digits),
        "seconds": time.perf_counter() - started,
        "epochs_s": epochs_s,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
