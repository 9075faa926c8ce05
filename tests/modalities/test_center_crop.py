"""Pictures brought to a size without padding."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as pillow  # noqa: N813

from polymodal.errors import ConfigError
from polymodal.modalities import Image, ImageSettings, build_settings
from polymodal.modalities.center_crop import resize_and_center_crop


def stripes(height: int, width: int) -> pillow.Image:
    """Return a picture whose left half is red and whose right half is blue, with a green top row."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] = pixels[:, width // 2 :, 2] = 255
    pixels[0] = (0, 255, 0)
    return pillow.fromarray(pixels)


def test_a_stretched_picture_keeps_all_of_it() -> None:
    pixels = resize_and_center_crop(stripes(20, 40), 20, 20, keep_aspect=False, crop_share=1.0, resample="nearest")
    assert pixels.shape == (20, 20, 3)
    assert (pixels[0] == (0, 255, 0)).all()
    assert (pixels[10, :10] == (255, 0, 0)).all()
    assert (pixels[10, 10:] == (0, 0, 255)).all()


def test_a_cropped_picture_keeps_its_middle_and_its_aspect() -> None:
    pixels = resize_and_center_crop(stripes(20, 60), 20, 20, keep_aspect=True, crop_share=1.0, resample="nearest")
    assert (pixels[10, :10] == (255, 0, 0)).all()
    assert (pixels[10, 10:] == (0, 0, 255)).all()
    borders_cut = resize_and_center_crop(stripes(40, 40), 20, 20, keep_aspect=True, crop_share=0.5, resample="nearest")
    assert not (borders_cut == (0, 255, 0)).all(axis=2).any()


@pytest.mark.parametrize("shape", [(1, 20_000), (20_000, 1), (1, 1), (3, 5000)])
def test_extreme_shapes_are_read_in_bounded_memory(shape: tuple[int, int]) -> None:
    pixels = resize_and_center_crop(stripes(*shape), 16, 16, keep_aspect=True, crop_share=0.875, resample="bicubic")
    assert pixels.shape == (16, 16, 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_modality_takes_the_settings(channels: int) -> None:
    options = {"size": 12, "channels": channels, "resize": "crop", "crop_share": 0.75, "resample": "bicubic"}
    fitted = Image.fit([], ImageSettings.model_validate(options), None)
    again = Image.from_state(fitted.state())
    pixels = fitted.transform([stripes(30, 50)], None)[0].values
    assert pixels.shape == (1, 12, 12, channels)
    assert np.array_equal(again.transform([stripes(30, 50)], None)[0].values, pixels)


@pytest.mark.parametrize("options", [{"crop_share": 0.5}, {"resample": "bicubic"}])
def test_options_that_padding_would_ignore_are_refused(options: dict[str, object]) -> None:
    name = next(iter(options))
    with pytest.raises(ConfigError, match=rf"'{name}' of modality 'image' is wrong: it needs resize to be stretch or"):
        build_settings("image", options)
