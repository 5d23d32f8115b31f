"""How other programs name the parts of the backbones of this package."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .fitting import State, WeightsError, first_names, fuse_parts

# The parts of a MiT as templates: here (and in mmseg), in SegFormer, in Hugging Face, and in Hugging Face since
# transformers 5. {s} is the stage, {b} the block. `@0`, `@1`, ... are parts of one weight, see `fuse_parts`.
_STAGE_PARTS = (
    ('layers.{s}.0.projection.{leaf}', 'patch_embed{s}.proj.', 'patch_embeddings.{s}.proj.',
     'stages.{s}.patch_embeddings.proj.'),
    ('layers.{s}.0.norm.{leaf}', 'patch_embed{s}.norm.', 'patch_embeddings.{s}.layer_norm.',
     'stages.{s}.patch_embeddings.layer_norm.'),
    ('layers.{s}.2.{leaf}', 'norm{s}.', 'layer_norm.{s}.', 'stages.{s}.layer_norm.'),
)
_BLOCKS = ('layers.{s}.1.{b}.', 'block{s}.{b}.', 'block.{s}.{b}.', 'stages.{s}.blocks.{b}.')
_BLOCK_PARTS = (
    ('attn.attn.in_proj_{leaf}@0', 'attn.q.', 'attention.self.query.', 'attention.q_proj.'),
    ('attn.attn.in_proj_{leaf}@1', 'attn.kv.', 'attention.self.key.', 'attention.k_proj.'),
    ('attn.attn.in_proj_{leaf}@2', None, 'attention.self.value.', 'attention.v_proj.'),
    ('attn.attn.out_proj.{leaf}', 'attn.proj.', 'attention.output.dense.', 'attention.o_proj.'),
    ('attn.sr.{leaf}', 'attn.sr.', 'attention.self.sr.', 'attention.sequence_reduction.sequence_reduction.'),
    ('attn.norm.{leaf}', 'attn.norm.', 'attention.self.layer_norm.', 'attention.sequence_reduction.layer_norm.'),
    ('norm1.{leaf}', 'norm1.', 'layer_norm_1.', 'layernorm_before.'),
    ('norm2.{leaf}', 'norm2.', 'layer_norm_2.', 'layernorm_after.'),
    ('ffn.layers.0.{leaf}', 'mlp.fc1.', 'mlp.dense1.', 'mlp.fc1.'),
    ('ffn.layers.1.{leaf}', 'mlp.dwconv.dwconv.', 'mlp.dwconv.dwconv.', 'mlp.dwconv.dwconv.'),
    ('ffn.layers.4.{leaf}', 'mlp.fc2.', 'mlp.dense2.', 'mlp.fc2.'),
)
_PARTS = (*_STAGE_PARTS, *(tuple(part and block + part for block, part in zip(_BLOCKS, row)) for row in _BLOCK_PARTS))
Rules = tuple[tuple[re.Pattern[str], str], ...]


def _mit_rules(column: int) -> Rules:
    """Patterns of the names in a column of the table, and the templates that replace them."""
    return tuple((re.compile(re.escape(row[column]).replace(r'\{s\}', r'(?P<s>\d)').replace(r'\{b\}', r'(?P<b>\d+)')
                             + '(?P<leaf>.+)'), row[0]) for row in _PARTS if row[column])


@dataclass(frozen=True)
class Naming:
    """The names that one program gives to the parts of one kind of backbone.

    A checkpoint is recognised by its anchor, a name that every file of the kind contains; what precedes the anchor is
    the prefix of the backbone.
    """

    title: str
    family: str
    """Kind of backbone: 'resnet', 'vgg' or 'mit'."""
    anchor: str
    rules: Rules = ()
    """Patterns of names and templates of their replacements; the first match renames."""
    first_stage: int = 0
    """Number of the first stage."""
    classifiers: tuple[str, ...] = ()
    """Prefixes of names beside the backbone's that have no place in it."""

    def rename(self, name: str) -> str:
        """Return the name that this package uses."""
        for pattern, template in self.rules:
            if match := pattern.fullmatch(name):
                parts = match.groupdict()
                return template.format(**{**parts, 's': int(parts['s']) - self.first_stage})
        return name


