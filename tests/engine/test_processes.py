"""Several processes: two of them train as one would with all their images."""

from functools import partial

import pytest
import torch
from mmengine.runner import Runner

from mmseg_camix.engine.hooks.record_hook import read_record
from tests.engine import process_jobs as jobs
from tests.gloo import WORLD, run_in_pair
from tests.models import tiny
from tests.world import config

pytestmark = pytest.mark.slow

JOBS = (jobs.collectives, jobs.gradients, jobs.accelerated, jobs.no_unused_parameters, jobs.each_view,
        jobs.accumulated)
# Cases whose numbers depend on how images are spread, unless the batch is common.
DEPENDS = ('DACS', 'DACS, aligned, valid pixels', 'CAMix', 'DSP, official', 'RCCR', 'RCCR, official', 'DAFormer',
           'MIC')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('pair')


@pytest.fixture(scope='module')
def pair(folder, world):
    """Job -> what the two processes gave; an error in one of them is shown as it was."""
    on_data = dict(trainings=partial(jobs.trainings, world=world, folder=folder),
                   items=partial(jobs.items, world=world))
    results = run_in_pair({**{job.__name__: job for job in JOBS}, **on_data}, folder)
    for name, answers in results.items():
        for answer in answers:
            assert not (isinstance(answer, str) and ('Traceback' in answer or 'not reached' in answer)), (
                f'{name}: {answer}')
    return results


def test_collectives(pair):
    for rank, results in enumerate(pair['collectives']):
        assert results['rank'] == rank
        torch.testing.assert_close(results['average'], torch.tensor([1.5, 3.0]))
        torch.testing.assert_close(results['count'], torch.tensor(2.5))
        everyone = torch.tensor([[0.0, 1], [10, 11], [2, 3], [12, 13]])
        torch.testing.assert_close(results['rows'], everyone)
        assert results['long'].tolist() == [0, 1, 2, 3]
        # Twice the gradient of the own rows: the mean over two processes makes it one.
        torch.testing.assert_close(results['grad'], WORLD * 2 * everyone[rank::WORLD])


@pytest.mark.parametrize('each', [1, 2])
@pytest.mark.parametrize('name', list(jobs.CASES))
def test_two_processes_train_as_one(pair, name, each):
    """Gradients after three steps, with the teacher, the bank and the running averages that led there."""
    expected = jobs.train(jobs.model_of(name), name, each * WORLD)
    assert max(value.abs().max() for key, value in expected.items() if key.startswith('grad')) > 1e-3
    for results in pair['gradients']:
        assert results[name][each].keys() == expected.keys()
        for key, value in expected.items():
            own = results[name][each][key]
            torch.testing.assert_close(own, value, atol=1e-5, rtol=1e-5, msg=lambda text, key=key: f'{key}: {text}')


def test_options_of_speed_change_nothing(pair):
    for results, plain in zip(pair['accelerated'], pair['gradients']):
        for key, value in plain['DACS'][1].items():
            torch.testing.assert_close(results[key], value, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('name', DEPENDS)
def test_without_a_common_batch_they_do_not(pair, name):
    """So that the test above can fail."""
    expected = jobs.train(jobs.model_of(name), name, WORLD)
    results = pair['gradients'][0][name]['apart']
    worst = max((results[key] - value).abs().max() for key, value in expected.items() if key.startswith('grad'))
    assert worst > 1e-4


@pytest.mark.parametrize('mode', [1, 'apart'])
@pytest.mark.parametrize('name', list(jobs.CASES))
def test_networks_are_bitwise_equal_in_both(pair, name, mode):
    first, second = (results[name][mode] for results in pair['gradients'])
    same = [key for key in first if key.startswith(('grad', 'student', 'teacher', 'objectives.contrast.projector',
                                                  'objectives.contrast.twin'))]
    assert len(same) > 20
    assert all(torch.equal(first[key], second[key]) for key in same)


def test_banks(pair):
    """Each process has its own; with a common batch all have the same."""
    key = 'objectives.contrast.bank.embeddings'
    own, common = ([results['RCCR'][mode][key] for results in pair['gradients']] for mode in ('apart', 1))
    assert not torch.equal(*own)
    assert torch.equal(*common)
    assert common[0].shape[1] == WORLD * own[0].shape[1]


def test_every_parameter_gets_a_gradient(pair):
    for results in pair['no_unused_parameters']:
        assert len(results) == 2 * 15
        assert results == dict.fromkeys(results, [])


@pytest.mark.parametrize('name', list(jobs.CASES))
def test_a_backward_pass_for_each_view(pair, name):
    """In two processes it gives what one summed pass gives in one."""
    expected = jobs.train(jobs.model_of(name), name, 2 * WORLD)
    for results in pair['each_view']:
        assert results[name].keys() == expected.keys()
        for key, value in expected.items():
            torch.testing.assert_close(results[name][key], value, atol=1e-6, rtol=1e-5,
                                       msg=lambda text, key=key: f'{key}: {text}')


def test_accumulated_gradients(pair):
    expected = jobs.accumulated(None)
    for key, value in expected['summed'].items():
        for results in (expected, *pair['accumulated']):
            for mode in ('summed', 'each'):
                torch.testing.assert_close(results[mode][key], value, atol=1e-6, rtol=1e-5)


def test_teachers_are_bitwise_equal_after_a_training(pair):
    """With statistics of the batch, its own running ones are those of its process until they are evaluated."""
    first, second = pair['trainings']
    for name in ('whole', 'running'):
        teacher = [key for key in first[name] if key.startswith('teacher')]
        assert len(teacher) > 10
        assert all(torch.equal(first[name][key], second[name][key]) for key in teacher)


def test_a_resumed_pair_is_the_same_in_both_processes(pair):
    """Also the memory bank of the second process, and its statistics."""
    for results in pair['trainings']:
        assert results['whole'].keys() == results['resumed'].keys()
        assert all(torch.equal(results['whole'][key], results['resumed'][key]) for key in results['whole'])
    key = 'objectives.contrast.bank.embeddings'
    first, second = (results['whole'][key] for results in pair['trainings'])
    assert first.abs().sum() > 0
    assert not torch.equal(first, second), 'each process has a bank of its own'


def test_no_search_for_unused_parameters_and_no_buffers_sent(pair):
    assert all(results['unused'] == (False, False) for results in pair['trainings'])


def test_validation_in_two_processes_is_that_of_the_checkpoint_in_one(pair, folder, world, tmp_path):
    cfg = config(world, tmp_path, 'RCCR', tiny.small(num_classes=19, dropout=0.0),
                 load_from=str(folder / 'whole/iter_4.pth'))
    single = Runner.from_cfg(cfg).test()
    assert read_record(folder / 'whole')['val'][-1]['metrics'] == pytest.approx(
        {key: value for key, value in single.items() if value == value})


def test_processes_see_different_items(pair):
    first, second = pair['items']
    assert (first['positions'], second['positions']) == ([0, 2, 4, 6], [1, 3, 5, 7])
    for branch in ('source', 'rare'):
        assert not [item for item in first[branch] if item in second[branch]]
