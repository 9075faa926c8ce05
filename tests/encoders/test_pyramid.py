from __future__ import annotations

import pytest
import torch
from torch import nn

from polymodal.encoders import build_encoder
from polymodal.encoders.pyramid import finest_stage
from polymodal.modalities import Image
from polymodal.model.present_rows import encode_present
from polymodal.tokens import ColumnBatch, Detail, DetailGrid, Tokens

WIDTH = 16
every_encoder = pytest.mark.parametrize("name", ["cnn", "resnet"])


def fitted(height: int = 60, width: int = 76) -> Image:
    return Image(height=height, width=width, channels=3, mean=[0.5] * 3, std=[0.25] * 3)


def build(name: str, detail: bool, image: Image | None = None) -> nn.Module:
    torch.manual_seed(0)
    return build_encoder("image", name, image or fitted(), WIDTH, {"detail": detail})


def pictures(rows: int, image: Image | None = None) -> ColumnBatch:
    image = image or fitted()
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (rows, image.height, image.width, 3), generator=generator, dtype=torch.uint8)
    return ColumnBatch(pixels, torch.ones(rows, dtype=torch.bool))


def detail_of(tokens: Tokens) -> Detail:
    assert tokens.detail is not None
    return tokens.detail


@every_encoder
@pytest.mark.parametrize("size", [(12, 12), (60, 76), (128, 96), (33, 250), (240, 320)])
def test_places_lie_as_the_encoder_says(name: str, size: tuple[int, int]) -> None:
    image = fitted(*size)
    encoder = build(name, True, image)
    detail = detail_of(encoder.eval()(pictures(2, image)))
    places = encoder.detail_grid
    assert isinstance(places, DetailGrid)
    assert detail.shape == places.shape == tuple(-(-side // places.stride) for side in size)
    assert detail.values.shape == (2, places.shape[0] * places.shape[1], WIDTH)
    assert detail.present.shape == detail.values.shape[:2]
    assert places.stride <= 8


@every_encoder
def test_without_detail_there_is_nothing_of_it(name: str) -> None:
    plain, fine = build(name, False), build(name, True)
    assert plain.detail_grid is None
    assert plain.eval()(pictures(2)).detail is None
    weights = plain.state_dict()
    assert not any(key.startswith("pyramid") for key in weights)
    assert weights.keys() == {key for key in fine.state_dict() if not key.startswith("pyramid")}
    assert all(torch.equal(value, fine.state_dict()[key]) for key, value in weights.items())
    assert torch.equal(plain.eval()(pictures(2)).values, fine.eval()(pictures(2)).values)


@every_encoder
def test_all_parameters_learn_and_places_know_the_rest_of_the_picture(name: str) -> None:
    encoder, batch = build(name, True), pictures(2)
    detail_of(encoder(batch)).values.square().sum().backward()
    unused = {key for key, value in encoder.named_parameters() if value.grad is None}
    assert all(key.startswith("tokens.") for key in unused)
    changed = batch.values.clone()
    changed[:, :, -8:] = 255
    first, second = (detail_of(encoder.eval()(ColumnBatch(v, batch.present))).values for v in (batch.values, changed))
    assert not torch.allclose(first[:, 0], second[:, 0])


@every_encoder
def test_places_do_not_depend_on_the_batch_and_absent_pictures_are_never_read(name: str) -> None:
    encoder, batch = build(name, True).eval(), pictures(4)
    present = torch.tensor([True, False, True, True])
    other = batch.values.clone()
    other[1] = 7
    first, second = (detail_of(encode_present(encoder, ColumnBatch(v, present), WIDTH)) for v in (batch.values, other))
    assert torch.equal(first.values, second.values)
    assert first.present.all(dim=1).tolist() == [True, False, True, True]
    assert not first.values[1].any()
    alone = detail_of(encoder(batch.take(torch.tensor([2])))).values
    torch.testing.assert_close(first.values[2:3], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("size", "stride"), [((12, 12), 1), ((64, 64), 2), ((120, 160), 4), ((240, 320), 8), ((1000, 1000), 8)]
)
def test_places_are_at_most_eight_pixels_apart_and_many(size: tuple[int, int], stride: int) -> None:
    strides = [1, 2, 4, 8, 16]
    assert strides[finest_stage(fitted(*size), strides)] == stride
