"""The command line of the export."""

import errno

import onnxruntime
import pytest
import torch

from tests.export import networks
from tests.export.networks import trained
from tests.models import tiny
from tests.tools_runner import call


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    return trained(tmp_path_factory.mktemp('tool'), networks.deeplab())[0]


def exported(capsys, *arguments):
    code = call('export.py', *arguments)
    return code, capsys.readouterr()


def test_the_teacher_beside_the_checkpoint(checkpoint, capsys):
    code, said = exported(capsys, checkpoint)
    folder = checkpoint.parent / 'export_teacher'
    assert code == 0
    assert sorted(path.name for path in folder.iterdir()) == ['config.py', 'model.pth']
    assert said.out.splitlines() == [
        'teacher of DACS, iteration 7 (the method is tested with its student: --tested selects that)',
        f'{folder}/model.pth and its config.py: logits differ from the original by at most 0',
        '  stock: mmseg alone loads it']


def test_other_formats(tmp_path, capsys):
    (tmp_path / 'x').mkdir()
    checkpoint, _ = trained(tmp_path / 'x', tiny.small(num_classes=19))
    tmp_path = tmp_path / 'out'
    code, said = exported(capsys, checkpoint, '--config', checkpoint.with_name('config.py'), '--tested', '--out',
                          tmp_path, '--formats', 'safetensors', 'onnx', '--size', 32, 40, '--with-preprocessing')
    assert code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ['model.onnx', 'model.safetensors']
    assert said.out.startswith('student of DACS, iteration 7\n')
    assert 'images of 32x40\n  input of 1 x 32 x 40: logits differ from PyTorch by at most ' in said.out
    session = onnxruntime.InferenceSession(str(tmp_path / 'model.onnx'))
    assert session.get_inputs()[0].type == 'tensor(uint8)'
    assert session.get_inputs()[0].shape[1:] == [3, 32, 40]


def test_what_is_not_stock_is_said(tmp_path, capsys):
    head = dict(type='DeepLabV2Head', in_channels=64, in_index=3, num_classes=19)
    path, _ = trained(tmp_path, tiny.encoder_decoder(networks.resnet(), head))
    code, said = exported(capsys, path)
    assert code == 0
    assert 'NOT STOCK: needs the installed mmseg_camix, which the config imports, for DeepLabV2Head\n' in said.out


@pytest.mark.parametrize(('arguments', 'error'), [
    (['nowhere.pth'], 'no checkpoint at nowhere.pth'),
    (['{folder}'], 'is no folder of tools/export.py'),
    (['{folder}/text.pth'], 'text.pth was not opened'),
    (['{folder}/bare.pth'], 'bare.pth contains no config. Give the config as a file, with --config'),
    (['{folder}/list.pth'], 'list.pth contains no dict'),
    (['{checkpoint}', '--config', 'nowhere.py'], 'no config at nowhere.py'),
])
def test_mistakes(checkpoint, tmp_path, capsys, arguments, error):
    (tmp_path / 'text.pth').write_text('hello')
    torch.save(dict(state_dict=dict(a=torch.ones(1))), tmp_path / 'bare.pth')
    torch.save([torch.ones(1)], tmp_path / 'list.pth')
    code, said = exported(capsys, *(one.format(folder=tmp_path, checkpoint=checkpoint) for one in arguments))
    assert code not in (0, None)
    assert error in said.err + str(code)


def test_a_full_disk_leaves_nothing(checkpoint, tmp_path, monkeypatch, capsys):
    """All files of an export move into its folder at the end."""
    from mmseg_camix_tools.export import files

    def full(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(files, 'save_checkpoint', full)
    code, said = exported(capsys, checkpoint, '--out', tmp_path / 'out', '--formats', 'safetensors', 'mmseg')
    assert code not in (0, None)
    assert 'No space left on device' in f'{code}{said.err}'
    assert list(tmp_path.iterdir()) == []


def test_impossible_sizes(checkpoint, capsys):
    assert call('export.py', checkpoint, '--size', 0, 4) == 2
    assert '--size 0 4: must be positive' in capsys.readouterr().err


def test_a_config_of_the_same_network_as_a_file(checkpoint, tmp_path, capsys):
    from mmengine.config import Config
    cfg = Config(dict(model=dict(type='RCCR', segmentor=networks.deeplab())))
    cfg.dump(str(tmp_path / 'other.py'))
    code, said = exported(capsys, checkpoint, '--config', tmp_path / 'other.py', '--out', tmp_path / 'out')
    assert code == 0
    assert said.out.startswith('teacher of RCCR, iteration 7\n')
