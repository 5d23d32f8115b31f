"""Checkpoints of another network are refused; nothing trains or predicts with random weights unnoticed."""

import logging

import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.runner import Runner, load_checkpoint
from mmseg.models.backbones import ResNet
from mmseg.registry import MODELS

from mmseg_camix.weights import WeightsError
from tests.models import tiny


def plain(num_classes=5, **changes):
    cfg = tiny.small(num_classes=num_classes)
    cfg['decode_head'].update(changes)
    with DefaultScope.overwrite_default_scope('mmseg'):
        return MODELS.build(cfg)


def adapted(kind, num_classes=5):
    with DefaultScope.overwrite_default_scope('mmseg'):
        return MODELS.build(dict(type=kind, segmentor=tiny.small(num_classes=num_classes)))


def saved(model, path, keep=lambda name: True):
    torch.save(dict(state_dict={name: value for name, value in model.state_dict().items() if keep(name)}), path)
    return str(path)


def load(model, file, **config):
    """As `load_from` does."""
    runner = object.__new__(Runner)
    runner.model, runner.cfg, runner._hooks = model, config, []
    runner.logger = logging.getLogger(__name__)
    return runner.load_checkpoint(file)


@pytest.mark.parametrize('model', [plain, lambda: adapted('DACS')])
def test_the_weights_of_another_network_are_refused(model, tmp_path, capsys):
    model = model()
    file = saved(plain(channels=12), tmp_path / 'other.pth')
    for loading in (load, load_checkpoint):
        with pytest.raises(WeightsError, match=r'other.pth: it is of another network: \d+ of \d+ weights of \w+ are '
                                               r'missing or of another shape \(.*decode_head.*load_partially'):
            loading(model, file)
    assert 'do not match' not in capsys.readouterr().out


def test_another_number_of_classes_is_loaded_when_asked_for(tmp_path):
    old, new = plain(19), plain(5)
    file = saved(old, tmp_path / 'nineteen.pth')
    with pytest.raises(WeightsError, match=r"load_partially=\['decode_head.conv_seg.'"):
        load(new, file)
    before = new.decode_head.conv_seg.weight.clone()
    load(new, file, load_partially='decode_head.conv_seg.')
    assert torch.equal(new.decode_head.conv_seg.weight, before)
    own, theirs = new.backbone.state_dict(), old.backbone.state_dict()
    assert all(torch.equal(own[name], value) for name, value in theirs.items())
    model = adapted('DACS')
    load(model, file, load_partially=['decode_head.conv_seg.'])  # the names of the segmentor hold for both networks
    assert torch.equal(next(model.teacher.model.backbone.parameters()), next(old.backbone.parameters()))


@pytest.mark.parametrize(('num_classes', 'steps'), [(19, 0), (5, 1)])
def test_a_teacher_with_layers_at_random_begins_again(num_classes, steps, tmp_path):
    """With the steps of the file, a training would take pseudo-labels from its random layer."""
    old, new = adapted('DACS', num_classes), adapted('DACS')
    old.update_teacher()
    names = [name for name in old.state_dict() if 'auxiliary_head' in name]
    file = saved(old, tmp_path / 'file.pth', lambda name: name not in names)  # which predicts nothing
    load(new, file, load_partially=['decode_head.conv_seg.'])
    assert new.teacher.steps_made == steps


@pytest.mark.parametrize('names', [True, [''], [1]])
def test_partial_loading_needs_names(names, tmp_path):
    with pytest.raises(WeightsError, match='load_partially=.* must list the beginnings of names'):
        load(plain(), saved(plain(), tmp_path / 'file.pth'), load_partially=names)


@pytest.mark.parametrize('keep', ['', 'student.'])
def test_networks_of_other_methods_and_plain_ones_fit(keep, tmp_path):
    """The parts of the method keep their values, and a teacher that is missing becomes the student."""
    source = adapted('DACS')
    file = saved(source, tmp_path / 'dacs.pth', lambda name: name.startswith(keep))
    model = adapted('RCCR')
    load(model, file)
    for network in ('student', 'teacher'):
        own = model.network(network).state_dict()
        assert all(torch.equal(own[name], value) for name, value in source.network('student').state_dict().items())


def test_auxiliary_heads_may_be_missing(tmp_path):
    model = plain()
    model.auxiliary_head = torch.nn.Conv2d(3, 3, 1)
    load(model, saved(plain(), tmp_path / 'plain.pth'))


@pytest.mark.parametrize(('content', 'message'), [
    (dict(state_dict={3: torch.ones(2)}), r'it names weights by numbers or objects and not by strings \(3\)'),
    (dict(state_dict={}), 'it contains no weights, but a dict'),
    (dict(state_dict=[torch.ones(2)]), 'it contains no weights, but a list'),
])
def test_files_without_weights_are_refused(content, message, tmp_path):
    torch.save(content, tmp_path / 'odd.pth')
    with pytest.raises(WeightsError, match=f'odd.pth: {message}'):
        load(plain(), str(tmp_path / 'odd.pth'))


@pytest.mark.parametrize('prefix', [None, 'backbone.'])
def test_pretrained_backbones_may_lack_new_layers_but_not_a_fifth(prefix, tmp_path):
    weights = {f'{prefix or ""}{name}': value for name, value in ResNet(18).state_dict().items()}
    torch.save(dict(state_dict=weights), tmp_path / 'r18.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'r18.pth'), prefix=prefix)

    class WithNorms(ResNet):
        def __init__(self, **arguments):
            super().__init__(18, **arguments)
            self.norms = torch.nn.ModuleList(torch.nn.LayerNorm(4) for _ in range(4))

    backbone = WithNorms(init_cfg=init_cfg)
    backbone.init_weights()
    assert torch.equal(backbone.conv1.weight, weights[f'{prefix or ""}conv1.weight'])
    with pytest.raises(WeightsError, match=r'r18.pth: it is of another network: \d+ of \d+ weights of ResNet'):
        ResNet(34, init_cfg=init_cfg).init_weights()
