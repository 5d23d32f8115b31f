"""One backward pass after each view: the gradients, losses and trainings of one summed pass, in less memory."""

import copy
import weakref

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmseg.registry import MODELS
from torch import nn

from mmseg_camix.models.objectives import Objective
from mmseg_camix.models.uda.backward import GradientSum, independent_parts
from tests.engine import process_jobs as jobs

from . import tiny

EACH = dict(backward='each')
# DSP's alignment reads two views, which then pass one by one, as one part.
CASES = [(name, {}) for name in jobs.CASES] + [('DSP', dict(joint_views=())), ('MIC', dict(acceleration=dict(
    checkpointing=['backbone', 'decode_head'])))]


def optimiser(model, kind=OptimWrapper, **arguments):
    wrapper = kind(torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1, momentum=0.9),
                   **arguments)
    wrapper.initialize_count_status(model, 0, 7)  # an accumulation over 2 or 3 ends with fewer
    return wrapper


def train(name, wrapper=None, steps=4, **arguments):
    """mmengine's own `train_step`; what it logs in each step, and the final state."""
    model = jobs.model_of(name, **arguments)
    wrapper = (wrapper or optimiser)(model)
    model.loss_scaler = getattr(wrapper, 'loss_scaler', None)
    logs = []
    for index in range(steps):
        model.set_progress(index, 100)
        logs.append({key: value.detach() for key, value in
                     model.train_step(jobs.batch_of(name, 2, index), wrapper).items()})
        if wrapper.should_update():
            model.update_teacher()
    return logs, model.state_dict(), wrapper


def agree(results, expected, atol=1e-6):
    torch.testing.assert_close(results, expected, atol=atol, rtol=1e-5, check_stride=False)


@pytest.mark.parametrize(('name', 'arguments'), CASES)
def test_results_equal_those_of_one_summed_pass(name, arguments):
    """Gradients and state after three steps; all that is logged, in the same order."""
    results = [jobs.train(jobs.model_of(name, **arguments, **mode), name, 2) for mode in ({}, EACH)]
    assert max(value.abs().max() for key, value in results[0].items() if key.startswith('grad')) > 1e-3
    agree(results[1], results[0])
    logs = [train(name, steps=1, **arguments, **mode)[0][0] for mode in ({}, EACH)]
    assert list(logs[1]) == list(logs[0])
    agree(*logs)


@pytest.mark.parametrize('name', tiny.segmentors())
def test_every_kind_of_head(name):
    """Auxiliary heads, cascades, several losses; without dropout, whose draws come in another order."""
    cfg = tiny.segmentors()[name]
    results = []
    for mode in ({}, EACH):
        model = tiny.method('DACS', cfg, **mode)
        for module in model.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.p = 0.0
        total, logged = tiny.losses_of(model, tiny.batch(edges=True))
        total.backward()
        results.append([{key: value.detach() for key, value in logged.items()},
                        {key: p.grad for key, p in model.student.named_parameters() if p.grad is not None}])
    assert results[0][1].keys() == results[1][1].keys()
    torch.testing.assert_close(*results, atol=1e-5, rtol=1e-4)


# ------------------------------------------------------------------ mmengine's train_step


@pytest.mark.parametrize('options', [
    dict(accumulative_counts=2), dict(accumulative_counts=3, clip_grad=dict(max_norm=0.05)),
    dict(clip_grad=dict(max_norm=0.05)), dict(clip_grad=dict(type='value', clip_value=0.01))])
def test_accumulation_and_clipping(options):
    results = [train('RCCR', lambda model: optimiser(model, **copy.deepcopy(options)), 7, **mode)
               for mode in ({}, EACH)]
    for part in range(2):
        agree(results[1][part], results[0][part])
    plain = train('RCCR', steps=7)[1]
    assert any((plain[key] - value).abs().max() > 1e-3 for key, value in results[0][1].items()), 'options count'


