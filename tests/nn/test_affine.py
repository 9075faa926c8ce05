from __future__ import annotations

import pytest
import torch

from polymodal.nn.affine import Warp, WarpLimits
from polymodal.tokens import ColumnBatch

STILL = WarpLimits(flip_x=False, flip_y=False, scale=0.0, shift=0.0)
WIDTH, HEIGHT = 64, 48


def picture_with(box: tuple[int, int, int, int], rows: int) -> ColumnBatch:
    pixels = torch.zeros(rows, HEIGHT, WIDTH, 3, dtype=torch.uint8)
    pixels[:, box[1] : box[3], box[0] : box[2]] = 200
    return ColumnBatch(pixels, torch.ones(rows, dtype=torch.bool))


@pytest.mark.parametrize("limits", [WarpLimits(), WarpLimits(flip_y=True, scale=0.4, shift=0.2), STILL])
def test_boxes_move_with_the_pixels_inside_of_them(limits: WarpLimits) -> None:
    torch.manual_seed(0)
    box = (20, 10, 44, 22)
    warp = Warp.sample(24, (WIDTH, HEIGHT), limits)
    moved = warp.apply_to_pictures(picture_with(box, 24))
    found, share = warp.apply_to_boxes(torch.tensor(box).float().expand(24, 1, 4))
    for row in range(24):
        shown = moved.values[row].mean(dim=2)
        seen = shown > (shown.amin() + shown.amax()) / 2
        columns, rows = seen.any(dim=0).nonzero(), seen.any(dim=1).nonzero()
        edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        torch.testing.assert_close(found[row, 0], torch.stack(edges).float(), atol=1.6, rtol=0)
    assert share.min() > 0.4


def test_flips_are_sampled_only_where_they_are_allowed() -> None:
    torch.manual_seed(0)
    for limits in (WarpLimits(), WarpLimits(flip_x=False, flip_y=True), WarpLimits(flip_x=False)):
        flipped = (Warp.sample(200, (WIDTH, HEIGHT), limits).factor < 0).any(dim=0).tolist()
        assert flipped == [limits.flip_x, limits.flip_y]


def test_a_flip_is_exact_and_its_own_inverse() -> None:
    warp = Warp(torch.tensor([[-1.0, 1.0]]), torch.tensor([[float(WIDTH), 0.0]]), (WIDTH, HEIGHT))
    boxes = torch.tensor([[[10.0, 5.0, 30.0, 9.0]]])
    assert warp.apply_to_boxes(boxes)[0].tolist() == [[[34.0, 5.0, 54.0, 9.0]]]
    assert torch.equal(warp.apply_to_boxes(warp.apply_to_boxes(boxes)[0])[0], boxes)


def test_boxes_are_clipped_to_the_picture_and_their_visible_fraction_is_returned() -> None:
    warp = Warp(torch.ones(1, 2), torch.tensor([[40.0, 0.0]]), (WIDTH, HEIGHT))
    boxes, share = warp.apply_to_boxes(
        torch.tensor([[[14.0, 5.0, 34.0, 9.0], [0.0, 0.0, 8.0, 8.0], [30.0, 0.0, 40.0, 8.0]]])
    )
    assert boxes[0, :2].tolist() == [[54.0, 5.0, 64.0, 9.0], [40.0, 0.0, 48.0, 8.0]]
    assert share[0].tolist() == pytest.approx([0.5, 1.0, 0.0])


def test_pictures_stay_in_range_and_keep_their_presence() -> None:
    torch.manual_seed(0)
    batch = ColumnBatch(torch.full((3, HEIGHT, WIDTH, 1), 255, dtype=torch.uint8), torch.tensor([True, False, True]))
    moved = Warp.sample(3, (WIDTH, HEIGHT), WarpLimits()).apply_to_pictures(batch)
    assert moved.values.shape == batch.values.shape
    assert moved.values.min() >= 0
    assert moved.values.max() <= 255
    assert torch.equal(moved.present, batch.present)
