"""DSP on a per-pixel classifier, with batches of its four branches."""

import torch
from mmengine.structures import PixelData

from . import tiny

BATCH, SIZE, CLASSES, VOID = 3, 16, 5, 255
NO_AUGMENTATION = dict(jitter_probability=0.0, blur_probability=0.0)
NO_ALIGNMENT = dict(align_patch=None, align_global=None)


def model_of(beta=0.8, segmentor=None, kind='DSP', **arguments):
    """A per-pixel classifier; the teacher has weights of its own, so that they are not confused."""
    views = {name: dict(opacity=beta) for name in ('mixed_source', 'mixed_target')} if kind == 'DSP' else None
    segmentor = tiny.per_pixel((SIZE, SIZE)) if segmentor is None else segmentor
    arguments = dict(dict(augment=NO_AUGMENTATION, views=views), **arguments)
    model = tiny.method(kind, segmentor, **arguments)
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for p in [*model.student.parameters(), *model.teacher.parameters()]:
            p.copy_(torch.randn(p.shape, generator=generator))
    return model


def batch_of(seed=0, size=SIZE, count=BATCH):
    """Four branches; a rare patch is void but for a few blocks."""
    data = tiny.batch(size, count, seed)
    data['donor'] = tiny.batch(size, count, seed + 1)['source']
    data['rare'] = tiny.batch(size, count, seed + 2)['source']
    for i, one in enumerate(data['rare']['data_samples']):
        label = one.gt_sem_seg.data
        one.gt_sem_seg = PixelData(data=torch.where(label == (i + seed) % CLASSES, label, VOID))
    return data


def data_of(model, seed=0):
    return model.data_preprocessor(batch_of(seed), True)


def labels_of(data, branch):
    return torch.stack([s.gt_sem_seg.data[0] for s in data['data_samples'][branch]]).numpy()


def losses_of(model, data):
    total, logged = model.parse_losses(model(**data, mode='loss'))
    return total, {name: float(value) for name, value in logged.items()}
