import logging
from types import SimpleNamespace

import pytest
from mmengine.registry import DefaultScope

import mmseg_camix  # noqa: F401  (first: it lets mmseg be imported)
from tests.world import make_world


@pytest.fixture(scope='session')
def world(tmp_path_factory):
    """Tiny data of both domains; read only."""
    return make_world(tmp_path_factory.mktemp('world'))


@pytest.fixture(scope='session', autouse=True)
def quick_mmengine():
    """A Runner spends seconds on what no test looks at: laying out the config, collecting garbage."""
    import mmengine.config.config
    import mmengine.dataset.base_dataset
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mmengine.config.config, 'FormatCode', lambda text, **kwargs: (text, False))
        patch.setattr(mmengine.dataset.base_dataset, 'gc', SimpleNamespace(collect=lambda: 0))
        yield


@pytest.fixture(autouse=True)
def mmseg_scope():
    """What `default_scope = 'mmseg'` does in a config."""
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


@pytest.fixture(autouse=True)
def closed_logs():
    """mmengine's loggers are global and keep the files of earlier tests open."""
    yield
    from mmengine.logging import MMLogger
    for logger in MMLogger._instance_dict.values():
        for handler in list(logger.handlers):
            if isinstance(handler, logging.FileHandler):
                handler.close()
                logger.removeHandler(handler)
