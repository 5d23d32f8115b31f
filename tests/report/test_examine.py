"""Networks on target images, and the pictures of them."""

import numpy as np
import pytest
import torch
from mmseg.evaluation import IoUMetric

from mmseg_camix.datasets.encodings import CLASSES, PALETTE
from mmseg_camix_tools.report.cards import groups_of
from mmseg_camix_tools.report.examine import WIDTH, Examination, Network, TargetImages, _entropy, confusion, examine
from mmseg_camix_tools.report.pictures import places, segmentation
from mmseg_camix_tools.report.summary import confusions
from mmseg_camix_tools.report.training import read_training
from tests.datasets.tiny import blocks
from tests.report.work_dirs import write_training
from tests.world import SIZE, VAL


def test_confusion_and_iou_agree_with_slow_counts_and_with_mmseg():
    truth, label = blocks(1, 6, SIZE), blocks(2, 5, SIZE)
    truth[truth == 5] = 255
    matrix = confusion(truth, label, 5)
    slow = np.zeros((5, 5), int)
    for true, predicted in zip(truth.ravel(), label.ravel()):
        if true != 255:
            slow[true, predicted] += 1
    np.testing.assert_array_equal(matrix, slow)
    both, union, *_ = IoUMetric.intersect_and_union(torch.tensor(label), torch.tensor(truth), 5, 255)
    examination = Examination((), [], [], {}, dict(a=matrix))
    np.testing.assert_allclose(examination.iou('a'), 100 * both / union, rtol=1e-6)


@pytest.mark.parametrize('classes', [1, 2, 19])
def test_entropy_as_a_share(classes):
    logits = torch.randn(classes, 8, 16, generator=torch.Generator().manual_seed(0))
    both = torch.cat([torch.zeros_like(logits), logits]) if classes == 1 else logits
    expected = torch.distributions.Categorical(logits=both.permute(1, 2, 0)).entropy().mean() / np.log(len(both))
    assert _entropy(logits).mean() == pytest.approx(float(expected), rel=1e-4)


def test_names_lie_within_their_classes():
    label = blocks(3, 4, (480, 800), side=80).astype(np.uint8)
    names = list(places(label, CLASSES[:4]))
    assert {index for index, _, _ in names} == set(range(4))
    assert all(label[y, x] == index for index, x, y in names)
    picture = np.full((480, 800, 3), 128, np.uint8)
    assert (segmentation(picture, label, CLASSES, PALETTE) != segmentation(
        picture, label, CLASSES, PALETTE, False)).any()


def test_largest_confusions():
    matrix = np.array([[6, 4, 0], [0, 0, 0], [1, 0, 99]])
    assert confusions(matrix, ('road', 'wall', 'sky')) == ['40% of road is labelled wall']


def test_networks_on_the_validation_set_and_on_a_folder(tmp_path, world):
    folder = write_training(tmp_path, world)
    config = read_training(folder).config
    networks = [Network('first', folder / 'iter_7.pth'), Network('last', folder / 'iter_7.pth')]
    labelled = examine(networks, TargetImages(config, None, 2), torch.device('cpu'))
    assert (len(labelled.views), labelled.labelled) == (2, 2)
    assert all(view.changed == 0 and view.picture.shape[1] == WIDTH for view in labelled.views)
    assert labelled.confusion['last'].sum() > 0
    assert labelled.pixels['first'].sum() == 2 * 48 * 64
    for count in (1, 2, 3):
        assert sum(len(cards) for *_, cards in groups_of(labelled, networks, count)) == min(count, 2)
    images = TargetImages(config, world / 'cityscapes/leftImg8bit/val', 100)
    plain = examine(networks[:1], images, torch.device('cpu'))
    assert (len(plain.views), images.total, plain.labelled) == (VAL, VAL, 0)
    for view, other in zip((labelled.views[0], labelled.views[-1]), (plain.views[0], plain.views[-1])):
        np.testing.assert_array_equal(view.labels['first'], other.labels['first'])
