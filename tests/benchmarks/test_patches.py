"""What is drawn and counted of DSP's patches, on a world of a few files."""

import cv2
import numpy as np
import pytest
from mmseg.registry import DATASETS

from benchmarks.patches import _pictures, class_exposure, draw_patches, example_steps, plot_exposure
from mmseg_camix.datasets import CLASSES
from mmseg_camix.engine.config import load_config
from tests.tools_runner import ROOT


@pytest.fixture
def cfg(world):
    return load_config(str(ROOT / 'configs/dsp/mini_gta2cs_tiny.py'), dict(data_root=str(world)))


def test_the_picture(cfg, tmp_path):
    draw_patches(cfg, tmp_path / 'new/patches.png', count=2, width=100)
    picture = cv2.imread(str(tmp_path / 'new/patches.png'))
    assert picture.shape[1] == 7 * 100
    for index in range(7):
        assert picture[40:, index * 100:(index + 1) * 100].std() > 1  # no tile is blank


def test_tiles_are_the_images_as_stored(cfg):
    """Normalisation and channel order are undone."""
    model, step = next(example_steps(cfg, 1, 1))
    stored = DATASETS.build(dict(cfg.train_dataloader.dataset, seed=0))[0]['source']['inputs']
    np.testing.assert_array_equal(_pictures(model, step.views['source'].image)[0], stored.permute(1, 2, 0).numpy())


def test_exposure_by_counting(cfg):
    found = class_exposure(cfg, samples=5, batch=2)
    steps = [step for _, step in example_steps(cfg, 5, 2)]
    assert [len(step.views['source'].image) for step in steps] == [2, 2, 1]
    expected = np.zeros((2, 19))
    for step in steps:
        for b in range(len(step.masks['patch'])):
            patch = step.views['patch'].target.label[b][step.masks['patch'][b, 0]]
            for row, label in enumerate((step.views['source'].target.label[b], patch)):
                expected[row, [c for c in label.unique().tolist() if c != 255]] += 1 / 5
    np.testing.assert_allclose(found['source images'], expected[0], atol=1e-6)
    np.testing.assert_allclose(found['patch'], expected[1], atol=1e-6)
    assert (found['patch'] >= found['patch without its long-tail pixels']).all()
    assert (found['patch'] > found['patch without its long-tail pixels']).any()


def test_without_long_tail_classes_both_patches_are_one(cfg):
    cfg.train_dataloader.dataset.rare.k = 0
    found = class_exposure(cfg, samples=3)
    np.testing.assert_array_equal(found['patch'], found['patch without its long-tail pixels'])


def test_the_plot(tmp_path):
    plot_exposure({'a': np.linspace(0, 1, 19), 'b': np.ones(19)}, CLASSES, tmp_path / 'plot.png')
    assert cv2.imread(str(tmp_path / 'plot.png')).std() > 1
