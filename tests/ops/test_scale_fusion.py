"""Boxes and the fusion of two scales, against loops over pixels."""

import itertools
import math

import pytest
import torch

from mmseg_camix.ops.boxes import Box, draw_box, sliding_boxes
from mmseg_camix.ops.global_batch import BatchGenerator, rand
from mmseg_camix.ops.scale_fusion import average_windows, fuse_scales


def bilinear(values, height, width, align_corners):
    """(h, w) to (height, width), pixel by pixel."""
    def position(index, few, many):
        if align_corners:
            return index * (few - 1) / (many - 1)
        return min(max((index + 0.5) * few / many - 0.5, 0), few - 1)

    result = torch.empty(height, width, dtype=values.dtype)
    for y, x in itertools.product(range(height), range(width)):
        top, left = position(y, values.shape[0], height), position(x, values.shape[1], width)
        total = 0.0
        for row, column in itertools.product({math.floor(top), math.ceil(top)}, {math.floor(left), math.ceil(left)}):
            total += (1 - abs(top - row)) * (1 - abs(left - column)) * values[row, column]
        result[y, x] = total
    return result


def fused_by_hand(context, detail, attention, box, align_corners=False):
    """One image and one class after the other: the context (B, C, h, w), the detail within its box, both weighted."""
    batch, classes, height, width = context.shape
    result = torch.zeros(batch, classes, 2 * height, 2 * width, dtype=context.dtype)
    for image, label in itertools.product(range(batch), range(classes)):
        weight = torch.zeros(height, width, dtype=context.dtype)
        for y, x in itertools.product(range(box.top // 2, box.bottom // 2), range(box.left // 2, box.right // 2)):
            weight[y, x] = attention[image, label if attention.shape[1] > 1 else 0, y, x]
        coarse = bilinear(context[image, label] * (1 - weight), 2 * height, 2 * width, align_corners)
        share = bilinear(weight, 2 * height, 2 * width, align_corners)
        for y, x in itertools.product(range(2 * height), range(2 * width)):
            inside = box.top <= y < box.bottom and box.left <= x < box.right
            fine = detail[image, label, y - box.top, x - box.left] if inside else 0
            result[image, label, y, x] = coarse[y, x] + share[y, x] * fine
    return result


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('maps', [3, 1])
@pytest.mark.parametrize('box', [Box(2, 4, 6, 10), Box(0, 0, 4, 6), Box(0, 0, 8, 12)])
def test_fusion(box, maps, align_corners):
    torch.manual_seed(0)
    context, attention = torch.randn(2, 3, 4, 6).double(), torch.rand(2, maps, 4, 6).double()
    detail = torch.randn(2, 3, box.bottom - box.top, box.right - box.left).double().requires_grad_()
    context.requires_grad_()
    arguments = context, detail, attention, box, align_corners
    torch.testing.assert_close(fuse_scales(*arguments), fused_by_hand(*arguments))
    weight = torch.randn(2, 3, 8, 12).double()
    slopes = [torch.autograd.grad((fuse(*arguments) * weight).sum(), (context, detail))
              for fuse in (fuse_scales, fused_by_hand)]
    torch.testing.assert_close(*slopes)


def test_windows_are_averaged_pixel_by_pixel():
    boxes, size = sliding_boxes((10, 14), (6, 6), (3, 3)), (10, 14)
    logits = torch.randn(len(boxes) * 2, 3, 6, 6)
    result = average_windows(logits, boxes, size)
    for image, y, x in itertools.product(range(2), *map(range, size)):
        values = [logits[2 * index + image, :, y - box.top, x - box.left] for index, box in enumerate(boxes)
                  if box.top <= y < box.bottom and box.left <= x < box.right]
        torch.testing.assert_close(result[image, :, y, x], sum(values) / len(values))
    assert average_windows(logits[:2].bfloat16(), boxes[:1], (6, 6)).dtype == torch.bfloat16


def test_sliding_windows():
    assert sliding_boxes((1024, 1024), (512, 512), (256, 256)) == tuple(
        Box(y, x, y + 512, x + 512) for y in (0, 256, 512) for x in (0, 256, 512))
    assert sliding_boxes((8, 20), (16, 16), (8, 8)) == (Box(0, 0, 8, 16), Box(0, 4, 8, 20)), 'moved back, never larger'
    assert sliding_boxes((16, 16), (16, 16), (8, 8)) == (Box(0, 0, 16, 16),)


def test_places_are_drawn_evenly_on_the_grid():
    generator = torch.Generator().manual_seed(0)
    drawn = [draw_box((24, 40), (8, 24), 8, generator) for _ in range(900)]
    places = {Box(y, x, y + 8, x + 24) for y in (0, 8, 16) for x in (0, 8, 16)}
    assert set(drawn) == places, 'the last row and column included'
    assert all(drawn.count(place) > 60 for place in places)
    assert draw_box((24, 40), (24, 40), 8, generator) == (0, 0, 24, 40)


def test_processes_of_a_global_batch_draw_one_place():
    boxes = []
    for rank in range(2):
        generator = BatchGenerator().manual_seed(3)
        generator.rank, generator.world = rank, 2
        rand((4,), generator)  # as the augmentation does before
        boxes.append([draw_box((1024, 1024), (512, 512), 8, generator) for _ in range(4)])
    assert boxes[0] == boxes[1]
    assert len(set(boxes[0])) > 1
