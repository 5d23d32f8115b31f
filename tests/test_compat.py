import importlib
import subprocess
import sys
from types import ModuleType

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
    seen = []
    monkeypatch.delitem(sys.modules, 'mmcv.ops')
    monkeypatch.setattr(compat, 'find_spec', lambda name: object())
    monkeypatch.setattr(importlib, 'import_module',
                        lambda name: seen.append((name, type(sys.modules.get('mmcv._ext')))))
    compat.import_mmcv_ops()
    assert [name for name, _ in seen] == ['mmcv.ops']
    assert seen[0][1] is not compat.MissingOps


def test_ops_compiled_for_another_torch(monkeypatch):
    def fail(name: str) -> None:
        raise ImportError('undefined symbol')

    monkeypatch.delitem(sys.modules, 'mmcv.ops')
    monkeypatch.setattr(compat, 'find_spec', lambda name: object())
    monkeypatch.setattr(importlib, 'import_module', fail)
    with pytest.raises(ImportError, match='built for another torch'):
        compat.import_mmcv_ops()


@pytest.mark.parametrize(('version', 'missing', 'match'), [
    ('2.1.0', 'mmcv', r'(?s)pip install mmcv-lite==2\.1\.0.*pip install mmcv==2\.1\.0'),
    *((version, '', rf'{version}.*>= 2\.0\.0rc4, < 2\.2\.0') for version in ('1.7.2', '2.0.0rc3', '2.2.0')),
    (None, '', 'damaged'),  # only the folder of mmcv is left
    ('2.1.0', 'ftfy', 'pip install ftfy'), ('2.1.0', 'regex', 'pip install regex')])
def test_missing_and_unfit_packages_are_named_with_a_remedy(monkeypatch, version, missing, match):
    mmcv = ModuleType('mmcv')
    if version is not None:
        mmcv.__version__ = version
    monkeypatch.setitem(sys.modules, 'mmcv', mmcv)
    monkeypatch.setattr(compat, 'find_spec', lambda name: None if name == missing else object())
    with pytest.raises(ImportError, match=match):
        compat.check_requirements()
