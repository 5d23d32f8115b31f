import colorsys
import math
from collections import Counter

import pytest
import torch

from mmseg_camix.ops.augment import ImageParams, StrongAugment, adjust_saturation, blur_image, jitter_image
from tests.devices import on_devices, seeded
from tests.sync_counter import no_sync

CAFFE = dict(mean=(104.00698793, 116.66876762, 122.67891434), channel_order='bgr')
IMAGENET = dict(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
ALL = (('hue', .2), ('brightness', -.1), ('saturation', 1.2), ('contrast', .8))


def pixels(batch: int = 2, size: int = 12, device: str = 'cpu') -> torch.Tensor:
    return torch.rand(batch, 3, size, size, generator=seeded(0)).to(device)


def normalised(setting: dict, image: torch.Tensor) -> torch.Tensor:
    """RGB in [0, 1] as the network gets it."""
    mean, std = (torch.tensor(setting.get(k, (1., 1., 1.)), device=image.device).view(3, 1, 1) for k in ('mean', 'std'))
    ordered = image.flip(-3) if setting.get('channel_order') == 'bgr' else image
    return (ordered * 255 - mean) / std


def slow_jitter(rgb: list[float], jitter: tuple) -> list[float]:
    """One pixel at a time, in HSV as its definition says."""
    def clip(v):
        return min(max(v, 0.), 1.)
    for name, amount in jitter:
        if name == 'brightness':
            rgb = [clip(v + amount) for v in rgb]
        elif name == 'contrast':
            rgb = [clip(v * amount) for v in rgb]
        else:
            h, s, v = colorsys.rgb_to_hsv(*rgb)
            h, s = (h, clip(s * amount)) if name == 'saturation' else ((h + amount) % 1, s)
            rgb = list(colorsys.hsv_to_rgb(h, s, v))
    return rgb


@on_devices
@pytest.mark.parametrize('jitter', [
    (('brightness', .2), ), (('contrast', 1.25), ), (('saturation', .7), ), (('saturation', 1.6), ),
    (('hue', .25), ), (('hue', -.1), ), ALL, ALL[::-1], ()])
def test_jitter_against_pixel_loops(jitter, device):
    image = pixels(1, device=device)[0]
    image[:, 0, 0], image[:, 0, 1], image[:, 0, 2] = 0, 1, .5
    out = jitter_image(image, jitter)
    for y in range(12):
        for x in range(12):
            expected = slow_jitter(image[:, y, x].tolist(), jitter)
            assert out[:, y, x].tolist() == pytest.approx(expected, abs=2e-5)


def test_jitter_golden():
    """Numbers of kornia 0.9.0, whose adjust_* functions the family's ColorJitter applies."""
    image = torch.tensor([[.2, .5, .9], [.7, .1, .3], [.4, .4, .4], [1., .8, 0.]]).T.view(3, 2, 2)
    out = jitter_image(image, (('saturation', 1.2), ('brightness', .1), ('hue', -.15), ('contrast', .9)))
    expected = torch.tensor([[.1440, .9, .6516], [.5730, .09, .72], [.45, .45, .45], [.9, .09, .0990]]).T.view(3, 2, 2)
    torch.testing.assert_close(out, expected, rtol=0, atol=5e-5)


def test_saturation_ends():
    image = pixels()
    torch.testing.assert_close(adjust_saturation(image, 1.), image)
    grey = adjust_saturation(image, 0.)
    torch.testing.assert_close(grey, image.amax(1, keepdim=True).expand_as(grey))
    full = adjust_saturation(image, 1e6)
    assert full.amin(1).abs().max() < 1e-6, 'saturation must stop at 1'


def slow_blur(image: torch.Tensor, sigma: float, radius: int) -> torch.Tensor:
    """Both axes at once, in fp64, reflecting indices by hand."""
    def reflect(i, n):
        i = abs(i)
        return i if i < n else 2 * (n - 1) - i
    _, height, width = image.shape
    out, total = torch.zeros_like(image, dtype=torch.float64), 0.
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            weight = math.exp(-(dy**2 + dx**2) / (2 * sigma**2))
            ys = [reflect(y + dy, height) for y in range(height)]
            xs = [reflect(x + dx, width) for x in range(width)]
            out += weight * image.double()[:, ys][:, :, xs]
            total += weight
    return out / total


@on_devices
@pytest.mark.parametrize('sigma', [.15, .5, .99, 1., 1.15])
def test_blur_is_gaussian(sigma, device):
    image = pixels(1, device=device)[0]
    # The reference reaches as far as the image: the truncation must not show in a grey level.
    expected = slow_blur(image, sigma, radius=11)
    assert (blur_image(image, sigma) - expected).abs().max() < .2 / 255


@pytest.mark.parametrize('size', [(1, 1), (2, 9), (9, 2)])
def test_blur_of_small_images(size):
    image = torch.rand(3, *size, generator=seeded(0))
    out = blur_image(image, 1.15)
    assert out.shape == image.shape and out.isfinite().all()
    torch.testing.assert_close(blur_image(torch.full((3, *size), .3), 1.15), torch.full((3, *size), .3))


@on_devices
@pytest.mark.parametrize('setting', [CAFFE, IMAGENET])
@pytest.mark.parametrize('batch', [1, 2, 3, 4])
def test_any_normalisation_and_channel_order(setting, batch, device):
    """The network's input is that of the augmented picture, whichever way it is encoded."""
    image = pixels(batch, device=device)
    augment = StrongAugment(**setting).to(device)
    params = augment.draw(batch, seeded(1))
    params = [ImageParams(ALL, p.sigma) for p in params]
    out = augment.apply_params(normalised(setting, image), params)
    pictures = [jitter_image(x, ALL) for x in image]
    pictures = [blur_image(x, p.sigma) if p.sigma else x for x, p in zip(pictures, params)]
    torch.testing.assert_close(out, normalised(setting, torch.stack(pictures)), rtol=0, atol=.02)


@on_devices
def test_bf16_is_computed_in_fp32(device):
    augment = StrongAugment(**IMAGENET).to(device)
    image = normalised(IMAGENET, pixels(4, device=device)).bfloat16()
    params = [ImageParams(ALL, 1.), ImageParams(ALL), ImageParams(sigma=1.), ImageParams()]
    out = augment.apply_params(image, params)
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, augment.apply_params(image.float(), params).bfloat16())


