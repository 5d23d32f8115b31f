"""The command line of the export."""

import shutil
from unittest.mock import Mock

import onnxruntime
import pytest
import torch
from mmengine.config import Config

from mmseg_camix.checkpoint import read_checkpoint, save_checkpoint
from mmseg_camix_tools.export import files
from tests.export import networks
from tests.export.networks import trained
from tests.models import tiny
from tests.tools_runner import call


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    return trained(tmp_path_factory.mktemp('tool'), networks.deeplab())[0]


@pytest.fixture
def export(capsys):
    """Runs the tool; returns what it printed, or its error."""
    def run(*arguments):
        code = call('export.py', *arguments)
        printed = capsys.readouterr()
        return printed.out if code == 0 else f'{code}{printed.err}'
    return run


def test_the_teacher_beside_the_checkpoint(checkpoint, export):
    printed, folder = export(checkpoint), checkpoint.parent / 'export_teacher'
    assert sorted(path.name for path in folder.iterdir()) == ['card.md', 'config.py', 'model.pth']
    assert printed.splitlines() == [
        'teacher of DACS, iteration 7 (the method is tested with its student: --tested selects that)',
        f'{folder}/model.pth and its config.py: logits differ from the original by at most 0',
        '  stock: mmseg alone loads it', f'{folder}/card.md: the model card']


def test_other_formats(tmp_path, export):
    checkpoint, _ = trained(tmp_path / 'x', tiny.small(num_classes=19))
    out = tmp_path / 'out'
    printed = export(checkpoint, '--config', checkpoint.with_name('config.py'), '--tested', '--out', out, '--formats',
                     'safetensors', 'onnx', '--size', 32, 40, '--with-preprocessing')
    assert sorted(path.name for path in out.iterdir()) == ['card.md', 'model.onnx', 'model.safetensors']
    assert printed.startswith('student of DACS, iteration 7\n')
    assert 'images of 32x40 (height x width)\n  input of 1 x 32 x 40: logits differ from PyTorch by at most ' in printed
    image, = onnxruntime.InferenceSession(str(out / 'model.onnx')).get_inputs()
    assert (image.type, image.shape[1:]) == ('tensor(uint8)', [3, 32, 40])


def test_classes_that_are_not_stock_are_named(tmp_path, export):
    head = dict(type='DeepLabV2Head', in_channels=64, in_index=3, num_classes=19)
    path, _ = trained(tmp_path, tiny.encoder_decoder(networks.resnet(), head))
    assert 'NOT STOCK: needs the installed mmseg_camix, which the config imports, for DeepLabV2Head\n' in export(path)


@pytest.mark.parametrize(('arguments', 'error'), [
    (['nowhere.pth'], 'no checkpoint at nowhere.pth'),
    (['{folder}'], 'was not written by mmseg-camix export'),
    (['{folder}/text.pth'], 'text.pth was not opened'),
    (['{folder}/bare.pth'], 'bare.pth contains no config. Give the config as a file, with --config'),
    (['{folder}/list.pth'], 'list.pth contains no dict'),
    (['{checkpoint}', '--config', 'nowhere.py'], 'no config at nowhere.py'),
    (['{checkpoint}', '--size', '0', '4'], '--size 0 4: must be positive'),
    (['{checkpoint}', '--with-preprocessing'], '--size, --opset and --with-preprocessing are about ONNX: add'),
    (['{checkpoint}', '--out', '{folder}/text.pth'], 'text.pth is a file; give a folder with --out'),
    (['{checkpoint}', '--out', '{folder}/text.pth/a'], 'text.pth cannot be made (File exists); choose another place'),
])
def test_mistakes(checkpoint, tmp_path, export, arguments, error):
    (tmp_path / 'text.pth').write_text('hello')
    torch.save(dict(state_dict=dict(a=torch.ones(1))), tmp_path / 'bare.pth')
    torch.save([torch.ones(1)], tmp_path / 'list.pth')
    assert error in export(*(word.format(folder=tmp_path, checkpoint=checkpoint) for word in arguments))


def test_a_folder_with_another_export(checkpoint, tmp_path, export):
    (tmp_path / 'model.pth').touch()
    printed = export(checkpoint, '--out', tmp_path, '--formats', 'safetensors')
    assert f'{tmp_path} has model.pth, which this export would not replace' in printed
    assert '--formats mmseg safetensors' in printed
    assert [file.name for file in tmp_path.iterdir()] == ['model.pth']
    assert 'stock: mmseg alone loads it' in export(checkpoint, '--out', tmp_path)


def test_an_existing_folder_may_be_a_disk_of_its_own(tmp_path):
    """Files cannot be renamed from one disk to another, and the folder around it may be another's."""
    with files.staged(tmp_path) as partial:
        assert partial.parent == tmp_path
        (partial / 'a').touch()
    assert [file.name for file in tmp_path.iterdir()] == ['a']


def test_classes_are_no_files(checkpoint, tmp_path, export):
    content = read_checkpoint(checkpoint)
    content['meta']['dataset_meta']['classes'] = [f'road/path {index}' for index in range(19)]
    save_checkpoint(content, str(tmp_path / 'a.pth'))
    assert 'names files' not in export(tmp_path / 'a.pth', '--out', tmp_path / 'out')


@pytest.mark.parametrize('text', ['no json', '[1]', '{"accuracy": 1}'])
def test_metrics_of_another_program_beside_the_checkpoint(checkpoint, tmp_path, export, text):
    (tmp_path / 'metrics.json').write_text(text)
    path = shutil.copy(checkpoint, tmp_path / 'a.pth')
    assert f'{tmp_path}/export_teacher/card.md: the model card' in export(path)


def test_onnx_with_an_old_torch(checkpoint, tmp_path, monkeypatch, export):
    monkeypatch.setattr(torch, '__version__', '2.7.1+cpu')
    printed = export(checkpoint, '--formats', 'onnx', '--out', tmp_path / 'out')
    assert 'error: ONNX export needs torch 2.8 or later, 2.7.1+cpu is installed: pip install --upgrade torch' in printed
    assert not (tmp_path / 'out').exists()


def test_a_full_disk_leaves_nothing(checkpoint, tmp_path, monkeypatch, export):
    """All files of an export move into its folder at the end."""
    monkeypatch.setattr(files, 'save_checkpoint', Mock(side_effect=OSError(28, 'No space left on device')))
    assert 'No space left on' in export(checkpoint, '--out', tmp_path / 'out', '--formats', 'safetensors', 'mmseg')
    assert list(tmp_path.iterdir()) == []


def test_a_config_of_the_same_network_as_a_file(checkpoint, tmp_path, export):
    Config(dict(model=dict(type='RCCR', segmentor=networks.deeplab()))).dump(str(tmp_path / 'other.py'))
    printed = export(checkpoint, '--config', tmp_path / 'other.py', '--out', tmp_path / 'out')
    assert printed.startswith('teacher of RCCR, iteration 7\n')
