import importlib
import re
import subprocess
import sys
from types import ModuleType
from unittest.mock import Mock

import pytest
import torch
from mmengine.utils.dl_utils import mmcv_full_available

from mmseg_camix import compat

COMPILED = mmcv_full_available()


def test_importing_prints_nothing():
    done = subprocess.run([sys.executable, '-c', 'import mmseg_camix, mmseg.apis'],
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')


def test_prepare_may_run_again():
    ops = sys.modules['mmcv.ops']
    compat.prepare()
    assert sys.modules['mmcv.ops'] is ops


@pytest.mark.skipif(COMPILED, reason='mmcv has its compiled ops here')
class TestWithoutCompiledOps:

    def test_stand_in_is_gone(self):
        assert 'mmcv._ext' not in sys.modules
        assert not hasattr(sys.modules['mmcv'], '_ext')

    def test_calling_an_op_names_the_remedy(self):
        from mmcv.ops import nms
        with pytest.raises(NotImplementedError, match=r'`nms`.*pip install mmcv==2\.1\.0'):
            nms(torch.rand(3, 4), torch.rand(3), 0.5)

    def test_ops_in_plain_torch_work(self):
        from mmcv.ops import point_sample
        image = torch.arange(4.).view(1, 1, 2, 2)
        assert point_sample(image, torch.tensor([[[0.5, 0.5]]])).item() == pytest.approx(1.5)

    def test_stand_in_goes_even_if_the_import_fails(self, monkeypatch):
        def fail(name: str) -> None:
            assert 'mmcv._ext' in sys.modules
            raise RuntimeError('broken')

        monkeypatch.delitem(sys.modules, 'mmcv.ops')
        monkeypatch.setattr(importlib, 'import_module', fail)
        with pytest.raises(RuntimeError, match='broken'):
            compat.import_mmcv_ops()
        assert 'mmcv._ext' not in sys.modules


@pytest.mark.skipif(not COMPILED, reason='needs a compiled mmcv')
def test_compiled_ops_are_left_alone():
    from mmcv.ops import nms
    assert not isinstance(sys.modules['mmcv._ext'], compat.MissingOps)
    boxes = torch.tensor([[0., 0., 2., 2.], [0., 0., 2., 1.9], [5., 5., 6., 6.]])
    assert nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5)[1].tolist() == [0, 2]


def test_with_compiled_ops_no_stand_in_is_made(monkeypatch):
    imported = []
    monkeypatch.delitem(sys.modules, 'mmcv.ops')
    monkeypatch.setattr(compat, 'find_spec', lambda name: object())
    monkeypatch.setattr(importlib, 'import_module',
                        lambda name: imported.append((name, type(sys.modules.get('mmcv._ext')))))
    compat.import_mmcv_ops()
    assert [name for name, _ in imported] == ['mmcv.ops']
    assert imported[0][1] is not compat.MissingOps


def test_ops_compiled_for_another_torch(monkeypatch):
    monkeypatch.delitem(sys.modules, 'mmcv.ops')
    monkeypatch.setattr(compat, 'find_spec', lambda name: object())
    monkeypatch.setattr(importlib, 'import_module', Mock(side_effect=ImportError('undefined symbol')))
    with pytest.raises(ImportError, match='built for another torch'):
        compat.import_mmcv_ops()


@pytest.fixture
def environment(monkeypatch):
    """Pretend that these distributions are installed, with this version of mmcv, and without these modules."""
    def pretend(distributions, version='2.1.0', missing=()):
        mmcv = ModuleType('mmcv')
        if version is not None:
            mmcv.__version__ = version
        monkeypatch.setitem(sys.modules, 'mmcv', mmcv)
        monkeypatch.setattr(compat, 'find_spec', lambda name: None if name in missing else object())
        monkeypatch.setattr(compat, 'is_installed', lambda name: name in distributions.split())
    return pretend


FROZEN, ONEDL = 'mmengine mmsegmentation mmcv-lite', 'onedl-mmengine onedl-mmsegmentation onedl-mmcv'


@pytest.mark.parametrize(('distributions', 'version'), [
    (FROZEN, '2.1.0'), (FROZEN, '2.0.0'), (ONEDL, '2.3.6'), ('', '2.1.0')])  # '': on the path, not installed
def test_what_fits_is_accepted(environment, distributions, version):
    environment(distributions, version)
    compat.check_requirements()


@pytest.mark.parametrize(('distributions', 'version', 'missing', 'message'), [
    *((FROZEN, version, '', f'mmcv {version} is installed, mmseg 1.2.2 accepts mmcv >= 2.0.0rc4, < 2.2.0: pip install '
      'mmcv-lite==2.1.0') for version in ('1.7.2', '2.0.0rc3', '2.2.0', '2.3.6')),
    (FROZEN, None, '', 'mmcv is damaged'),  # only the folder of mmcv is left
    ('', '2.1.0', 'mmengine', 'mmengine is not installed: pip install mmengine==0.10.7 mmsegmentation==1.2.2 '
     'mmcv-lite==2.1.0 (the last releases of OpenMMLab), or pip install onedl-mmengine onedl-mmsegmentation '),
    ('mmengine mmsegmentation', '2.1.0', 'mmcv', 'mmcv is not installed: pip install mmcv-lite==2.1.0'),
    ('onedl-mmengine', '2.3.6', 'mmseg', 'mmseg is not installed: pip install onedl-mmsegmentation'),
    (FROZEN + ' mmcv', '2.1.0', '', 'mmcv-lite and mmcv are both installed and overwrite each other: `pip uninstall -y '
     'mmcv-lite mmcv`, then `pip install` one of them (mmcv-lite==2.1.0)'),
    (ONEDL + ' mmengine', '2.3.6', '', 'mmengine and onedl-mmengine are both installed'),
    (FROZEN, '2.1.0', 'torch', 'PyTorch is not installed: pip install torch torchvision'),
    (FROZEN, '2.1.0', 'ftfy', 'pip install ftfy'), (FROZEN, '2.1.0', 'regex', 'pip install regex')])
def test_missing_and_unfit_packages_are_named_with_a_remedy(environment, distributions, version, missing, message):
    environment(distributions, version, [missing])
    with pytest.raises(ImportError) as error:
        compat.check_requirements()
    assert message in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(('version', 'fits'), [
    ('2.3.1+cpu', False), ('1.13.1', False), ('2.4.0', True), ('2.10.0', True), ('2.15.0+cu132', True)])
def test_an_old_torch(environment, monkeypatch, version, fits):
    environment(FROZEN)
    monkeypatch.setattr(torch, '__version__', version)
    if fits:
        compat.check_requirements()
    else:
        with pytest.raises(ImportError, match=rf'torch {re.escape(version)} is installed, mmseg_camix needs 2\.4'):
            compat.check_requirements()
