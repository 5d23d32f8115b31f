"""Convert whole checkpoints of released code: DACS, CAMix, RCCR, DSP, DAFormer, HRDA, MIC."""

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from .fitting import State, WeightsError, first_names, fit, unwrap_weights
from .initialiser import naming_family
from .names import extract_backbone

# Prefixes of the networks in a file; `model.` of DAFormer is the student.
NETWORKS = dict(student='model.', teacher='ema_model.')

# Names that have no place in our segmentors, and what they are.
DROPPED: tuple[tuple[str, str], ...] = (
    (r'^imnet_model\.', 'the frozen ImageNet encoder of the feature distance'),
    (r'^(ema_)?model\.', 'the other network of the file'),
    (r'^mic\.', "MIC's own copy of the teacher"),
    (r'^c1\.', "DSP's projection of features, which its code never trains"),
    (r'^(project|projector|proj_head)\w*\.', "RCCR's projector, which testing drops"),
    (r'^auxiliary_head\.', 'an auxiliary head'),
)
_UNUSED_RATES = 'classifiers of DeepLabV2 that the released code never runs'
# Names in a file and what they may be in our head; the first one that it has is taken.
_HEADS: tuple[tuple[str, str], ...] = (
    # The DACS family; DAFormer's DeepLabV2 through mmseg, also as HRDA's head and attention.
    (r'^layer5\.conv2d_list\.(\d+)\.(\w+)$', r'classifiers.\1.\2'),
    (r'^decode_head\.((?:(?:head|scale_attention)\.)?)aspp_modules\.(\d+)\.conv\.(\w+)$', r'\1classifiers.\2.\3'),
    # The head within that of HRDA and MIC, for a segmentor of one scale.
    (r'^decode_head\.head\.aspp_modules\.(\d+)\.conv\.(\w+)$', r'classifiers.\1.\2'),
    (r'^decode_head\.head\.(embed_layers|fuse_layer|conv_seg)\.', r'\1.'),
    (r'^decode_head\.', ''),
)


@dataclass
class Report:
    """What became of every name in a file."""

    mapped: dict[str, str] = field(default_factory=dict)
    """Names of their head -> ours; those of the backbone are summed up in `backbone`."""
    backbone: str = ''
    dropped: dict[str, list[str]] = field(default_factory=dict)
    """Reason -> names."""
    unmapped: list[str] = field(default_factory=list)
    """Names without a place and without a reason."""

    def lines(self) -> list[str]:
        """Return the report as text."""
        return [self.backbone, f'head, mapped {len(self.mapped)}: '
                + first_names(f'{old} -> {new}' for old, new in self.mapped.items()),
                *(f'left out {len(names)}, {reason}: {first_names(names)}' for reason, names in self.dropped.items()),
                f'unmapped {len(self.unmapped)}: {first_names(self.unmapped) or "(none)"}']

    def drop(self, name: str) -> None:
        """Record a name that has no place."""
        for pattern, reason in DROPPED:
            if re.match(pattern, name):
                self.dropped.setdefault(reason, []).append(name)
                return
        self.unmapped.append(name)


def select_network(checkpoint: Any, network: str, source: str = 'the checkpoint') -> State:
    """Return the weights in a file; files of the DACS family keep those of student and teacher apart."""
    if network == 'teacher' and isinstance(checkpoint, Mapping) and isinstance(checkpoint.get('ema_model'), Mapping):
        teacher = unwrap_weights(checkpoint['ema_model'], source)
        return {f'ema_model.{name}': value for name, value in teacher.items()}
    return unwrap_weights(checkpoint, source)


def convert_weights(state: State, segmentor: nn.Module, network: str = 'student',
                    allow_unmapped: Sequence[str] = ()) -> tuple[State, Report]:
    """Rename the weights of one network of a published file as in our segmentor.

    Args:
        state: name -> tensor, as in the file (without the `module.` of parallel training).
        segmentor: our EncoderDecoder, which determines backbone and head; it is not changed.
        network: 'student' or 'teacher'.
        allow_unmapped: prefixes of names that may remain without a place, for example HRDA's
            'decode_head.scale_attention.' where only the single-scale network is needed.

    Raises:
        WeightsError: a name has no place, or a weight of ours is missing.
    """
    own, report = _split_networks(state, network)
    backbone, rest, naming = extract_backbone(own, naming_family(segmentor.backbone))
    targets = segmentor.backbone.state_dict()
    rest += [name for name in backbone if name not in targets]
    converted = {f'backbone.{name}': value for name, value in backbone.items() if name in targets}
    report.backbone = f'backbone, recognised as: {naming.title}; mapped {len(converted)}'
    targets = segmentor.decode_head.state_dict()
    for name in rest:
        _place(name, own, targets, converted, report)
    refused = [name for name in report.unmapped if not name.startswith(tuple(allow_unmapped))]
    if refused:
        raise WeightsError(f'{len(refused)} names of the file have no place in this {type(segmentor).__name__}: '
                           f'{first_names(refused)}. Choose the config of the same network; or, if they are not '
                           'needed, allow their prefix with --allow-unmapped')
    return _fitted(segmentor, converted), report


def _split_networks(state: State, network: str) -> tuple[State, Report]:
    """Return the names of one network, and a report of the others."""
    if network not in NETWORKS:
        raise WeightsError(f"network='{network}' must be one of {', '.join(NETWORKS)}")
    several = any(name.startswith(NETWORKS['teacher']) for name in state) or all(
        re.match(r'(model|imnet_model|mic)\.', name) for name in state)
    if network == 'teacher' and not several:
        raise WeightsError('the file contains one network only; use --network student')
    prefix = NETWORKS[network] if several else ''
    own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    if not own:
        raise WeightsError(f'the file has no {network} (names that begin with {prefix!r}); it has {first_names(state)}')
    report = Report()
    for name in state:
        if not name.startswith(prefix):
            report.drop(name)
    return own, report


def _place(name: str, own: State, targets: State, converted: State, report: Report) -> None:
    """Assign one name of the head to its place, or record why it has none."""
    candidates = [re.sub(pattern, new, name) for pattern, new in _HEADS if re.match(pattern, name)]
    ours = next((candidate for candidate in candidates if candidate in targets), None)
    if ours is not None:
        report.mapped[name] = f'decode_head.{ours}'
        converted[report.mapped[name]] = own[name]
    elif any(_is_unused_rate(candidate, targets) for candidate in candidates):
        report.dropped.setdefault(_UNUSED_RATES, []).append(name)
    else:
        report.drop(name)


def _is_unused_rate(name: str, targets: State) -> bool:
    """Whether the name is that of a dilated classifier, of which our head has fewer."""
    stem, classifiers, _ = name.partition('classifiers.')
    return bool(classifiers) and any(target.startswith(stem + classifiers) for target in targets)


def _fitted(segmentor: nn.Module, converted: State) -> State:
    """Return the weights as a copy of the segmentor holds them; names and shapes must agree with all of it."""
    trial = copy.deepcopy(segmentor)
    fit(trial, converted, ['data_preprocessor.'], 'the converted checkpoint')
    own = trial.state_dict()
    return {name: own[name] for name in converted}
