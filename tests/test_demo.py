"""The picture of predictions side by side."""

import cv2
import numpy as np
import torch

from mmseg_camix.visualization.sheets import TITLE_HEIGHT, colourised
from tests.models import tiny
from tests.world import SIZE, config
from tools.demo import draw_comparison, predict


def test_colours():
    palette = [[10, 20, 30], [40, 50, 60]]
    drawn = colourised(np.array([[0, 1], [255, 1]]), palette)
    assert drawn.tolist() == [[[30, 20, 10], [60, 50, 40]], [[0, 0, 0], [60, 50, 40]]]  # BGR


def test_comparison(world, tmp_path):
    cfg = config(world, tmp_path / 'x', segmentor=tiny.small(num_classes=19))
    cfg.data_root = 'data/mini'  # as in the configs, and moved by the function
    cfg.val_dataloader.dataset.data_root = 'data/mini/cityscapes'
    cfg.dump(str(tmp_path / 'cfg.py'))
    model = tiny.build(cfg.model)
    torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / 'w.pth')
    networks = dict.fromkeys(('one', 'two'), (str(tmp_path / 'cfg.py'), tmp_path / 'w.pth'))
    draw_comparison(networks, world, tmp_path / 'new' / 'sheet.png', count=2, width=128)
    sheet = cv2.imread(str(tmp_path / 'new/sheet.png'))
    height = round(128 * SIZE[0] / SIZE[1])
    assert sheet.shape == (TITLE_HEIGHT + 2 * height, 4 * 128, 3)
    np.testing.assert_array_equal(sheet[TITLE_HEIGHT:, 256:384], sheet[TITLE_HEIGHT:, 384:])
    # The ground truth is that of the first and the last image.
    from mmseg.registry import DATASETS
    cfg.val_dataloader.dataset.data_root = f'{world}/cityscapes'
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    for row, index in enumerate((0, len(dataset) - 1)):
        label = dataset[index]['data_samples'].gt_sem_seg.data[0].numpy()
        expected = colourised(label, dataset.metainfo['palette'])
        tile = sheet[TITLE_HEIGHT + row * height:, 128:]  # twice the size of the label
        assert tile[height // 2 + 3, 67].tolist() == expected[(height // 2 + 3) // 2, 33].tolist()
    labels = predict(str(tmp_path / 'cfg.py'), tmp_path / 'w.pth', [dataset[0]])
    assert labels[0].shape == SIZE
