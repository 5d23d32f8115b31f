"""How a config's tables merge into a method's defaults."""

import copy

import pytest
from mmengine.config import ConfigDict

from mmseg_camix.models.masks import BoxMask
from mmseg_camix.models.uda.methods import DACS
from mmseg_camix.models.uda.tables import merge_table, needed

from . import tiny

DEFAULTS = dict(a=dict(type='A', x=1, inner=dict(type='I', p=1, q=2), many=[1, 2]), b=dict(type='B', y=2))


@pytest.mark.parametrize(('override', 'expected'), [
    (None, DEFAULTS),
    ({}, DEFAULTS),
    (dict(a=dict(x=5)), dict(DEFAULTS, a=dict(DEFAULTS['a'], x=5))),
    (dict(a=dict(type='A', z=5)), dict(DEFAULTS, a=dict(DEFAULTS['a'], z=5))),
    (dict(a=dict(inner=dict(q=3))), dict(DEFAULTS, a=dict(DEFAULTS['a'], inner=dict(type='I', p=1, q=3)))),
    (dict(a=dict(inner=dict(type='J', r=3))), dict(DEFAULTS, a=dict(DEFAULTS['a'], inner=dict(type='J', r=3)))),
    (dict(a=dict(inner=dict(_delete_=True, type='I'))), dict(DEFAULTS, a=dict(DEFAULTS['a'], inner=dict(type='I')))),
    (dict(a=dict(inner=None)), dict(DEFAULTS, a=dict(DEFAULTS['a'], inner=None))),
    (dict(a=dict(many=[3])), dict(DEFAULTS, a=dict(DEFAULTS['a'], many=[3]))),
    (dict(a=dict(type='C', x=7)), dict(DEFAULTS, a=dict(type='C', x=7))),
    (dict(a=dict(_delete_=True, type='A', z=1)), dict(DEFAULTS, a=dict(type='A', z=1))),
    (dict(a=None), dict(b=DEFAULTS['b'])),
    (dict(c=None), DEFAULTS),
    (dict(c=dict(type='C', inner=dict(p=1))), dict(DEFAULTS, c=dict(type='C', inner=dict(p=1)))),
])
@pytest.mark.parametrize('kind', [dict, ConfigDict])
def test_merging(override, expected, kind):
    before = copy.deepcopy(DEFAULTS)
    given = None if override is None else kind(copy.deepcopy(override))
    assert merge_table(DEFAULTS, given) == expected
    assert given is None or given == override
    assert before == DEFAULTS


def test_what_is_merged_shares_nothing_with_the_defaults():
    merged = merge_table(DEFAULTS, dict(b=dict(y=3)))
    merged['a']['many'].append(9)
    merged['a']['inner']['p'] = 9
    assert DEFAULTS['a']['many'] == [1, 2]
    assert DEFAULTS['a']['inner']['p'] == 1


def test_the_order_of_the_defaults_is_kept():
    assert list(merge_table(DEFAULTS, dict(c=dict(type='C'), a=dict(x=2)))) == ['a', 'b', 'c']


def arguments(model):
    return (model.masks['classes'].ratio, model.pseudo_labels.threshold, model.teacher.alpha,
            model.augment.jitter_probability, model.objectives['mixed'].weight(0, 1))


def test_methods_do_not_change_their_defaults():
    before = copy.deepcopy(DACS.defaults)
    changed = tiny.method(
        'DACS', tiny.per_pixel(), masks=dict(classes=dict(ratio=0.25)), pseudo_labels=dict(threshold=0.5),
        teacher=dict(alpha=0.9), augment=dict(jitter_probability=0.1), objectives=dict(mixed=dict(weight=2.0)))
    assert arguments(changed) == (0.25, 0.5, 0.9, 0.1, 2.0)
    assert before == DACS.defaults
    assert arguments(tiny.method('DACS', tiny.per_pixel())) == (0.5, 0.968, 0.99, 0.8, 1.0)


def test_another_type_takes_no_arguments_over():
    model = tiny.method('CutMix', tiny.per_pixel(), masks=dict(region=dict(type='ClassMask', ratio=1.0)))
    assert type(model.masks['region']).__name__ == 'ClassMask'
    changed = tiny.method('MeanTeacher', tiny.per_pixel(), objectives=dict(
        strong=dict(type='PixelCrossEntropy', view='strong', normalise='valid')))
    assert changed.objectives['strong'].normalise == 'valid'
    assert not changed.pseudo_labels.keep_probs


def test_an_entry_of_none_is_removed():
    model = tiny.method('DACS', tiny.per_pixel(), objectives=dict(mixed=None), views=dict(mixed=None),
                        masks=dict(classes=None))
    assert list(model.objectives) == ['source']
    assert not model.views
    assert not model.masks


def test_types_may_be_classes():
    model = tiny.build(dict(type=DACS, segmentor=tiny.per_pixel(), masks=dict(classes=dict(type=BoxMask, area=0.25))))
    assert type(model) is DACS
    assert type(model.masks['classes']) is BoxMask
    assert model.masks['classes'].area == 0.25


class Reader:
    def __init__(self, mask, *others):
        self.mask, self.others = mask, others

    def reads_at(self, progress):
        return self.others


def test_only_what_is_needed_is_made():
    views = dict(a=Reader('m', 'source', 'target'), b=Reader('n', 'a', 'target'), c=Reader('k', 'source', 'target'),
                 d=Reader(None, 'c'), e=Reader('m', 'b'))
    order = ['a', 'b', 'c', 'd', 'e']
    assert needed(views, order, ['source'], None) == ([], [])
    assert needed(views, order, ['d'], None) == (['c', 'd'], ['k'])
    assert needed(views, order, ['e', 'source'], None) == (['a', 'b', 'e'], ['m', 'n'])
