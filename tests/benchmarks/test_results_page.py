"""The page of results follows its sources, its commands work, and a measured result appears in it."""

import copy
import json
import re
import shlex
from argparse import ArgumentParser
from functools import cache

import pytest

from benchmarks.results_page import commands, page, read_results
from mmseg_camix.cli import add_config_options
from mmseg_camix.engine.config import load_config
from mmseg_camix.evaluation.reported import rows, tables
from mmseg_camix.evaluation.results import result_of
from tests.models import tiny
from tests.models.test_distillation import FROZEN
from tests.models.test_dropped_tokens import vit_segmentor
from tests.tools_runner import ROOT, call

OWN = [row for row in rows().values() if not row.of]


@pytest.fixture(autouse=True)
def _in_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_an_outdated_page_is_noticed_and_written(tmp_path):
    assert call('benchmarks.results_page', '--check') == 0
    (tmp_path / 'results').mkdir()
    (tmp_path / 'results/page.md').write_text('{overview}\n{tables}\n')
    assert 'out of date' in call('benchmarks.results_page', '--check', '--docs', tmp_path)
    assert call('benchmarks.results_page', '--docs', tmp_path) == 0
    assert call('benchmarks.results_page', '--check', '--docs', tmp_path) == 0
    assert 'give --docs' in call('benchmarks.results_page', '--docs', tmp_path / 'nowhere')


def test_every_published_number_is_on_the_page():
    text = (ROOT / 'docs/results.md').read_text()
    for table in tables():
        for row in table:
            for printed in row.mIoU.values():
                assert re.search(rf'^\| {re.escape(row.name)} \|.* {re.escape(row.format(printed))} \|', text, re.M)
            if row.IoU:
                assert f'| {row.name} | ' + ' | '.join(map(row.format, row.IoU)) + ' |' in text
    assert all(command in text for row in OWN for command in commands(row))
    named = set(re.findall(r'configs/[\w/.]+\.py', text))
    assert {row.config for row in OWN} <= named
    assert all(plain(config).model for config in sorted(named))


@cache
def plain(config):
    return load_config(config)


@pytest.mark.parametrize('row', OWN, ids=lambda row: row.id)
def test_commands_build_their_method(row):
    """The options survive the shell and fit the config."""
    lines = commands(row)
    assert len(lines) == (1 if row.best_of else 2)
    parser = ArgumentParser()
    parser.add_argument('words', nargs='+')
    add_config_options(parser)
    for line in lines:
        args, _ = parser.parse_known_args(shlex.split(line))
        options = args.cfg_options or {}
        assert args.words[2] == row.config
        assert options == row.options
    cfg = copy.deepcopy(plain(row.config))
    cfg.merge_from_dict(options)
    cfg.model.segmentor = tiny.small(num_classes=19)
    if 'DINOv2' in row.network:
        cfg.model.segmentor = vit_segmentor()
        cfg.model.objectives.distillation.encoder = FROZEN
    model = tiny.build(cfg.model)
    assert type(model).__name__ == options.get('model.type', cfg.model.type)
    removed = [key.split('.') for key, value in options.items() if value is None]
    assert not any(path[2] in getattr(model, path[1]) for path in removed if path[1] in ('objectives', 'views')
                   and len(path) == 3)


@pytest.mark.parametrize(('row', 'command', 'checkpoint'), [
    ('camix-gta-daformer', 1, 'iter_90000.pth'), ('camix-gta-deeplabv2', 1, 'iter_250000.pth'),
    ('dacs-gta-best', 0, 'work_dirs/results/dacs-gta/best_mIoU_iter_*.pth')])
def test_the_checkpoint_is_that_of_the_schedule(row, command, checkpoint):
    assert checkpoint in commands(rows()[row])[command]


def write_result(folder, row, images=500, shift=1.0, name='a', **evaluation):
    reported = rows()[row]
    metrics = {f'{network}/{key}': value for network, by in (('student', shift), ('teacher', shift + 1))
               for key, value in [('mIoU', 0.0), *((f'IoU.{c}', v + by) for c, v in reported.per_class.items())]}
    (folder / 'x.pth').write_bytes(b'x')
    how = dict(resolution='input', inference='images at 1024x512, whole', scales=None, flip=False) | evaluation
    result = result_of(metrics, reported.config, {}, str(folder / 'x.pth'), dict(
        type='RawCityscapesDataset', images=images, size='2048x1024'), reported.classes, how, 'student', row)
    (folder / f'{name}.json').write_text(json.dumps(result))


def test_a_result_appears_wherever_the_row_is_repeated(tmp_path):
    write_result(tmp_path, 'dacs-gta', shift=1.0)
    write_result(tmp_path, 'dacs-gta', shift=2.0, name='b')
    text = page('{overview}\n{tables}', read_results(tmp_path))
    assert '| DACS | DeepLabV2, ResNet-101 | GTA | 19 | 52.14 | 52.14 | 53.6 ± 0.7 (+1.5) | 54.6 ± 0.7 |' in text
    assert text.count('| DACS | 52.14 | 53.6 ± 0.7 (+1.5) | 54.6 ± 0.7 | `dacs-gta` |') == 2  # Tables 1 and 3
    assert '| DACS | 52.1 | 53.6 ± 0.7 (+1.5) | 54.6 ± 0.7 | `dacs-gta` |' in text  # as others quote it
    assert '| DACS, ours | 91.4 ± 0.7 | 41.2 ± 0.7 |' in text
    assert '| DACS, best | 53.84 |  |  |' in text


def test_unusual_evaluations_are_noted_and_incomparable_ones_refused(tmp_path):
    write_result(tmp_path, 'dacs-gta', resolution='native')
    assert '- DACS: ours: images at 1024x512, whole, compared at native resolution.' in page(
        '{tables}', read_results(tmp_path))
    write_result(tmp_path, 'dacs-gta', images=100)
    with pytest.raises(SystemExit, match='measured on 100 images'):
        read_results(tmp_path)
    (tmp_path / 'a.json').write_text('{"row": null}')
    with pytest.raises(SystemExit, match='--paper ROW --json FILE'):
        read_results(tmp_path)
