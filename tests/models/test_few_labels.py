"""Labels of some target images as a further branch of any method."""

import pytest
import torch

from tests.engine import process_jobs as jobs

from . import tiny


def gradients(model, batch):
    total, logged = tiny.losses_of(model, batch)
    total.backward()
    return {name: p.grad for name, p in model.student.named_parameters()}, logged


def few_batch(name):
    """A batch with a third branch: other images than the source's."""
    return jobs.batch_of(name, 2, 0) | dict(few=tiny.batch(jobs.SIZE, 2, seed=9)['source'])


def few_options(name, weight):
    given = jobs.model_of(name).branches
    return dict(branches=[*given, 'few'], objectives=dict(
        jobs.CASES[name][1].get('objectives', {}), few=dict(type='SupervisedLoss', view='few', weight=weight)))


@pytest.mark.parametrize('backward', ['summed', 'each'])
@pytest.mark.parametrize('name', ['DACS', 'CAMix', 'DSP', 'RCCR', 'DAFormer', 'MIC'])
def test_the_gradient_is_that_of_the_method_plus_that_of_the_labels(name, backward):
    weight = 0.5
    model = jobs.model_of(name, **few_options(name, weight), backward=backward)
    combined, logged = gradients(model, few_batch(name))
    without, _ = gradients(jobs.model_of(name), jobs.batch_of(name, 2, 0))
    plain = tiny.build(dict(type='SourceOnly', segmentor=jobs.normless()))
    plain.student.load_state_dict(jobs.model_of(name).student.state_dict())
    plain.set_progress(0, 100)
    labels, logged_plain = gradients(plain, dict(source=few_batch(name)['few']))
    assert max(g.abs().max() for g in labels.values()) > 1e-3
    torch.testing.assert_close(combined, {key: without[key] + weight * labels[key] for key in without},
                               atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(logged['few.decode.loss_ce'], weight * logged_plain['source.decode.loss_ce'])
