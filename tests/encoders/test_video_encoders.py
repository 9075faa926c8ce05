"""Video encoders: motion and the order of frames."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from polymodal.encoders import ENCODERS, build_encoder
from polymodal.encoders import video as video_encoders
from polymodal.modalities import Video
from polymodal.tokens import ColumnBatch

SIZE, FRAMES, WIDTH = 16, 6, 32
every_encoder = pytest.mark.parametrize("name", [name for name in ENCODERS["video"] if name != "pretrained"])


def fitted(frames: int = FRAMES, size: int = SIZE) -> Video:
    return Video(height=size, width=size, channels=1, frames=frames, rate_hz=None, mean=[0.1], std=[0.3])


def moving_squares(rows: int, seed: int, frames: int = FRAMES) -> tuple[ColumnBatch, Tensor]:
    """Return videos of a square that moves by a pixel a frame in one of four directions, and the directions."""
    generator = torch.Generator().manual_seed(seed)
    way = torch.randint(0, 4, (rows,), generator=generator)
    steps = torch.tensor([[0, 1], [0, -1], [1, 0], [-1, 0]])[way]
    start = torch.randint(0, SIZE, (rows, 2), generator=generator)
    places = start[:, None] + steps[:, None] * torch.arange(frames)[None, :, None]
    offset = (torch.arange(SIZE)[None, None, :, None] - places[:, :, None, :]) % SIZE < 5
    values = (offset[:, :, :, None, 0] & offset[:, :, None, :, 1]).unsqueeze(-1).to(torch.uint8) * 255
    return ColumnBatch(values, torch.ones(rows, dtype=torch.bool), torch.full((rows,), frames)), way


def accuracy_after_training(name: str, frames: int) -> float:
    torch.manual_seed(0)
    network = nn.ModuleList([build_encoder("video", name, fitted(frames), WIDTH, {}), nn.Linear(WIDTH, 4)])
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for step in range(80):
        batch, way = moving_squares(32, step, frames)
        loss = nn.functional.cross_entropy(network[1](network[0](batch).pooled()), way)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    batch, way = moving_squares(200, 1000, frames)
    with torch.no_grad():
        answers = network.eval()[1](network[0](batch).pooled()).argmax(dim=1)
    return float((answers == way).float().mean())


@every_encoder
def test_the_direction_of_a_motion_is_learnt(name: str) -> None:
    assert accuracy_after_training(name, FRAMES) > 0.9


def test_one_frame_does_not_tell_the_direction() -> None:
    assert accuracy_after_training("cnn", 1) < 0.4


@every_encoder
def test_the_order_of_frames_matters(name: str) -> None:
    torch.manual_seed(0)
    encoder = build_encoder("video", name, fitted(), WIDTH, {}).eval()
    batch, _ = moving_squares(3, 0)
    backwards = ColumnBatch(batch.values.flip(1), batch.present, batch.lengths)
    assert not torch.allclose(encoder(batch).pooled(), encoder(backwards).pooled(), atol=1e-3)


@every_encoder
def test_prediction_in_parts_changes_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    encoder = build_encoder("video", name, fitted(), WIDTH, {}).eval()
    batch, _ = moving_squares(7, 0)
    whole = encoder(batch).values
    monkeypatch.setattr(video_encoders, "VALUES_AT_ONCE", 2 * FRAMES * SIZE * SIZE)
    with torch.inference_mode():
        torch.testing.assert_close(encoder(batch).values, whole, atol=1e-5, rtol=1e-5)


@every_encoder
@pytest.mark.parametrize("size", [5, 8, 33, 96])
def test_every_size_of_frame_works(name: str, size: int) -> None:
    encoder = build_encoder("video", name, fitted(3, size), WIDTH, {})
    values = torch.randint(0, 256, (2, 3, size, size, 1), dtype=torch.uint8)
    tokens = encoder(ColumnBatch(values, torch.ones(2, dtype=torch.bool), torch.tensor([3, 1])))
    assert tokens.values.shape == (2, 3, WIDTH)
    assert tokens.present.tolist() == [[True] * 3, [True, False, False]]
