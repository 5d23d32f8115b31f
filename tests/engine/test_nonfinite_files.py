"""What is kept of a step that is not finite: files, counts in checkpoints, and the way back to the culprit."""

import math

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.structures import SegDataSample

from mmseg_camix.engine.watch.evidence import load_evidence, packed, random_states, set_random_states, unpacked
from tests.engine.bare_loop import BAD, BareLoop
from tests.engine.fragile import fragile_config, same
from tests.models import tiny
from tests.tools_runner import call

QUIET = dict(val_cfg=None, val_dataloader=None, val_evaluator=None)


@pytest.fixture(scope='module')
def broken(world, tmp_path_factory):
    """Work folder of a DACS training (dropout, a clipped norm) whose steps 1 and 2 break, and its config."""
    folder = tmp_path_factory.mktemp('broken')
    cfg = fragile_config(world, folder / 'run', at=(1, 2), max_iters=4, hook=dict(max_files=1), **QUIET,
                         optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.01), clip_grad=dict(max_norm=1.0)))
    cfg.dump(str(folder / 'cfg.py'))
    assert call('train.py', folder / 'cfg.py', '--work-dir', folder / 'run') == 0
    return folder / 'run'


def test_files(broken):
    """So many as were asked for, plain data, whole."""
    assert sorted(file.name for file in (broken / 'nonfinite').iterdir()) == ['iter_1.pth', 'iter_1_weights.pth']
    content = torch.load(broken / 'nonfinite/iter_1.pth', weights_only=True)
    assert (content['seed'], content['rank'], content['world_size'], content['max_iters']) == (0, 0, 1, 4)
    step, = content['forwards']
    assert step['iteration'] == 1
    assert tuple(step['progress']) == (1, 4, 0)
    assert math.isnan(step['terms']['fragile.loss_fragile'])
    assert math.isfinite(step['terms']['mixed.loss_ce'])
    assert step['batch']['source']['inputs'][0].dtype == torch.uint8
    assert content['metainfo']['classes'][0] == 'road'
    weights = torch.load(broken / 'nonfinite/iter_1_weights.pth', weights_only=True)
    assert all(value.isfinite().all() for value in weights['state_dict'].values())


def test_replay_names_the_culprit(broken, capsys):
    assert call('replay_step.py', broken / 'cfg.py', broken / 'nonfinite/iter_1.pth') == 0
    report = capsys.readouterr().out
    assert 'step 1 of 4, rank 0 of 1, seed 0' in report
    assert "first in the forward pass:  the output of objectives.fragile (Fragile)['loss_fragile'] () float32, 1 NaN" \
        in report
    assert 'first in the backward pass: the gradient of the output of student.decode_head.conv_seg (Conv2d)' in report
    assert 'weights: all finite' in report
    assert 'images: all finite' in report
    assert '(was' not in report, 'every loss is the same to the last bit, dropout and masks included'


def test_replay_with_other_weights(broken, capsys):
    """Those of the end, whose losses are others; the culprit is the same."""
    assert call('replay_step.py', broken / 'cfg.py', broken / 'nonfinite/iter_1.pth', '--checkpoint',
                broken / 'iter_4.pth') == 0
    report = capsys.readouterr().out
    assert '(was' in report
    assert 'objectives.fragile (Fragile)' in report


def test_replay_of_what_is_finite(broken, capsys):
    """The objective repaired: nothing to find, and what that may mean."""
    assert call('replay_step.py', broken / 'cfg.py', broken / 'nonfinite/iter_1.pth', '--cfg-options',
                'model.objectives.fragile.at=[]') == 1
    report = capsys.readouterr().out
    assert 'fragile.loss_fragile: 0 (was nan)' in report
    assert 'Everything is finite here. The step needs the weights' in report


def test_replay_of_a_gradient(world, tmp_path, capsys):
    """A loss that is finite, with a gradient that is not; both forward passes of a step with accumulation; bfloat16."""
    wrapper = dict(type='Bf16OptimWrapper', optimizer=dict(type='SGD', lr=0.1), accumulative_counts=2)
    cfg = fragile_config(world, tmp_path / 'run', 'SourceOnly', at=(1,), kind='gradient', max_iters=2, **QUIET,
                         optim_wrapper=wrapper)
    cfg.dump(str(tmp_path / 'cfg.py'))
    assert call('train.py', tmp_path / 'cfg.py', '--work-dir', tmp_path / 'run') == 0
    capsys.readouterr()
    assert call('replay_step.py', tmp_path / 'cfg.py', tmp_path / 'run/nonfinite/iter_1.pth') == 0
    report = capsys.readouterr().out
    assert 'step 0, 1 of 2' in report
    assert torch.load(tmp_path / 'run/nonfinite/iter_1.pth')['forwards'][1]['autocast'] == 'bfloat16'
    assert 'first in the forward pass:  everything is finite' in report
    assert 'first in the backward pass: the gradient of the output of student.decode_head.conv_seg' in report
    assert '(was' not in report


