"""DSP on a per-pixel classifier, with batches of its four branches."""

import torch
from mmengine.structures import PixelData

from . import tiny
from .reference import BATCH, CLASSES, SIZE, VOID, model_of

NO_ALIGNMENT = dict(align_patch=None, align_global=None)


def dsp(beta=0.8, **arguments):
    views = {name: dict(opacity=beta) for name in ('mixed_source', 'mixed_target')}
    return model_of('DSP', **dict(dict(views=views), **arguments))


def batch_of(seed=0, size=SIZE, count=BATCH):
    """Four branches; a rare patch is void but for a few blocks."""
    data = tiny.batch(size, count, seed)
    data['donor'] = tiny.batch(size, count, seed + 1)['source']
    data['rare'] = tiny.batch(size, count, seed + 2)['source']
    for i, sample in enumerate(data['rare']['data_samples']):
        label = sample.gt_sem_seg.data
        sample.gt_sem_seg = PixelData(data=torch.where(label == (i + seed) % CLASSES, label, VOID))
    return data


def data_of(model, seed=0):
    return model.data_preprocessor(batch_of(seed), True)


def losses_of(model, data):
    total, logged = model.parse_losses(model(**data, mode='loss'))
    return total, {name: float(value) for name, value in logged.items()}
