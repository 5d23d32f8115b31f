"""One name of a thing, in whatever form it comes."""

from mmcv.transforms import Resize
from mmengine.config import ConfigDict

from mmseg_camix.type_names import type_name


def test_type_name():
    for thing in (dict(type='mmseg.Resize'), ConfigDict(type=Resize), Resize, 'mmcv.transforms.Resize', 'Resize',
                  Resize(scale=(4, 2))):
        assert type_name(thing) == 'Resize'
    assert type_name(dict(type=len)) == 'len'  # a function, as some registries hold them
