"""All randomness of a step follows from seed and iteration."""

import pytest
import torch

from . import tiny


def mixed_view(model, data):
    """The images and the label that the student sees in a step."""
    seen = {}
    inner = model._see
    model._see = lambda image, decodes: seen.setdefault(decodes, image) is None or inner(image, decodes)
    try:
        data = model.data_preprocessor(data, True)
        model(**data, mode='loss')
    finally:
        model._see = inner
    return seen[True]


@pytest.mark.parametrize('kind', ['DACS', 'iDACS', 'CutMix', 'CowMix', 'NaiveClassMix', 'PseudoLabelling'])
def test_a_step_can_be_replayed(kind):
    """The same seed and iteration give the same masks and augmentation; others do not."""
    model = tiny.method(kind, tiny.per_pixel(), augment=dict(jitter_probability=1.0, blur_probability=1.0))
    data = tiny.batch()
    images = {}
    for key in ((0, 0), (1, 0), (0, 1), (0, 0)):
        iteration, seed = key
        model.set_progress(iteration, 100, seed)
        torch.manual_seed(len(images))  # the global generator plays no part
        image = mixed_view(model, data)
        if key in images:
            assert torch.equal(image, images[key])
        assert not any(torch.equal(image, other) for k, other in images.items() if k != key)
        images[key] = image


def test_masks_and_augmentation_are_drawn_apart():
    """From one seed, the number that chooses a class would also decide whether colours change."""
    model = tiny.method('DACS', tiny.per_pixel())
    draws = []
    for iteration in range(300):
        model.set_progress(iteration, 300)
        masks, augmentation = model._generators.at(model.progress, torch.device('cpu'))
        draws.append([torch.rand(1, generator=masks).item(), torch.rand(1, generator=augmentation).item()])
    draws = torch.tensor(draws)
    assert draws.T.corrcoef()[0, 1].abs() < 0.2
    torch.testing.assert_close(draws.mean(0), torch.tensor([0.5, 0.5]), atol=0.08, rtol=0)
