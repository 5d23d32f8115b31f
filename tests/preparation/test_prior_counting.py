"""The counted prior against loops over pixels, and its file."""


import cv2
import numpy as np
import pytest
import torch

from mmseg_camix.ops.prior import prior_from_counts
from mmseg_camix.ops.relations import all_contacts, count_contacts
from mmseg_camix.spatial_prior import load_spatial_prior, refuse_other_aspect
from mmseg_camix_tools.preparation.prior_counting import count_labels
from mmseg_camix_tools.preparation.prior_pictures import draw_prior, draw_relations

CLASSES = ('road', 'sky', 'car')
TABLES = ('counts', 'area', 'above', 'beside', 'touching', 'together')


def random_labels(count=5, shape=(9, 14)):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, (count, *shape)).astype(np.uint8)
    labels[labels == 3] = 255
    return list(labels)


def itself(label):
    return label


def build(labels, **options):
    return count_labels(labels, itself, **dict(dict(class_names=CLASSES, size=(9, 14), stride=1), **options))


def assert_same_counts(prior, other):
    assert (prior.digest, prior.num_images) == (other.digest, other.num_images)
    for name in TABLES:
        np.testing.assert_array_equal(getattr(prior, name), getattr(other, name))


@pytest.mark.parametrize(('stride', 'cells'), [(1, (9, 14)), (3, (3, 5)), (4, (3, 4)), (20, (1, 1))])
def test_counts_by_loops(stride, cells):
    labels = random_labels()
    prior = build(labels, stride=stride)
    assert prior.counts.shape == (3, *cells)
    expected = np.zeros((3, *cells), np.int64)
    for label in labels:
        for y in range(9):
            for x in range(14):
                if label[y, x] != 255:
                    expected[label[y, x], y * cells[0] // 9, x * cells[1] // 14] += 1
    assert np.array_equal(prior.counts, expected)
    assert torch.allclose(prior.probabilities().sum(0), torch.ones(cells))


def test_contacts_and_images_are_summed():
    labels = random_labels()
    labels[0][:] = 0
    prior = build(labels)
    each = [count_contacts(torch.from_numpy(label), 3) for label in labels]
    for name, tables in zip(('area', 'above', 'beside'), zip(*each)):
        assert np.array_equal(getattr(prior, name), sum(tables))
    touching = sum((all_contacts(above, beside).sum(0) > 0).long() for _, above, beside in each)
    assert np.array_equal(prior.touching, touching)
    assert prior.touching[0, 1] == 4
    assert np.array_equal(np.diag(prior.together), [5, 4, 4])
    assert prior.together[0, 1] == 4
    assert prior.num_images == 5


def test_labels_are_resized_like_the_pipeline_does():
    label = random_labels(1, (18, 28))[0]
    small = cv2.resize(label, (14, 9), interpolation=cv2.INTER_NEAREST)
    assert np.array_equal(build([label]).counts, build([small]).counts)


@pytest.mark.parametrize(('jobs', 'chunk'), [(1, 2), (2, 1), (2, 3)])
def test_any_number_of_jobs_counts_the_same(jobs, chunk):
    labels = random_labels(7)
    split = build(labels, jobs=jobs, chunk=chunk)
    assert_same_counts(split, build(labels))
    assert split.num_images == 7


def test_digest_tells_labels_apart_but_not_their_order():
    labels = random_labels()
    digest = build(labels).digest
    assert build(labels[::-1]).digest == digest
    changed = [label.copy() for label in labels]
    changed[3][4, 4] = (changed[3][4, 4] + 1) % 3
    assert build(changed).digest != digest
    assert build(labels + labels[:2] * 2).digest != digest
    assert build(labels, class_names=CLASSES[::-1]).digest != digest
    with pytest.raises(ValueError, match='no labels to count'):
        build([])


def test_file_brings_everything_back(tmp_path):
    prior = build(random_labels(), sigma=2., epsilon=.01)
    path = str(tmp_path / 'folder' / 'prior.npz')
    prior.save(path)
    loaded = load_spatial_prior(path, CLASSES)
    assert_same_counts(prior, loaded)
    for name in ('class_names', 'size', 'sigma', 'epsilon'):
        assert getattr(prior, name) == getattr(loaded, name)
    assert [p.name for p in (tmp_path / 'folder').iterdir()] == ['prior.npz']
    assert torch.equal(loaded.probabilities(), prior.probabilities())
    assert not torch.equal(loaded.probabilities(sigma=0., epsilon=0.), loaded.probabilities())


def test_sigma_is_in_pixels_of_the_counted_size():
    labels = random_labels(4, (40, 40))
    coarse = build(labels, size=(40, 40), stride=4, sigma=8., epsilon=0.)
    expected = prior_from_counts(torch.from_numpy(coarse.counts), sigma=2., epsilon=0.)
    assert torch.equal(coarse.probabilities(), expected)


@pytest.mark.parametrize(('classes', 'message'), [
    (('road', 'bus'), r"'road', 'sky', 'car'.*'road', 'bus'.*mmseg-camix prior"), (CLASSES[::-1], 'only their order')])
def test_other_classes_are_refused_with_both_sides_and_the_remedy(tmp_path, classes, message):
    path = str(tmp_path / 'prior.npz')
    with pytest.raises(FileNotFoundError, match='mmseg-camix prior'):
        load_spatial_prior(path)
    build(random_labels()).save(path)
    with pytest.raises(ValueError, match=message):
        load_spatial_prior(path, classes)


@pytest.mark.parametrize(('aspect', 'message'), [
    (1.0, r'14x9 \(aspect 1.556\).*aspect 1.000.*--size'), (2.0, 'aspect 2.000')])
def test_other_aspects_are_refused(aspect, message):
    with pytest.raises(ValueError, match=message):
        refuse_other_aspect('prior.npz', (9, 14), aspect)
    for width, height in ((1280, 720), (1280, 760), (1024, 512)):  # those of street scenes fit Cityscapes
        refuse_other_aspect('prior.npz', (height, width), 2.0)


def test_file_of_another_version_is_refused(tmp_path, monkeypatch):
    path = str(tmp_path / 'prior.npz')
    monkeypatch.setattr('mmseg_camix.spatial_prior.VERSION', 0)
    build(random_labels()).save(path)
    monkeypatch.undo()
    with pytest.raises(ValueError, match='version 0 of the file format, but this code reads 1'):
        load_spatial_prior(path)


@pytest.mark.parametrize('damage', [lambda data: b'', lambda data: b'nothing of the kind', lambda data: data[:-40],
                                    lambda data: data[:200] + bytes(300) + data[500:]])
def test_a_damaged_file_is_named(tmp_path, damage):
    path = tmp_path / 'prior.npz'
    build(random_labels()).save(str(path))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r'prior\.npz is damaged, or not a spatial prior; build it again'):
        load_spatial_prior(str(path))


