"""Throughput of one and of several processes."""

import pytest
import torch
from mmengine.config import Config

from mmseg_camix.analysis import processes
from mmseg_camix.analysis.processes import Throughput, compare_processes
from tests.models import tiny
from tests.world import config


def test_rounds_alternate_and_ratios_are_of_the_same_round(monkeypatch):
    calls = []

    def run(cfg, count, common, steps, warmup, clock):
        calls.append((count, common))
        return {(1, False): 1.0, (2, False): 1.25, (2, True): 2.0}[count, common] * len(calls)

    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(processes, '_run', run)
    cfg = Config(dict(model=dict(type='DACS'), train_dataloader=dict(batch_size=4)))
    found = compare_processes(cfg, rounds=2)
    assert calls == [(1, False), (2, False), (2, True)] * 2
    assert found.images == {'1': [4.0, 1.0], '2': [8 / 2.5, 8 / 6.25], '2, one batch in common': [8 / 6, 8 / 12]}
    assert found.ratio('1') == 1
    assert found.ratio('2') == pytest.approx((0.8 + 1.28) / 2)


def test_the_table():
    table = Throughput({'1': [2.0, 4.0], '2': [3.0, 6.0]}, 1).table()
    assert '| 1 | 1.00 |' in table
    assert '| 2 | 1.50 |' in table
    assert '1: 3.0 images of each domain a second' in table


def test_a_process_of_its_own_measures_itself(world, tmp_path, monkeypatch):
    """In this process, for a new one would import everything again."""
    monkeypatch.setattr(torch.multiprocessing, 'spawn', lambda work, arguments, count: work(0, *arguments))
    cfg = config(world, tmp_path / 'x', segmentor=tiny.small(num_classes=19))
    try:
        assert 0 < processes._run(cfg, 1, True, 2, 1, 'thread') < 60
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    assert 'global_batch' not in cfg.model


def test_with_gpus_it_says_where_to_look(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    with pytest.raises(SystemExit, match='talk through gloo'):
        compare_processes(Config(dict()))
