"""Options compared in turns, and the memory of a step."""

import pytest
import torch

from benchmarks import options
from benchmarks.options import OptionComparison, OptionCost, compare_options, peak_mib
from tests.devices import DEVICES
from tests.models import tiny
from tests.world import config


@pytest.mark.parametrize('device', DEVICES)
def test_peak_of_what_is_alive_at_once(device):
    outside = torch.zeros(2**18, device=device)  # 1 MiB

    def run():
        first, second = (torch.zeros(2**19, device=device) for _ in range(2))  # 2 MiB each
        third = first + second
        del first, second
        return third * outside.sum() + 1  # two more, after two have gone

    assert peak_mib(run, torch.device(device)) == pytest.approx(6, abs=0.01)


def resnet():
    """Large enough that activations are most of the memory."""
    cfg = tiny.segmentors()['FCN with an auxiliary head']
    cfg['decode_head']['num_classes'] = 19
    cfg['auxiliary_head'][0]['num_classes'] = 19
    return cfg


@pytest.fixture(scope='module')
def compared(world, tmp_path_factory):
    cfg = config(world, tmp_path_factory.mktemp('options') / 'x', segmentor=resnet())
    names = ['channels_last', 'checkpointing', 'accumulate=2', 'amp=bf16+checkpointing']
    return names, compare_options(cfg, names, steps=2, warmup=1)


def test_all_are_measured_on_the_same_step(compared):
    names, found = compared
    assert list(found.costs) == [options.PLAIN, *names]
    for name, cost in found.costs.items():
        assert len(cost.seconds) == 2
        if name != 'accumulate=2':
            assert cost.loss == pytest.approx(found.costs[options.PLAIN].loss, rel=0.02), name
    assert found.costs['accumulate=2'].loss is None
    assert found.costs['amp=bf16+checkpointing'].loss != found.costs[options.PLAIN].loss


def test_memory(compared):
    """Where weights outweigh activations (a residual network at 32 pixels), and where they do not."""
    peak = {name: cost.peak_mib for name, cost in compared[1].costs.items()}
    assert peak['checkpointing'] < peak[options.PLAIN]
    assert peak['accumulate=2'] > peak[options.PLAIN], 'gradients wait'


def test_the_table():
    costs = {options.PLAIN: OptionCost([0.1, 0.2, 0.4], 50.0, 2.0), 'x': OptionCost([0.2, 0.1, 0.6], 25.0, 2.2),
             'accumulate=2': OptionCost([0.1, 0.2, 0.4], 60.0)}
    table = OptionComparison(costs, 'CPU').table()
    assert '| as configured | 1.00 | 1.00 | 0e+00 |' in table
    assert '| x | 1.50 | 0.50 | 1e-01 |' in table  # the median of the ratios, not the ratio of the medians
    assert '| accumulate=2 | 1.00 | 1.20 |  |' in table
    assert 'as configured: 200 ms, 50 MiB beyond the model (CPU)' in table


def test_an_unknown_option(world, tmp_path):
    with pytest.raises(SystemExit, match="'turbo' is not an option"):
        compare_options(config(world, tmp_path), ['turbo'])
