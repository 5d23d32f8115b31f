"""Contacts and chance against plain loops; relations of made-up street maps."""
import math
from functools import lru_cache

import pytest
import torch

from mmseg_camix.ops.relations import (
    GRID,
    all_contacts,
    auto_relations,
    compare_relations,
    count_contacts,
    lift,
    pair_names,
    relation_strength,
)


def slow_contacts(label, num_classes):
    height, width = len(label), len(label[0])
    places = GRID * GRID
    area = [[0] * num_classes for _ in range(places)]
    above, beside = ([[[0] * num_classes for _ in range(num_classes)] for _ in range(places)] for _ in range(2))
    for y in range(height):
        for x in range(width):
            here = label[y][x]
            if here >= num_classes:
                continue
            place = (y * GRID // height) * GRID + x * GRID // width
            area[place][here] += 1
            for table, ny, nx in ((above, y + 1, x), (beside, y, x + 1)):
                if ny < height and nx < width:
                    there = label[ny][nx]
                    if there < num_classes and there != here:
                        table[place][here][there] += 1
    return area, above, beside


@pytest.mark.parametrize('dtype', [torch.uint8, torch.long])
@pytest.mark.parametrize('shape', [(9, 13), (24, 16), (3, 5)])
def test_contacts_by_loops(shape, dtype):
    label = torch.randint(0, 5, shape, generator=torch.Generator().manual_seed(0))
    label[label == 4] = 255
    counted = count_contacts(label.to(dtype), 4)
    for table, expected in zip(counted, slow_contacts(label.tolist(), 4)):
        assert table.tolist() == expected


def test_contacts_in_all_directions_are_symmetric():
    above, beside = torch.zeros(1, 3, 3).long(), torch.zeros(1, 3, 3).long()
    above[0, 0, 1], beside[0, 1, 0], beside[0, 2, 1] = 2, 5, 1
    assert all_contacts(above, beside).tolist() == [[[0, 7, 0], [7, 0, 1], [0, 1, 0]]]


@pytest.mark.parametrize('value', [2, 255])
def test_one_class_or_void_alone_touches_nothing(value):
    area, above, beside = count_contacts(torch.full((16, 8), value, dtype=torch.uint8), 3)
    assert not above.any()
    assert not beside.any()
    assert area.sum() == (128 if value == 2 else 0)
    assert not lift(area, above).any()


def slow_lift(area, contacts):
    places, count = GRID * GRID, len(area[0])
    share = []
    for g in range(places):
        around = [area[y * GRID + x] for y in range(GRID) for x in range(GRID)
                  if abs(y - g // GRID) <= 1 and abs(x - g % GRID) <= 1]
        sums = [sum(column) for column in zip(*around)]
        share.append([n / max(sum(sums), 1) for n in sums])
    result = torch.zeros(count, count, dtype=torch.double)
    for i in range(count):
        for j in range(count):
            observed = sum(contacts[g][i][j] for g in range(places))
            first = sum(sum(contacts[g][i]) * share[g][j] / (1 - share[g][i]) for g in range(places) if share[g][i] < 1)
            second = sum(sum(row[j] for row in contacts[g]) * share[g][i] / (1 - share[g][j])
                         for g in range(places) if share[g][j] < 1)
            if observed:
                result[i, j] = observed / math.sqrt(first * second)
    return result


def test_lift_by_loops():
    rng = torch.Generator().manual_seed(1)
    area = torch.randint(0, 90, (GRID**2, 4), generator=rng)
    contacts = torch.randint(0, 30, (GRID**2, 4, 4), generator=rng) * (1 - torch.eye(4).long())
    area[3] = contacts[3] = 0
    assert torch.allclose(lift(area, contacts), slow_lift(area.tolist(), contacts.tolist()))
    assert torch.allclose(lift(area * 3, contacts * 7), lift(area, contacts))


def test_borders_along_the_places_have_a_finite_lift():
    label = torch.zeros(32, 32, dtype=torch.uint8)
    label[16:] = 1
    area, above, beside = count_contacts(label, 2)
    assert lift(area, above)[0, 1] == pytest.approx(1)
    assert lift(area, all_contacts(above, beside)).isfinite().all()


ROAD, BUILDING, SKY, POLE, LIGHT, CAR, WAGON = range(7)
NAMES = ('road', 'building', 'sky', 'pole', 'light', 'car', 'wagon')


def street(generator):
    """Sky over buildings over a road; lights on poles; cars and wagons, which may overlap."""
    label = torch.full((40, 60), ROAD, dtype=torch.uint8)
    label[:25], label[:10] = BUILDING, SKY

    def at(low, high):
        return int(torch.randint(low, high, (), generator=generator))
    for _ in range(3):
        x, top = at(2, 57), at(4, 16)
        label[top:28, x] = POLE
        label[top - 3:top, x - 1:x + 2] = LIGHT
    for kind in (CAR, WAGON):
        for _ in range(at(0, 4)):
            y, x = at(24, 36), at(0, 54)
            label[y:y + 4, x:x + 6] = kind
    return label


@lru_cache
def counted(num_images, seed=0):
    generator = torch.Generator().manual_seed(seed)
    tables = [0, 0, 0, 0, 0]
    for _ in range(num_images):
        new = count_contacts(street(generator), 7)
        present = new[0].sum(0) > 0
        new += (all_contacts(*new[1:]).sum(0) > 0, (present[:, None] & present).long())
        tables = [table + addition for table, addition in zip(tables, new)]
    return tables


def test_a_light_belongs_to_its_pole_and_large_surfaces_to_nobody():
    result = auto_relations(*counted(60))
    assert result.dtype == torch.bool
    assert torch.equal(result, result.T)
    pairs = pair_names(result, NAMES)
    assert 'pole - light' in pairs
    assert not any(name in pair for pair in pairs for name in ('road', 'building', 'sky'))


def test_each_condition_counts():
    tables = counted(60)
    assert auto_relations(*tables)[POLE, LIGHT]
    assert not auto_relations(*tables, min_lift=1e6).any()
    assert not auto_relations(*tables, min_images=61).any()
    assert not auto_relations(*tables, min_share=1.1).any()
    without = auto_relations(*tables, min_lift=0, min_share=0, min_images=0)
    assert torch.equal(without, ~torch.eye(len(without), dtype=torch.bool))


def test_a_light_touches_its_pole_little_but_stands_on_it():
    area, above, beside, *_ = counted(60)
    strength = relation_strength(area, above, beside)
    assert torch.equal(strength, strength.T)
    assert lift(area, all_contacts(above, beside))[POLE, LIGHT] < 6
    assert strength[POLE, LIGHT] == lift(area, above)[LIGHT, POLE] > 6


def test_comparison_counts_unordered_pairs():
    actual, reference = torch.zeros(4, 4).bool(), torch.zeros(4, 4).bool()
    for matrix, pairs in ((actual, ((0, 1), (1, 2))), (reference, ((0, 1), (2, 3), (0, 3)))):
        for i, j in pairs:
            matrix[i, j] = matrix[j, i] = True
    result = compare_relations(actual, reference, 'abcd')
    assert result['precision'] == .5
    assert result['recall'] == pytest.approx(1 / 3)
    assert (result['estimated'], result['reference']) == (2, 3)
    assert result['missing'] == ['a - d', 'c - d']
    assert result['extra'] == ['b - c']
    nothing = compare_relations(torch.zeros(4, 4).bool(), reference, 'abcd')
    assert math.isnan(nothing['precision'])
    assert nothing['recall'] == 0
