"""Pictures of mixes, of the significance mask and of DSP's patches: the right pixels in the right tiles."""

import math

import numpy as np
import pytest
import torch
from mmseg.registry import DATASETS

from benchmarks import pictures
from benchmarks.pictures import batch_at, prepared_step, training_of
from mmseg_camix.engine.config import load_config
from mmseg_camix.visualization.sheets import RED, denormalise, grid
from tests.models import tiny
from tests.tools_runner import ROOT, call
from tests.world import config

SIDE = 32  # of the crops, which are drawn one to one


@pytest.fixture
def columns(monkeypatch):
    """The columns of the next picture."""
    drawn = {}
    monkeypatch.setattr(pictures, 'grid', lambda tiles, legend=(): drawn.update(tiles) or grid(tiles, legend))
    return drawn


@pytest.fixture
def camix(world, tmp_path):
    return config(world, tmp_path / 'x', 'CAMix', segmentor=tiny.small(num_classes=19, dropout=0.0), max_iters=10)


def checkpoint(cfg, path, iteration):
    model = tiny.build(cfg.model, seed=iteration)
    with torch.no_grad():
        model.student.decode_head.conv_seg.weight.mul_(200)
    torch.save(dict(state_dict=model.state_dict(), meta=dict(iter=iteration)), path)
    return str(path)


def test_mixes_show_pixels_of_both_domains(camix, tmp_path, columns, monkeypatch):
    monkeypatch.setattr(pictures, 'outline', lambda image, region: image)
    pictures.draw_mixes(camix, checkpoint(camix, tmp_path / 'w.pth', 1), tmp_path / 'new/p.png', count=2, width=SIDE)
    assert (tmp_path / 'new/p.png').is_file()
    source, target, *mixes = columns.values()
    assert len(source) == 4
    for mix in mixes:
        for tile, *donors in zip(mix, source, target):
            pasted = [(tile == donor).all(-1) for donor in donors]
            assert (pasted[0] | pasted[1]).all()
        assert all((mix[0] == donor[0]).all(-1).any() for donor in (source, target))


def test_predictions_of_checkpoints_beside_the_ground_truth(camix, tmp_path, columns):
    camix.model.segmentor = load_config(str(ROOT / 'configs/_base_/models/resnet_mini.py')).model
    for index in (1, 2):
        (tmp_path / f'run{index}').mkdir()
    files = [checkpoint(camix, tmp_path / f'run{index}/w.pth', index) for index in (1, 2)]
    for file in files:
        torch.save(dict(torch.load(file), meta=dict(iter=1, cfg=camix.pretty_text)), file)
    pictures.draw_predictions(camix, files, tmp_path / 'p.png', count=2, width=64)
    assert list(columns) == ['target image', 'ground truth', 'CAMix, teacher', 'CAMix, teacher\nrun2/w']
    dataset = DATASETS.build(camix.val_dataloader.dataset)
    for row, index in enumerate((0, len(dataset) - 1)):
        sample = dataset[index]
        np.testing.assert_array_equal(columns['target image'][row], sample['inputs'].permute(1, 2, 0)[..., [2, 1, 0]])
        label = sample['data_samples'].gt_sem_seg.data[0].numpy()
        palette = np.array([*dataset.metainfo['palette'], *[(0, 0, 0)] * 237])
        valid = label < 19
        np.testing.assert_array_equal(columns['ground truth'][row][valid], palette[label][valid])
    first, second = list(columns.values())[2:]
    assert not np.array_equal(first, second)
    assert (tmp_path / 'p.png').is_file()
    with pytest.raises(ValueError, match=f'start=99: the config has only {len(dataset)} validation images'):
        pictures.draw_predictions(camix, files, tmp_path / 'p.png', start=99)
    camix.val_dataloader.dataset.metainfo = dict(classes=('road', 'car'))
    with pytest.raises(ValueError, match="w.pth: a network of 19 classes, but the config's data have 2"):
        pictures.draw_predictions(camix, files, tmp_path / 'p.png')


def test_significance_at_the_checkpoints_iterations(camix, tmp_path, columns):
    camix.model.pseudo_labels = dict(significance=dict(passes=2, form='official', bound='classes'))
    files = [checkpoint(camix, tmp_path / f'iter_{i}.pth', i) for i in (2, 10)]
    report = pictures.draw_significance(camix, files, tmp_path / 'p.png', count=2, width=SIDE)
    crops, *tinted = columns.values()
    for line, iteration, tiles in zip(report, (2, 10), tinted):
        threshold = (0.75 + 0.25 * math.exp(-5 * (1 - iteration / 10) ** 2)) * math.log(19)
        assert line.startswith(f'iteration {iteration}, R = {threshold:.2f}, ')
        dropped = []
        for crop, tile in zip(crops[::2], tiles[::2]):
            kept = (crop == tile).all(-1)
            assert (np.abs(tile - (0.35 * crop + 0.65 * RED))[~kept] <= 1).all()
            dropped.append(1 - kept.mean())
        assert line.endswith(f'{1 - np.mean(dropped):.0%} kept')


def test_patches(world, tmp_path, columns):
    """No tile is blank, and the source's are its images as stored."""
    dsp = load_config(str(ROOT / 'configs/dsp/mini_gta2cs_tiny.py'), dict(data_root=str(world)))
    pictures.draw_patches(dsp, tmp_path / 'p.png', count=2, width=100)
    assert list(columns) == ['template', 'long-tail pixels', 'mask of the patch', *pictures.PASTES]
    assert all(tile.std() > 1 for tiles in columns.values() for tile in tiles)
    training = training_of(dsp, 1)
    step = prepared_step(training.model, batch_at(training, 0), 0)
    stored = DATASETS.build(dict(dsp.train_dataloader.dataset, seed=0))[0]['source']['inputs']
    drawn = denormalise(step.views['source'].image[0], training.model.data_preprocessor)
    assert np.array_equal(drawn, stored.numpy()[::-1].transpose(1, 2, 0))


@pytest.mark.parametrize(('arguments', 'message'), [
    (['mixes', 'x.py', '--count', 0], '--count must be at least 1'),
    (['mixes', 'x.py', '--start', -1], '--start at least 0'),
    (['mixes', 'x.py', '--out', '.'], 'is a folder; name a file in it'),
    (['significance', 'x.py', 'w.pth', '--width', 3], '--width at least 64')])
def test_invalid_options(arguments, message, capsys):
    assert call('benchmarks.pictures', *arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize('picture', ['mixes', 'patches'])
def test_a_config_of_another_method_is_refused(picture):
    assert 'not of DACS' in call('benchmarks.pictures', picture, ROOT / 'configs/dacs/mini_gta2cs_tiny.py')
