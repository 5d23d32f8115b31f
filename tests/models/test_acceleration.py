"""Options that change how networks run: the results stay, and so do the names in a checkpoint."""

import copy

import pytest
import torch
from torch import nn

from mmseg_camix.models.building import TableError
from mmseg_camix.models.uda.acceleration import blocks_of

from . import tiny

OPTIONS = {'channels_last': dict(channels_last=True), 'checkpointing': dict(checkpointing=True)}


def step(model, iterations=1):
    """Total loss, gradients and buffers after some steps, dropout included."""
    total = None
    for index in range(iterations):
        model.zero_grad()
        model.set_progress(index, 100)
        torch.manual_seed(index)
        total, _ = tiny.losses_of(model, tiny.batch())
        total.backward()
        model.update_teacher()
    return (total.detach(), {name: p.grad for name, p in model.named_parameters() if p.requires_grad},
            dict(model.named_buffers()))


def agree(first, second, exact=False):
    tolerance = dict(atol=0, rtol=0) if exact else dict(atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(first[0], second[0], **tolerance)
    for mine, theirs in zip(first[1:], second[1:]):
        assert mine.keys() == theirs.keys()
        for name, value in mine.items():
            if value is None or theirs[name] is None:
                assert value is theirs[name], name
                continue
            torch.testing.assert_close(value, theirs[name], msg=lambda text, n=name: f'{n}: {text}', **tolerance)


def resnet(**changes):
    """With blocks, batch statistics, and dropout in the head."""
    cfg = tiny.segmentors()['FCN with an auxiliary head']
    cfg['backbone'].update(changes)
    return cfg


@pytest.mark.parametrize(('kind', 'name'), [(kind, name) for kind in ('DACS', 'CAMix') for name in OPTIONS])
def test_results_stay(kind, name):
    """Two steps: loss, gradients, running statistics of both networks, number of batches counted."""
    plain, other = (tiny.method(kind, resnet(), acceleration=given) for given in ({}, OPTIONS[name]))
    assert plain.state_dict().keys() == other.state_dict().keys()
    agree(step(plain, 2), step(other, 2))


@pytest.mark.parametrize(('kind', 'acceleration'), [
    ('SourceOnly', dict(compile='aot_eager')), ('CAMix', dict(compile='eager')),
    ('DACS', dict(compile='eager', checkpointing=['backbone'], channels_last=True))], ids=['aot', 'CAMix', 'all'])
def test_results_stay_where_networks_are_compiled(kind, acceleration):
    """CAMix runs its teacher in two modes, with running statistics that move and that stay."""
    # Element-wise dropout fills memory with random numbers in its order, which channels_last changes.
    dropout = 0.0 if 'channels_last' in acceleration else 0.5
    plain, other = (tiny.method(kind, tiny.small(dropout=dropout), acceleration=given) for given in ({}, acceleration))
    assert plain.state_dict().keys() == other.state_dict().keys()
    agree(step(plain, 2), step(other, 2))


@pytest.mark.parametrize('name', [name for name in tiny.segmentors() if name != 'FCN with an auxiliary head'])
@pytest.mark.parametrize('option', [dict(channels_last=True), dict(checkpointing=['backbone', 'decode_head'])],
                         ids=['channels_last', 'checkpointing'])
def test_any_segmentor(name, option):
    def built(**arguments):
        return tiny.method('PseudoLabelling', tiny.segmentors()[name], **arguments)

    def total(model):
        torch.manual_seed(1)
        result = tiny.losses_of(model, tiny.batch(edges=True))[0]
        result.backward()
        return result.detach(), {n: p.grad for n, p in model.student.named_parameters()}, dict(model.named_buffers())

    agree(total(built()), total(built(acceleration=option)))


def test_checkpointing_computes_blocks_twice_and_holds_less():
    def run(**arguments):
        model = tiny.method('SourceOnly', resnet(), **arguments)
        block, passes, kept = model.student.backbone.layer2[0].conv1, [], []
        block.register_forward_hook(lambda *_: passes.append(1))
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
            total, _ = tiny.losses_of(model, tiny.batch())
        held = sum(kept)
        total.backward()
        return len(passes), held

    (once, whole), (twice, part) = run(), run(acceleration=dict(checkpointing=True))
    assert (once, twice) == (1, 2)
    assert part < 0.7 * whole


def test_running_statistics_move_once():
    """Recomputing must not count a batch again, not even with a cumulative average."""
    result = []
    for accelerated in (False, True):
        model = tiny.method('SourceOnly', resnet(), acceleration=dict(checkpointing=accelerated))
        norm = model.student.backbone.layer2[0].bn1
        norm.momentum = None
        step(model, 3)
        assert norm.num_batches_tracked == 3
        assert norm.momentum is None
        result.append(norm.running_var.clone())
    assert torch.equal(*result)


@pytest.mark.parametrize('backward', ['summed', 'each'])
@pytest.mark.parametrize('checkpointing', [False, ['backbone.layer1']])
def test_the_option_of_mmseg_recomputes_in_the_same_way(backward, checkpointing):
    """mmseg's own way fails with backward='each' and in DDP, and moves running statistics twice."""
    plain = tiny.method('DACS', resnet(), backward=backward)
    other = tiny.method('DACS', resnet(with_cp=True), backward=backward, acceleration=dict(checkpointing=checkpointing))
    passes = []
    for layer in (other.student.backbone.layer1[0].conv1, other.student.backbone.layer2[0].conv1):
        layer.register_forward_hook(lambda layer, *_: passes.append(layer))
    agree(step(plain, 2), step(other, 2))
    assert [passes.count(layer) for layer in dict.fromkeys(passes)] == [8, 8]  # 2 steps, 2 views, each twice


def test_the_teacher_is_not_recomputed():
    model = tiny.method('DACS', resnet(), acceleration=dict(checkpointing=True))
    passes = []
    model.teacher.model.backbone.layer2[0].register_forward_hook(lambda *_: passes.append(1))
    step(model)
    assert len(passes) == 1


def test_copies_are_independent():
    """An exported or averaged copy must not run on the weights that it was copied from."""
    options = dict(channels_last=True, checkpointing=['backbone'], compile='eager')
    model = tiny.method('DACS', tiny.small(), acceleration=options).eval()
    image = torch.randn(1, 3, 32, 32)
    copied = copy.deepcopy(model)
    with torch.no_grad():
        before = model.student(image)
        for p in copied.student.parameters():
            p.zero_()
        torch.testing.assert_close(model.student(image), before)
        assert not copied.student(image).any()


def test_channels_last_reaches_weights_and_images():
    model = tiny.method('DACS', resnet(), acceleration=dict(channels_last=True))
    recorded = []
    for network in (model.student, model.teacher.model):
        network.backbone.layer1[0].register_forward_hook(lambda module, inputs, output: recorded.append(output))
        assert network.backbone.layer1[0].conv1.weight.is_contiguous(memory_format=torch.channels_last)
    step(model)
    assert len(recorded) == 3
    assert all(item.is_contiguous(memory_format=torch.channels_last) for item in recorded)


def test_channels_last_starts_from_the_same_weights():
    """Random numbers fill memory in its order, which differs."""
    plain, other = (tiny.method('SourceOnly', resnet(), acceleration=dict(channels_last=value))
                    for value in (False, True))
    for model in (plain, other):
        torch.manual_seed(3)
        model.init_weights()
    assert all(torch.equal(first, two) for first, two in zip(plain.parameters(), other.parameters()))
    weight = other.student.backbone.layer1[0].conv1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert weight.requires_grad


def test_compiled_parts_run():
    graphs = []
    torch._dynamo.reset()

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch._dynamo.register_backend(compiler_fn=backend, name='counting')
    step(tiny.method('DACS', tiny.small(), acceleration=dict(compile='counting')))
    # Backbone and head, of the student and of the teacher (at least once each).
    assert len(graphs) >= 4


@pytest.mark.parametrize('name', ['SegFormer', 'a neck'])
def test_blocks_are_found(name):
    backbone = tiny.build(tiny.segmentors()[name]).backbone
    kinds = {type(block).__name__ for block in blocks_of(backbone)}
    assert kinds <= {'TransformerEncoderLayer', 'PatchEmbed', 'BasicBlock', 'Bottleneck'}
    assert kinds & {'TransformerEncoderLayer', 'BasicBlock', 'Bottleneck'}
    inside = [p for block in blocks_of(backbone) for p in block.parameters()]
    assert len(inside) == len(set(inside)), 'no block within another'
    assert sum(p.numel() for p in inside) > 0.8 * sum(p.numel() for p in backbone.parameters())


def test_blocks_have_layers():
    nested = nn.Sequential(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()), nn.Conv2d(3, 3, 1))
    assert blocks_of(nested) == [], 'single layers are not worth it'


@pytest.mark.parametrize(('acceleration', 'match'), [
    (dict(checkpointing=True), "finds no blocks in Patchwork; name modules .*checkpointing=..backbone"),
    (dict(checkpointing=['backbone.layer9']), "no module 'backbone.layer9'; choose one of .*backbone.*decode_head"),
    (dict(chanels_last=True), "'acceleration' .*chanels_last"),
])
def test_wrong_options_are_rejected(acceleration, match):
    with pytest.raises(TableError, match=match):
        tiny.method('DACS', tiny.small(), acceleration=acceleration)
