"""The configs of HRDA and of MIC at full resolution: what they say, and that those without drawn data are built.

That each trains is in test_real_trainings.py.
"""

import pytest
from mmengine.config import Config
from mmseg.registry import MODELS

from tests.test_configs import name
from tests.test_real_trainings import TWO_SCALES
from tests.tools_runner import ROOT

WEATHER = sorted((ROOT / 'configs/mic').glob('cityscapes2*_hrda.py'))


def test_all_are_there():
    assert {name(path) for path in TWO_SCALES} == {
        *(f'hrda/{source}2cs_{network}' for source in ('gta', 'synthia') for network in ('hrda', 'deeplabv2')),
        'mic/gta2cs_hrda', 'mic/synthia2cs_hrda', 'mic/gta2cs_hrda_deeplabv2', 'camix/gta2cs_hrda', 'camix/gta2cs_mic'}
    assert {path.stem for path in WEATHER} == {'cityscapes2acdc_hrda', 'cityscapes2dark_zurich_hrda'}


@pytest.mark.parametrize('path', TWO_SCALES + WEATHER, ids=name)
def test_resolution_and_what_follows_from_it(path):
    cfg = Config.fromfile(path)
    segmentor, rare = cfg.model.segmentor, cfg.train_dataloader.dataset.source
    assert segmentor.type == 'HRDAEncoderDecoder'
    assert cfg.crop_size == segmentor.data_preprocessor.size == segmentor.test_cfg.crop_size == (1024, 1024)
    assert (segmentor.detail_size, segmentor.test_cfg.stride) == ((512, 512), (512, 512))
    assert (rare.temperature, rare.min_pixels, rare.crop_share) == (0.01, 3000, 2.0)
    source, target = rare.dataset.pipeline, cfg.train_dataloader.dataset.target.pipeline
    pipelines = (source, target, cfg.test_dataloader.dataset.pipeline)
    scales = [[t.scale for t in pipeline if t.type == 'Resize'] for pipeline in pipelines]
    full = {'gta': [(2560, 1440)], 'synthia': [(2560, 1520)], 'cityscapes': []}[path.stem.split('2')[0]]
    assert scales == [full, [], []], 'images of Cityscapes, ACDC and Dark Zurich keep their size'
    margins = dict((cfg.model.get('pseudo_labels') or {}).get('margins') or {})
    on_cityscapes = path not in WEATHER
    expected = dict(top=30 / 1024, bottom=240 / 1024, left=30 / 2048, right=30 / 2048) if on_cityscapes else {}
    assert margins == expected
    assert cfg.train_cfg.max_iters == cfg.param_scheduler[-1].end == (90000 if path.parent.name == 'camix' else 40000)


@pytest.mark.parametrize('path', WEATHER, ids=name)
def test_those_of_weather_are_built(path):
    cfg = Config.fromfile(path)
    cfg.model.segmentor.update(detail_size=(32, 32))
    cfg.model.segmentor.data_preprocessor.size = (64, 64)
    cfg.model.segmentor.backbone.update(variant='b0', init_cfg=None)
    cfg.model.segmentor.decode_head.in_channels = [32, 64, 160, 256]
    model = MODELS.build(cfg.model)
    assert model.backward == 'each'
    assert model.masks['blocks'].ratio == 0.7
    assert not model.views['masked'].augment
    assert model.pseudo_labels.margins == {}
