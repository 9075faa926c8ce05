"""A decoder from an image encoder's feature map to the image, for self-supervised pretraining (torch).

Shape legend: B rows, C channels of a map, Y and X height and width, S channels of the image.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from polymodal.encoders.image import ImageEncoder
from polymodal.nn.convolution import Conv2d
from polymodal.nn.layers import GroupNorm, num_groups, use_channels_last

MIN_CHANNELS = 16


class ImageDecoder(nn.Module):
    """Nearest-neighbour upsampling by 2 and convolutions, up to the size of the image.

    The decoder of a convolutional autoencoder: Masci et al. 2011, "Stacked convolutional auto-encoders for
    hierarchical feature extraction", ICANN, section 3. Differs from the source: all layers are trained jointly, strides
    replace pooling, and the weights are not tied to the encoder's.
    """

    def __init__(self, map_channels: int, map_shape: tuple[int, int], image_shape: tuple[int, int, int]) -> None:
        """Build the convolutions.

        Args:
            map_channels: C of the encoder's feature map.
            map_shape: Its height and width.
            image_shape: Height, width and channels of the images.
        """
        super().__init__()
        height, width, channels = image_shape
        self.image_shape = (height, width)
        doublings = max(0, math.ceil(math.log2(max(height / map_shape[0], width / map_shape[1]))))
        dims = [max(MIN_CHANNELS, map_channels >> step) for step in range(doublings + 1)]
        self.enter = Conv2d(map_channels, dims[0], 1)
        self.stages = nn.ModuleList(_upsample_block(num_in, num_out) for num_in, num_out in pairwise(dims))
        self.leave = Conv2d(dims[-1], channels, 3, padding=1)
        use_channels_last(self)

    def forward(self, map_BCYX: Tensor) -> Tensor:
        """Reconstruct images.

        Args:
            map_BCYX: Feature map.

        Returns:
            Standardised pixels ``[B, S, height, width]``.
        """
        map_BCYX = self.enter(map_BCYX)
        for stage in self.stages:
            map_BCYX = stage(map_BCYX)
        if map_BCYX.shape[2:] != self.image_shape:
            map_BCYX = functional.interpolate(map_BCYX, self.image_shape, mode="bilinear", align_corners=False)
        pixels: Tensor = self.leave(map_BCYX)
        return pixels


def _upsample_block(num_in: int, num_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Upsample(scale_factor=2, mode="nearest"),
        Conv2d(num_in, num_out, 3, padding=1, bias=False),
        GroupNorm(num_groups(num_out), num_out),
        nn.ReLU(inplace=True),
    )


def build_image_decoder(encoder: ImageEncoder, pixels_BCYX: Tensor) -> ImageDecoder:
    """Build the decoder of an encoder.

    Args:
        encoder: The encoder.
        pixels_BCYX: Some images, standardised; they give the output shape.

    Returns:
        The decoder, on the images' device.
    """
    with torch.no_grad():
        _, map_channels, *map_shape = encoder.feature_map(pixels_BCYX[:1]).shape
    _, channels, height, width = pixels_BCYX.shape
    decoder = ImageDecoder(map_channels, (map_shape[0], map_shape[1]), (height, width, channels))
    return decoder.to(pixels_BCYX.device)