def test_replay_of_bad_arguments(broken, tmp_path):
    file = broken / 'nonfinite/iter_1.pth'
    assert 'no config at nothing.py' in call('replay_step.py', 'nothing.py', file)
    assert 'does not hold the inputs of a step' in call('replay_step.py', broken / 'cfg.py',
                                                        broken / 'iter_4.pth')
    (tmp_path / 'iter_1.pth').write_bytes(file.read_bytes())
    assert 'name a checkpoint of the same training with --checkpoint' in call(
        'replay_step.py', broken / 'cfg.py', tmp_path / 'iter_1.pth')
    (tmp_path / 'iter_1.pth').write_bytes(file.read_bytes()[:1000])
    assert 'damaged' in call('replay_step.py', broken / 'cfg.py', tmp_path / 'iter_1.pth')


def test_counts_survive_a_resume(world, tmp_path):
    """Stopped in the middle of a row of failures, the resumed training ends as the whole one."""
    states = {}
    for name, parts in (('whole', (4,)), ('parts', (2, 4))):
        for iterations in parts:
            cfg = fragile_config(world, tmp_path / name, at=(1, 2), max_iters=4, **QUIET)
            cfg.model.segmentor = tiny.small(num_classes=19, dropout=0.0)
            cfg.update(resume=iterations == 4, experiment_name=f'{tmp_path.name}{name}{iterations}')
            cfg.default_hooks.checkpoint.interval = 2
            runner = Runner.from_cfg(cfg)
            if iterations == 2:
                runner.register_hook(_Stop())
            try:
                runner.train()
            except KeyboardInterrupt:
                continue
        states[name] = torch.load(tmp_path / name / 'iter_4.pth', weights_only=True)
    whole, parts = states['whole'], states['parts']
    assert same(whole['state_dict'], parts['state_dict'])
    assert same(whole['optimizer'], parts['optimizer'])
    for state in (whole, parts):
        assert state['message_hub']['runtime_info']['nonfinite'] == dict(skipped=2, consecutive=0, overflows=0, saved=2)


class _Stop(Hook):
    priority = 'LOWEST'

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if batch_idx == 2:
            raise KeyboardInterrupt


def test_a_batch_as_plain_data():
    batch = tiny.batch(size=8, count=1)
    batch['source']['data_samples'][0].set_metainfo(dict(flip=True, scale=(1, 2.5), path=None))
    batch['other'] = (torch.float32, [1, 'two'])
    again = unpacked(packed(batch))
    sample, before = again['source']['data_samples'][0], batch['source']['data_samples'][0]
    assert isinstance(sample, SegDataSample)
    assert torch.equal(sample.gt_sem_seg.data, before.gt_sem_seg.data)
    assert (sample.flip, sample.scale, sample.path, sample.img_shape) == (True, (1, 2.5), None, (8, 8))
    assert torch.equal(again['target']['inputs'][0], batch['target']['inputs'][0])
    assert again['other'] == ('torch.float32', [1, 'two']), 'what is no data is kept as its text'


def test_random_states_go_on_where_they_were():
    def draw():
        import random

        import numpy as np
        return torch.rand(3).tolist(), np.random.rand(), np.random.randn(), random.random(), random.gauss(0, 1)  # noqa
    states = random_states()
    first = draw()
    assert draw() != first
    set_random_states(states)
    assert draw() == first


def test_a_full_disk_does_not_stop_the_training(tmp_path, monkeypatch, capsys):
    def full(*args, **kwargs):
        raise OSError(28, 'No space left on device')
    monkeypatch.setattr('mmseg_camix.engine.watch.evidence.save_checkpoint', full)
    loop = BareLoop(tmp_path)
    assert not loop.step(BAD)
    assert loop.step()
    assert loop.counts['skipped'] == 1


def test_weights_are_optional(tmp_path):
    loop = BareLoop(tmp_path, hook=dict(save_weights=False))
    loop.step(BAD)
    assert [file.name for file in (tmp_path / 'nonfinite').iterdir()] == ['iter_0.pth']
    assert set(load_evidence(tmp_path / 'nonfinite/iter_0.pth')['buffers']) == {
        'norm.running_mean', 'norm.running_var', 'norm.num_batches_tracked'}
    torch.save(dict(a=1), tmp_path / 'x.pth')
    with pytest.raises(ValueError, match='does not hold the inputs of a step; NonFiniteHook writes'):
        load_evidence(tmp_path / 'x.pth')


def test_the_config_of_the_error_is_the_one_with_all_options(broken):
    assert Config.fromfile(broken / 'cfg.py').model.objectives.fragile.at == [1, 2]
