"""Measuring the scores: rank correlations by their definitions, and the record of scored networks."""

import json
import math
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks import selection
from benchmarks.rankings import Point, harm, summary
from mmseg_camix.selection import SCORES
from mmseg_camix.spatial_prior import load_spatial_prior
from tests.models import camix_tiny


def point(mIoU, score, row='DACS', run='DACS/0', iteration=1, network='student', tested=True, root='full'):
    return Point(root, row, run, iteration, network, tested, mIoU, dict(infomax=score))


TRAININGS = [
    *(point(10 + i, 0.1, 'Source only', 'Source only/0', i) for i in (1, 2)),
    *(point(20 + i, score, iteration=i) for i, score in ((1, 0.3), (2, 0.9), (3, 0.5))),
    point(26, 0.4, iteration=3, network='teacher', tested=False),
    *(point(8 + i, score, 'iDACS', 'iDACS/0', i) for i, score in ((1, 0.2), (2, 0.05)))]


def test_what_is_lost_by_trusting_a_score():
    values = summary(TRAININGS, 'infomax')
    assert values['regret'] == 26 - 22
    # The choices within the trainings are 11 (the first of equal scores), 22 and 9; the tested ends 12, 23 and 10.
    assert values['gain'] == -1
    assert values['oracle gain'] == 1
    # 1 - 6 sum(d^2) / (n^3 - n), for differences d of ranks: of 0, 2, 0, 2 within DACS, of 0, 1, 1, 0 between ends.
    assert values['iterates'] == pytest.approx(0.2)
    assert values['settings'] == pytest.approx(0.8)
    # Of all eight, two of which have equal scores: ranks 3 4 5 6 7 8 1 2 and 2.5 2.5 5 8 7 6 4 1.
    assert values['rho'] == pytest.approx(31.5 / math.sqrt(42 * 41.5))
    signs = [np.sign((a.mIoU - b.mIoU) * (a.scores['infomax'] - b.scores['infomax']))
             for a, b in combinations(TRAININGS, 2)]
    assert values['tau'] == pytest.approx(sum(signs) / math.sqrt(28 * 27))
    assert math.isnan(summary([point(1, 0.5), point(2, 0.5)], 'infomax')['rho'])


def test_harm_is_relative_to_the_source_only_network_of_the_same_folder():
    elsewhere = [point(30, 0.01, 'Source only', 'other', root='other'), point(20, 0.005, root='other', run='x')]
    # iDACS harms with 9 (score above that of source only: missed) and 10 (found); all of DACS improves.
    assert harm(TRAININGS, 'infomax') == (1, 2, 4, 4)
    assert harm(TRAININGS + elsewhere, 'infomax') == (2, 3, 4, 4)


@pytest.fixture
def work_dirs(tmp_path, monkeypatch):
    """Two trainings with metrics and empty checkpoints, whose scores are stubs."""
    for row, networks in (('Source_only', ['student']), ('DACS', ['student', 'teacher'])):
        folder = tmp_path / f'runs/{row}/0'
        folder.mkdir(parents=True)
        record = [dict(iteration=i, metrics={f'{name}/mIoU': i / 10 + len(name) for name in networks})
                  for i in (100, 200, 300)]
        (folder / 'metrics.json').write_text(json.dumps(dict(val=record, finished=True)))
        for i in (200, 300, 400):  # 100 is gone, 400 was not validated
            (folder / f'iter_{i}.pth').touch()
    scored = []

    def candidates(files):
        names = ['student'] if 'Source' in str(files[0]) else ['student', 'teacher']
        return [SimpleNamespace(name=f'{files[0]} {name}', network=SimpleNamespace(
            name=name, origin=dict(tested='student'))) for name in names]

    def score(candidate, images, **_):
        scored.append(candidate.name)
        return {name: len(scored) + index / 100 for index, name in enumerate(SCORES)}

    monkeypatch.setattr(selection, 'find_candidates', candidates)
    monkeypatch.setattr(selection, 'score', score)
    monkeypatch.setattr(selection, 'find_images', lambda folder, limit: ['image'])
    (tmp_path / 'docs').mkdir()
    (tmp_path / 'docs/selection.md').write_text('<!-- begin tiny -->\n<!-- end tiny -->\n')
    return tmp_path, scored


def test_scores_are_recorded_once_with_their_true_mIoU(work_dirs):
    folder, scored = work_dirs
    arguments = ['tiny', str(folder / 'runs'), '--images', 'photographs', '--docs', str(folder / 'docs')]
    for _ in range(2):
        selection.main(arguments)
    assert [name.split('runs/')[1] for name in scored] == [
        'DACS/0/iter_300.pth student', 'DACS/0/iter_300.pth teacher', 'Source_only/0/iter_300.pth student',
        'DACS/0/iter_200.pth student', 'DACS/0/iter_200.pth teacher', 'Source_only/0/iter_200.pth student']
    points = selection.read_points(folder / 'docs/selection/tiny.json')
    assert {(p.row, p.iteration, p.network, p.tested): p.mIoU for p in points} == {
        ('DACS', 200, 'student', True): 27, ('DACS', 300, 'student', True): 37, ('DACS', 200, 'teacher', False): 27,
        ('DACS', 300, 'teacher', False): 37, ('Source only', 200, 'student', True): 27,
        ('Source only', 300, 'student', True): 37}
    page = (folder / 'docs/selection.md').read_text()
    assert page.startswith('<!-- begin tiny -->\n\n6 networks of 2 trainings') and '| `infomax` |' in page
    assert (folder / 'docs/selection/tiny.png').stat().st_size > 10_000


def test_a_limit_of_time_and_wrong_folders(work_dirs, tmp_path):
    folder, scored = work_dirs
    arguments = ['tiny', str(folder / 'runs'), '--images', 'photographs', '--docs', str(folder / 'docs')]
    with pytest.raises(SystemExit, match='no network is scored yet'):
        selection.main([*arguments, '--seconds', '1e-9'])
    with pytest.raises(SystemExit, match='nothing: no checkpoint of a recorded iteration'):
        selection.main(['tiny', str(tmp_path / 'nothing'), *arguments[2:]])
    assert not scored


def test_a_shuffled_prior_has_its_classes_in_another_order(tmp_path):
    labels = torch.randint(len(camix_tiny.NAMES), (2, *camix_tiny.IMAGE))
    path = camix_tiny.save_prior(tmp_path / 'prior.npz', labels=labels)
    selection.main(['x', '--shuffle-prior', path, str(tmp_path / 'shuffled.npz')])
    prior, shuffled = (load_spatial_prior(str(tmp_path / f'{name}.npz')) for name in ('prior', 'shuffled'))
    order = [next(i for i, own in enumerate(prior.counts) if (own == other).all()) for other in shuffled.counts]
    assert order != sorted(order) and shuffled.class_names == prior.class_names
    assert (shuffled.area == prior.area[:, order]).all()
    assert (shuffled.above == prior.above[:, order][:, :, order]).all()
    assert (shuffled.together == prior.together[order][:, order]).all()
