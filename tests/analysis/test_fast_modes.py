"""The fast options of the significance mask: what is timed, and how masks are compared."""

import re
import time

import pytest
import torch

from mmseg_camix.analysis import fast_modes
from mmseg_camix.analysis.fast_modes import AGAIN, EXACT, Comparison, Overlap, compare
from mmseg_camix.analysis.timing import StopWatch
from mmseg_camix.models.significance import SignificanceMask
from tests.models import tiny
from tests.tools_runner import call
from tests.world import config


def overlap(exact, other):
    found = Overlap()
    for a, b in zip(exact, other):
        found.add(torch.tensor(a).view(1, 1, -1).bool(), torch.tensor(b).view(1, 1, -1).bool())
    return found


def test_overlap_over_several_crops():
    found = overlap([[1, 1, 0, 0], [1, 0, 0, 0]], [[1, 0, 0, 1], [1, 0, 0, 0]])
    assert found.kept == pytest.approx(2 / 4)  # kept by both, by either
    assert found.dropped == pytest.approx(4 / 6)
    same = overlap([[1, 0]], [[1, 0]])
    assert (same.kept, same.dropped) == (1, 1)
    assert overlap([[1, 1]], [[0, 0]]).kept == 0
    assert overlap([[1, 1]], [[1, 1]]).dropped == 1  # nothing to disagree about


def test_table():
    found = Comparison(100.0, 205.0, 2.1, 'CPU', {EXACT: 110.0, 'fast': 30.0},
                       {EXACT: overlap([[1, 0]], [[1, 0]]), 'fast': overlap([[1, 1, 0, 0]], [[1, 0, 0, 0]])})
    table = found.table()
    assert f'| {EXACT} | 110.0 | 2.10 | 1.000 | 1.000 | 50.0% |' in table
    assert '| fast | 30.0 | 1.30 | 0.500 | 0.667 | 25.0% |' in table
    assert '205.0 ms, 2.05 DACS steps; its FLOPs are 2.10 times' in table


@pytest.fixture
def cfg(world, tmp_path):
    found = config(world, tmp_path, 'CAMix', segmentor=tiny.small(num_classes=19, dropout=0.0))
    found.model.pseudo_labels = dict(significance=dict(passes=3))
    return found


def test_comparison(cfg, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(fast_modes, 'SignificanceMask',
                        lambda **options: made.append(SignificanceMask(**options)) or made[-1])
    decided = tiny.build(cfg.model)  # an untrained network is unsure of every pixel alike
    with torch.no_grad():
        decided.student.decode_head.conv_seg.weight.mul_(200)
    torch.save(dict(state_dict=decided.state_dict(), meta={}), tmp_path / 'w.pth')
    options = {'same': {}, 'sure of all': dict(beta=99.0), 'one': dict(passes=1)}
    found = compare(cfg, str(tmp_path / 'w.pth'), steps=2, progress=0.25, options=options)
    assert list(found.overlaps) == [EXACT, AGAIN, 'same', 'sure of all', 'one']
    assert found.overlaps[EXACT].kept == found.overlaps['same'].kept == 1  # one noise for all options
    assert [mask.passes for mask in made] == [3, 3, 3, 3, 1]  # as the config has it, where the option says nothing
    assert {mask.clock for mask in made} == {(250, 1000)}
    everything = found.overlaps['sure of all']
    assert everything.other == everything.pixels == 2 * 2 * 32 * 32
    assert everything.kept == pytest.approx(everything.exact / everything.pixels)
    assert 0.5 < found.overlaps[AGAIN].kept < 1
    assert 0 < found.overlaps['one'].kept < 1
    assert all(found.milliseconds[name] > 0 for name in (*found.overlaps, 'DACS', 'CAMix'))
    # A DACS step has two passes forward and backward and one forward, CAMix three more forward: 3 / 7,
    # a little less with the auxiliary head, which the noisy passes leave out.
    assert 1.35 < found.implied < 1 + 3 / 7


def test_weights_of_a_source_model(cfg, tmp_path):
    """A checkpoint without a teacher: the student's weights serve as the teacher's."""
    from mmseg_camix.analysis.timing import Training
    segmentor = tiny.build(dict(type='SourceOnly', segmentor=cfg.model.segmentor), seed=5)
    torch.save(dict(state_dict=segmentor.state_dict(), meta={}), tmp_path / 'w.pth')
    model = Training.of(cfg, str(tmp_path / 'w.pth')).model
    for name, p in segmentor.student.named_parameters():
        assert torch.equal(model.teacher.model.get_parameter(name), p)


def test_a_checkpoint_of_another_network_is_refused(cfg, tmp_path):
    """mmengine would load nothing of it, and the masks would be those of an untrained network."""
    other = tiny.build(dict(type='SourceOnly', segmentor=tiny.small(num_classes=7)))
    torch.save(dict(state_dict=other.state_dict(), meta={}), tmp_path / 'w.pth')
    with pytest.raises(SystemExit, match=r'w\.pth is of another network'):
        compare(cfg, str(tmp_path / 'w.pth'), steps=1, options={})
    with pytest.raises(SystemExit, match=r'nowhere\.pth can not be found'):
        compare(cfg, str(tmp_path / 'nowhere.pth'), steps=1, options={})


@pytest.mark.parametrize(('tool', 'arguments', 'message'), [
    ('compare_significance', ['--steps', 0], '--steps must be at least 1'),
    ('compare_significance', ['--progress', 7], r'--progress lie in \[0, 1\]'),
    ('benchmark_step', ['--warmup', -1], '--warmup at least 0'),
    ('draw_mixes', ['--count', 0], '--count must be at least 1'),
    ('draw_mixes', ['--start', -1], '--start at least 0'),
    ('draw_mixes', ['--out', '.'], 'is a folder; name a file in it'),
    ('draw_significance', ['w.pth', '--width', 3], '--width at least 64')])
def test_odd_options(tool, arguments, message, capsys):
    assert call(f'analysis/{tool}.py', 'nowhere.py', *arguments) == 2
    assert re.search(message, capsys.readouterr().err)


def test_a_method_without_significance(cfg):
    cfg.model.type = 'DACS'
    cfg.model.pseudo_labels = {}
    with pytest.raises(SystemExit, match='DACS has no significance mask; give a config of CAMix'):
        compare(cfg, steps=1)


def test_a_phase_within_a_phase_counts_once():
    watch = StopWatch(torch.device('cpu'))
    with watch('outer'):
        time.sleep(0.01)
        with watch('inner'):
            time.sleep(0.05)
    watch.end_step()
    assert watch.seconds['inner'][0] >= 0.05
    assert 0.01 <= watch.seconds['outer'][0] < 0.05