NAMINGS: tuple[Naming, ...] = (
    # torchvision, mmseg, and DeepLab's caffe weights (prefix `Scale.`) agree on the names.
    Naming('ResNet of torchvision, mmseg or caffe', 'resnet', 'layer1.0.conv1.weight',
           classifiers=('fc.', 'layer5.', 'c1.')),
    Naming("torchvision's VGG", 'vgg', 'features.0.weight', classifiers=('classifier.',)),
    Naming("mmseg's MiT", 'mit', 'layers.0.0.projection.weight'),
    Naming("SegFormer's MiT", 'mit', 'patch_embed1.proj.weight', _mit_rules(1), first_stage=1,
           classifiers=('head.',)),
    Naming("Hugging Face's SegFormer", 'mit', 'patch_embeddings.0.proj.weight', _mit_rules(2),
           classifiers=('classifier.',)),
    # transformers 5 renames what it loads, and restores the old names when it saves a file itself.
    Naming("Hugging Face's SegFormer in transformers 5", 'mit', 'stages.0.patch_embeddings.proj.weight', _mit_rules(3),
           classifiers=('classifier.',)),
)


def extract_backbone(state: State, family: str, prefix: str | None = None) -> tuple[State, list[str], Naming]:
    """Select the weights of a backbone in a checkpoint and rename them.

    Args:
        state: name -> tensor.
        family: kind of backbone, see :class:`Naming`.
        prefix: of the backbone, for files with several networks ('model.backbone.'); None detects it.

    Returns:
        The backbone's weights, the names of all others, and the naming that was recognised.

    Raises:
        WeightsError: there is no such backbone, or several and no prefix.
    """
    namings = [naming for naming in NAMINGS if naming.family == family]
    candidates = [(naming, before) for naming in namings for before in _prefixes(state, naming.anchor)
                  if prefix in (None, before)]
    if not candidates:
        where = '' if prefix is None else f' under {prefix!r}'
        known = '; '.join(f'{naming.title} ({naming.anchor})' for naming in namings)
        raise WeightsError(f'no {family} backbone found{where}. Known: {known}. The file begins with: '
                           f'{first_names(state)}')
    if len(candidates) > 1:
        raise WeightsError(f'several {family} backbones found: choose one with prefix='
                           + ' or prefix='.join(repr(before) for _, before in candidates))
    return _select(state, *candidates[0])


def _prefixes(state: State, anchor: str) -> Sequence[str]:
    """What precedes the anchor in the names that end with it."""
    prefixes = [name.removesuffix(anchor) for name in state if name.endswith(anchor)]
    return [prefix for prefix in prefixes if not prefix or prefix.endswith('.')]


def _select(state: State, naming: Naming, prefix: str) -> tuple[State, list[str], Naming]:
    backbone: State = {}
    left_out: list[str] = []
    for name, value in state.items():
        inner = name.removeprefix(prefix)
        if not name.startswith(prefix) or inner.startswith(naming.classifiers):
            left_out.append(name)
        else:
            backbone[naming.rename(inner)] = value
    return fuse_parts(backbone), left_out, naming


# EfficientNet-PyTorch numbers all blocks through and names their layers by purpose, timm numbers the blocks of each
# stage and names layers in order. The blocks of the first stage have no expansion, so that later layers move up.
_STEM = {'_conv_stem.': 'conv_stem.', '_bn0.': 'bn1.', '_conv_head.': 'conv_head.', '_bn1.': 'bn2.',
         '_fc.': 'classifier.'}
_BLOCK = {'_depthwise_conv.': 'conv_dw.', '_se_reduce.': 'se.conv_reduce.', '_se_expand.': 'se.conv_expand.'}
_PLAIN = {'_bn1.': 'bn1.', '_project_conv.': 'conv_pw.', '_bn2.': 'bn2.'}
_EXPANDED = {'_expand_conv.': 'conv_pw.', '_bn0.': 'bn1.', '_bn1.': 'bn2.', '_project_conv.': 'conv_pwl.',
             '_bn2.': 'bn3.'}


def rename_efficientnet(state: State, timm_names: Iterable[str]) -> State:
    """Rename an EfficientNet or EfficientNet-Lite from the names of EfficientNet-PyTorch; leave others as they are.

    Args:
        state: name -> tensor.
        timm_names: of timm's network, in order.
    """
    if '_conv_stem.weight' not in state:
        return state
    blocks = list(dict.fromkeys(match[0] for name in timm_names if (match := re.match(r'blocks\.\d+\.\d+\.', name))))
    renamed = {}
    for name, value in state.items():
        match = re.match(r'_blocks\.(\d+)\.(.+)', name)
        if match and int(match[1]) < len(blocks):
            expanded = f'_blocks.{match[1]}._expand_conv.weight' in state
            place, inner, table = blocks[int(match[1])], match[2], _BLOCK | (_EXPANDED if expanded else _PLAIN)
        else:
            place, inner, table = '', name, _STEM
        part, dot, leaf = inner.partition('.')
        renamed[place + table.get(part + dot, part + dot) + leaf] = value
    return renamed
