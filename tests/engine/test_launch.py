"""Launching several processes, and what is refused at once."""

import os
import subprocess
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from mmseg_camix.engine.hooks import UDAHook
from mmseg_camix.engine.processes import prepare_launch
from tests.models import tiny
from tests.tools_runner import ROOT


@pytest.fixture
def shell(tmp_path):
    """Run a script of tools/ with stand-ins for python and srun, which print how they were called."""
    for name in ('python', 'srun'):
        stand_in = tmp_path / name
        stand_in.write_text('#!/bin/sh\necho "$(basename "$0") $*"; echo "path=$PYTHONPATH port=$MASTER_PORT"\n')
        stand_in.chmod(0o755)

    def run(script: str, *arguments: str, **environment: str) -> SimpleNamespace:
        variables = {key: value for key, value in os.environ.items()
                     if not key.startswith(('NNODES', 'NODE_RANK', 'PORT'))}
        variables.update(environment, PATH=f'{tmp_path}:{os.environ["PATH"]}')
        return subprocess.run([str(ROOT / 'tools' / script), *arguments], capture_output=True, text=True, env=variables,
                              cwd=tmp_path, check=False)

    return run


def test_scripts_pass_their_arguments_to_torchrun(shell):
    output = shell('dist_train.sh', 'my config.py', '4', '--work-dir', 'a b').stdout
    assert output.startswith('python -m torch.distributed.run --nnodes=1 --node_rank=0 --nproc_per_node=4 '
                           '--master_addr=127.0.0.1 --master_port=29500 ')
    assert f'{ROOT}/tools/train.py my config.py --launcher pytorch --work-dir a b\n' in output
    assert f'path={ROOT}/tools/..' in output
    output = shell('dist_train.sh', 'c.py', '8', NNODES='2', NODE_RANK='1', MASTER_ADDR='10.0.0.1', PORT='29501').stdout
    assert '--nnodes=2 --node_rank=1 --nproc_per_node=8 --master_addr=10.0.0.1 --master_port=29501 ' in output
    output = shell('dist_test.sh', 'c.py', 'x.pth', '2', '--out', 'there').stdout
    assert '--nproc_per_node=2 ' in output
    assert f'{ROOT}/tools/test.py c.py x.pth --launcher pytorch --out there\n' in output


def test_slurm(shell):
    output = shell('slurm_train.sh', 'gpu', 'night', 'c.py', '--seed', '1', GPUS='16', SRUN_ARGS='--time=9 --exclusive',
                 PORT='29502').stdout
    assert output.startswith('srun --partition=gpu --job-name=night --gres=gpu:8 --ntasks=16 --ntasks-per-node=8 ')
    assert '--time=9 --exclusive python -u' in output
    assert 'train.py c.py --launcher slurm --seed 1' in output
    assert 'port=29502' in output
    small = shell('slurm_train.sh', 'gpu', 'x', 'c.py', GPUS='2').stdout
    assert '--gres=gpu:2 --ntasks=2 --ntasks-per-node=2 ' in small


@pytest.mark.parametrize('script', ['dist_train.sh', 'dist_test.sh', 'slurm_train.sh'])
def test_a_script_without_arguments_explains_itself(shell, script):
    ended = shell(script)
    assert ended.returncode == 2
    assert f'tools/{script} ' in ended.stderr
    assert 'set -' not in ended.stderr


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    for name in ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(('gpus', 'launcher'), [(False, 'none'), (True, 'slurm')])
def test_one_process_and_gpus_need_no_changes(no_gpu, monkeypatch, gpus, launcher):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: gpus)
    given = dict(sync_bn='torch', env_cfg=dict(dist_cfg=dict(backend='nccl')))
    cfg = Config(given)
    prepare_launch(cfg, launcher)
    assert cfg.to_dict() == dict(given, launcher=launcher)


@pytest.mark.parametrize(('cfg', 'launcher', 'match'), [
    (dict(), 'slurm', 'without a GPU only --launcher pytorch'),
    (dict(), 'pytorch', 'expects RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT .* tools/dist_train.sh CONFIG'),
    (dict(sync_bn='torch'), 'pytorch', 'sync_bn needs GPUs'),
    (dict(strategy=dict(type='FSDPStrategy')), 'none', 'FSDPStrategy: .*not supported.*Train with DDP'),
    (dict(runner_type='FlexibleRunner'), 'none', 'FlexibleRunner: .*not supported'),
])
def test_unsupported_launches_are_refused(no_gpu, cfg, launcher, match):
    with pytest.raises(SystemExit, match=match):
        prepare_launch(Config(cfg), launcher)


@pytest.mark.parametrize(('runner', 'wrapper'), [('FlexibleRunner', None), ('Runner', 'MMFullyShardedDataParallel'),
                                                 ('Runner', 'MMDeepSpeedEngineWrapper')])
def test_sharding_is_refused(runner, wrapper):
    """Also without our tools."""
    model = tiny.method('DACS')
    if wrapper:
        model.__class__ = type(wrapper, (type(model),), {})
    loader = SimpleNamespace(dataset=SimpleNamespace(metainfo={}))
    started = type(runner, (), dict(model=model, train_dataloader=loader, iter=0))()
    with pytest.raises(TypeError, match='each process needs the whole student and teacher'):
        UDAHook().before_train(started)


def test_sync_bn_may_exchange_the_layers():
    """With ``sync_bn='torch'`` in a config the teacher still recognises its normalisation layers."""
    from mmengine.model import convert_sync_batchnorm
    plain, synced = (tiny.method('CAMix') for _ in range(2))
    synced = convert_sync_batchnorm(synced)
    assert any(isinstance(m, torch.nn.SyncBatchNorm) for m in synced.teacher.modules())
    for model in (plain, synced):
        model.train()
        data = model.data_preprocessor(tiny.batch(), True)
        torch.manual_seed(0)  # dropout
        model.loss(data['inputs'], data['data_samples'])
        assert not model.teacher.model.decode_head.dropout.training
    for (key, first), second in zip(plain.state_dict().items(), synced.state_dict().values()):
        assert torch.equal(first, second), key
