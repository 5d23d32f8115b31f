"""Each row of CAMix's tables builds the model that its name promises, through the command line's parser."""

from argparse import ArgumentParser

import pytest
import torch
from mmseg.registry import MODELS

from benchmarks.suites import load_suite
from mmseg_camix.cli import add_config_options
from mmseg_camix.engine.config import load_config
from mmseg_camix.models.objectives import PixelCrossEntropy, PixelMSE, SignificanceCrossEntropy
from mmseg_camix.models.uda.methods import CAMix, MeanTeacher
from mmseg_camix.models.views import Augmented, Relabelled
from tests.tools_runner import ROOT

SUITES = {name: {row.name: row for row in load_suite(ROOT / f'configs/_suites_/{name}.py')[1]}
          for name in ('camix', 'camix_grid', 'camix_why')}
GRID = {'CAMix': (0.75, -5.0), **{f'beta {beta}'.replace('0.', '.'): (beta, -5.0) for beta in (0, 0.25, 0.5, 0.9)},
        **{f'gamma {gamma}': (0.75, gamma) for gamma in (-1, -2.5, -7.5, -10)}}


def build(suite, name):
    """As tools/train.py does with what -m benchmarks.methods passes on."""
    row = SUITES[suite][name]
    parser = ArgumentParser()
    add_config_options(parser)
    given = [f'{key}={value}' for key, value in row.options.items()]
    options = parser.parse_args(['--cfg-options', *given]).cfg_options if given else {}
    return MODELS.build(load_config(str(ROOT / row.config), options).model)


# What a row is: prior, groups, loss of the mixed view, significance.
GTA, TABLE = 'data/mini/priors/gta.npz', ['I', 'II']
SRC, CE, MSE = SignificanceCrossEntropy, PixelCrossEntropy, PixelMSE
ROWS = {
    'CAMix': (GTA, TABLE, SRC, True),
    'iDACS + SP': (GTA, None, CE, False),
    'iDACS + CR': (None, TABLE, CE, False),
    'iDACS + SP + CR (In-Out, CE)': (GTA, TABLE, CE, False),
    'CAMix, MSE': (GTA, TABLE, MSE, False),
    'CAMix, group I': (GTA, ['I'], SRC, True),
    'CAMix, groups I-III': (GTA, ['I', 'II', 'III'], SRC, True),
    'CAMix, groups I-IV': (GTA, ['I', 'II', 'III', 'IV'], SRC, True),
    'CAMix, groups I-V': (GTA, ['I', 'II', 'III', 'IV', 'V'], SRC, True),
    'iDACS + SP, where Q and teacher agree': (GTA, None, CE, False),
    'CAMix, where Q and teacher agree': (GTA, TABLE, SRC, True),
    'CAMix, labels from Q P': (GTA, TABLE, SRC, True),
    'CAMix, Q below confidence .9': (GTA, TABLE, SRC, True),
    'CAMix, classes drawn from P': (GTA, TABLE, SRC, True),
    'CAMix, groups from labels': (GTA, 'auto', SRC, True),
    'CAMix, released threshold': (GTA, TABLE, SRC, True),
    'CAMix, released code': (GTA, ['I', 'II-one-way'], CE, True),
}
OTHERS = {'Source only': 'SourceOnly', 'Mean teacher': 'MeanTeacher', 'CutMix': 'CutMix', 'CowMix': 'CowMix',
          'DACS': 'DACS', 'iDACS': 'iDACS', 'Mean teacher + SigMask': 'MeanTeacher'}


def test_every_row_is_in_a_table_above():
    assert set(SUITES['camix']) == set(ROWS) | set(OTHERS)
    assert set(SUITES['camix_grid']) == set(GRID)


