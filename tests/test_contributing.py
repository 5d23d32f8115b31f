"""The example of CONTRIBUTING.md, followed literally: a new method in one file of at most 20 lines."""

import re

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from tests.models import tiny
from tests.tools_runner import ROOT
from tests.world import config

FILES = dict(re.findall(r'```python\n# (\w+\.py)\n(.*?)```', (ROOT / 'CONTRIBUTING.md').read_text(), re.S))


@pytest.fixture(scope='module')
def example(tmp_path_factory):
    """The folder in which the guide's files are; its module is imported, which registers the method."""
    folder = tmp_path_factory.mktemp('example')
    for name, text in FILES.items():
        (folder / name).write_text(text.replace("'configs/", f"'{ROOT}/configs/"))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        Config.fromfile(folder / 'cowmix_config.py', import_custom_modules=True)
        yield folder


def test_at_most_20_lines():
    assert len([line for line in FILES['cowmix.py'].splitlines() if line]) <= 20


def test_config_selects_the_method(example):
    model = Config.fromfile(example / 'cowmix_config.py').model
    assert model.type == 'MyCowMix'
    assert model.segmentor.type == 'EncoderDecoder'


def test_training_step(example, world, tmp_path):
    runner = Runner.from_cfg(config(world, tmp_path / 'run', 'MyCowMix', max_iters=1))
    before = {key: value.clone() for key, value in runner.model.state_dict().items()}
    runner.train()
    after = runner.model.state_dict()
    assert not torch.equal(before['student.decode_head.conv_seg.weight'], after['student.decode_head.conv_seg.weight'])


def test_patches_cover_half_of_each_image(example):
    model = tiny.method('MyCowMix')
    region = []
    model.masks['classes'].register_forward_hook(lambda module, inputs, output: region.append(output))
    tiny.losses_of(model, tiny.batch())
    assert region[0].dtype == torch.bool
    assert region[0].shape == (2, 1, 32, 32)
    assert torch.equal(region[0].flatten(1).sum(1), torch.full((2,), 32 * 32 // 2))
