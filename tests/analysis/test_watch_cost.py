"""The clock around the watches."""

import pytest

from mmseg_camix.analysis.watch_cost import WatchCost, watch_cost
from tests.tools_runner import call
from tests.world import config


def test_every_watch_is_timed(world, tmp_path):
    """All ran (what did not has no median), within steps that are longer than they."""
    cost = watch_cost(config(world, tmp_path), rounds=2, steps=3)
    assert 0 < cost.nonfinite < cost.watched
    assert cost.collapse > 0
    assert cost.live > 0
    assert cost.plain > 0


def test_shares_of_a_step():
    table = WatchCost(200.0, 201.0, 1.0, 4.0, 100.0).table()
    for row in ('| within NonFiniteHook | 1.00 | 1 | 0.50% |', '| a look of CollapseHook | 4.00 | 10 | 0.20% |',
                '| a picture of LiveViewHook | 100.00 | 500 | 0.10% |'):
        assert row in table


@pytest.mark.parametrize(('arguments', 'message'), [
    (['nothing.py'], 'no config at nothing.py'), (['x.py', '--steps', '1'], 2), (['x.py', '--rounds', '0'], 2)])
def test_bad_arguments(arguments, message):
    code = call('analysis/watch_cost.py', *arguments)
    assert code == message if isinstance(message, int) else message in code


def test_a_plain_model(world, tmp_path):
    cfg = config(world, tmp_path, method=None)
    cfg.dump(str(tmp_path / 'plain.py'))
    assert 'has no adapted model (model.type=EncoderDecoder)' in call('analysis/watch_cost.py', tmp_path / 'plain.py')
