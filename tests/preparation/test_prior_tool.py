"""The tool that builds the spatial prior of a config."""
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from mmseg_camix.spatial_prior import load_spatial_prior
from mmseg_camix_tools.commands import prior as prior_command
from tests.tools_runner import call

from .test_prior_counting import CLASSES, build, random_labels

TOOL = 'dataset/build_spatial_prior.py'
CONFIG = """
source = dict(
    type='mmseg.BaseSegDataset', data_root={root!r}, img_suffix='.png', seg_map_suffix='.png',
    data_prefix=dict(img_path='labels', seg_map_path='labels'),
    metainfo=dict(classes=('road', 'sky', 'car')),
    pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), {resize}])
train_dataloader = dict(dataset=dict(type='PairedDataset', source=source, target=dict(type='X')))
"""
RESIZE = "dict(type='Resize', scale=(14, 9))"


def report_relations(related, names):
    """Print the report of a prior with these relations."""
    prior = SimpleNamespace(relations=lambda: related, class_names=names)
    prior_command.report_relations(prior, None)


def write_config(folder, resize=RESIZE):
    (folder / 'city' / 'labels').mkdir(parents=True)
    labels = random_labels(4, (18, 28))
    for i, label in enumerate(labels):
        cv2.imwrite(str(folder / 'city' / 'labels' / f'{i}.png'), label)
    (folder / 'config.py').write_text(CONFIG.format(root=str(folder / 'city'), resize=resize))
    return str(folder / 'config.py'), labels


def test_tool_counts_the_source_of_a_config(tmp_path, capsys):
    config, labels = write_config(tmp_path)
    assert call(TOOL, config, '--workers', 0, '--stride', 1, '--smooth', 3) == 0
    prior = load_spatial_prior(str(tmp_path / 'priors' / 'city.npz'), CLASSES)
    assert np.array_equal(prior.counts, build(labels).counts)
    assert prior.sigma == 3.
    assert call(TOOL, config, '--reuse', '--relations', '--picture', tmp_path / 'p.png') == 0
    assert (tmp_path / 'p.png').exists()
    assert (tmp_path / 'p_relations.png').exists()
    printed = capsys.readouterr().out
    assert 'I+II+III+IV+V' in printed
    assert 'relations from the labels: none' in printed


def test_a_group_is_judged_by_the_pairs_of_its_members(capsys):
    names = ('pole', 'traffic light', 'traffic sign', 'car', 'truck')
    related = torch.zeros(5, 5, dtype=torch.bool)
    for i, j in ((0, 1), (0, 3), (3, 4)):
        related[i, j] = related[j, i] = True
    report_relations(related, names)
    first = ' '.join(capsys.readouterr().out.splitlines()[2].split())
    assert first == ("I pairs : precision 0.50 recall 0.33 (2 found, 3 in the table) missing ['pole - traffic sign', "
                     "'traffic light - traffic sign'] extra ['pole - car']")


@pytest.mark.parametrize(('resize', 'size'), [
    ("dict(type='RandomFlip', prob=.5)", (18, 28)),  # the labels' own
    ("dict(type='Resize', scale=(1000, 9), keep_ratio=True)", (9, 14))])
def test_pipelines_without_a_fixed_size_use_that_of_the_first_label(tmp_path, resize, size):
    config, _ = write_config(tmp_path, resize=resize)
    out = str(tmp_path / 'x.npz')
    assert call(TOOL, config, '--workers', 0, '--out', out) == 0
    assert load_spatial_prior(out).size == size


def test_tool_counts_at_another_size(tmp_path):
    config, _ = write_config(tmp_path, resize="dict(type='Resize', scale_factor=.5)")
    assert '--size WIDTH HEIGHT' in call(TOOL, config, '--workers', 0)
    out = str(tmp_path / 'x.npz')
    assert call(TOOL, config, '--workers', 0, '--size', 28, 18, '--out', out) == 0
    assert load_spatial_prior(out).size == (18, 28)