class Scaled(OptimWrapper):
    """mmengine's AmpOptimWrapper, which refuses a CPU."""

    def __init__(self, optimizer, scale=2.0**10, dtype=None, **arguments):
        super().__init__(optimizer, **arguments)
        self.loss_scaler, self.dtype = torch.amp.GradScaler('cpu', init_scale=scale), dtype

    def backward(self, loss, **arguments):
        self.loss_scaler.scale(loss).backward(**arguments)
        self._inner_count += 1

    def step(self, **arguments):
        if self.clip_grad_kwargs:
            self.loss_scaler.unscale_(self.optimizer)
            self._clip_grad()
        self.loss_scaler.step(self.optimizer, **arguments)
        self.loss_scaler.update()

    def optim_context(self, model):
        return torch.autocast('cpu', dtype=self.dtype, enabled=self.dtype is not None)


@pytest.mark.parametrize('options', [{}, dict(scale=2.0**80), dict(accumulative_counts=2, scale=1000.0),
                                     dict(clip_grad=dict(max_norm=0.05))])
def test_a_loss_scale_cancels(options):
    """A scale that is too large skips steps and falls, as with a summed pass; then gradients are those without one."""
    results = [train('DACS', lambda model: optimiser(model, Scaled, **copy.deepcopy(options)), 7, **mode)
               for mode in ({}, EACH)]
    assert results[0][2].loss_scaler.get_scale() == results[1][2].loss_scaler.get_scale()
    for part in range(2):
        agree(results[1][part], results[0][part])


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_mixed_precision(dtype):
    """Within the rounding of the type; summed gradients of a weight are added in it, those of each view in fp32."""
    results = [train('MIC', lambda model: optimiser(model, Scaled, dtype=dtype), 1, **mode)
               for mode in ({}, EACH, EACH)]
    exact = train('MIC', steps=1)[1]
    eps = torch.finfo(dtype).eps
    for key, value in exact.items():
        own, other = (result[1][key] for result in (results[1], results[0]))
        torch.testing.assert_close(own, other, atol=8 * eps, rtol=8 * eps)
        torch.testing.assert_close(own, value, atol=8 * eps, rtol=8 * eps)
    assert any(not torch.equal(results[1][1][key], value) for key, value in exact.items()), 'the type was not used'
    assert all(torch.equal(results[1][1][key], results[2][1][key]) for key in exact), 'deterministic'


def test_the_scale_reaches_the_gradients_of_fp16_activations():
    """A gradient of 1e-9 is 0 in fp16; with a scale of 2^20 it is 1e-3."""
    layer = nn.Linear(1, 1, bias=False)
    for scale, expected in ((None, 0.0), (2.0**20, 1e-9)):
        gradients = GradientSum(layer, scale and torch.amp.GradScaler('cpu', init_scale=scale))
        with torch.autocast('cpu', dtype=torch.float16):
            gradients.add(dict(loss=1e-9 * layer(torch.ones(1, 1)).float()))
        layer.weight.grad = None
        carried = gradients.attach(dict(loss=torch.zeros(())))['loss']
        carried.backward()
        assert layer.weight.grad.item() == pytest.approx(expected, rel=1e-2)


def test_a_bad_loss_reaches_the_gradients():
    """The hook that skips such steps looks there."""
    model = jobs.model_of('DACS', **EACH)
    with torch.no_grad():
        model.student.decode_head.conv_seg.bias.fill_(torch.nan)
    total, _ = tiny.losses_of(model, jobs.batch_of('DACS', 2, 0))
    total.backward()
    assert not model.student.backbone.conv.weight.grad.isfinite().any()


def test_gradients_that_share_memory():
    """That of a + b is one tensor, that of sum(c) has one element."""
    module = nn.ParameterDict({name: torch.ones(2) for name in 'abc'})
    gradients = GradientSum(module)
    for factor in (1.0, 2.0):
        gradients.add(dict(loss=factor * ((module['a'] + module['b']) * torch.tensor([1.0, 3.0])).sum()
                           + factor * module['c'].sum(), number=module['a'].sum()))
    (5 * gradients.attach(dict(loss=torch.zeros(())))['loss']).backward()
    assert {name: p.grad.tolist() for name, p in module.items()} == dict(a=[15, 45], b=[15, 45], c=[15, 15])


