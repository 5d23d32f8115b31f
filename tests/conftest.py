import logging
from types import SimpleNamespace

import pytest
import torch
from mmengine.registry import DefaultScope

import mmseg_camix  # noqa: F401  (first: it lets mmseg be imported)
from tests.world import make_world

# autograd decides in its first backward pass whether it needs threads. Fake tensors register a device that does not
# exist, after which it would start some, and processes forked by later tests could not go backward.
torch.ones(1, requires_grad=True).sum().backward()


@pytest.fixture(scope='session')
def world(tmp_path_factory):
    """Folder of tiny data of both domains; read-only."""
    return make_world(tmp_path_factory.mktemp('world'))


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
