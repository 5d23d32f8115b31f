"""Configs of remote sensing and weather train three iterations on drawn stand-ins in the layouts of the downloads."""

import cv2
import numpy as np
import pytest
from mmengine.runner import Runner

from tests.datasets.tiny import CONDITIONS
from tests.test_real_trainings import small_training, train
from tests.tools_runner import ROOT, call

SIDE = 80
FROM_ABOVE = {  # folders of images, folders of labels (None: unlabelled), number of classes
    'loveda_urban2rural': ([('Train/Urban/images_png', 'Train/Urban/masks_png'), ('Train/Rural/images_png', None),
                            ('Val/Rural/images_png', 'Val/Rural/masks_png')], 7),
    'potsdam2vaihingen': ([('potsdam/img_dir/train', 'potsdam/ann_dir/train'), ('vaihingen/img_dir/train', None),
                           ('vaihingen/img_dir/val', 'vaihingen/ann_dir/val')], 6)}


def draw_blocks(rng, classes):
    """An image of coloured blocks and its label, in which 0 stands for no data."""
    label = np.kron(rng.integers(0, classes + 1, (5, 5)), np.ones((SIDE // 5, SIDE // 5))).astype(np.uint8)
    return np.stack([label * 30, 255 - label * 30, label * 10], 2) + rng.integers(0, 8, (SIDE, SIDE, 1),
                                                                                 dtype=np.uint8), label


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


@pytest.mark.parametrize('method', ['dacs', 'camix'])
@pytest.mark.parametrize('data', FROM_ABOVE)
def test_remote_sensing(method, data, tmp_path):
    folders, classes = FROM_ABOVE[data]
    rng = np.random.default_rng(0)
    for images, labels in folders:
        for number in range(4):
            image, label = draw_blocks(rng, classes)
            write(tmp_path / images / f'{number}.png', image)
            if labels is not None:
                write(tmp_path / labels / f'{number}.png', label)
    runner = runner_of(method, data, tmp_path)
    assert runner.model.num_classes == classes
    train(runner)


@pytest.mark.slow
@pytest.mark.parametrize('method', ['dacs', 'camix'])
@pytest.mark.parametrize('data', ['cityscapes2acdc', 'cityscapes2dark_zurich'])
def test_weather(method, data, tmp_path):
    rng = np.random.default_rng(0)
    raw_ids = np.array([7, 11, 21, 23, 26], np.uint8)  # road, building, vegetation, sky, car
    for number in range(2):
        image, label = draw_blocks(rng, 4)
        name = f'a_00000{number}_000019'
        write(tmp_path / f'cityscapes/leftImg8bit/train/a/{name}_leftImg8bit.png', image)
        write(tmp_path / f'cityscapes/gtFine/train/a/{name}_gtFine_labelIds.png', raw_ids[label])
        for condition in CONDITIONS:
            write(tmp_path / f'acdc/rgb_anon/{condition}/train/a/{number}_rgb_anon.png', image)
        write(tmp_path / f'dark_zurich/rgb_anon/train/night/a/{number}_rgb_anon.png', image)
    if method == 'camix':
        assert call('dataset/build_spatial_prior.py', ROOT / f'configs/camix/{data}_daformer.py', '--out',
                    tmp_path / 'priors/cityscapes.npz', '--workers', 0, '--cfg-options', f'data_root={tmp_path}') == 0
    train(runner_of(method, data, tmp_path))


def runner_of(method, data, root):
    return Runner.from_cfg(small_training(ROOT / f'configs/{method}/{data}_daformer.py', root, root / 'run'))
