"""What one training step costs and does, for every method of the family."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mmseg_camix.models.masks import Mask
from mmseg_camix.models.objectives import Objective
from tests.sync_counter import no_sync

from . import tiny
from .dsp_tiny import batch_of
from .tiny import inputs_of

FAMILY = {'SourceOnly': 1, 'PseudoLabelling': 2, 'MeanTeacher': 2, 'NaiveClassMix': 2, 'CutMix': 2, 'CowMix': 2,
          'DACS': 2, 'iDACS': 2, 'DAFormer': 2, 'iDAFormer': 2, 'MIC': 3, 'CAMix': 2, 'DSP': 2, 'RCCR': 3}
"""Method -> student passes of a step."""
TEACHER_PASSES = {'SourceOnly': 0, 'CAMix': 4}  # otherwise 1
THINGS = dict(objectives=dict(features=dict(things=('building', 'wall'))),
              pseudo_labels=dict(ignore_bottom=4, ignore_top=1))
OPTIONS = {
    'CAMix': dict(pseudo_labels=dict(significance=dict(passes=3))),
    'DAFormer': THINGS, 'iDAFormer': THINGS,
    'DSP': dict(objectives=dict(align_global=dict(cells=20))),
    'RCCR': dict(objectives=dict(contrast=dict(at_once=2**12))),
}


def case(kind, segmentor=None):
    """A method with small settings, and normalised data for it."""
    model = tiny.method(kind, segmentor, **OPTIONS.get(kind, {}))
    return model, model.data_preprocessor(batch_of(size=32, count=2) if kind == 'DSP' else tiny.batch(), True)


def backpropagate(model, data):
    losses = model.loss(**data)
    sum(value for name, value in losses.items() if 'loss' in name).backward()


@pytest.mark.parametrize(('kind', 'views'), FAMILY.items())
def test_one_student_pass_per_view_and_one_teacher_pass(kind, views):
    model, data = case(kind)
    student = inputs_of(model.student.backbone)
    teacher = inputs_of(model.teacher.model.backbone) if model.teacher else []
    backpropagate(model, data)  # backward recomputes nothing
    assert len(student) == views
    assert len(teacher) == TEACHER_PASSES.get(kind, 1)


def test_objectives_of_one_view_share_its_features():
    model = tiny.method('DACS', objectives=dict(
        again=dict(type='PixelCrossEntropy', view='mixed'), clean=dict(type='PixelMSE', view='mixed'),
        there=dict(type='PixelCrossEntropy', view='source')))
    student, head = inputs_of(model.student.backbone), inputs_of(model.student.decode_head.conv_seg)
    _, logged = tiny.losses_of(model, tiny.batch())
    assert len(student) == 2
    assert len(head) == 3  # mixed, source, and mmseg's own loss, which calls the head itself
    assert logged['again.loss_ce'] == logged['mixed.loss_ce']


@pytest.mark.parametrize('kind', FAMILY)
def test_gradients(kind):
    """None for the teacher; one for every trained parameter, or DDP would refuse it."""
    model, data = case(kind)
    backpropagate(model, data)
    for name, parameter in model.named_parameters():
        trained = name.startswith(('student.', 'objectives.contrast.projector.'))
        assert parameter.requires_grad == trained, name
        assert (parameter.grad is not None) == trained, name


def test_the_loss_is_the_sum_of_the_objectives():
    model = tiny.method('DACS', tiny.per_pixel(), pseudo_labels=dict(threshold=0.0),
                        objectives=dict(mixed=dict(weight=0.25), source=dict(weight=3.0)))
    total, logged = tiny.losses_of(model, tiny.batch())
    plain = tiny.method('DACS', tiny.per_pixel(), pseudo_labels=dict(threshold=0.0))
    _, unweighted = tiny.losses_of(plain, tiny.batch())
    expected = 3 * unweighted['source.decode.loss_ce'] + 0.25 * unweighted['mixed.loss_ce']
    torch.testing.assert_close(total, torch.as_tensor(expected))
    assert logged['source.decode.acc_seg'] == unweighted['source.decode.acc_seg']


def test_weights_follow_schedules():
    weight = dict(type='Linear', start=0.0, end=1.0)
    model = tiny.method('DACS', tiny.per_pixel(), objectives=dict(mixed=dict(weight=weight)),
                        augment=tiny.NO_AUGMENTATION, pseudo_labels=dict(threshold=0.0),
                        masks=dict(classes=dict(ratio=1.0)))  # nothing left to chance
    values = []
    for iteration in (0, 25, 50):
        model.set_progress(iteration, 100)
        values.append(tiny.losses_of(model, tiny.batch())[1]['mixed.loss_ce'])
    assert values[0] == 0
    torch.testing.assert_close(torch.as_tensor(values[2]), 2 * torch.as_tensor(values[1]))


@pytest.mark.parametrize('norm', ['batch', 'running'])
def test_a_step_leaves_the_student_to_the_optimiser(norm):
    """A loss and its backward pass change no parameter of either network."""
    model = tiny.method('DACS', teacher=dict(norm=norm))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    total, _ = tiny.losses_of(model, tiny.batch())
    total.backward()
    for name, p in model.named_parameters():
        assert torch.equal(p, before[name]), name


# ------------------------------------------------------------------ waiting for the device


@pytest.mark.parametrize('kind', FAMILY)
def test_nothing_waits_for_the_device(kind, no_accuracy):
    model, data = case(kind)
    model.loss(**data)  # creates generators
    model.update_teacher()  # reads its counter once
    with no_sync():
        backpropagate(model, data)
        model.update_teacher()


@pytest.mark.parametrize('kind', FAMILY)
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_nothing_waits_on_cuda(kind, no_accuracy):
    model = tiny.method(kind, **OPTIONS.get(kind, {})).cuda()
    data = model.data_preprocessor(batch_of(size=32, count=2) if kind == 'DSP' else tiny.batch(), True)
    for mode in ('default', 'error'):  # the first step chooses algorithms and makes generators
        torch.cuda.set_sync_debug_mode(mode)
        try:
            backpropagate(model, data)
            model.update_teacher()
        finally:
            torch.cuda.set_sync_debug_mode('default')


class Kernels(TorchDispatchMode):
    """Names the operators that run a kernel (`detach` does not)."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket.__name__ != 'detach':
            self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def test_the_teacher_moves_with_a_fixed_number_of_operators():
    """One fused kernel, not one per parameter."""
    model = tiny.method('DACS', tiny.segmentors()['a cascade'])
    model.update_teacher()
    with Kernels() as kernels:
        model.update_teacher()
    assert sorted(kernels.names) == ['_foreach_lerp_', 'add_']


def test_progress_reaches_masks_and_objectives():
    recorded = []

    class Spy(Mask):
        def forward(self, step):
            recorded.append((step.progress.iteration, step.progress.max_iters, sorted(step.views), step.num_classes))
            return torch.ones(2, 1, 32, 32, dtype=torch.bool)

    class Quiet(Objective):
        def forward(self, step, student):
            assert step.passes[self.view].logits.shape == (2, 5, 32, 32)
            return dict(loss_own=step.passes[self.view].logits.sum() * 0, number=torch.tensor(3.0))

    model = tiny.method('DACS', tiny.per_pixel(), iteration=7, masks=dict(classes=dict(type=Spy)),
                        objectives=dict(own=dict(type=Quiet, view='mixed')))
    _, logged = tiny.losses_of(model, tiny.batch())
    assert recorded == [(7, 100, ['source', 'target'], 5)]
    assert logged['own.number'] == 3


# ------------------------------------------------------------------ randomness follows from seed and iteration


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


@pytest.mark.parametrize('kind', ['CAMix', 'DSP', 'MIC', 'RCCR'])
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
