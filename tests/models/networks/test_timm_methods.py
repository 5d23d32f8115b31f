"""Networks of timm under every method: one step each, frozen and not."""

import pytest
import torch

from tests.models import dsp_tiny, tiny

VIT = dict(type='TimmViT', name='vit_small_patch16_dinov3', arguments=dict(depth=1, embed_dim=16, num_heads=2))
CONVOLUTIONAL = dict(type='TimmFeatures', name='resnet10t', out_indices=(1, 2, 3, 4))
# Arguments that depend on the five classes.
ARGUMENTS = {
    'CAMix': dict(masks=dict(context=dict(groups=None))),
    'DAFormer': dict(objectives=dict(features=dict(things=('building', 'wall'))),
                     pseudo_labels=dict(ignore_top=2, ignore_bottom=5)),
    'RCCR': dict(objectives=dict(contrast=dict(features=1))),
}


def segmentor(kind, frozen):
    widths = [16] * 4 if kind is VIT else [64, 128, 256, 512]
    head = dict(type='DAFormerHead', in_channels=widths, embed_dims=4, channels=4, num_classes=5)
    return tiny.encoder_decoder(dict(kind, frozen=frozen), head)


@pytest.mark.parametrize('method', ['SourceOnly', 'DACS', 'CAMix', 'RCCR', 'DSP', 'DAFormer', 'iDAFormer'])
@pytest.mark.parametrize(('kind', 'frozen'), [(VIT, False), (VIT, True), (CONVOLUTIONAL, False)],
                         ids=['vit', 'frozen vit', 'convolutional'])
def test_a_step(method, kind, frozen):
    model = tiny.method(method, segmentor(kind, frozen), **ARGUMENTS.get(method.removeprefix('i'), {}))
    total, _ = tiny.losses_of(model, dsp_tiny.batch_of(size=32) if method == 'DSP' else tiny.batch())
    total.backward()
    assert torch.isfinite(total)
    network = model.student.backbone.network
    assert any(p.grad is not None for p in network.parameters()) != frozen
    if kind is VIT:
        assert all(p.grad is not None for p in model.student.backbone.pyramid.parameters())
