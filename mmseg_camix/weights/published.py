"""Whole checkpoints of released code (DACS, CAMix, RCCR, DSP, DAFormer, HRDA, MIC) as ours."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from .fitting import State, WeightsError, first_names, fit, unwrap_weights
from .initialiser import naming_family
from .names import extract_backbone

# A family's networks by the start of their names; DAFormer's `model.` is the student.
NETWORKS = dict(student='model.', teacher='ema_model.')

# Starts of names that have no place in our segmentors, and why.
DROPPED: tuple[tuple[str, str], ...] = (
    (r'^imnet_model\.', 'the frozen ImageNet encoder of the feature distance'),
    (r'^(ema_)?model\.', 'the other network of the file'),
    (r'^mic\.', "MIC's own copy of the teacher"),
    (r'^c1\.', "DSP's projection of features, which its code never trains"),
    (r'^(project|projector|proj_head)\w*\.', "RCCR's projector, which testing drops"),
    (r'^auxiliary_head\.', 'an auxiliary head'),
)
_UNUSED_RATES = "classifiers of DeepLabV2 that the released code never runs"
_HEADS: tuple[tuple[str, str], ...] = (
    # The DACS family; DAFormer's DeepLabV2 through mmseg.
    (r'^layer5\.conv2d_list\.(\d+)\.(\w+)$', r'classifiers.\1.\2'),
    (r'^decode_head\.aspp_modules\.(\d+)\.conv\.(\w+)$', r'classifiers.\1.\2'),
    # HRDA and MIC have DAFormer's head within their own.
    (r'^decode_head\.head\.aspp_modules\.(\d+)\.conv\.(\w+)$', r'classifiers.\1.\2'),
    (r'^decode_head\.head\.(embed_layers|fuse_layer|conv_seg)\.', r'\1.'),
    (r'^decode_head\.', ''),
)


@dataclass
class Report:
    """What became of every name in a file."""

    mapped: dict[str, str] = field(default_factory=dict)
    """Their head's name -> ours; the backbone's are in `backbone`."""
    backbone: str = ''
    dropped: dict[str, list[str]] = field(default_factory=dict)
    """Reason -> names."""
    unmapped: list[str] = field(default_factory=list)
    """Names without a place, and without a reason."""

    def lines(self) -> list[str]:
        """For people."""
        said = [self.backbone, f'head, mapped {len(self.mapped)}: '
                + first_names(f'{old} -> {new}' for old, new in self.mapped.items())]
        said += [f'left out {len(names)}, {reason}: {first_names(names)}' for reason, names in self.dropped.items()]
        said.append(f'unmapped {len(self.unmapped)}: {first_names(self.unmapped) or "(none)"}')
        return said


def select_network(checkpoint: Any, network: str, source: str = 'the checkpoint') -> State:
    """The weights in a file; the DACS family's keep student and teacher under names of their own."""
    if network == 'teacher' and isinstance(checkpoint, Mapping) and isinstance(checkpoint.get('ema_model'), Mapping):
        teacher = unwrap_weights(checkpoint['ema_model'], source)
        return {f'ema_model.{name}': value for name, value in teacher.items()}
    return unwrap_weights(checkpoint, source)


def convert_weights(state: State, segmentor: nn.Module, network: str = 'student',
                      allow_unmapped: Sequence[str] = ()) -> tuple[State, Report]:
    """The weights of one network of a published file, under the names of our segmentor.

    Args:
        state: name -> tensor, as the file has it (without the `module.` of parallel training).
        segmentor: ours; an EncoderDecoder. It says which backbone and head are wanted, and is not
            changed.
        network: 'student' or 'teacher'.
        allow_unmapped: starts of their names that may stay without a place, for example HRDA's
            'decode_head.scale_attention.' where only the single-scale network is wanted.

    Raises:
        WeightsError: something has no place, or something of ours stays empty; nothing is partial.
    """
    own, report = _network_of(state, network)
    found, rest, naming = extract_backbone(own, naming_family(segmentor.backbone))
    report.backbone = f'backbone, recognised as: {naming.title}'
    theirs = segmentor.backbone.state_dict()
    rest += [name for name in found if name not in theirs]
    converted = {f'backbone.{name}': value for name, value in found.items() if name in theirs}
    targets = segmentor.decode_head.state_dict()
    for name in rest:
        _place(name, own, targets, converted, report)
    report.backbone += f'; mapped {len(converted) - len(report.mapped)}'
    refused = [name for name in report.unmapped if not name.startswith(tuple(allow_unmapped))]
    if refused:
        raise WeightsError(f'{len(refused)} names of the file have no place in this {type(segmentor).__name__}: '
                           f'{first_names(refused)}. Choose the config of the same network; or, if they are '
                           'not needed, name them (--allow-unmapped with the start of their names)')
    return _fitted(segmentor, converted), report


def _network_of(state: State, network: str) -> tuple[State, Report]:
    """The names of one network, and a report of the others."""
    if network not in NETWORKS:
        raise WeightsError(f"network='{network}' must be one of {', '.join(NETWORKS)}")
    several = any(name.startswith(NETWORKS['teacher']) for name in state) or all(
        re.match(r'(model|imnet_model|mic)\.', name) for name in state)
    start = NETWORKS[network] if several else ''
    if network == 'teacher' and not several:
        raise WeightsError('the file holds one network only; use --network student')
    report = Report()
    own: State = {}
    for name, value in state.items():
        if name.startswith(start):
            own[name.removeprefix(start)] = value
        else:
            _drop(name, report)
    if not own:
        raise WeightsError(f'the file has no {network} (names that start with {start!r}): it has {first_names(state)}')
    return own, report


def _place(name: str, own: State, targets: State, converted: State, report: Report) -> None:
    """Give one name of the head its place, or say why it has none."""
    ours = next((re.sub(pattern, new, name) for pattern, new in _HEADS if re.match(pattern, name)), None)
    if ours in targets:
        report.mapped[name] = f'decode_head.{ours}'
        converted[report.mapped[name]] = own[name]
    elif ours is not None and ours.startswith('classifiers.') and any(t.startswith('classifiers.') for t in targets):
        report.dropped.setdefault(_UNUSED_RATES, []).append(name)
    else:
        _drop(name, report)


def _drop(name: str, report: Report) -> None:
    for pattern, reason in DROPPED:
        if re.match(pattern, name):
            report.dropped.setdefault(reason, []).append(name)
            return
    report.unmapped.append(name)


def _fitted(segmentor: nn.Module, converted: State) -> State:
    """The weights as a copy of the segmentor has them; names and shapes must agree with all of it."""
    trial = copy.deepcopy(segmentor)
    missing_ok = [name for name in trial.state_dict() if name.startswith('data_preprocessor.')]
    fit(trial, converted, missing_ok, 'the converted checkpoint')
    own = trial.state_dict()
    return {name: own[name] for name in converted}
