"""How other programs name the parts of the backbones that we have."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .fitting import State, WeightsError, first_names, fuse_parts

Rule = tuple[str, str]


@dataclass(frozen=True)
class Naming:
    """One program's names for one kind of backbone.

    A checkpoint is recognised by its anchor, a name that every file of the kind has; what stands
    before the anchor is the prefix under which the backbone lies.
    """

    title: str
    family: str
    """Which of our backbones it belongs to: 'resnet', 'vgg' or 'mit'."""
    anchor: str
    rules: tuple[Rule, ...] = ()
    """Regular expressions and replacements; the first that matches renames."""
    first_stage: int = 0
    """The number of its first stage; ours is 0."""
    classifiers: tuple[str, ...] = ()
    """Starts of names beside the backbone's, which have no place in it."""

    def rename(self, name: str) -> str:
        """One name as ours."""
        for pattern, replacement in self.rules:
            renamed, found = re.subn(pattern, replacement, name, count=1)
            if found:
                return re.sub(r'^layers\.(\d)', self._stage, renamed)
        return name

    def _stage(self, found: re.Match) -> str:
        return f'layers.{int(found[1]) - self.first_stage}'


_SEGFORMER: tuple[Rule, ...] = (
    (r'^patch_embed(\d)\.proj', r'layers.\1.0.projection'),
    (r'^patch_embed(\d)\.norm', r'layers.\1.0.norm'),
    (r'^norm(\d)\.', r'layers.\1.2.'),
    (r'^block(\d)\.(\d+)\.attn\.q\.(\w+)', r'layers.\1.1.\2.attn.attn.in_proj_\3@0'),
    (r'^block(\d)\.(\d+)\.attn\.kv\.(\w+)', r'layers.\1.1.\2.attn.attn.in_proj_\3@1'),
    (r'^block(\d)\.(\d+)\.attn\.proj', r'layers.\1.1.\2.attn.attn.out_proj'),
    (r'^block(\d)\.(\d+)\.mlp\.fc1', r'layers.\1.1.\2.ffn.layers.0'),
    (r'^block(\d)\.(\d+)\.mlp\.dwconv\.dwconv', r'layers.\1.1.\2.ffn.layers.1'),
    (r'^block(\d)\.(\d+)\.mlp\.fc2', r'layers.\1.1.\2.ffn.layers.4'),
    (r'^block(\d)\.(\d+)\.', r'layers.\1.1.\2.'),
)
_HUGGING_FACE: tuple[Rule, ...] = (
    (r'^patch_embeddings\.(\d)\.proj', r'layers.\1.0.projection'),
    (r'^patch_embeddings\.(\d)\.layer_norm', r'layers.\1.0.norm'),
    (r'^layer_norm\.(\d)\.', r'layers.\1.2.'),
    (r'^block\.(\d)\.(\d+)\.attention\.self\.query\.(\w+)', r'layers.\1.1.\2.attn.attn.in_proj_\3@0'),
    (r'^block\.(\d)\.(\d+)\.attention\.self\.key\.(\w+)', r'layers.\1.1.\2.attn.attn.in_proj_\3@1'),
    (r'^block\.(\d)\.(\d+)\.attention\.self\.value\.(\w+)', r'layers.\1.1.\2.attn.attn.in_proj_\3@2'),
    (r'^block\.(\d)\.(\d+)\.attention\.self\.sr', r'layers.\1.1.\2.attn.sr'),
    (r'^block\.(\d)\.(\d+)\.attention\.self\.layer_norm', r'layers.\1.1.\2.attn.norm'),
    (r'^block\.(\d)\.(\d+)\.attention\.output\.dense', r'layers.\1.1.\2.attn.attn.out_proj'),
    (r'^block\.(\d)\.(\d+)\.layer_norm_(\d)', r'layers.\1.1.\2.norm\3'),
    (r'^block\.(\d)\.(\d+)\.mlp\.dense1', r'layers.\1.1.\2.ffn.layers.0'),
    (r'^block\.(\d)\.(\d+)\.mlp\.dwconv\.dwconv', r'layers.\1.1.\2.ffn.layers.1'),
    (r'^block\.(\d)\.(\d+)\.mlp\.dense2', r'layers.\1.1.\2.ffn.layers.4'),
)
# transformers 5 renames what it loads, and gives the old names back when it saves a file itself.
_HUGGING_FACE_5: tuple[Rule, ...] = (
    (r'^stages\.(\d)\.patch_embeddings\.proj', r'layers.\1.0.projection'),
    (r'^stages\.(\d)\.patch_embeddings\.layer_norm', r'layers.\1.0.norm'),
    (r'^stages\.(\d)\.layer_norm\.', r'layers.\1.2.'),
    (r'^stages\.(\d)\.blocks\.(\d+)\.attention\.q_proj\.(\w+)', r'layers.\1.1.\2.attn.attn.in_proj_\3@0'),
    (r'^stages\.(\d)\.blocks\.(\d+)\.attention\.k_proj\.(\w+)', r'layers.\1.1.\2.attn.attn.in_proj_\3@1'),
    (r'^stages\.(\d)\.blocks\.(\d+)\.attention\.v_proj\.(\w+)', r'layers.\1.1.\2.attn.attn.in_proj_\3@2'),
    (r'^stages\.(\d)\.blocks\.(\d+)\.attention\.o_proj', r'layers.\1.1.\2.attn.attn.out_proj'),
    (r'^stages\.(\d)\.blocks\.(\d+)\.attention\.sequence_reduction\.sequence_reduction', r'layers.\1.1.\2.attn.sr'),
    (r'^stages\.(\d)\.blocks\.(\d+)\.attention\.sequence_reduction\.layer_norm', r'layers.\1.1.\2.attn.norm'),
    (r'^stages\.(\d)\.blocks\.(\d+)\.layernorm_before', r'layers.\1.1.\2.norm1'),
    (r'^stages\.(\d)\.blocks\.(\d+)\.layernorm_after', r'layers.\1.1.\2.norm2'),
    (r'^stages\.(\d)\.blocks\.(\d+)\.mlp\.fc1', r'layers.\1.1.\2.ffn.layers.0'),
    (r'^stages\.(\d)\.blocks\.(\d+)\.mlp\.dwconv\.dwconv', r'layers.\1.1.\2.ffn.layers.1'),
    (r'^stages\.(\d)\.blocks\.(\d+)\.mlp\.fc2', r'layers.\1.1.\2.ffn.layers.4'),
)

