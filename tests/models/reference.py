"""A per-pixel classifier under a method, and what the papers' equations give for it, written in NumPy."""

import numpy as np
import torch

from . import tiny
from .tiny import NO_AUGMENTATION

BATCH, SIZE, CLASSES, VOID = 3, 16, 5, 255


def model_of(kind='DACS', segmentor=None, iteration=0, threshold=0.6, classes=None, **arguments):
    """The method around a per-pixel classifier; student and teacher have different weights."""
    arguments.setdefault('augment', NO_AUGMENTATION)
    labels = dict(dict(threshold=threshold), **arguments.pop('pseudo_labels', {}))
    segmentor = tiny.per_pixel((SIZE, SIZE)) if segmentor is None else segmentor
    model = tiny.method(kind, segmentor, 0, iteration, classes, pseudo_labels=labels, **arguments)
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for p in [*model.student.parameters(), *model.teacher.parameters()]:
            p.copy_(torch.randn(p.shape, generator=generator))
    return model


def data_of(model, seed=0):
    """Normalised images and labels."""
    return model.data_preprocessor(tiny.batch(SIZE, BATCH, seed), True)


def labels_of(data, branch='source'):
    """(B, H, W) ground truth."""
    return torch.stack([sample.gt_sem_seg.data[0] for sample in data['data_samples'][branch]]).numpy()


def probabilities(network, images):
    """images (B, 3, H, W) -> (B, H, W, C)."""
    conv = network.decode_head.conv_seg
    weight, bias = conv.weight.detach().double().numpy()[:, :, 0, 0], conv.bias.detach().double().numpy()
    exponentials = np.exp(np.einsum('kc,bchw->bhwk', weight, np.asarray(images, dtype=float)) + bias)
    return exponentials / exponentials.sum(-1, keepdims=True)


def teacher_probabilities(model, data):
    return probabilities(model.teacher.model, data['inputs']['target'])


def mix(mask, donor, over):
    """The donor within the mask (B, H, W); (B, H, W) or (B, C, H, W) arrays."""
    return np.where(mask[:, None] if np.ndim(donor) == 4 else mask, donor, over)


def cross_entropy(model, images, label, weight):
    """Of the student, (B, H, W): weight x -log p, 0 where the label is void."""
    valid = label != VOID
    p = np.take_along_axis(probabilities(model.student, images), np.where(valid, label, 0)[..., None], -1)[..., 0]
    return np.where(valid, -np.log(p) * weight, 0)
