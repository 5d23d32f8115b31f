"""RCCR around small segmentors, and what its tests look at."""

from . import tiny

CALM = dict(jitter_probability=0, blur_probability=0)


def rccr(segmentor=None, seed=0, iteration=0, masks=None, augment=None, **contrast):
    """All of the square's cells are anchors, unless said otherwise."""
    masks = dict(square=dict(area=(0.5, 1.0))) if masks is None else masks
    return tiny.method('RCCR', segmentor, seed, iteration, masks=masks, augment=augment,
                       objectives=dict(contrast=dict(dict(confidence=None), **contrast)))


def own(model):
    return model.objectives['contrast']


def step(model, data=None):
    """The named losses of a step, still with their gradient."""
    data = model.data_preprocessor(tiny.batch() if data is None else data, True)
    return model.loss(data['inputs'], data['data_samples'])


def contrast(model, data=None):
    return step(model, data)['contrast.loss_contrast']


def passes(module):
    seen = []
    module.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    return seen
