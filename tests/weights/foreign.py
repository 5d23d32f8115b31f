"""State dicts with the public names and shapes of other programs, filled with random numbers."""

from functools import lru_cache

import torch
from torch import Tensor

HEADS, RATIOS = (1, 2, 5, 8), (8, 4, 2, 1)
State = dict[str, Tensor]


def _random(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> State:
    return dict(_drawn(tuple(shapes.items()), seed))


@lru_cache(maxsize=8)
def _drawn(shapes: tuple[tuple[str, tuple[int, ...]], ...], seed: int) -> State:
    generator = torch.Generator().manual_seed(seed)
    return {name: 0.2 * torch.randn(shape, generator=generator) for name, shape in shapes}


def _pair(name: str, *shape: int) -> dict[str, tuple[int, ...]]:
    return {f'{name}.weight': shape, f'{name}.bias': shape[:1]}


def segformer_mit(width: int = 32, depths: tuple[int, ...] = (2, 2, 2, 2)) -> State:
    """The encoder as SegFormer's authors publish it (mit_b0.pth, ...), with its classifier."""
    shapes: dict[str, tuple[int, ...]] = {}
    before = 3
    for stage, (heads, ratio, depth) in enumerate(zip(HEADS, RATIOS, depths), 1):
        dim = width * heads
        kernel = 7 if stage == 1 else 3
        shapes |= _pair(f'patch_embed{stage}.proj', dim, before, kernel, kernel)
        shapes |= _pair(f'patch_embed{stage}.norm', dim) | _pair(f'norm{stage}', dim)
        for i in range(depth):
            block = f'block{stage}.{i}'
            shapes |= _pair(f'{block}.norm1', dim) | _pair(f'{block}.norm2', dim)
            shapes |= _pair(f'{block}.attn.q', dim, dim) | _pair(f'{block}.attn.kv', 2 * dim, dim)
            shapes |= _pair(f'{block}.attn.proj', dim, dim)
            if ratio > 1:
                shapes |= _pair(f'{block}.attn.sr', dim, dim, ratio, ratio) | _pair(f'{block}.attn.norm', dim)
            shapes |= _pair(f'{block}.mlp.fc1', 4 * dim, dim) | _pair(f'{block}.mlp.fc2', dim, 4 * dim)
            shapes |= _pair(f'{block}.mlp.dwconv.dwconv', 4 * dim, 1, 3, 3)
        before = dim
    return _random(shapes | _pair('head', 1000, before))


def hugging_face_mit(original: State) -> State:
    """The same weights as Hugging Face's `SegformerForImageClassification` names them."""
    renamed: State = {}
    for name, value in original.items():
        if name.startswith('head.'):
            renamed[name.replace('head', 'classifier')] = value
            continue
        part, *rest = name.split('.')
        stage, rest = int(part[-1]) - 1, '.'.join(rest)
        if part.startswith('patch_embed'):
            renamed[f'patch_embeddings.{stage}.' + rest.replace('norm', 'layer_norm')] = value
        elif part.startswith('norm'):
            renamed[f'layer_norm.{stage}.{rest}'] = value
        else:
            _hugging_face_block(renamed, f'block.{stage}.{rest}', value)
    named = {name if name.startswith('classifier') else f'segformer.encoder.{name}': value
             for name, value in renamed.items()}
    return dict(sorted(named.items()))  # as in files of safetensors: key, query, value


def _hugging_face_block(into: State, name: str, value: Tensor) -> None:
    if '.attn.kv.' in name:
        for half, word in zip(value.chunk(2), ('key', 'value')):
            into[name.replace('attn.kv', f'attention.self.{word}')] = half
        return
    for old, new in (('attn.q', 'attention.self.query'), ('attn.proj', 'attention.output.dense'),
                     ('attn.sr', 'attention.self.sr'), ('attn.norm', 'attention.self.layer_norm'),
                     ('norm1', 'layer_norm_1'), ('norm2', 'layer_norm_2'), ('mlp.fc', 'mlp.dense')):
        if f'.{old}' in name:
            name = name.replace(old, new)
            break
    into[name] = value


def hugging_face_5_mit(original: State) -> State:
    """The same as version 5 of transformers holds it in memory; taken from what it was seen to do."""
    renamed: State = {}
    for name, value in hugging_face_mit(original).items():
        part, _, rest = name.removeprefix('segformer.encoder.').partition('.')
        stage, _, rest = rest.partition('.')
        if part in ('patch_embeddings', 'layer_norm'):
            name = f'segformer.stages.{stage}.{part}.{rest}'
        elif part == 'block':
            number, _, rest = rest.partition('.')
            for old, new in (('attention.self.sr', 'attention.sequence_reduction.sequence_reduction'),
                             ('attention.self.layer_norm', 'attention.sequence_reduction.layer_norm'),
                             ('attention.self.query', 'attention.q_proj'), ('attention.self.key', 'attention.k_proj'),
                             ('attention.self.value', 'attention.v_proj'), ('layer_norm_1', 'layernorm_before'),
                             ('attention.output.dense', 'attention.o_proj'), ('layer_norm_2', 'layernorm_after'),
                             ('mlp.dense', 'mlp.fc')):
                rest = rest.replace(old, new)
            name = f'segformer.stages.{stage}.blocks.{number}.{rest}'
        renamed[name] = value
    return renamed


def resnet(depths: tuple[int, ...], prefix: str = '', classes: int = 1000, counter: bool = True,
           deeplab: int = 0) -> State:
    """A bottleneck ResNet as torchvision names it; `deeplab` classifiers as the DACS family's code."""
    shapes: dict[str, tuple[int, ...]] = {'conv1.weight': (64, 3, 7, 7)} | _norm('bn1', 64, counter)
    before = 64
    for stage, depth in enumerate(depths, 1):
        planes = 64 * 2 ** (stage - 1)
        for i in range(depth):
            block = f'layer{stage}.{i}'
            for number, shape in enumerate(((planes, before, 1, 1), (planes, planes, 3, 3),
                                            (4 * planes, planes, 1, 1)), 1):
                shapes |= {f'{block}.conv{number}.weight': shape} | _norm(f'{block}.bn{number}', shape[0], counter)
            if i == 0:
                shapes |= {f'{block}.downsample.0.weight': (4 * planes, before, 1, 1)}
                shapes |= _norm(f'{block}.downsample.1', 4 * planes, counter)
            before = 4 * planes
    if deeplab:
        for i in range(4):
            shapes |= _pair(f'layer5.conv2d_list.{i}', deeplab, before, 3, 3)
    else:
        shapes |= _pair('fc', classes, before)
    return {prefix + name: value for name, value in _random(shapes).items()}


def _norm(name: str, channels: int, counter: bool) -> dict[str, tuple[int, ...]]:
    shapes = {f'{name}.{part}': (channels,) for part in ('weight', 'bias', 'running_mean', 'running_var')}
    return shapes | ({f'{name}.num_batches_tracked': ()} if counter else {})