def test_smoothing_and_epsilon_change_without_counting_again(tmp_path, capsys):
    config, _ = write_config(tmp_path)
    path = str(tmp_path / 'priors' / 'city.npz')
    assert call(TOOL, config, '--workers', 0, '--stride', 1, '--smooth', 3, '--epsilon', 0.01) == 0
    counted = load_spatial_prior(path)
    for label in (tmp_path / 'city' / 'labels').iterdir():
        label.unlink()  # nothing is left to count
    assert call(TOOL, config, '--reuse', '--smooth', 0) == 0
    changed = load_spatial_prior(path)
    assert (changed.sigma, changed.epsilon) == (0.0, 0.01)
    assert changed.digest == counted.digest
    assert np.array_equal(changed.counts, counted.counts)
    assert not torch.equal(changed.probabilities(), counted.probabilities())
    capsys.readouterr()
    assert call(TOOL, config, '--reuse') == 0
    assert capsys.readouterr().out.startswith('read ')
    assert load_spatial_prior(path).sigma == 0.0


@pytest.mark.parametrize(('options', 'message'), [
    (['--stride', '0'], '--stride 0 must be at least 1'),
    (['--smooth', '-1'], '--smooth -1.0 must be at least 0'),
    (['--epsilon', 'nan'], '--epsilon nan must be at least 0'),
    (['--workers', '-1'], '--workers -1 must be at least 0'),
    (['--size', '0', '10'], '--size 0 10 must be a width and a height'),
    (['--size', '10', '10', '--reuse'], '--size needs another count')])
def test_odd_options_are_refused_before_anything_is_read(options, message, capsys):
    assert call(TOOL, 'nowhere.py', *options) == 2
    assert message in capsys.readouterr().err


def test_output_paths_are_checked_before_counting(tmp_path, monkeypatch):
    config, _ = write_config(tmp_path)
    monkeypatch.setattr('mmseg_camix_tools.commands.prior.count_labels', lambda *args, **kwargs: 1 / 0)
    (tmp_path / 'file').write_text('')
    for options, message in ((['--out', tmp_path], 'is a folder; name a file in it'),
                             (['--out', tmp_path / 'file' / 'p.npz'], 'file cannot be made'),
                             (['--picture', tmp_path], 'is a folder'),
                             (['--reuse'], 'there is no spatial prior yet; build it by')):
        assert message in call(TOOL, config, *options)
    with pytest.raises(ZeroDivisionError):
        call(TOOL, config)
    assert not list((tmp_path / 'priors').iterdir())


@pytest.mark.parametrize(('text', 'message'), [
    ('x = 1', 'no train_dataloader; give one that trains'),
    ("train_dataloader = dict(dataset=dict(type='ConcatDataset', datasets=[]))",
     'ConcatDataset has no pipeline of its own'),
    (CONFIG.replace(", dict(type='LoadAnnotations')", ''), 'loads no labels')])
def test_configs_without_a_labelled_source(tmp_path, text, message):
    text = text.replace('{root!r}', repr(str(tmp_path / 'city'))).replace('{resize}', RESIZE)
    (tmp_path / 'config.py').write_text(text)
    assert message in call(TOOL, tmp_path / 'config.py', '--workers', 0)


@pytest.mark.parametrize('names', [('lawn', 'hedge', 'fountain'), ('road', 'hedge', 'fountain')])
def test_relations_of_custom_classes_are_not_compared_with_the_paper(names, capsys):
    related = torch.zeros(3, 3, dtype=torch.bool)
    related[0, 1] = related[1, 0] = True
    report_relations(related, names)
    printed = capsys.readouterr().out
    assert f'relations from the labels: {names[0]} - {names[1]}' in printed
    assert printed.count('not compared: these groups of the paper name no two of the classes') == 4
    assert 'nan' not in printed
