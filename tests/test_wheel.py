"""The built package: installed beside the present torch, without the checkout, and used from an empty folder."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile

import pytest

from tests.tools_runner import ROOT

SOURCES = ('mmseg_camix', 'mmseg_camix_tools', 'drawn_streets', 'configs', 'tools', 'pyproject.toml', 'setup.py',
           'README.md', 'LICENSE', 'model-index.yml')
OPTIONS = ('train_cfg.max_iters=3', 'train_cfg.val_interval=3', 'default_hooks.checkpoint.interval=3',
           'train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False')

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """The wheel, built from a copy: building leaves files beside the sources."""
    source = tmp_path_factory.mktemp('source')
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name, **(dict(symlinks=True) if copy is shutil.copytree else {}))
    subprocess.run([sys.executable, '-m', 'build', '--no-isolation', '--wheel', '-o', source / 'dist', source],
                   check=True, capture_output=True)
    return next((source / 'dist').glob('*.whl'))


@pytest.fixture(scope='module')
def shell(wheel, tmp_path_factory):
    """Run a program of a new environment in an empty folder; return its output, or fail with it."""
    folder = tmp_path_factory.mktemp('clean')
    environment, empty = folder / 'environment', folder / 'empty'
    empty.mkdir()
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', environment], check=True)
    variables = {key: value for key, value in os.environ.items() if not key.startswith('PYTHON')}
    site = next(environment.glob('lib/python*/site-packages'))
    subprocess.run([sys.executable, '-m', 'pip', '--python', environment / 'bin/python', 'install', '-q', '--no-deps',
                    '--no-index', wheel], check=True, capture_output=True, env=variables)
    # The heavy packages of the present environment, but not its .pth files, which would lead to the checkout.
    (site / 'present.pth').write_text(sysconfig.get_path('purelib') + '\n')

    def run(program, *arguments):
        done = subprocess.run([environment / 'bin' / program, *map(str, arguments)], cwd=empty, env=variables,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        assert done.returncode == 0, done.stdout
        return done.stdout
    run.folder, run.environment = empty, environment
    return run


def test_the_wheel_holds_configs_tools_and_data_and_no_leftovers(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ('configs', 'tools'):
        for path in (ROOT / folder).rglob('*.*'):
            name = f'mmseg_camix/.mim/{path.relative_to(ROOT).as_posix()}'
            assert (name in names) == (path.suffix != '.pyc'), name
    packages = {path.relative_to(ROOT).as_posix() for folder in ('mmseg_camix', 'mmseg_camix_tools', 'drawn_streets')
                for path in (ROOT / folder).rglob('*') if path.is_file() and '__pycache__' not in path.parts}
    assert {'mmseg_camix/py.typed', 'mmseg_camix/.mim/model-index.yml'} <= packages
    assert packages <= names, packages - names
    assert {name.split('/')[0] for name in names if '.dist-info' not in name} == {
        'mmseg_camix', 'mmseg_camix_tools', 'drawn_streets'}


def test_from_an_empty_folder_to_a_trained_and_exported_network(shell):
    where = shell('python', '-c', 'import mmseg_camix as a, mmseg_camix_tools as b, drawn_streets as c; '
                                  'print(a.__file__, b.__file__, c.__file__)').split()
    assert all(path.startswith(f'{shell.environment}/') for path in where)
    shell('mmseg-camix', 'draw', '--sets', 'gta', 'cityscapes', '--train', 4, '--val', 2, '--height', 96)
    (shell.folder / 'own.py').write_text("_base_ = 'mmseg_camix::dacs/mini_gta2cs_tiny.py'\n")
    options = ('--cfg-options', *OPTIONS)
    assert "type='DACS'" in shell('mmseg-camix', 'print-config', 'own.py', '--only', 'model')
    shell('mmseg-camix', 'check', 'own.py', '--jobs', 1, *options)
    shell('python', '-m', 'mmseg_camix', 'train', 'own.py', '--work-dir', 'run', *options)
    shell('mmseg-camix', 'predict', 'run/iter_3.pth', 'data/mini/cityscapes/leftImg8bit/val', '--out', 'predicted')
    shell('mmseg-camix', 'export', 'run/iter_3.pth', '--formats', 'mmseg', 'safetensors', '--out', 'exported')
    # As `mim train mmseg_camix CONFIG` starts it.
    mim = next(shell.environment.glob('lib/python*/site-packages/mmseg_camix/.mim'))
    assert 'run/iter_3.pth' in shell('python', mim / 'tools/test.py', mim / 'configs/dacs/mini_gta2cs_tiny.py',
                                     'run/iter_3.pth', '--work-dir', 'test', *options)
    assert len(list(shell.folder.glob('predicted/**/*.png'))) == 2
    assert {path.name for path in shell.folder.glob('exported/*')} == {
        'card.md', 'config.py', 'model.pth', 'model.safetensors'}
