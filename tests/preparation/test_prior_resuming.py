"""Counting a prior goes on where it was interrupted, and the counts are those of one run."""

import numpy as np
import pytest

from mmseg_camix_tools.preparation import prior_counting as counting

NAMES = ('a', 'b', 'c', 'd')
ITEMS = list(range(20))


class Reader:
    """Labels by number; breaks off after so many."""

    def __init__(self, last=None):
        self.last, self.read = last, []

    def __call__(self, item):
        if len(self.read) == self.last:
            raise KeyboardInterrupt
        self.read.append(item)
        return np.random.RandomState(item).randint(0, 5, (6, 9)).astype(np.uint8)


def count(reader, kept=None, key='these'):
    return counting.count_labels(ITEMS, reader, NAMES, (6, 9), chunk=3, partial_file=kept, key=key)


def assert_same(one, other):
    assert (one.digest, one.num_images) == (other.digest, other.num_images)
    for table in ('counts', 'area', 'above', 'beside', 'touching', 'together'):
        np.testing.assert_array_equal(getattr(one, table), getattr(other, table))


@pytest.mark.parametrize('seconds', [0.0, 1e9])  # saved at once; saved by the interruption
def test_only_what_is_missing_is_read(tmp_path, monkeypatch, seconds):
    monkeypatch.setattr('mmseg_camix.datasets.scanning.SAVE_SECONDS', seconds)
    expected, kept = count(Reader()), tmp_path / 'kept.npz'
    with pytest.raises(KeyboardInterrupt):
        count(Reader(last=10), kept)
    second = Reader()
    assert_same(count(second, kept), expected)
    assert second.read == ITEMS[9:]  # three chunks of three were done
    third = Reader()
    assert_same(count(third, kept), expected)
    assert third.read == []  # the caller has not saved the result yet


@pytest.mark.parametrize(('key', 'damage'), [
    ('others', lambda data: data), ('these', lambda data: data[:-40]), ('these', lambda data: b'PK'),
    ('these', lambda data: b'')])
def test_other_items_and_damage_begin_anew(tmp_path, key, damage):
    expected, kept = count(Reader()), tmp_path / 'kept.npz'
    count(Reader(), kept)
    kept.write_bytes(damage(kept.read_bytes()))
    reader = Reader()
    assert_same(count(reader, kept, key), expected)
    assert reader.read == ITEMS
