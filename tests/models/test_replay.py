"""All randomness of a step follows from seed and iteration."""

import pytest
import torch

from . import tiny
from .test_step import case


def mixed_image(model, data):
    """The images of the view that is not a branch, for which the head is needed."""
    step = tiny.step_of(model, model.data_preprocessor(data, True))
    (name,), = [names for names, needs_logits in model.planned_passes(step) if needs_logits]
    return step.views[name].image


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
        image = mixed_image(model, data)
        if key in images:
            assert torch.equal(image, images[key])
        assert not any(torch.equal(image, other) for k, other in images.items() if k != key)
        images[key] = image


@pytest.mark.parametrize('kind', ['CAMix', 'DSP', 'RCCR'])
def test_the_losses_of_a_step_can_be_replayed(kind):
    losses = []
    for iteration in (3, 4, 3):
        model, data = case(kind, tiny.per_pixel())
        model.set_progress(iteration, 100)
        torch.manual_seed(len(losses))
        losses.append({name: float(value) for name, value in model.loss(**data).items()})
    assert losses[0] == losses[2] != losses[1]


def test_masks_and_augmentation_are_drawn_apart():
    """From one seed, the number that chooses a class would also decide whether colours change."""
    model = tiny.method('DACS', tiny.per_pixel())
    data, draws = model.data_preprocessor(tiny.batch(), True), []
    for iteration in range(300):
        model.set_progress(iteration, 300)
        step = model.begin_step(data['inputs'], data['data_samples'])
        draws.append([torch.rand(1, generator=g).item() for g in (step.generator, step.cpu_generator)])
    draws = torch.tensor(draws)
    assert draws.T.corrcoef()[0, 1].abs() < 0.2
    torch.testing.assert_close(draws.mean(0), torch.tensor([0.5, 0.5]), atol=0.08, rtol=0)