NAMINGS: tuple[Naming, ...] = (
    # torchvision, mmseg, and DeepLab's caffe weights (prefix `Scale.`) agree on the names.
    Naming('ResNet of torchvision, mmseg or caffe', 'resnet', 'layer1.0.conv1.weight',
           classifiers=('fc.', 'layer5.', 'c1.')),
    Naming("torchvision's VGG", 'vgg', 'features.0.weight', classifiers=('classifier.',)),
    Naming("mmseg's MiT", 'mit', 'layers.0.0.projection.weight'),
    Naming("SegFormer's MiT", 'mit', 'patch_embed1.proj.weight', _SEGFORMER, first_stage=1,
           classifiers=('head.',)),
    Naming("Hugging Face's SegFormer", 'mit', 'patch_embeddings.0.proj.weight', _HUGGING_FACE,
           classifiers=('classifier.',)),
    Naming("Hugging Face's SegFormer in transformers 5", 'mit', 'stages.0.patch_embeddings.proj.weight',
           _HUGGING_FACE_5, classifiers=('classifier.',)),
)


def extract_backbone(state: State, family: str, prefix: str | None = None) -> tuple[State, list[str], Naming]:
    """The part of a checkpoint that is a backbone, under our names.

    Args:
        state: name -> tensor.
        family: which backbone is wanted, see :class:`Naming`.
        prefix: where it lies, for files that hold several networks ('model.backbone.'); None finds it.

    Returns:
        The backbone's weights, the names that are no part of it, and the naming that was recognised.

    Raises:
        WeightsError: nothing of the kind is there, or several and no prefix.
    """
    namings = [naming for naming in NAMINGS if naming.family == family]
    found = [(naming, name.removesuffix(naming.anchor)) for naming in namings for name in state
             if name.endswith(naming.anchor) and _starts_a_name(name, naming.anchor)]
    if prefix is not None:
        found = [(naming, start) for naming, start in found if start == prefix]
    if not found:
        where = f' under {prefix!r}' if prefix is not None else ''
        wanted = '; '.join(f'{naming.title} ({naming.anchor})' for naming in namings)
        raise WeightsError(f'no {family} backbone found{where}. Known: {wanted}. '
                           f'The file begins with: {first_names(state)}')
    if len(found) > 1:
        raise WeightsError(f'several {family} backbones found: choose one with prefix='
                           + ' or prefix='.join(repr(start) for _, start in found))
    return _taken(state, *found[0])


def _starts_a_name(name: str, anchor: str) -> bool:
    before = name.removesuffix(anchor)
    return not before or before.endswith('.')


def _taken(state: State, naming: Naming, prefix: str) -> tuple[State, list[str], Naming]:
    taken: State = {}
    left: list[str] = []
    for name, value in state.items():
        inner = name.removeprefix(prefix)
        if not name.startswith(prefix) or inner.startswith(naming.classifiers):
            left.append(name)
        else:
            taken[naming.rename(inner)] = value
    return fuse_parts(taken), left, naming

