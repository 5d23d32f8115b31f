"""Errors of the tools: input, exit code, and the one line that says what is wrong, where, and what to do."""

import shlex

import pytest

from tests.tools_runner import call
from tests.world import config

BASE = "_base_ = './base.py'\n"
OPTIONS = 'train.py base.py --cfg-options '


@pytest.fixture(scope='module')
def folder(world, tmp_path_factory):
    """A folder with a config that trains (base.py), a file, and a checkpoint that is none."""
    folder = tmp_path_factory.mktemp('errors')
    config(world, folder / 'x').dump(str(folder / 'base.py'))
    (folder / 'file').write_text('')
    (folder / 'empty.pth').write_text('')
    return folder


@pytest.fixture
def run(folder, monkeypatch, capsys):
    """(exit code, last line of the output) of a command in `folder`."""
    monkeypatch.chdir(folder)

    def run(command):
        code = call(*shlex.split(command))
        return (1, code) if isinstance(code, str) else (code, capsys.readouterr().err.strip().rsplit('\n', 1)[-1])
    return run


@pytest.mark.parametrize(('command', 'code', 'message'), [
    # options
    (OPTIONS + 'trian_cfg.max_iters=1', 1, "trian_cfg.max_iters: the config has no entry 'trian_cfg'; did you mean "
                                           "'train_cfg'?"),
    (OPTIONS + 'foo.bar=1', 1, "--cfg-options foo.bar: the config has no entry 'foo'; it has: custom_hooks, "),
    (OPTIONS + 'default_hooks.chekpoint.interval=1', 1, "has no hook 'chekpoint'; did you mean 'checkpoint'?"),
    (OPTIONS + 'optim_wrapper.optimizer.lr=abc', 1, "optim_wrapper.optimizer.lr='abc': must be a number; the config "
                                                    'has 0.01'),
    (OPTIONS + 'train_cfg.type=IterBasedTrainLoop train_cfg.by_epoch=True', 1,
     "train_cfg: type='IterBasedTrainLoop' and by_epoch=True exclude each other; remove by_epoch"),
    (OPTIONS + 'train_cfg.val_interval=0', 1, 'train_cfg.val_interval=0 must be a whole number of at least 1'),
    (OPTIONS + 'train_cfg.max_iters=2.5', 1, 'train_cfg.max_iters=2.5 must be a whole number of at least 1'),
    (OPTIONS + 'train_cfg', 2, "'train_cfg' has no '='; write KEY=VALUE"),
    (OPTIONS + '"data_root=no such folder"', 1, 'no such folder/gta'),
    (OPTIONS + 'crop_size=0', 1, 'the config has no crop_size to change'),
    (OPTIONS + 'param_scheduler.3.end=1', 1, '--cfg-options param_scheduler.3.end: '),
    (OPTIONS + 'model.type=DACSS', 1, "model: type 'DACSS' is not registered (a custom one needs custom_imports). "
                                      "Did you mean 'DACS'?"),
    (OPTIONS + 'model.teacher.alfa=1', 1, 'alpha'),
    (OPTIONS + 'model.masks.classes.ration=1', 1, 'ratio'),
    (OPTIONS + 'model.objectives.mixed.type=PixelCrossEntropi', 1, 'PixelCrossEntropy'),
    (OPTIONS + 'model.segmentor.backbone.type=Nothing', 1, "there is no model of type 'Nothing'; list the package"),
    (OPTIONS + 'optim_wrapper.optimizer.momentun=1', 1, "unexpected keyword argument 'momentun'. If 'momentun' comes "
                                                       'from a _base_ config'),
    (OPTIONS + 'train_cfg.max_iter=1', 1, "has no argument 'max_iter'; did you mean 'max_iters'?"),
    (OPTIONS + 'optim_wrapper.optimizer.lr=-1', 1, 'Invalid learning rate: -1'),
    ('test.py base.py empty.pth --input-size 0 0', 2, "argument --input-size: '0' must be a whole number of at least"),
    ('test.py base.py empty.pth --slide 0 0', 2, "argument --slide: '0' must be a whole number of at least 1"),
    ('test.py base.py empty.pth --tta 0', 2, "argument --tta: '0' must be a number above 0"),
    ('test.py base.py nothing.pth', 1, 'no checkpoint at nothing.pth'),
    ('test.py base.py empty.pth', 1, 'empty.pth'),
    # files
    ('train.py nothing.py', 1, 'no config at nothing.py'),
    ('test.py nothing.py empty.pth', 1, 'no config at nothing.py'),
    ('benchmarks.step nothing.py', 1, 'no config at nothing.py'),
    ('train.py base.py --work-dir file', 1, 'the work folder file cannot be made (a file of this name exists); '
                                            'choose another --work-dir'),
    ('train.py base.py --work-dir file/below', 1, 'the work folder file/below cannot be made (Not a directory)'),
    ('train.py base.py --work-dir /proc/run', 1, 'the work folder /proc/run cannot be made ('),
    ('train.py base.py --resume nothing.pth', 1, 'no checkpoint at nothing.pth; --resume without a file '),
])
def test_errors_of_options_and_files(run, command, code, message):
    end, line = run(command)
    assert end == code
    assert message in line
    assert '\n' not in line


@pytest.mark.parametrize(('text', 'message'), [
    ('a = 1\nmodel = dict(type=\n', "config.py, line 2: '(' was never closed: model = dict(type="),
    ('model = nothing\n', "config.py cannot be read: NameError: name 'nothing' is not defined"),
    ("_base_ = './gone.py'\n", 'gone.py'),
    (BASE + "model = dict(backbone=dict(), type='DACS')\n",
     "model: type 'DACS' was merged into the segmentor of a _base_ config (backbone); write model = dict("
     "_delete_=True, type='DACS', segmentor=_base_.model)"),
    (BASE + "optim_wrapper = dict(optimizer=dict(type='SGD', betas=(0.9, 0.9)))\n", 'with _delete_=True beside'),
    (BASE + 'train_dataloader = dict(dataset=dict(target=dict(pipeline=[\n'
            "    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackUDAInputs')])))\n",
     "branch 'target': its pipeline loads labels, but there is none; a target needs no labels: remove "
     "dict(type='LoadAnnotations')"),
])
def test_errors_of_configs(folder, run, text, message):
    (folder / 'config.py').write_text(text)
    code, line = run('train.py config.py')
    assert code == 1
    assert message in line
    assert '\n' not in line


def test_the_trace_is_shown_on_request_and_in_the_log(run, tmp_path):
    with pytest.raises(ValueError, match='no config at'):
        run('train.py nothing.py --debug')
    _, message = run(f'{OPTIONS} optim_wrapper.optimizer.lr=-1 experiment_name=logged --work-dir {tmp_path}')
    assert 'Invalid learning rate' in message
    logs = ''.join(path.read_text() for path in tmp_path.rglob('*.log'))
    assert 'Traceback (most recent call last)' in logs
    assert 'Invalid learning rate' in logs
