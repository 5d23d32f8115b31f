"""How tests say that a config must be refused."""

import pytest

from mmseg_camix.models.building import TableError

from . import tiny


def refused(match, error=TableError, kind='DACS', segmentor=None, **arguments):
    """Building a method with these arguments fails with a message that matches."""
    with pytest.raises(error, match=match):
        tiny.method(kind, tiny.per_pixel() if segmentor is None else segmentor, **arguments)
