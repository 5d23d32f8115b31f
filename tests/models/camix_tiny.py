"""A prior in a file, and batches whose target crops have places in their images, small enough for tests."""

import numpy as np
import torch

from mmseg_camix.ops.relations import all_contacts, count_contacts
from mmseg_camix.spatial_prior import SpatialPrior

from . import tiny
from .reference import BATCH, CLASSES, SIZE, model_of  # noqa: F401

NAMES = ('road', 'pole', 'traffic light', 'rider', 'bicycle')
IMAGE = (24, 48)  # height, width of the images that the crops come from
BOXES = ((0, 0, 16, 16), (20, 5, 36, 21), (32, 8, 48, 24))
FLIPS = (False, True, False)


def counts_of(names=NAMES, size=IMAGE, seed=3):
    """(C, h, w): classes have their places, as in streets."""
    return np.random.RandomState(seed).randint(0, 40, (len(names), *size)) ** 2


def save_prior(path, names=NAMES, size=IMAGE, counts=None, labels=None):
    """A file with these counts (C, h, w), and with the contacts in ``labels``, (N, H, W) long."""
    counts = counts_of(names, size) if counts is None else counts
    labels = torch.zeros(1, *size, dtype=torch.long) if labels is None else labels
    area, above, beside = (torch.stack(parts) for parts in zip(*(count_contacts(y, len(names)) for y in labels)))
    touches = all_contacts(above.flatten(0, 1), beside.flatten(0, 1)).view_as(above).sum(1) > 0
    present = area.sum(1) > 0
    SpatialPrior(
        counts=counts.astype(np.int64), area=area.sum(0).numpy(), above=above.sum(0).numpy(),
        beside=beside.sum(0).numpy(), touching=touches.sum(0).numpy(),
        together=(present[:, :, None] & present[:, None]).sum(0).numpy(), class_names=tuple(names), size=size,
        num_images=len(labels), digest='none').save(str(path))
    return str(path)


def data_of(model, seed=0, image=IMAGE, boxes=BOXES, flips=FLIPS):
    """Normalised images and labels; each target sample has its crop and flip."""
    data = tiny.batch(SIZE, BATCH, seed)
    for sample, box, flip in zip(data['target']['data_samples'], boxes, flips):
        sample.set_metainfo(dict(crop_box=box, resized_shape=image, flip=flip, img_path='a.png',
                                 flip_direction='horizontal' if flip else None))
    return model.data_preprocessor(data, True)


def camix(iteration=30, context=None, significance=None, kind='CAMix', **arguments):
    """CAMix, or another method with the same classes."""
    if kind == 'CAMix':
        significance = dict(passes=3) if significance is None else significance
        arguments['pseudo_labels'] = dict(dict(significance=significance), **arguments.get('pseudo_labels', {}))
        arguments['masks'] = dict(arguments.get('masks', {}), context=dict(context or {}))
    return model_of(kind, iteration=iteration, classes=NAMES, **arguments)