def test_gradients_are_used_once():
    total, _ = tiny.losses_of(tiny.method('DACS', **EACH), tiny.batch())
    total.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="backward='each': the gradients of a step have been used"):
        total.backward()


@pytest.mark.parametrize('objectives', [dict(mixed=dict(weight=0.0)), dict(mixed=None)])
def test_losses_without_gradient_are_accepted(objectives):
    results = []
    for mode in ({}, EACH):
        model = tiny.method('DACS', tiny.per_pixel(), objectives=objectives, **mode)
        with torch.no_grad():  # as hooks and tests evaluate a loss
            tiny.losses_of(model, tiny.batch())
        total, _ = tiny.losses_of(model, tiny.batch())
        total.backward()
        results.append(model.student.decode_head.conv_seg.weight.grad)
    agree(*results)


# ------------------------------------------------------------------ memory


def peak_of_saved_bytes(model, data):
    """Most bytes that graphs hold at one time."""
    alive, peak = {}, 0

    class Kept:
        def __init__(self, tensor):
            nonlocal peak
            self.tensor, size = tensor, tensor.numel() * tensor.element_size()
            alive[id(self)] = size
            weakref.finalize(self, alive.pop, id(self))
            peak = max(peak, sum(alive.values()))

    with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
        total, _ = tiny.losses_of(model, data)
        total.backward()
    return peak


@pytest.mark.parametrize(('kind', 'share'), [('DACS', 0.7), ('MIC', 0.5)])
def test_one_graph_at_a_time(kind, share):
    """Of two and three views, of which the source with its auxiliary head is the largest."""
    summed, each = (peak_of_saved_bytes(tiny.method(kind, **mode), tiny.batch()) for mode in ({}, EACH))
    assert each < share * summed


class _Reads(Objective):
    def __init__(self, *reads):
        super().__init__(reads[0])
        self._reads = reads

    @property
    def reads(self):
        return self._reads


@pytest.mark.parametrize(('passes', 'reads', 'expected'), [
    ('a b c', dict(x='a', y='b', z='c'), {'a': 'x', 'b': 'y', 'c': 'z'}),
    ('a b c', dict(x='a', y='c', z='ac', w='b'), {'ac': 'xyz', 'b': 'w'}),
    ('ab c', dict(x='a', y='b', z='c'), {'ab': 'xy', 'c': 'z'}),
    ('ab c d', dict(x='c', y='bd'), {'abd': 'y', 'c': 'x'}),
    ('a b c', dict(x='ab', y='bc'), {'abc': 'xy'})])
def test_views_that_share_an_objective_are_one_part(passes, reads, expected):
    parts = independent_parts([(tuple(views), True) for views in passes.split()],
                              {name: _Reads(*views) for name, views in reads.items()})
    assert {''.join(view for views, _ in part.passes for view in views): ''.join(part.objectives)
            for part in parts} == expected


def test_hooks_may_read_outputs_without_graph():
    """Of every view that has passed, after its graph is freed."""
    steps = []
    model = tiny.method('MIC', **EACH)
    model.objectives['source'].register_forward_hook(lambda module, inputs, output: steps.append(inputs[0]))
    tiny.losses_of(model, tiny.batch())
    passes = steps[0].passes
    assert list(passes) == ['source', 'mixed', 'masked']
    assert passes['source'].logits is None
    for name in ('mixed', 'masked'):
        assert passes[name].features is None
        assert passes[name].logits.shape[:2] == (2, tiny.CLASSES)
        assert not passes[name].logits.requires_grad


# ------------------------------------------------------------------ how it is chosen


@MODELS.register_module()
class LargeSegmentor(MODELS.get('mmseg.EncoderDecoder')):
    preferred_backward = 'each'


def test_the_segmentor_may_prefer_a_mode():
    large = dict(tiny.small(), type='LargeSegmentor')
    chosen = [tiny.method('DACS', cfg, backward=given).backward
              for cfg in (tiny.small(), large) for given in (None, 'each', 'summed')]
    assert chosen == ['summed', 'each', 'summed', 'each', 'each', 'summed']


def test_unknown_modes_are_rejected():
    tiny.rejects("backward='every' must be one of summed, each", ValueError, backward='every')
