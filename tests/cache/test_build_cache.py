"""build_cache.py: one command caches all that a config trains on, also custom data; the samples stay the same."""

import numpy as np
import pytest
from mmseg.registry import DATASETS

from mmseg_camix.datasets import Position
from mmseg_camix.engine.config import load_config
from tests.datasets.tiny import write_grey_label, write_image
from tests.tools_runner import call

from .test_cache import assert_same

CONFIG = '''\
default_scope = 'mmseg'
load = [dict(type='LoadImage'), dict(type='LoadIdLabels'), dict(type='Resize', scale=(34, 18))]
rest = [dict(type='RecordedRandomCrop', crop_size=(9, 11)), dict(type='RandomFlip', prob=.5),
        dict(type='PackUDAInputs')]
classes = dict(ground=1, sky=[2, 3])
source = dict(type='FolderDataset', data_root='data/sim', classes=classes, pipeline=load + rest)
train_dataloader = dict(dataset=dict(
    type='PairedDataset', source=source, donor=source,
    target=dict(type='FolderDataset', data_root='data/cam', labels=None, classes=classes, pipeline=load[::2] + rest)))
'''
PLACES = ('source', 'donor', 'target')


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Two custom sets and their config, in the current folder."""
    for index in range(3):
        write_image(tmp_path / f'data/sim/images/{index}.png', index, (20, 40))
        write_image(tmp_path / f'data/cam/images/deep/{index}.png', 9 + index, (24, 40))
        labels = np.random.RandomState(index).choice([1, 2, 3, 255], (20, 40))
        write_grey_label(tmp_path / f'data/sim/labels/{index}.png', labels)
    (tmp_path / 'own.py').write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def samples(**options):
    dataset = DATASETS.build(load_config('own.py', options).train_dataloader.dataset)
    return [dataset[Position(seed, index)] for seed, index in ((0, 0), (0, 1), (0, 2), (5, 2))]


def test_samples_are_the_same(place, capsys):
    plain = samples()
    assert call('dataset/build_cache.py', 'own.py', '--jobs', 1) == 0
    printed = capsys.readouterr().out
    assert '34x18-' in printed and printed.count(': 3 images') == 2 and printed.count('(3 made now)') == 2
    names = [f'train_dataloader.dataset.{name}.cache' for name in PLACES]
    assert all(f'{name}=cache' in printed for name in names)
    cached = samples(**dict.fromkeys(names, 'cache'))
    for sample, other in zip(plain, cached, strict=True):
        for name in PLACES:
            assert_same(sample[name], other[name])
    assert call('dataset/build_cache.py', 'own.py', '--verify', '--jobs', 1) == 0
    assert capsys.readouterr().out.count('(0 made now)') == 2


def test_another_disk(place, capsys):
    """As for data that one may only read."""
    option = f'train_dataloader.dataset.target.cache={place}/fast'
    assert call('dataset/build_cache.py', 'own.py', '--jobs', 1, '--cfg-options', option) == 0
    assert option in capsys.readouterr().out
    assert len(list((place / 'fast').glob('*/images/deep/*.cache'))) == 3
    assert not (place / 'data/cam/cache').exists() and (place / 'data/sim/cache').is_dir()
    assert samples(**{'train_dataloader.dataset.target.cache': f'{place}/fast'})


def test_changed_images_are_cached_again(place, capsys):
    assert call('dataset/build_cache.py', 'own.py', '--jobs', 1) == 0
    options = {f'train_dataloader.dataset.{name}.cache': 'cache' for name in PLACES}
    write_image(place / 'data/cam/images/deep/1.png', 77, (24, 40))
    with pytest.raises(RuntimeError, match='has changed since; update the cache by mmseg-camix cache CONFIG'):
        samples(**options)
    capsys.readouterr()
    assert call('dataset/build_cache.py', 'own.py', '--jobs', 1) == 0
    assert capsys.readouterr().out.count('(1 made now)') == 1
    for sample, other in zip(samples(), samples(**options), strict=True):
        assert (sample['target']['inputs'] == other['target']['inputs']).all()


def test_errors_name_the_file(place, capsys):
    (place / 'data/cam/images/deep/1.png').write_bytes(b'no image')
    (place / 'data/sim/labels/2.png').unlink()
    assert 'sim/labels/2.png: no label for this image' in call('dataset/build_cache.py', 'own.py', '--jobs', 1)
    (place / 'data/sim/images/2.png').unlink()
    assert call('dataset/build_cache.py', 'own.py', '--jobs', 1) == 1
    assert 'deep/1.png' in capsys.readouterr().err
    assert 'no config at there.py' in call('dataset/build_cache.py', 'there.py')


def test_datasets_of_others_are_named(place, capsys):
    changes = ['train_dataloader.dataset.donor=None', 'train_dataloader.dataset.target.type=BaseSegDataset']
    assert call('dataset/build_cache.py', 'own.py', '--jobs', 1, '--cfg-options', *changes) == 0
    assert 'not cached: train_dataloader.dataset.target (BaseSegDataset)' in capsys.readouterr().out
    nothing_fixed = ['train_dataloader.dataset.donor=None', 'train_dataloader.dataset.target.pipeline.0.type=LoadOwn']
    assert call('dataset/build_cache.py', 'own.py', '--jobs', 1, '--cfg-options', *nothing_fixed) == 0
    assert 'not cached: train_dataloader.dataset.target (FolderDataset)' in capsys.readouterr().out
    changes.append('train_dataloader.dataset.source.type=BaseSegDataset')
    assert call('dataset/build_cache.py', 'own.py', '--cfg-options', *changes) == 1