def test_no_parameters_change_nothing():
    image = normalised(IMAGENET, pixels())
    out = StrongAugment(**IMAGENET).apply_params(image, [ImageParams()] * 2)
    assert torch.equal(out, image)
    never = StrongAugment(**IMAGENET, jitter_probability=0., blur_probability=0.)
    assert torch.equal(never(image, seeded(0)), image)


def test_batch_gate_and_image_amounts():
    augment = StrongAugment(**IMAGENET)
    draws = [augment.draw(4, seeded(s)) for s in range(500)]
    for params in draws:
        assert len({bool(p.jitter) for p in params}) == len({bool(p.sigma) for p in params}) == 1
        if params[0].jitter:
            assert len({dict(p.jitter)['hue'] for p in params}) == 4
        if params[0].sigma:
            assert len({p.sigma for p in params}) == 4
    assert sum(bool(d[0].jitter) for d in draws) / 500 == pytest.approx(.8, abs=.06)
    assert sum(bool(d[0].sigma) for d in draws) / 500 == pytest.approx(.5, abs=.08)
    both = sum(bool(d[0].jitter) and bool(d[0].sigma) for d in draws) / 500
    assert both == pytest.approx(.4, abs=.08), 'the two gates must be independent'


def test_image_gate():
    params = StrongAugment(**IMAGENET, per='image').draw(2000, seeded(0))
    assert sum(bool(p.jitter) for p in params) / 2000 == pytest.approx(.8, abs=.04)
    assert sum(bool(p.sigma) for p in params) / 2000 == pytest.approx(.5, abs=.05)


def test_distribution_of_amounts():
    strengths = dict(brightness=.1, contrast=.2, saturation=.3, hue=.4)
    augment = StrongAugment(**IMAGENET, jitter=strengths, jitter_probability=1., blur_probability=1.)
    params = augment.draw(4000, seeded(0))
    for name, strength in strengths.items():
        neutral = 1. if name in ('contrast', 'saturation') else 0.
        share = (torch.tensor([dict(p.jitter)[name] for p in params]) - neutral) / strength
        assert share.abs().max() <= 1 + 1e-5 and share.abs().max() > .99
        # Uniform on [-1, 1]: mean 0, variance 1/3.
        assert share.mean().item() == pytest.approx(0, abs=.04)
        assert share.var().item() == pytest.approx(1 / 3, abs=.02)
    sigma = torch.tensor([p.sigma for p in params])
    assert .15 <= sigma.min() < .16 and 1.14 < sigma.max() <= 1.15
    assert sigma.mean().item() == pytest.approx(.65, abs=.02)


def test_orders_are_equally_likely():
    params = StrongAugment(**IMAGENET, jitter_probability=1.).draw(4800, seeded(0))
    orders = Counter(tuple(name for name, _ in p.jitter) for p in params)
    assert len(orders) == 24 and min(orders.values()) > 140 and max(orders.values()) < 260


def test_strength_by_name():
    some = StrongAugment(**IMAGENET, jitter=dict(hue=.1), jitter_probability=1.).draw(3, seeded(0))
    assert all([name for name, _ in p.jitter] == ['hue'] for p in some)


def test_seed_decides_and_gates_do_not_shift_it():
    augment, other = StrongAugment(**IMAGENET), StrongAugment(**IMAGENET, jitter_probability=0.)
    assert augment.draw(2, seeded(1)) == augment.draw(2, seeded(1)) != augment.draw(2, seeded(2))
    left, right = seeded(3), seeded(3)
    first, second = augment.draw(2, left), other.draw(2, right)
    assert torch.equal(left.get_state(), right.get_state())
    assert [p.sigma for p in first] == [p.sigma for p in second]


