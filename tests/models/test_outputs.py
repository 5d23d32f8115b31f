"""Students with several outputs: each has its logits, its weight, and its box in the view."""

import torch
import torch.nn.functional as F
from mmseg.models import EncoderDecoder
from mmseg.registry import MODELS

from mmseg_camix.models.adapter import Box, Output

from . import tiny

BOX = Box(8, 0, 24, 32)
WEIGHTS = (0.75, 0.25)
PIXEL_OBJECTIVES = dict(
    ce=dict(type='PixelCrossEntropy', view='mixed'), src=dict(type='SignificanceCrossEntropy', view='mixed'),
    mse=dict(type='PixelMSE', view='mixed'), own=dict(type='SupervisedLoss', view='mixed'))


@MODELS.register_module()
class WithDetail(EncoderDecoder):
    """A prediction for the whole image, and another one for a box in it."""

    def outputs(self, features):
        logits = self.decode_head.forward(features)
        return Output(logits, WEIGHTS[0]), Output(BOX.crop(2 * logits), WEIGHTS[1], BOX)


def run(**arguments):
    model = tiny.method('DACS', dict(tiny.per_pixel(), type='WithDetail'), pseudo_labels=dict(threshold=0.0),
                        objectives=dict(mixed=None, source=None, **PIXEL_OBJECTIVES), **arguments)
    step = tiny.step_of(model, model.data_preprocessor(tiny.batch(), True))
    model.run_student(step, ['mixed'])
    losses = {name: objective(step, model.student) for name, objective in model.objectives.items()}
    return model, step, losses


def expected_loss(step, loss):
    """Sum of the outputs' weights times ``loss(logits, target)`` on the box of each."""
    logits, target = step.passes['mixed'].logits, step.views['mixed'].target
    return WEIGHTS[0] * loss(logits, target) + WEIGHTS[1] * loss(BOX.crop(2 * logits), target.cropped(BOX))


def test_pixel_objectives_weigh_all_outputs():
    _, step, losses = run()
    ce = expected_loss(step, lambda logits, target: (
        F.cross_entropy(logits, target.label, ignore_index=255, reduction='none') * target.weight).mean())
    torch.testing.assert_close(losses['ce']['loss_ce'], ce)
    torch.testing.assert_close(losses['src']['loss_src'], ce)  # everything is significant
    torch.testing.assert_close(losses['mse']['loss_mse'], expected_loss(step, lambda logits, target: (
        (logits.softmax(1) - target.probs).square().sum(1) * target.weight * (target.label != 255)).mean()))


def test_the_supervised_loss_weighs_all_outputs():
    _, step, losses = run()
    logits, target = step.passes['mixed'].logits, step.views['mixed'].target
    whole = F.cross_entropy(logits, target.label, ignore_index=255, reduction='none').mean()
    detail = F.cross_entropy(BOX.crop(2 * logits), BOX.crop(target.label), ignore_index=255, reduction='none').mean()
    torch.testing.assert_close(losses['own']['decode.loss_ce'], WEIGHTS[0] * whole)
    torch.testing.assert_close(losses['own']['decode1.loss_ce'], WEIGHTS[1] * detail)


def test_the_teacher_and_the_export_use_the_first_output():
    model, step, _ = run()
    logits = model.teacher(step.images['target'])
    torch.testing.assert_close(logits, model.teacher.model.decode_head((step.images['target'],)))


def test_joint_views_split_every_output():
    model, step, _ = run(joint_views=())
    single = step.passes['mixed']
    model.run_student(step, ['source', 'mixed'])
    for output, other in zip(step.passes['mixed'].outputs, single.outputs, strict=True):
        torch.testing.assert_close(output.logits, other.logits)
        assert (output.weight, output.box) == (other.weight, other.box)
