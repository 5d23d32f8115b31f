"""The command that ranks checkpoints without labels, on the checkpoints of a training."""

import json
import re
import shutil

import cv2
import pytest
import torch

from mmseg_camix.checkpoint import CheckpointError, read_checkpoint
from mmseg_camix.selection import SCORES, Scorer
from mmseg_camix_tools.scoring import find_candidates, find_images, score
from tests.datasets.tiny import write_image
from tests.export import networks
from tests.models import tiny
from tests.tools_runner import call
from tests.world import config


@pytest.fixture(scope='module')
def place(world, tmp_path_factory):
    """A folder with a training's checkpoints, images of two sizes, and folders that hold none."""
    folder = tmp_path_factory.mktemp('score')
    cfg = config(world, folder / 'x', segmentor=tiny.encoder_decoder(networks.resnet(), tiny.fcn(64, num_classes=19)),
                 max_iters=2)
    cfg.default_hooks.checkpoint.interval = 1
    cfg.dump(str(folder / 'cfg.py'))
    assert call('train.py', folder / 'cfg.py', '--work-dir', folder / 'run') == 0
    for name, seed, size in (('a', 1, (40, 56)), ('b', 2, (40, 56)), ('deep/c', 3, (64, 48))):
        write_image(folder / f'images/{name}.png', seed, size)
    (folder / 'empty').mkdir()
    (folder / 'text.pth').write_text('no checkpoint')
    other = read_checkpoint(folder / 'run/iter_2.pth')
    other['meta']['dataset_meta'] = dict(classes=[f'class {i}' for i in range(19)], palette=[[0, 0, 0]] * 19)
    torch.save(other, folder / 'other.pth')
    return folder


def test_candidates_are_both_networks_of_all_checkpoints(place):
    candidates = list(find_candidates([place / 'run']))
    assert [(c.path.name, c.network.name, c.other.name) for c in candidates] == [
        (f'iter_{i}.pth', *names) for i in (1, 2) for names in (('student', 'teacher'), ('teacher', 'student'))]
    teachers = find_candidates([place / 'run/iter_2.pth', place / 'run'], networks=['teacher'])
    assert [c.name.split('/')[-1] for c in teachers] == ['iter_2.pth teacher', 'iter_1.pth teacher',
                                                         'iter_2.pth teacher']


def test_folders_of_checkpoints_and_of_exports(place, tmp_path):
    """A config.py is also in the work dir of a training, and a model.pth beside other checkpoints."""
    shutil.copy(place / 'run/iter_2.pth', tmp_path)
    (tmp_path / 'config.py').write_text('')
    assert [c.path.name for c in find_candidates([tmp_path])] == ['iter_2.pth'] * 2
    assert call('export', tmp_path / 'iter_2.pth', '--formats', 'safetensors', '--out', tmp_path / 'export') == 0
    assert [c.name for c in find_candidates([tmp_path / 'export'])] == [f'{tmp_path}/export segmentor']
    (tmp_path / 'model.pth').touch()
    (tmp_path / 'iter_2.pth').rename(tmp_path / 'iter_1.pth')
    with pytest.raises(CheckpointError, match='model.pth'):
        list(find_candidates([tmp_path]))


@pytest.mark.parametrize('batch_size', [1, 2])
def test_scores_are_those_of_the_network_on_its_pipeline(place, batch_size):
    student, _ = find_candidates([place / 'run/iter_2.pth'])
    images = find_images(place / 'images')
    model, other = student.network.build(), student.other.build()
    scorer = Scorer(model, other)
    for path in images:
        image = torch.from_numpy(cv2.imread(str(path))).permute(2, 0, 1)
        scorer.update(model.data_preprocessor(dict(inputs=[image], data_samples=[tiny.unlabelled(image.shape[1:])]),
                                              False)['inputs'])
    assert score(student, images, batch_size=batch_size) == pytest.approx(scorer.results(), abs=1e-5, nan_ok=True)


def test_images_are_evenly_spread(place):
    assert [path.name for path in find_images(place / 'images')] == ['a.png', 'b.png', 'c.png']
    assert [path.name for path in find_images(place / 'images', 2)] == ['a.png', 'b.png']
    assert [path.name for path in find_images(place / 'images', 1)] == ['a.png']


def test_a_ranking(place, capsys):
    arguments = [place / 'run', '--images', place / 'images', '--score', 'zoom', '--json', place / 'out/scores.json']
    assert call('score.py', *arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    written = json.loads((place / 'out/scores.json').read_text())
    values = [entry['scores']['zoom'] for entry in written['ranking']]
    assert values == sorted(values, reverse=True) and len(values) == 4
    assert [line.split()[:2] for line in lines] == [['rank', 'zoom'], *([str(i + 1), f'{value:.4f}']
                                                                      for i, value in enumerate(values))]
    arguments = [place / 'run/iter_1.pth', '--images', place / 'images', '--all', '--network', 'teacher']
    assert call('score.py', *arguments) == 0
    assert set(capsys.readouterr().out.split('\n')[0].split()) == {'rank', 'network', 'checkpoint', *SCORES}


def test_damaged_images_are_left_out_and_counted(place, tmp_path, capsys):
    """Of three images one is left, for which the score of pairs of images is not defined."""
    for name in ('a.png', 'b.png', 'c.png'):
        (tmp_path / name).write_bytes((place / 'images/a.png').read_bytes()[:None if name == 'b.png' else 60])
    arguments = [place / 'run/iter_2.pth', '--images', tmp_path, '--all', '--json', tmp_path / 'x.json']
    assert call('score', *arguments) == 0
    printed = capsys.readouterr().err
    assert printed.count('warning: ') == 2 and printed.endswith('2 of 3 images cannot be read: left out\n')
    written = json.loads((tmp_path / 'x.json').read_text(), parse_constant=pytest.fail)
    assert written['images'] == 1
    assert all(entry['scores']['mixed'] is None and entry['scores']['zoom'] > 0 for entry in written['ranking'])
    (tmp_path / 'b.png').unlink()
    assert call('score', *arguments) == 'error: none of the images can be read'


@pytest.mark.parametrize(('arguments', 'message'), [
    (['run', '--images', 'nowhere'], 'nowhere: no such file or folder'),
    (['run', '--images', 'empty'], 'empty: no image or video there'),
    (['nothing.pth', '--images', 'images'], 'nothing.pth: no such checkpoint, work dir or exported folder'),
    (['empty', '--images', 'images'], r'empty: no checkpoint \(\*.pth\) there'),
    (['text.pth', '--images', 'images'], 'text.pth'),
    (['run', 'other.pth', '--images', 'images'], r'other.pth has 19 classes \(class 0, .*same classes'),
    (['run', '--images', 'images', '--device', 'tpu'], "--device tpu: "),
    (['run', '--images', 'images', '--json', 'empty'], 'empty is a folder; name a file in it'),
])
def test_bad_input_is_one_line(place, monkeypatch, arguments, message):
    monkeypatch.chdir(place)
    result = call('score.py', *arguments)
    assert isinstance(result, str) and '\n' not in result
    assert result.startswith('error: ') and re.search(message, result), result
