import pytest
from mmengine.registry import DefaultScope


@pytest.fixture(autouse=True)
def mmseg_scope():
    """What `default_scope = 'mmseg'` does in a config."""
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield
