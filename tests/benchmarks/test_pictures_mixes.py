"""Pictures of mixes and of the significance mask: the right pixels in the right tiles."""

import math

import cv2
import numpy as np
import pytest
import torch

from benchmarks.pictures_mixes import draw_mixes, draw_significance
from mmseg_camix.visualization import sheets
from tests.models import tiny
from tests.world import config

WIDTH = 32 + 2 * sheets.GAP  # crops of 32 pixels are drawn one to one


@pytest.fixture
def cfg(world, tmp_path):
    return config(world, tmp_path / 'x', 'CAMix', segmentor=tiny.small(num_classes=19, dropout=0.0), max_iters=10)


def checkpoint(cfg, path, iteration):
    model = tiny.build(cfg.model, seed=iteration)
    with torch.no_grad():
        model.student.decode_head.conv_seg.weight.mul_(200)
    torch.save(dict(state_dict=model.state_dict(), meta=dict(iter=iteration)), path)
    return str(path)


def tile_at(sheet, column, row, top):
    y = top + row * WIDTH + sheets.GAP
    x = column * WIDTH + sheets.GAP
    return sheet[y:y + 32, x:x + 32].astype(int)


def test_mixes(cfg, tmp_path, monkeypatch):
    monkeypatch.setattr(sheets.cv2, 'drawContours', lambda picture, *args: picture)  # looked at below
    draw_mixes(cfg, checkpoint(cfg, tmp_path / 'w.pth', 1), tmp_path / 'new/mixes.png', count=2, width=WIDTH)
    sheet = cv2.imread(str(tmp_path / 'new/mixes.png'))
    assert sheet.shape[1] == 4 * WIDTH
    for row in (0, 2):  # images, and labels below them
        source, target, dacs, camix = (tile_at(sheet, column, row, sheets.TITLE_HEIGHT) for column in range(4))
        for mixed in (dacs, camix):
            from_source, from_target = ((mixed == one).all(-1) for one in (source, target))
            assert (from_source | from_target).all()
            assert from_source.any()
            assert from_target.any()
        labels = [tile_at(sheet, column, row + 1, sheets.TITLE_HEIGHT) for column in range(4)]
        for mixed in labels[2:]:
            assert ((mixed == labels[0]).all(-1) | (mixed == labels[1]).all(-1)).all()


def test_significance(cfg, tmp_path):
    cfg.model.pseudo_labels = dict(significance=dict(passes=2, form='official', bound='classes'))
    files = [checkpoint(cfg, tmp_path / f'iter_{i}.pth', i) for i in (2, 10)]
    report = draw_significance(cfg, files, tmp_path / 'sig.png', count=2, width=WIDTH)
    sheet = cv2.imread(str(tmp_path / 'sig.png'))
    assert sheet.shape[1] == 3 * WIDTH
    for line, iteration in zip(report, (2, 10)):  # the threshold is that of the checkpoint
        expected = (0.75 + 0.25 * math.exp(-5 * (1 - iteration / 10) ** 2)) * math.log(19)
        assert f'iteration {iteration}, R = {expected:.2f}, ' in line
    top = sheets.TITLE_HEIGHT + sheets.LINE_HEIGHT
    for column, line in enumerate(report, 1):
        dropped = []
        for row in (0, 2):
            plain, tinted = tile_at(sheet, 0, row, top), tile_at(sheet, column, row, top)
            same = (plain == tinted).all(-1)
            red = 0.35 * plain + 0.65 * np.array((60, 60, 230))
            assert (same | (np.abs(tinted - red) <= 1).all(-1)).all()
            dropped.append(1 - same.mean())
        assert line.endswith(f'{1 - np.mean(dropped):.0%} kept')


def test_another_method_is_refused(cfg, tmp_path):
    cfg.model.type = 'DACS'
    with pytest.raises(SystemExit, match='DACS is not CAMix; give a config of configs/camix/'):
        draw_mixes(cfg, None, tmp_path / 'p.png')


def test_an_image_is_shown_as_it_was():
    """Normalised in the network's order, shown in BGR."""
    mean, std = (10.0, 20.0, 30.0), (2.0, 4.0, 5.0)
    pixels = torch.tensor([100.0, 150.0, 200.0])
    image = ((pixels - torch.tensor(mean)) / torch.tensor(std)).view(3, 1, 1)
    assert sheets.bgr(image, mean, std, 'rgb').tolist() == [[[200, 150, 100]]]
    assert sheets.bgr(image, mean, std, 'bgr').tolist() == [[[100, 150, 200]]]


def test_outline():
    """White around the region, and nothing changed away from it."""
    region = np.zeros((32, 32), bool)
    region[10:20, 12:22] = True
    inner = slice(sheets.GAP, -sheets.GAP)
    drawn = sheets.outlined(np.full((32, 32, 3), 90, np.uint8), region, WIDTH)[inner, inner]
    assert (drawn[10, 12:22] > 200).all()
    assert (drawn[10:20, 21] > 200).all()
    assert (drawn[13:17, 15:19] == 90).all()
    assert (drawn[:7] == 90).all()
    assert (drawn[24:] == 90).all()


def test_a_legend_has_a_line_for_every_few_classes():
    palette, names = [[255, 0, 0], [0, 255, 0], [0, 0, 255]], ['a', 'b', 'c']
    field = sheets.legend([0, 2], names, palette, 128)
    assert field.shape == (2 * sheets.LINE_HEIGHT + 2 * sheets.GAP, 128, 3)
    middle = sheets.GAP + 10
    assert field[middle, sheets.GAP + 7].tolist() == [0, 0, 255]  # red, in BGR
    assert field[middle + sheets.LINE_HEIGHT, sheets.GAP + 7].tolist() == [255, 0, 0]
