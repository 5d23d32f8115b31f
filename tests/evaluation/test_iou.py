"""IoU against a confusion matrix made with loops, and against mmseg's own metric."""

import numpy as np
import pytest
import torch
from mmseg.evaluation import IoUMetric
from PIL import Image

from mmseg_camix.evaluation import SubsetIoUMetric

NAMES = ('road', 'sidewalk', 'building', 'wall', 'fence', 'pole', 'traffic light', 'traffic sign', 'vegetation',
         'terrain', 'sky', 'person', 'rider', 'car', 'truck', 'bus', 'train', 'motorcycle', 'bicycle')
SYNTHIA_16 = tuple(n for n in NAMES if n not in ('terrain', 'truck', 'train'))
SYNTHIA_13 = tuple(n for n in SYNTHIA_16 if n not in ('wall', 'fence', 'pole'))


def images(absent=(), seed=0, count=3):
    """Predictions that are right in six of ten pixels, and labels with void."""
    rng = np.random.RandomState(seed)
    usable = [i for i in range(19) if NAMES[i] not in absent]
    pairs = []
    for _ in range(count):
        label = rng.choice(usable, (24, 30))
        predicted = np.where(rng.rand(24, 30) < 0.6, label, rng.choice(usable, (24, 30)))
        label[rng.rand(24, 30) < 0.1] = 255
        pairs.append((predicted, label))
    return pairs


def confusion(pairs):
    matrix = np.zeros((19, 19), int)
    for predicted, label in pairs:
        for p, t in zip(predicted.ravel(), label.ravel()):
            if t != 255:
                matrix[t, p] += 1
    return matrix


def by_hand(pairs):
    """Name -> IoU in percent; classes without any pixel are left out."""
    matrix = confusion(pairs)
    ious = {}
    for i, name in enumerate(NAMES):
        union = matrix[i].sum() + matrix[:, i].sum() - matrix[i, i]
        if union:
            ious[name] = 100 * matrix[i, i] / union
    return ious


def evaluated(metric, pairs, names=NAMES):
    metric.dataset_meta = dict(classes=names)
    for number, (predicted, label) in enumerate(pairs):
        sample = {key: dict(data=torch.from_numpy(value)[None])
                  for key, value in (('pred_sem_seg', predicted), ('gt_sem_seg', label))}
        metric.process({}, [dict(sample, img_path=f'folder/image{number}.png')])
    return metric.evaluate(len(pairs))


def test_each_class_and_the_means():
    pairs = images()
    ious = by_hand(pairs)
    metrics = evaluated(SubsetIoUMetric(subsets=dict(mIoU16=SYNTHIA_16, mIoU13=SYNTHIA_13)), pairs)
    for name in NAMES:
        assert metrics[f'IoU.{name}'] == pytest.approx(ious[name], abs=0.005)
    for key, subset in (('mIoU', NAMES), ('mIoU16', SYNTHIA_16), ('mIoU13', SYNTHIA_13)):
        assert metrics[key] == pytest.approx(np.mean([ious[name] for name in subset]), abs=0.005), key
    assert len({metrics[key] for key in ('mIoU', 'mIoU16', 'mIoU13')}) == 3
    metrics = evaluated(SubsetIoUMetric(classes=SYNTHIA_16), pairs)
    assert metrics['mIoU'] == pytest.approx(np.mean([ious[name] for name in SYNTHIA_16]), abs=0.005)
    assert 'IoU.train' in metrics  # reported all the same


def test_without_arguments_it_is_mmsegs():
    pairs = images()
    mine, theirs = evaluated(SubsetIoUMetric(), pairs), evaluated(IoUMetric(), pairs)
    for key, value in theirs.items():
        assert mine[key] == pytest.approx(value), key


def test_a_class_that_is_nowhere_is_left_out():
    pairs = images(absent=('train', 'bus'))
    ious = by_hand(pairs)
    metrics = evaluated(SubsetIoUMetric(), pairs)
    assert set(metrics) & {'IoU.train', 'IoU.bus'} == set()
    assert metrics['mIoU'] == pytest.approx(np.mean(list(ious.values())), abs=0.005)
    assert metrics['mIoU'] == pytest.approx(evaluated(IoUMetric(), pairs)['mIoU'])


def test_a_class_that_is_only_predicted_counts_with_zero():
    label = np.zeros((4, 4), int)
    predicted = label.copy()
    predicted[0] = 16
    metrics = evaluated(SubsetIoUMetric(), [(predicted, label)])
    assert metrics['IoU.train'] == 0
    assert metrics['IoU.road'] == 75
    assert metrics['mIoU'] == 37.5  # by hand
    without = evaluated(SubsetIoUMetric(classes=SYNTHIA_16), [(predicted, label)])
    assert without['mIoU'] == 75


def test_unknown_classes():
    """Before the training, when the loop is built, and not after the first validation."""
    for arguments in (dict(classes=('road', 'roof')), dict(subsets=dict(two=('roof', 'sky')))):
        metric = SubsetIoUMetric(**arguments)
        with pytest.raises(ValueError, match=r"mIoU over unknown classes \['roof'\]; the data set has \['road'"):
            metric.dataset_meta = dict(classes=NAMES)


def test_subsets_by_name():
    pairs = images()
    by_name = evaluated(SubsetIoUMetric(classes='synthia16', subsets=dict(mIoU13='synthia13')), pairs)
    assert by_name == evaluated(SubsetIoUMetric(classes=SYNTHIA_16, subsets=dict(mIoU13=SYNTHIA_13)), pairs)
    with pytest.raises(ValueError, match="unknown subset 'synthia14'; available: cityscapes19"):
        SubsetIoUMetric(classes='synthia14')


def test_another_ignored_label_and_a_prefix():
    predicted, label = np.zeros((2, 4), int), np.array([[0, 0, 1, 1], [7, 7, 7, 7]])
    metrics = evaluated(SubsetIoUMetric(ignore_index=7, prefix='night'), [(predicted, label)])
    assert metrics['night/IoU.road'] == 50
    assert metrics['night/mIoU'] == 25


def test_predictions_are_saved_on_demand(tmp_path):
    """As `tools/test.py --out` asks, and mmseg's tool, which also gives keep_results."""
    pairs = images(count=2)
    evaluated(SubsetIoUMetric(output_dir=str(tmp_path), keep_results=True), pairs)
    for number, (predicted, _) in enumerate(pairs):
        np.testing.assert_array_equal(np.array(Image.open(tmp_path / f'image{number}.png')), predicted)


def test_predictions_of_equal_names_are_not_replaced(tmp_path):
    metric = SubsetIoUMetric(output_dir=str(tmp_path), format_only=True)
    metric.dataset_meta = dict(classes=NAMES)
    sample = dict(pred_sem_seg=dict(data=torch.zeros(1, 2, 2)))
    for path in ('a/0.png', 'a/0.png', 'a/1.png'):  # the same image again is no conflict
        metric.process({}, [dict(sample, img_path=path)])
    with pytest.raises(ValueError, match='0.png: a/0.png and b/0.jpg would both be saved there; `mmseg-camix predict`'):
        metric.process({}, [dict(sample, img_path='b/0.jpg')])


def test_only_saving(tmp_path):
    assert evaluated(SubsetIoUMetric(output_dir=str(tmp_path), format_only=True), images()) == {}
    assert len(list(tmp_path.iterdir())) == 3
