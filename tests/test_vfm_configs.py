"""The recipe of VFM-UDA++: what its configs say."""

import pytest
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmseg.registry import MODELS

from tests.test_real_trainings import VIT
from tests.tools_runner import ROOT


@pytest.mark.parametrize(('network', 'rate', 'channels'), [('b', 5e-5, 768), ('l', 1e-5, 1024)])
def test_the_published_recipe(network, rate, channels):
    cfg = Config.fromfile(ROOT / f'configs/vfm/gta2cs_dinov2_{network}.py')
    model = cfg.model
    assert cfg.crop_size == model.segmentor.data_preprocessor.size == model.segmentor.test_cfg.crop_size == (1024, 1024)
    assert model.segmentor.backbone.name == f'vit_{dict(b="base", l="large")[network]}_patch14_dinov2'
    assert model.segmentor.decode_head.in_channels == [channels] * 4
    assert model.objectives.distillation.encoder.name == 'vit_large_patch14_reg4_dinov2'
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(rate * 8**0.5)
    assert (cfg.train_cfg.max_iters, cfg.param_scheduler[0].end, cfg.param_scheduler[1].power) == (40000, 1500, 1)
    rare = cfg.train_dataloader.dataset.source
    assert (rare.temperature, rare.min_pixels * rare.crop_share, rare.tries) == (0.01, 6000, 20)


def test_rates_of_the_layers():
    """A tenth of the rate for the last block, times .9 for each layer below; all of it outside of the encoder."""
    cfg = Config.fromfile(ROOT / 'configs/vfm/gta2cs_dinov2_l.py')
    small = dict(VIT, arguments=dict(VIT['arguments'], depth=3))
    cfg.model.segmentor.backbone.update(small)
    cfg.model.segmentor.decode_head.in_channels = [24] * 4
    cfg.model.segmentor.data_preprocessor.size = (56, 56)
    cfg.model.objectives.distillation.encoder.update(VIT)
    model = MODELS.build(cfg.model)
    groups = build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups
    rates = {id(p): group['lr'] / cfg.optim_wrapper.optimizer.lr for group in groups for p in group['params']}
    assert {group['weight_decay'] for group in groups} == {0.01}
    network = model.student.backbone.network
    for depth, part in enumerate([network.patch_embed, *network.blocks]):
        assert {round(rates[id(p)], 6) for p in part.parameters()} == {round(0.1 * 0.9 ** (3 - depth), 6)}
    for part in (model.student.decode_head, model.student.backbone.pyramid, model.objectives['distillation'].head):
        assert {round(rates[id(p)], 6) for p in part.parameters()} == {1.0}