@pytest.mark.parametrize('name', ['other.npz', 'other.npy'])
def test_a_file_of_another_kind_is_named(tmp_path, name):
    np.savez(tmp_path / 'other.npz', counts=np.zeros(3))
    np.save(tmp_path / 'other.npy', np.zeros(3))
    with pytest.raises(ValueError, match=f'{name} is damaged, or not a spatial prior'):
        load_spatial_prior(str(tmp_path / name))


def test_pictures_are_drawn(tmp_path):
    prior = build(random_labels())
    draw_prior(prior.probabilities(), CLASSES, str(tmp_path / 'a.png'), columns=2)
    relations = torch.eye(3).bool()
    draw_relations(prior.relation_strength(), relations, CLASSES, str(tmp_path / 'b.png'))
    for name in 'ab':
        picture = cv2.imread(str(tmp_path / f'{name}.png'))
        assert min(picture.shape[:2]) > 100
        assert len(np.unique(picture)) > 20


# --------------------------------------------------------------- resuming

ITEMS = list(range(20))


class Reader:
    """Labels by number; interrupted after `last` of them."""

    def __init__(self, last=None):
        self.last, self.read = last, []

    def __call__(self, item):
        if len(self.read) == self.last:
            raise KeyboardInterrupt
        self.read.append(item)
        return np.random.RandomState(item).randint(0, 5, (6, 9)).astype(np.uint8)


def count(reader, kept=None, key='these'):
    return count_labels(ITEMS, reader, 'abcd', (6, 9), chunk=3, partial_file=kept, key=key)


@pytest.mark.parametrize('seconds', [0.0, 1e9])  # saved at once; saved by the interruption
def test_only_what_is_missing_is_read(tmp_path, monkeypatch, seconds):
    monkeypatch.setattr('mmseg_camix.datasets.scanning.SAVE_SECONDS', seconds)
    expected, kept = count(Reader()), tmp_path / 'kept.npz'
    with pytest.raises(KeyboardInterrupt):
        count(Reader(last=10), kept)
    second = Reader()
    assert_same_counts(count(second, kept), expected)
    assert second.read == ITEMS[9:]  # three chunks of three were done
    third = Reader()
    assert_same_counts(count(third, kept), expected)
    assert third.read == []  # the caller has not saved the result yet


@pytest.mark.parametrize(('key', 'damage'), [
    ('others', lambda data: data), ('these', lambda data: data[:-40]), ('these', lambda data: b'PK'),
    ('these', lambda data: b'')])
def test_other_items_and_damage_start_over(tmp_path, key, damage):
    expected, kept = count(Reader()), tmp_path / 'kept.npz'
    count(Reader(), kept)
    kept.write_bytes(damage(kept.read_bytes()))
    reader = Reader()
    assert_same_counts(count(reader, kept, key), expected)
    assert reader.read == ITEMS
