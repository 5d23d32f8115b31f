"""Regional contrast number by number, and small maps for it."""
import itertools
import math

import torch
import torch.nn.functional as F

from mmseg_camix.ops import contrast as ops
from tests.devices import seeded

B, K, H, W = 2, 6, 3, 4
TAU = .1


def maps(seed: int = 0, device: str = 'cpu', dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    """Embeddings of both maps, their labels, the overlap and where the teacher is sure."""
    g = seeded(seed)
    values = dict(
        cut=torch.randn(B, K, H, W, generator=g).to(dtype), target=torch.randn(B, K, H, W, generator=g).to(dtype),
        cut_label=torch.randint(3, (B, H, W), generator=g), target_label=torch.randint(3, (B, H, W), generator=g),
        overlap=torch.rand(B, H, W, generator=g) < .6, sure=torch.rand(B, H, W, generator=g) < .7)
    values['cut_label'][0, 0, 0] = 255
    values['overlap'][0, 0, 0] = False
    return {name: value.to(device) for name, value in values.items()}


def bank_of(seed: int = 5, count: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    g = seeded(seed)
    label = torch.randint(3, (count,), generator=g)
    label[2] = ops.EMPTY
    return F.normalize(torch.randn(count, K, generator=g), dim=1), label


def cosine(u: torch.Tensor, v: torch.Tensor) -> float:
    u, v = u.double().cpu(), v.double().cpu()
    return float(u @ v / (u.norm() * v.norm()))


def similarities(m: dict, b: int, i: int, j: int, filter_class: bool, images: list[int]) -> float:
    """Delta of Eq. 6 for the anchor (i, j) of image b."""
    anchor, label, delta = m['cut'][b, :, i, j], m['cut_label'][b, i, j], 0.
    for other, k, x, name in itertools.product(images, *map(range, m['overlap'].shape[1:]), ('target', 'cut')):
        if (other, k, x) != (b, i, j) and not (filter_class and m[f'{name}_label'][other, k, x] == label):
            delta += math.exp(cosine(anchor, m[name][other, :, k, x]) / TAU)
    return delta


def slow(m: dict, filter_class: bool = True, normalise: str = 'positives', pool: str = 'image',
         bank: tuple | None = None) -> float:
    """Eqs 4 to 8 and the sampling strategies as they are written, one number at a time."""
    images, count = [0.] * B, 0
    for b, i, j in itertools.product(*map(range, m['overlap'].shape)):
        if not (m['overlap'][b, i, j] and m['sure'][b, i, j]):
            continue
        delta = similarities(m, b, i, j, filter_class, list(range(B)) if pool == 'batch' else [b])
        for old, label in zip(*bank) if bank else ():
            if label != ops.EMPTY and not (filter_class and label == m['cut_label'][b, i, j]):
                delta += math.exp(cosine(m['cut'][b, :, i, j], old) / TAU)
        own = math.exp(cosine(m['cut'][b, :, i, j], m['target'][b, :, i, j]) / TAU)
        images[b] -= math.log(own / (own + delta))
        count += 1
    if normalise == 'positives':
        return sum(images) / max(1, count)
    return sum(image / max(1, int(m['overlap'][b].sum())) for b, image in enumerate(images)) / B


def fast(m: dict, filter_class: bool = True, normalise: str = 'positives', pool: str = 'image',
         bank: tuple | None = None, ratio: float = 1., at_once: int = 2**24, detach: bool = True) -> torch.Tensor:
    cut, target = (ops.unit_embeddings(m[name]) for name in ('cut', 'target'))
    label, target_label = (m[f'{name}_label'].flatten(1) for name in ('cut', 'target'))
    weight = ops.anchor_weights(m['overlap'].flatten(1), m['sure'].flatten(1), normalise)
    device = str(cut.device).split(':')[0]
    negatives = ops.draw_negatives(cut.detach() if detach else cut, target, label, target_label, ratio,
                                   seeded(0, device))
    if pool == 'batch':
        negatives = ops.pool_negatives(negatives)
    if bank is not None:
        negatives = ops.add_bank(negatives, *(item.to(cut.device) for item in bank))
    return ops.region_contrast(cut, target, label, negatives, weight, TAU, filter_class, at_once)
