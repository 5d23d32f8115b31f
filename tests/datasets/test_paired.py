"""Pairs depend on (seed, position) alone."""

# ruff: noqa: NPY002 (mmcv's transforms draw from NumPy's global generator)
import random
from itertools import combinations, islice
from unittest.mock import patch

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner
from mmseg.registry import DATASETS
from torch.utils.data import DataLoader, Dataset

from mmseg_camix.datasets import PairedDataset, PairedSampler, Position, SampleError, branch_collate
from mmseg_camix.datasets.seeding import permutation, seed_all, seeded


class Empty(Dataset):
    """50 samples, each of which is None."""

    metainfo = {}

    def __len__(self):
        return 50

    def __getitem__(self, index):
        return None


def draws():
    """One number of each global generator."""
    return random.random(), np.random.rand(), torch.rand(1).item()


def pipeline(labelled):
    load = [dict(type='LoadImage')] + [dict(type='LoadIdLabels')] * labelled
    return [*load, dict(type='RecordedRandomCrop', crop_size=(6, 6)), dict(type='RandomFlip', prob=0.5),
            dict(type='PhotoMetricDistortion'), dict(type='PackUDAInputs')]


@pytest.fixture
def cfg(gta, cityscapes):
    fast = dict(serialize_data=False)  # serialising takes 0.3 s
    return dict(type='PairedDataset', source=dict(fast, type='GTADataset', data_root=str(gta), pipeline=pipeline(True)),
                target=dict(fast, type='RawCityscapesDataset', data_root=str(cityscapes), pipeline=pipeline(False),
                            data_prefix=dict(img_path='leftImg8bit/train')))


def loader(cfg, workers=0, seed=3, start=0, batch_size=2):
    return Runner.build_dataloader(
        dict(dataset=cfg, batch_size=batch_size, num_workers=workers, sampler=dict(type='PairedSampler', start=start)),
        seed=seed)


def fingerprint(batch):
    """Everything that a batch holds, as comparable values."""
    return [(name, [image.numpy().tobytes() for image in branch['inputs']],
             [(s.img_path, s.crop_box, s.flip) for s in branch['data_samples']],
             [s.gt_sem_seg.data.numpy().tobytes() for s in branch['data_samples'] if 'gt_sem_seg' in s])
            for name, branch in batch.items()]


def take(loader, n):
    return [fingerprint(batch) for batch in islice(loader, n)]


def test_data_do_not_depend_on_the_number_of_workers_and_continue_after_a_restart(cfg):
    expected = take(loader(cfg), 6)  # beyond one epoch of both branches
    assert take(loader(cfg, workers=1), 6) == expected
    assert take(loader(cfg, workers=2), 6) == expected
    assert take(loader(cfg, workers=2, start=3 * 2), 3) == expected[3:]
    assert take(loader(cfg, seed=4), 6) != expected


def test_workers_that_live_on_follow_a_new_start_and_seed(cfg):
    dataset = DATASETS.build(cfg)
    data = DataLoader(dataset, batch_size=2, num_workers=1, collate_fn=pseudo_collate,
                      sampler=PairedSampler(dataset, seed=9), persistent_workers=True)
    take(data, 1)
    data.sampler.seed, data.sampler.start = 3, 4
    assert take(data, 2) == take(loader(cfg), 4)[2:]


def test_repeated_visits_are_augmented_anew(cfg):
    dataset = DATASETS.build(dict(cfg, seed=0))
    boxes = {}
    for position in range(40):
        sample = dataset[position]['target']['data_samples']
        boxes.setdefault(sample.img_path, set()).add((sample.crop_box, sample.flip))
    assert all(len(places) > 4 for places in boxes.values())


def test_every_image_once_per_epoch(cfg):
    dataset = DATASETS.build(cfg)
    assert dataset.metainfo['classes'] == dataset.datasets['source'].metainfo['classes']
    assert len(dataset) == 7
    for branch, size in dict(source=7, target=5).items():
        for epoch in range(3):
            indices = [dataset.index_at(branch, Position(5, epoch * size + i)) for i in range(size)]
            assert sorted(indices) == list(range(size))


def test_orders_are_independent():
    """The same images in several branches have unrelated orders in each branch, epoch and run."""
    dataset = PairedDataset(Empty(), Empty(), donor=Empty())
    orders = [[dataset.index_at(branch, Position(seed, epoch * 50 + i)) for i in range(50)]
              for branch in ('source', 'target', 'donor') for epoch in (0, 1) for seed in (0, 1)]
    for a, b in combinations(orders, 2):
        assert sum(x == y for x, y in zip(a, b)) < 10  # 1 is expected by chance


def test_another_branch_leaves_the_first_two_as_they_are(cfg):
    with_donor = dict(cfg, donor=cfg['source'])
    three, two = (DATASETS.build(dict(c, seed=1)) for c in (with_donor, cfg))
    assert list(three[0]) == ['source', 'target', 'donor']
    batch = {name: three[8][name] for name in ('source', 'target')}
    assert fingerprint(pseudo_collate([batch])) == fingerprint(pseudo_collate([two[8]]))


def positions(rank, world_size, n, **kwargs):
    with patch('mmseg_camix.datasets.paired.get_dist_info', lambda: (rank, world_size)):
        return list(islice(PairedSampler(range(10), **kwargs), n))