@pytest.mark.parametrize('name', ROWS)
def test_rows_of_camix(name):
    prior, groups, loss, significant = ROWS[name]
    model = build('camix', name)
    mask = model.masks['context']
    assert type(model) is CAMix
    assert mask.prior_file == prior
    assert mask.agreeing is name.endswith('where Q and teacher agree')
    assert (mask.groups if groups in (None, 'auto') else list(mask.groups)) == groups
    assert type(model.objectives['mixed']) is loss
    assert model.objectives['mixed'].view == 'mixed'
    assert set(model.objectives) == {'source', 'mixed'}
    options = model.pseudo_labels.significance
    assert (options is not None) is significant
    if significant:
        assert (options.passes, options.beta, options.gamma) == (8, 0.75, -5.0)
        assert (options.form, options.bound) == (('official', 'classes') if 'released' in name else ('paper', 'sample'))
        assert (options.copies_at_once, options.scale, options.reuse_clean, options.dtype) == (1, 1.0, False, 'fp32')
    official = name == 'CAMix, released code'
    assert model.views['mixed'].at == (528 if official else 0)
    assert model.predict_with == ('student' if official else 'teacher')
    assert model.masks['classes'].count_ignore is official
    assert (model.pseudo_labels.threshold, model.pseudo_labels.weighted) == (0.968, True)


@pytest.mark.parametrize(('suite', 'name'), [
    (suite, name) for suite in ('camix', 'camix_why') for name in SUITES[suite] if name.startswith('CAMix')])
def test_changes_are_those_that_the_name_states(suite, name):
    """Each change of the published form, and nothing else of the mask and the pasted label."""
    model, row = build(suite, name), SUITES[suite][name]
    mask, donor = model.masks['context'], model.views['camix'].reads[0]
    assert mask.agreeing is name.endswith('agree')
    assert donor == ('relabelled' if 'labels from Q P' in name else 'target')
    assert donor == 'target' or isinstance(model.views[donor], Relabelled)
    assert mask.draw == ('own' if 'drawn from P' in name else 'modulated')
    assert mask.below == (0.9 if 'confidence .9' in name else 0.5 if 'confidence .5' in name else None)
    assert (mask.prior_file is None) is ('without Q' in name)
    significance = model.pseudo_labels.significance
    assert (significance is None) is name.endswith(('without significance', 'MSE'))
    assert significance is None or (significance.noise == 0) is ('without noise' in name)
    assert row.options.get('train_cfg.max_iters', 600) == (1200 if '1200' in name else 600)


@pytest.mark.parametrize('name', OTHERS)
def test_rows_of_other_methods(name):
    assert type(build('camix', name)).__name__ == OTHERS[name]


def test_significance_without_mixing():
    model, plain = (build('camix', name) for name in ('Mean teacher + SigMask', 'Mean teacher'))
    assert type(model) is type(plain) is MeanTeacher
    assert type(model.objectives['strong']) is SRC
    assert model.pseudo_labels.significance.passes == 8
    assert isinstance(model.views['strong'], Augmented)
    assert plain.pseudo_labels.significance is None
    assert type(plain.objectives['strong']) is MSE


@pytest.mark.parametrize('name', GRID)
def test_rows_of_the_grid(name):
    model = build('camix_grid', name)
    assert type(model) is CAMix
    assert (model.pseudo_labels.significance.beta, model.pseudo_labels.significance.gamma) == GRID[name]
    assert type(model.objectives['mixed']) is SRC


@pytest.mark.parametrize('config', ['gta2cs_deeplabv2_official', 'mini_gta2cs_tiny_official'])
def test_released_code_adds_a_constant(config):
    """-.2 grey levels in place of noise: the bounds of its clamp are exchanged."""
    cfg = load_config(str(ROOT / f'configs/camix/{config}.py'), {'model.segmentor.backbone.init_cfg': None})
    model = MODELS.build(cfg.model)
    image = torch.zeros(1, 3, 64, 64)
    noisy = model.pseudo_labels.significance.add_noise(image, torch.Generator())
    assert noisy.unique().numel() == 1
    assert noisy.mean() * model.data_preprocessor.preprocessor.std.mean() == pytest.approx(-0.2, rel=0.01)


@pytest.mark.parametrize(('domain', 'warm_up', 'ramp'), [('gta', 110, 130), ('synthia', 40, 10)])
def test_released_lengths_are_scaled(domain, warm_up, ramp):
    cfg = load_config(str(ROOT / f'configs/camix/mini_{domain}2cs_tiny_official.py'))
    assert cfg.model.views.mixed.at == round(cfg.train_cfg.max_iters * warm_up / 250)
    assert cfg.model.pseudo_labels.significance.t_max == round(cfg.train_cfg.max_iters * ramp / 250)