def test_nothing_synchronises_and_settings_are_no_state():
    augment, image = StrongAugment(**IMAGENET), normalised(IMAGENET, pixels())
    assert not augment.state_dict()
    with no_sync():
        augment.apply_params(image, [ImageParams(ALL, 1.)] * 2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_cuda_step_waits_for_nothing():
    augment, image = StrongAugment(**IMAGENET).cuda(), normalised(IMAGENET, pixels(device='cuda'))
    augment.apply_params(image, [ImageParams(ALL, 1.)] * 2)
    torch.cuda.set_sync_debug_mode('error')
    try:
        augment.apply_params(image, [ImageParams(ALL, 1.)] * 2)
        with pytest.raises(ValueError, match='needs a CPU generator'):
            augment.draw(2, seeded(0, 'cuda'))
    finally:
        torch.cuda.set_sync_debug_mode('default')


@pytest.mark.parametrize(('change', 'message'), [
    (dict(channel_order='gbr'), "channel_order 'gbr' .* rgb, bgr"),
    (dict(per='pixel'), "per 'pixel' .* batch, image"),
    (dict(mean=(0., )), 'mean and std need 3 channels'),
    (dict(jitter=dict(hues=.1)), "jitter of 'hues' .* brightness, contrast, saturation, hue"),
    (dict(jitter=.6), r'hue=0.6 must be in \[0, 0.5\]'),
    (dict(blur_sigma=(0., 1.)), 'blur_sigma .* above 0'),
])
def test_bad_settings(change, message):
    with pytest.raises(ValueError, match=message):
        StrongAugment(**IMAGENET | change)


def test_parameters_must_fit_the_batch():
    with pytest.raises(ValueError):
        StrongAugment(**IMAGENET).apply_params(pixels(2), [ImageParams()])


@pytest.mark.parametrize('setting', [CAFFE, IMAGENET])
def test_grey_images(setting):
    """0.2989 red + 0.587 green + 0.114 blue in each channel, in either channel order, after the jitter."""
    augment = StrongAugment(**setting, jitter_probability=0., blur_probability=0., grey_probability=1.)
    rgb = pixels(2)
    grey = (rgb * torch.tensor([.2989, .587, .114]).view(3, 1, 1)).sum(1, keepdim=True).expand_as(rgb)
    out = augment(normalised(setting, rgb), seeded(0))
    torch.testing.assert_close(out, normalised(setting, grey), rtol=1e-4, atol=1e-3)


def test_grey_images_are_drawn_last():
    """Jitter and blur are the same with and without; one draw for the batch or one for each image."""
    plain, some = (StrongAugment(**IMAGENET, per='image', grey_probability=p) for p in (0., .4))
    drawn = some.draw(200, seeded(3))
    assert [(p.jitter, p.sigma) for p in drawn] == [(p.jitter, p.sigma) for p in plain.draw(200, seeded(3))]
    assert .3 < sum(p.grey for p in drawn) / 200 < .5
    batch = StrongAugment(**IMAGENET, grey_probability=.5)
    assert {len({p.grey for p in batch.draw(8, seeded(seed))}) for seed in range(8)} == {1}


def slow_torchvision(image: torch.Tensor, jitter: tuple) -> torch.Tensor:
    """(3, H, W) RGB: each jitter is a blend with black, with the mean grey, or with the grey image."""
    for name, amount in jitter:
        grey = (image * torch.tensor([.2989, .587, .114]).view(3, 1, 1)).sum(0, keepdim=True)
        other = dict(brightness=torch.zeros(1, 1, 1), contrast=grey.mean().view(1, 1, 1), saturation=grey)[name]
        image = (amount * image + (1 - amount) * other).clamp(0, 1)
    return image


@pytest.mark.parametrize('setting', [CAFFE, IMAGENET])
@pytest.mark.parametrize('grey', [False, True])
def test_the_definitions_of_torchvision(setting, grey):
    jitter = (('saturation', 1.5), ('brightness', 1.6), ('contrast', .4))
    augment = StrongAugment(**setting, library='torchvision')
    rgb = pixels(1)
    out = augment.apply_params(normalised(setting, rgb), [ImageParams(jitter, grey=grey)])
    expected = slow_torchvision(rgb[0], (*jitter, *((('saturation', 0.), ) if grey else ())))[None]
    torch.testing.assert_close(out, normalised(setting, expected), rtol=1e-3, atol=1e-2)


def test_amounts_for_torchvision_are_factors_around_one():
    augment = StrongAugment(**IMAGENET, library='torchvision', jitter=.4, jitter_probability=1.)
    drawn = [amount for p in augment.draw(300, seeded(0)) for name, amount in p.jitter if name != 'hue']
    assert .6 <= min(drawn) < .65
    assert 1.35 < max(drawn) <= 1.4
    with pytest.raises(ValueError, match="library 'pillow' is unknown; available: kornia, torchvision"):
        StrongAugment(**IMAGENET, library='pillow')
