import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.registry import DefaultScope

import mmseg_camix  # noqa: F401  (first: it lets mmseg be imported)
from tests.datasets.tiny import make_gta, random_ids, write_16_bit_label, write_grey_label, write_image
from tests.world import make_world

# autograd decides in its first backward pass whether it needs threads. Fake tensors register a device that does not
# exist, after which it would start some, and processes forked by later tests could not go backward.
torch.ones(1, requires_grad=True).sum().backward()


@pytest.fixture(scope='session')
def world(tmp_path_factory):
    """Folder of tiny data of both domains; read-only."""
    return make_world(tmp_path_factory.mktemp('world'))


@pytest.fixture
def gta(tmp_path: Path) -> Path:
    return make_gta(tmp_path / 'gta')


@pytest.fixture
def synthia(tmp_path: Path) -> Path:
    root = tmp_path / 'synthia'
    for i in range(3):
        write_image(root / f'RGB/{i:07}.png', i)
        write_16_bit_label(root / f'GT/LABELS/{i:07}.png', random_ids(i, 23))
    return root


@pytest.fixture
def cityscapes(tmp_path: Path) -> Path:
    """Two cities of validation images, and five training images without labels."""
    root = tmp_path / 'cityscapes'
    for i in range(5):
        write_image(root / f'leftImg8bit/train/aachen/aachen_{i:06}_000019_leftImg8bit.png', 50 + i)
    for i, city in enumerate(('lindau', 'ulm')):
        name = f'val/{city}/{city}_000000_000019'
        write_image(root / f'leftImg8bit/{name}_leftImg8bit.png', 70 + i)
        write_grey_label(root / f'gtFine/{name}_gtFine_labelIds.png', random_ids(i, 34))
        write_grey_label(root / f'gtFine/{name}_gtFine_instanceIds.png', random_ids(i, 34))
    return root


@pytest.fixture(scope='session', autouse=True)
def quick_mmengine():
    """Skip slow parts of a Runner that no test checks: formatting the config, collecting garbage and versions."""
    import mmengine.config.config
    import mmengine.dataset.base_dataset
    import mmengine.runner.runner
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mmengine.runner.runner, 'collect_env', dict)
        # onedl-mmengine imports it from yapf when it formats
        patch.setattr(mmengine.config.config, 'FormatCode', lambda text, **kwargs: (text, False), raising=False)
        patch.setattr(mmengine.dataset.base_dataset, 'gc', SimpleNamespace(collect=lambda: 0))
        yield


@pytest.fixture(autouse=True)
def mmseg_scope():
    """Set the scope, like `default_scope = 'mmseg'` in a config."""
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


@pytest.fixture(autouse=True)
def closed_logs():
    """Close log files: mmengine's loggers are global and would keep those of earlier tests open."""
    yield
    from mmengine.logging import MMLogger
    for logger in MMLogger._instance_dict.values():
        for handler in list(logger.handlers):
            if isinstance(handler, logging.FileHandler):
                handler.close()
                logger.removeHandler(handler)
