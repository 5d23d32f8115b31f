"""Configs by the name of the package: ``mmseg_camix::camix/gta2cs_daformer.py``."""

from pathlib import Path

import pytest
from mmengine.config import Config

from mmseg_camix import package_configs
from mmseg_camix.engine.config import ConfigError, load_config
from tests.tools_runner import ROOT

NAMES = [f'mmseg_camix::{path.relative_to(ROOT / "configs")}' for path in (ROOT / 'configs').rglob('*.py')]


def test_every_config_has_a_name():
    assert len(NAMES) > 50
    for name in NAMES:
        path = Path(package_configs.resolve(name))
        assert path.resolve() == ROOT / 'configs' / name.removeprefix('mmseg_camix::')
    assert package_configs.resolve(Path('a/b.py')) == 'a/b.py'


@pytest.mark.parametrize('name', ['camix/gta2cs_daformer.py', 'dsp/mini_gta2cs_tiny.py'])
def test_a_base_by_name_is_the_base_by_path(tmp_path, name):
    configs = []
    for number, base in enumerate((f'mmseg_camix::{name}', f'{ROOT}/configs/{name}')):
        file = tmp_path / f'{number}.py'
        file.write_text(f'_base_ = {base!r}\nmodel = dict(teacher=dict(alpha=0.5))\nx = _base_.train_dataloader\n')
        configs.append(Config.fromfile(file).to_dict())
    assert configs[0] == configs[1]
    assert configs[0]['model']['teacher']['alpha'] == 0.5


def test_names_of_other_packages_are_left_to_mmengine(tmp_path):
    file = tmp_path / 'x.py'
    file.write_text("_base_ = 'mmseg::_base_/models/fcn_unet_s5-d16.py'\n")
    assert Config.fromfile(file).model.backbone.type == 'UNet'


def test_a_config_by_name_has_the_work_dir_of_its_path():
    assert load_config('mmseg_camix::dacs/mini_gta2cs_tiny.py').work_dir == 'work_dirs/dacs/mini_gta2cs_tiny'


def test_mistyped_names(tmp_path):
    message = "no config mmseg_camix::camix/gta2cs_daforme.py; did you mean 'camix/gta2cs_daformer.py'?"
    with pytest.raises(ValueError, match='camix/gta2cs') as error:
        load_config('mmseg_camix::camix/gta2cs_daforme.py')
    assert message in str(error.value)
    (tmp_path / 'own.py').write_text("_base_ = 'mmseg_camix::camix/gta2cs_daforme.py'\n")
    with pytest.raises(ConfigError) as error:
        load_config(str(tmp_path / 'own.py'))
    assert 'own.py cannot be read' in str(error.value)
    assert message in str(error.value)
    with pytest.raises(ValueError, match=r'they are in .*\.mim/configs'):
        package_configs.resolve('mmseg_camix::q')
