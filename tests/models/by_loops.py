"""DACS as its description says it, pixel by pixel in loops; slow and obvious."""

import math

import numpy as np
import torch

from . import tiny

BATCH, SIZE, CLASSES, VOID = 3, 16, 5, 255
NO_AUGMENTATION = dict(jitter_probability=0.0, blur_probability=0.0)


def model_of(kind='DACS', threshold=0.6, iteration=0, **arguments):
    """A per-pixel classifier; the teacher has weights of its own, so that they are not confused."""
    arguments.setdefault('augment', NO_AUGMENTATION)
    labels = dict(threshold=threshold, **arguments.pop('pseudo_labels', {}))
    model = tiny.method(kind, tiny.per_pixel((SIZE, SIZE)), iteration=iteration, pseudo_labels=labels, **arguments)
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for p in [*model.student.parameters(), *model.teacher.parameters()]:
            p.copy_(torch.randn(p.shape, generator=generator))
    return model


def data_of(model, seed=0):
    """Normalised images and labels."""
    return model.data_preprocessor(tiny.batch(SIZE, BATCH, seed), True)


def ground_truth(data):
    return torch.stack([s.gt_sem_seg.data[0] for s in data['data_samples']['source']]).numpy()


def softmax(scores):
    exponentials = [math.exp(s - max(scores)) for s in scores]
    return [e / sum(exponentials) for e in exponentials]


def pixel_probs(network, image):
    """image (3, H, W) -> (H, W, C), pixel by pixel."""
    conv = network.decode_head.conv_seg
    weight = conv.weight.detach().double().numpy()[:, :, 0, 0]
    bias = conv.bias.detach().double().numpy()
    image = image.double().numpy()
    return np.array([[softmax(list(weight @ image[:, y, x] + bias)) for x in range(SIZE)] for y in range(SIZE)])


def reference_pseudo_labels(model, data, threshold):
    """Labels (B, H, W) and, per image, how many pixels are confident."""
    labels, confident = [], []
    for image in data['inputs']['target']:
        probs = pixel_probs(model.teacher.model, image)
        labels.append(probs.argmax(-1))
        confident.append(int((probs.max(-1) >= threshold).sum()))
    return np.array(labels), confident


def reference_mix(mask, donor, over):
    """donor where the mask says so; (B, ..., H, W) arrays."""
    result = np.array(over)
    for b in range(BATCH):
        for y in range(SIZE):
            for x in range(SIZE):
                if mask[b, y, x]:
                    result[b, ..., y, x] = donor[b, ..., y, x]
    return result


def reference_cross_entropy(model, images, label, weight):
    """Mean over all B * H * W pixels of weight x -log p; nothing where void."""
    total = 0.0
    for b in range(BATCH):
        probs = pixel_probs(model.student, images[b])
        for y in range(SIZE):
            for x in range(SIZE):
                if label[b, y, x] != VOID:
                    total += weight[b, y, x] * -math.log(probs[y, x, label[b, y, x]])
    return total / (BATCH * SIZE * SIZE)


def mixed_by_loops(kind, model, data, mask, q):
    """Image, label and weight of the mixed view; q (B,) is the weight of target pixels."""
    source, target = data['inputs']['source'].numpy(), data['inputs']['target'].numpy()
    pseudo, _ = reference_pseudo_labels(model, data, 0.6)
    trusted = np.ones((BATCH, SIZE, SIZE))
    sides = [(source, ground_truth(data), trusted), (target, pseudo, trusted * np.array(q)[:, None, None])]
    donor, over = sides if kind == 'DACS' else sides[::-1]
    return [reference_mix(mask, *pair) for pair in zip(donor, over)]
