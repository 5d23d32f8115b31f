"""The memory of a step is counted without computing it."""

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from benchmarks import memory
from benchmarks.memory import LiveBytes, Need
from tests.models import tiny


def test_the_peak_is_the_largest_sum_of_living_tensors():
    with LiveBytes() as live:
        first = torch.ones(1000)
        for _ in range(3):
            second = torch.ones(500)
            view = second[:10]
            del second, view
    assert (live.peak, live.bytes) == (6000, 4000)
    assert first.sum() == 1000


@pytest.mark.parametrize('kind', ['DACS', 'CAMix', 'MIC', 'RCCR'])
@pytest.mark.parametrize('mode', ['summed', 'each'])
def test_tensors_without_data_need_what_real_ones_do(kind, mode):
    model = tiny.method(kind, tiny.segmentors()['FCN with an auxiliary head'], backward=mode)
    optimizer = build_optim_wrapper(model, dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1)))
    fake, real = (memory.step_bytes(model, optimizer, 2, fake) for fake in (True, False))
    assert fake == pytest.approx(real, rel=0.02)


def test_needs_of_options():
    cfg = Config(dict(
        model=dict(type='MIC', segmentor=tiny.small()), optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.1))))
    needs = memory.needs_of(cfg, ['', 'backward=each'], 2)
    summed, each = needs.values()
    model = tiny.method('MIC', tiny.small())
    sizes = [sum(p.nbytes for p in network.parameters()) for network in (model.student, model.teacher)]
    assert summed.lasting == each.lasting > 3 * sizes[0] + sizes[1]
    assert summed.lasting - 3 * sizes[0] - sizes[1] < 2**12, 'buffers of the norms'
    assert each.step < 0.75 * summed.step


def test_table():
    needs = {'': Need(2**30, 3 * 2**30), 'backward=each': Need(2**30, 2**30)}
    assert memory.table(needs).splitlines()[2:] == [
        '| as configured | 1.0 | 3.0 | 4.0 | 1.00 |', '| `backward=each` | 1.0 | 1.0 | 2.0 | 0.33 |']
