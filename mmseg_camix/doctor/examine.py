"""The whole examination: parts, samples in parallel, findings, and what is told of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from mmengine.config import Config

from ..datasets.scanning import run_parallel
from . import across, network
from .findings import Finding, counted, ordered
from .parts import Part, parts_of
from .rules import examine_part
from .sample import Examiner, Seen


@dataclass
class Examination:
    """What was looked at and found.

    Args:
        parts: by name.
        seen: name -> samples that were opened.
        findings: errors first.
        complete: whether every file was opened.
    """

    parts: dict[str, Part]
    seen: dict[str, list[Seen]]
    findings: list[Finding]
    complete: bool

    @property
    def failed(self) -> bool:
        """Whether there are errors."""
        return any(finding.level == 'error' for finding in self.findings)

    @property
    def classes(self) -> tuple[str, ...]:
        """Of the source, or of the first part that has any."""
        named = [part.classes for name, part in sorted(self.parts.items(), key=lambda item: item[0] != 'source')
                 if part.classes]
        return named[0] if named else ()

    def shares(self) -> dict[str, np.ndarray]:
        """Part -> (C,) share of each class in its labelled pixels; parts without labels are left out."""
        found = {name: across.shares(samples, len(self.classes)) for name, samples in self.seen.items()}
        return {name: share for name, share in found.items() if share is not None}

    def to_dict(self) -> dict:
        """For JSON."""
        return dict(
            parts={name: facts(part, self.seen.get(name, ())) for name, part in self.parts.items()},
            classes={name: dict(zip(self.classes, share.round(6).tolist())) for name, share in self.shares().items()},
            complete=self.complete, found=counted(self.findings),
            findings=[finding.to_dict() for finding in self.findings])


def examine(cfg: Config, samples: int = 500, jobs: int = 1) -> Examination:
    """Open what the config's pipelines would read, and judge it.

    Args:
        cfg: the config.
        samples: how many of each part, evenly spread; 0 for all.
        jobs: processes.
    """
    parts = {part.name: part for part in parts_of(cfg)}
    built = {name: part for name, part in parts.items() if part.dataset is not None}
    findings = [finding for part in parts.values() for finding in part.findings]
    seen: dict[str, list[Seen]] = {}
    for name, part in built.items():
        try:
            examiner = Examiner(part.pipeline, part.classes and len(part.classes))
        except Exception as error:  # a transform that cannot be built is a finding as well
            findings.append(Finding('error', name, f'the pipeline cannot be built: {error}', 'correct the pipeline'))
            continue
        seen[name] = sorted((one for _, one, failure in run_parallel(examiner, part.infos(samples), jobs, name)
                             if failure is None), key=lambda one: one.image)
        findings += examine_part(part, seen[name])
    complete = all(len(seen.get(name, ())) == len(part.dataset) for name, part in built.items())
    findings += together(cfg, built, seen, complete)
    if not any(part.evaluates for part in parts.values()):
        findings.append(Finding('note', 'config', 'there is no val_dataloader: nothing will be measured',
                                'a few dozen labelled target images are enough to see whether adaptation works'))
    return Examination(parts, seen, ordered(findings), complete)


def together(cfg: Config, parts: Mapping[str, Part], seen: Mapping[str, list[Seen]], complete: bool) -> list[Finding]:
    """Findings about more than one part, and about the config."""
    classes = next((part.classes for part in parts.values() if part.classes), None)
    found = [*across.class_lists(parts), *network.head(cfg, classes), *network.sampling(cfg, parts),
             *network.normalisation(cfg), *network.crops(cfg, parts, seen), *network.groups(cfg, classes),
             *network.prior(cfg, parts, seen), *across.aspects(seen), *across.colours(seen), *across.overlaps(parts),
             *across.frequencies(parts, seen, complete)]
    if not complete and seen:
        opened = ', '.join(f'{len(samples)} of {len(parts[name].dataset)} in {name}' for name, samples in seen.items())
        found.append(Finding('note', 'config', f'not every file was opened: {opened}', '--samples 0 opens all'))
    return found


def facts(part: Part, seen: Sequence[Seen]) -> dict:
    """Numbers of one part."""
    return dict(
        dataset=part.cfg.get('type') if isinstance(part.cfg.get('type'), str) else part.cfg.get('type').__name__,
        images=len(part.dataset) if part.dataset is not None else 0, opened=len(seen), labelled=part.labelled,
        loaded=_spread(one.loaded for one in seen), resized=_spread(one.resized for one in seen),
        network=_spread(one.final for one in seen), ignored=across.ignored(seen),
        brightness=round(float(np.mean([one.mean for one in seen if one.mean])), 1) if any(
            one.mean for one in seen) else None)


def _spread(sizes: object) -> str:
    """'1280x720', or the smallest and the largest width and height."""
    known = [size for size in sizes if size]
    if not known:
        return '-'
    heights, widths = zip(*known)
    one = '{}x{}'.format
    low, high = one(min(widths), min(heights)), one(max(widths), max(heights))
    return low if low == high else f'{low} to {high}'


def told(examination: Examination) -> str:
    """The examination as text: parts, classes, findings, and their number."""
    lines = [f'{"part":<8}{"dataset":<22}{"images":>8}{"opened":>8}  {"as loaded":<24}{"resized":<24}{"network":<12}'
             f'{"ignored":>8}{"brightness":>12}']
    for name, part in examination.parts.items():
        fact = facts(part, examination.seen.get(name, ()))
        ignored = '-' if fact['ignored'] is None else f'{fact["ignored"]:.1%}'
        lines.append(f'{name:<8}{fact["dataset"]:<22}{fact["images"]:>8}{fact["opened"]:>8}  {fact["loaded"]:<24}'
                     f'{fact["resized"]:<24}{fact["network"]:<12}{ignored:>8}{fact["brightness"] or "-":>12}')
    if shares := examination.shares():
        width = max(map(len, examination.classes)) + 2
        lines += ['', f'{"share of pixels":<{max(width, 17)}}' + ''.join(f'{name:>10}' for name in shares)]
        lines += [f'{cls:<{max(width, 17)}}' + ''.join(f'{share[index]:>10.3%}' for share in shares.values())
                  for index, cls in enumerate(examination.classes)]
    for finding in examination.findings:
        lines += ['', *finding.lines()]
    total = counted(examination.findings)
    words = [f'{count} {level}{"" if count == 1 else "s"}' for level, count in total.items()]
    return '\n'.join([*lines, '', ', '.join(words) + ('' if examination.failed else ': ready to train')])
