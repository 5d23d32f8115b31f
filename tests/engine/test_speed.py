"""Options for speed and memory."""

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from mmseg_camix.engine.speed import DESCRIPTION, NAMES, Bf16OptimWrapper, apply_options
from tests.devices import DEVICES
from tests.models import tiny


def adapted(**changes):
    return Config(dict(model=dict(type='DACS'), optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1), **changes)))


def test_each_option_by_one_word(monkeypatch):
    cfg = adapted()
    apply_options(cfg, ['amp=bf16', 'channels_last', 'backward=each', 'checkpointing', 'compile', 'accumulate=4'])
    assert cfg.model.backward == 'each'
    assert cfg.model.acceleration == dict(channels_last=True, checkpointing=True, compile=True)
    assert (cfg.optim_wrapper.type, cfg.optim_wrapper.accumulative_counts) == ('Bf16OptimWrapper', 4)
    apply_options(cfg, ['compile=eager'])
    assert cfg.model.acceleration.compile == 'eager'
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    apply_options(cfg, ['amp'])
    assert (cfg.optim_wrapper.type, cfg.optim_wrapper.loss_scale) == ('AmpOptimWrapper', 'dynamic')
    apply_options(cfg, ['amp=bf16'])
    assert 'loss_scale' not in cfg.optim_wrapper
    before = cfg.to_dict()
    apply_options(cfg, [])
    assert cfg.to_dict() == before
    assert all(f'\n  {name}' in DESCRIPTION for name in NAMES)


@pytest.mark.parametrize(('cfg', 'option', 'match'), [
    (adapted(), 'amp=fp8', 'amp=fp8 must be amp=bf16 or amp=fp16'),
    (adapted(), 'amp=fp16', 'amp=fp16 needs a GPU'),
    (adapted(type='ApexOptimWrapper'), 'amp=bf16', 'not ApexOptimWrapper'),
    (adapted(), 'accumulate', "accumulate needs a number .* not ''"),
    (adapted(), 'accumulate=0', "not '0'"),
    (adapted(), 'channels_last=yes', 'channels_last takes no value'),
    (adapted(), 'backward', "backward='' must be one of summed, each"),
    (adapted(), 'turbo', "'turbo' is not an option; options for speed"),
    (Config(dict(model=dict(type='EncoderDecoder'))), 'compile', "wrap yours: model = dict.type='SourceOnly'"),
])
def test_wrong_options(cfg, option, match, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(SystemExit, match=match):
        apply_options(cfg, [option])


def grad_of(model, wrapper, batches):
    """The gradient passed to the optimiser, and the loss of each step."""
    recorded = {}
    inner = wrapper.optimizer.step
    wrapper.optimizer.step = lambda *args: recorded.update(
        {name: p.grad.clone() for name, p in model.student.named_parameters()}) or inner(*args)
    losses = []
    for index, data in enumerate(batches):
        model.set_progress(index, 100)
        losses.append(model.train_step(data, wrapper)['loss'].item())
    return recorded, losses


def flat(gradients):
    return torch.cat([item.flatten() for item in gradients.values()])


@pytest.mark.parametrize('kind', ['DACS', 'CAMix', 'DSP', 'RCCR'])
def test_bf16_is_near_fp32(kind):
    from tests.models import dsp_tiny
    results = []
    for wrapper in ('OptimWrapper', 'Bf16OptimWrapper'):
        segmentor = tiny.small(dropout=0.0)
        model = tiny.method(kind, segmentor, pseudo_labels=dict(weighted=False))
        optim = build_optim_wrapper(model, dict(type=wrapper, optimizer=dict(type='SGD', lr=0.1)))
        data = dsp_tiny.batch_of(0, 32, 2) if kind == 'DSP' else tiny.batch()
        results.append(grad_of(model, optim, [data]))
        assert all(p.dtype == torch.float32 for p in model.parameters())
    (exact, losses), (rounded, others) = results
    assert others == pytest.approx(losses, rel=0.02)
    assert losses != others, 'bf16 was not used'
    assert torch.cosine_similarity(flat(exact), flat(rounded), dim=0) > 0.99


def test_bf16_does_not_exchange_accumulated_gradients():
    model = tiny.method('DACS')
    wrapper = build_optim_wrapper(model, dict(type='Bf16OptimWrapper', accumulative_counts=2,
                                              optimizer=dict(type='SGD', lr=0.1)))
    assert isinstance(wrapper, Bf16OptimWrapper)
    recorded = []
    model.no_sync = lambda: recorded.append('held back') or torch.no_grad()
    wrapper.initialize_count_status(model, 0, 4)
    with wrapper.optim_context(model):
        assert torch.is_autocast_enabled('cpu')
        assert torch.get_autocast_dtype('cpu') == torch.bfloat16
    assert recorded == ['held back']


@pytest.mark.parametrize('device', DEVICES)
def test_float16_passes_stay_finite_and_near(device):
    model = tiny.method('RCCR', tiny.small(dropout=0.0), pseudo_labels=dict(weighted=False)).to(device)
    losses = []
    for enabled in (False, True):
        data = model.data_preprocessor(tiny.batch(), True)
        with torch.autocast(device, dtype=torch.float16, enabled=enabled):
            losses.append(model.parse_losses(model(**data, mode='loss'))[0])
    assert losses[1].item() == pytest.approx(losses[0].item(), rel=0.01)


def test_augmentation_ignores_mixed_precision():
    model = tiny.method('DACS', augment=dict(jitter_probability=1.0, blur_probability=1.0))
    images = torch.randn(2, 3, 16, 16)
    plain = model.augment(images, torch.Generator().manual_seed(0))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        mixed = model.augment(images, torch.Generator().manual_seed(0))
    assert torch.equal(plain, mixed)


def test_accumulation_equals_the_larger_batch():
    """Means over all pixels, q of each image, all classes pasted, nothing augmented: one image after the other."""
    from tests.engine import process_jobs as jobs
    results = []
    for count in (1, 2):
        model = tiny.method('DACS', jobs.normless(), masks=dict(classes=dict(ratio=1.0)),
                            pseudo_labels=dict(per='image', threshold=0.26), augment=tiny.NO_AUGMENTATION)
        wrapper = build_optim_wrapper(model, dict(type='OptimWrapper', accumulative_counts=count,
                                                  optimizer=dict(type='SGD', lr=0.1)))
        wrapper.initialize_count_status(model, 0, count)
        data = tiny.batch(jobs.SIZE)
        parts = [data] if count == 1 else [
            {branch: {key: values[i:i + 1] for key, values in content.items()} for branch, content in data.items()}
            for i in range(2)]
        results.append(flat(grad_of(model, wrapper, parts)[0]))
    torch.testing.assert_close(*results, atol=1e-6, rtol=1e-4)
