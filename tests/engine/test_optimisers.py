"""Few groups of parameters, and a learning rate that falls with depth."""

import pytest
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from torch import nn

from mmseg_camix.models.backbones import MiT, TimmViT

SMALL = dict(depth=3, embed_dim=24, num_heads=2)


class Model(nn.Module):
    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone, self.decode_head = backbone, nn.Linear(3, 3)
        self.teacher = nn.Linear(3, 3).requires_grad_(False)


def groups(model: nn.Module, constructor: str = 'GroupedConstructor', **paramwise: object) -> list[dict]:
    cfg = dict(type='OptimWrapper', constructor=constructor, paramwise_cfg=paramwise,
               optimizer=dict(type='AdamW', lr=1.0, weight_decay=0.1))
    with DefaultScope.overwrite_default_scope('mmseg'):
        return build_optim_wrapper(model, cfg).optimizer.param_groups


def settings(parameter_groups: list[dict]) -> dict[int, tuple[float, float]]:
    return {id(p): (round(group['lr'], 9), group['weight_decay'])
            for group in parameter_groups for p in group['params'] if p.requires_grad}


def test_the_same_settings_as_mmengine_in_few_groups():
    model = Model(MiT('b0'))
    paramwise = dict(custom_keys={'decode_head': dict(lr_mult=10.0)}, norm_decay_mult=0.0)
    few, many = groups(model, **paramwise), groups(model, 'DefaultOptimWrapperConstructor', **paramwise)
    assert settings(few) == settings(many)
    assert len(few) == 3  # head, norms, the rest
    assert len(many) > 100
    assert sum(len(g['params']) for g in few) == sum(p.requires_grad for p in model.parameters())
    by_settings = groups(model, custom_keys={name: dict(lr_mult=2.0) for name in ('backbone', 'head')})
    assert len(by_settings) == 1


def test_the_learning_rate_falls_with_depth():
    model = Model(TimmViT('vit_small_patch14_dinov2', arguments=SMALL))
    rate = {k: v[0] for k, v in settings(groups(model, layer_decay=0.5)).items()}
    net = model.backbone.network
    assert rate[id(model.decode_head.weight)] == rate[id(model.backbone.pyramid.scales[1].weight)] == 1
    for block, expected in zip(net.blocks, (0.125, 0.25, 0.5)):
        assert rate[id(block.mlp.fc1.weight)] == expected
    assert rate[id(net.norm.weight)] == 0.5
    assert rate[id(net.patch_embed.proj.weight)] == rate[id(net.pos_embed)] == 0.0625


def test_decay_and_factors_multiply():
    model = Model(MiT('b0'))
    rate = settings(groups(model, layer_decay=0.5, custom_keys={'backbone': dict(lr_mult=4.0)}))
    assert rate[id(model.backbone.layers[3][2].weight)][0] == 2.0


@pytest.mark.parametrize('logged_before', [True, False])
def test_only_mmengines_lines_about_parameters_are_muted(logged_before, tmp_path):
    logger = MMLogger.get_instance(f'quiet_{logged_before}', log_file=str(tmp_path / 'log.txt'))
    if logged_before:
        logger.warning('before')
    groups(Model(nn.Linear(2, 2)), custom_keys={'decode_head': dict(lr_mult=10.0)})
    logger.warning('afterwards')
    logger.info('and so on')
    log = (tmp_path / 'log.txt').read_text()
    assert 'skipped' not in log
    assert '2 parameters with lr 10' in log
    assert 'afterwards' in log
    assert 'and so on' in log


def test_wrong_values():
    with pytest.raises(ValueError, match=r'must lie in \(0, 1\]'):
        groups(Model(MiT('b0')), layer_decay=2.0)
    with pytest.raises(ValueError, match='needs a backbone with layer_of'):
        groups(Model(nn.Linear(2, 2)), layer_decay=0.9)