def test_ranks_share_the_positions_of_one():
    single = positions(0, 1, 40, seed=7, start=4)
    two = [positions(rank, 2, 20, seed=7, start=4) for rank in (0, 1)]
    assert not set(two[0]) & set(two[1])
    assert sorted(two[0] + two[1]) == single == [Position(7, p) for p in range(4, 44)]
    assert len(PairedSampler(range(10), seed=0)) == 10
    with patch('mmseg_camix.datasets.paired.sync_random_seed', lambda: 123):
        assert PairedSampler(range(3)).seed == 123


def test_global_random_states_are_left_alone(cfg):
    dataset = DATASETS.build(dict(cfg, seed=0))
    seed_all(11)
    expected = draws()
    seed_all(11)
    dataset[0]
    assert draws() == expected


def test_seeded_covers_all_generators_and_every_part_of_the_key():
    def seeded_draws(*key):
        with seeded(*key):
            return draws()

    keys = [(0, 'a', 0), (1, 'a', 0), (0, 'b', 0), (0, 'a', 1)]
    values = [seeded_draws(*key) for key in keys]
    assert values == [seeded_draws(*key) for key in keys]
    for column in zip(*values):
        assert len(set(column)) == len(keys)
    state = random.getstate()
    with pytest.raises(ZeroDivisionError), seeded(0):
        raise ZeroDivisionError
    assert random.getstate() == state


def test_permutation_golden():
    """Recorded once: a resumed run on another machine must continue in the same order."""
    assert permutation(8, 0, 'source', 'order', 0).tolist() == [0, 1, 7, 3, 5, 4, 6, 2]


@pytest.mark.parametrize('changes', [
    dict(indices=0), dict(indices=0, serialize_data=True),
    dict(type='CityscapesDataset', img_suffix='.jpg', serialize_data=True)])  # mmseg's own reader raises no error
def test_empty_branch(cfg, changes):
    cfg['target'].update(changes)
    with pytest.raises(ValueError, match=r"branch 'target' of PairedDataset is empty.*leftImg8bit"):
        DATASETS.build(cfg)


def test_different_classes(cfg):
    cfg['target']['metainfo'] = dict(classes=('road', 'car'))
    with pytest.raises(ValueError, match=r"source and target have different classes: \['bicycle'"):
        DATASETS.build(cfg)
    cfg['source']['metainfo'] = dict(classes=('car', 'road'))
    with pytest.raises(ValueError, match='the same classes in another order'):
        DATASETS.build(cfg)


def test_a_target_without_source(cfg):
    """It has the target's classes; its samples are those of the target in a pair."""
    targets, pairs = DATASETS.build(dict(cfg, source=None)), DATASETS.build(cfg)
    assert (len(targets), targets.metainfo['classes']) == (5, pairs.metainfo['classes'])
    key = Position(3, 7)
    assert list(targets[key]) == ['target']
    assert torch.equal(targets[key]['target']['inputs'], pairs[key]['target']['inputs'])
    with pytest.raises(TypeError, match="branch 'target' of PairedDataset must be a dataset config or a dataset"):
        PairedDataset()
    with pytest.raises(ValueError, match='branches target and donor have different classes'):
        DATASETS.build(dict(cfg, source=None, donor=dict(cfg['source'], metainfo=dict(classes=('road', 'car')))))


@pytest.mark.parametrize('loader', ['LoadIdLabels', 'LoadAnnotations'])
def test_a_target_that_loads_labels_it_lacks(cfg, loader):
    cfg['target']['pipeline'] = [dict(type='LoadImage'), dict(type=loader), dict(type='PackUDAInputs')]
    message = rf"branch 'target': .* a target needs no labels: remove dict\(type='{loader}'\) from its pipeline"
    with pytest.raises(ValueError, match=message):
        DATASETS.build(cfg)
    stock = dict(cfg['target'], type='CityscapesDataset', data_prefix=dict(
        img_path='leftImg8bit/train', seg_map_path='gtFine/train'))
    with pytest.raises(ValueError, match=message):
        DATASETS.build(dict(cfg, target=stock))


def test_wrong_branches_and_samplers(cfg):
    with pytest.raises(TypeError, match="branch 'piplines' of PairedDataset must be a dataset"):
        DATASETS.build(dict(cfg, piplines=[]))

    with pytest.raises(TypeError, match="use sampler=dict\\(type='PairedSampler'\\)"):
        next(iter(DataLoader(DATASETS.build(cfg), shuffle=True)))
    with pytest.raises(IndexError, match='position -1'):
        DATASETS.build(cfg)[Position(0, -1)]


@pytest.mark.parametrize('workers', [0, 1])
def test_a_broken_file_is_named_with_its_place(cfg, gta, workers):
    for path in (gta / 'labels').iterdir():
        path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SampleError, match=r'labels/0000\d.png: the PNG is truncated') as caught:
        next(iter(loader(cfg, workers=workers)))
    assert "of branch 'source', seed 3, position" in str(caught.value)


def test_a_pipeline_that_drops_samples_is_an_error():
    with pytest.raises(SampleError, match="pipeline of branch 'source' returned None for sample"):
        PairedDataset(Empty(), Empty(), seed=0)[0]


def test_branch_collate_stacks_images_of_one_size_only():
    def item(height):
        return dict(source=dict(inputs=torch.full((3, height, 4), height, dtype=torch.uint8), data_samples='s'))

    same = branch_collate([item(2), item(2)])['source']
    assert same['inputs'].shape == (2, 3, 2, 4)
    assert same['data_samples'] == ['s', 's']
    mixed = branch_collate([item(2), item(3)])['source']
    assert [image.shape[1] for image in mixed['inputs']] == [2, 3]
