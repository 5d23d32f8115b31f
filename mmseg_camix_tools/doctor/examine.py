"""Check the data of a config: open samples in parallel, collect findings, and report them."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from mmengine.config import Config

from mmseg_camix.datasets.scanning import run_parallel
from mmseg_camix.type_names import type_name

from .config_rules import check_config, class_shares
from .findings import Finding, count_by_level, sort_by_level
from .part_rules import check_part, ignored_share
from .parts import Part, find_parts
from .sample import Examiner, Sample

NO_EVALUATION = 'there is no val_dataloader: there will be no evaluation'


@dataclass
class Examination:
    """Result of a check."""

    parts: dict[str, Part]  # by name
    samples: dict[str, list[Sample]]  # those that were opened, by part
    findings: list[Finding]  # errors first
    complete: bool  # whether every file was opened

    @property
    def failed(self) -> bool:
        """Whether there are errors."""
        return any(finding.level == 'error' for finding in self.findings)

    @property
    def classes(self) -> tuple[str, ...]:
        """Of the source, or of the first part that has any."""
        parts = sorted(self.parts.values(), key=lambda part: part.name != 'source')
        return next((part.classes for part in parts if part.classes), ())

    def shares(self) -> dict[str, np.ndarray]:
        """Part -> (C,) share of each class in its labelled pixels; parts without labels are left out."""
        shares = {name: class_shares(samples, len(self.classes)) for name, samples in self.samples.items()}
        return {name: share for name, share in shares.items() if share is not None}

    def to_dict(self) -> dict:
        """For JSON."""
        return dict(
            parts={name: facts(part, self.samples.get(name, ())) for name, part in self.parts.items()},
            classes={name: dict(zip(self.classes, share.round(6).tolist())) for name, share in self.shares().items()},
            complete=self.complete, found=count_by_level(self.findings),
            findings=[asdict(finding) for finding in self.findings])


def examine(cfg: Config, count: int = 500, jobs: int = 1) -> Examination:
    """Open what the config's pipelines would read, and collect findings.

    Args:
        cfg: the config.
        count: samples of each part, evenly spread; 0 for all.
        jobs: processes.
    """
    parts = {part.name: part for part in find_parts(cfg)}
    built = {name: part for name, part in parts.items() if part.dataset is not None}
    findings = [finding for part in parts.values() for finding in part.findings]
    samples: dict[str, list[Sample]] = {}
    for name, part in built.items():
        try:
            examiner = Examiner(part.pipeline, part.classes and len(part.classes))
        except Exception as error:  # a transform that cannot be built is a finding
            findings.append(Finding('error', name, f'the pipeline cannot be built: {error}', 'correct the pipeline'))
            continue
        opened = (sample for _, sample, failure in run_parallel(examiner, part.infos(count), jobs, name)
                  if failure is None)
        samples[name] = sorted(opened, key=lambda sample: sample.image)
        findings += check_part(part, samples[name])
    complete = all(len(samples.get(name, ())) == len(part.dataset) for name, part in built.items())
    findings += check_config(cfg, built, samples, complete)
    if not complete and samples:
        listing = ', '.join(f'{len(opened)} of {len(parts[name].dataset)} in {name}'
                            for name, opened in samples.items())
        findings.append(Finding('note', 'config', f'not every file was opened: {listing}', '--samples 0 opens all'))
    if not any(part.evaluates for part in parts.values()):
        findings.append(Finding('note', 'config', NO_EVALUATION,
                                'a few dozen labelled target images are enough to see whether adaptation works'))
    return Examination(parts, samples, sort_by_level(findings), complete)


def facts(part: Part, samples: Sequence[Sample]) -> dict:
    """Numbers of one part."""
    means = [sample.mean for sample in samples if sample.mean]
    return dict(dataset=type_name(part.cfg), images=0 if part.dataset is None else len(part.dataset),
                opened=len(samples), labelled=part.labelled, loaded=_size_range(sample.loaded for sample in samples),
                resized=_size_range(sample.resized for sample in samples),
                network=_size_range(sample.final for sample in samples), ignored=ignored_share(samples),
                brightness=round(float(np.mean(means)), 1) if means else None)


def _size_range(sizes: Iterable[tuple[int, int] | None]) -> str:
    """'1280x720', or the smallest and the largest width and height."""
    known = [size for size in sizes if size]
    if not known:
        return '-'
    heights, widths = zip(*known)
    low, high = f'{min(widths)}x{min(heights)}', f'{max(widths)}x{max(heights)}'
    return low if low == high else f'{low} to {high}'


def report(examination: Examination) -> str:
    """The examination as text: parts, classes, findings, and their number."""
    lines = [f'{"part":<8}{"dataset":<22}{"images":>8}{"opened":>8}  {"as loaded":<24}{"resized":<24}{"network":<12}'
             f'{"ignored":>8}{"brightness":>12}']
    for name, part in examination.parts.items():
        fact = facts(part, examination.samples.get(name, ()))
        ignored = '-' if fact['ignored'] is None else f'{fact["ignored"]:.1%}'
        lines.append(f'{name:<8}{fact["dataset"]:<22}{fact["images"]:>8}{fact["opened"]:>8}  {fact["loaded"]:<24}'
                     f'{fact["resized"]:<24}{fact["network"]:<12}{ignored:>8}{fact["brightness"] or "-":>12}')
    if shares := examination.shares():
        width = max(17, *(len(name) + 2 for name in examination.classes))
        lines += ['', f'{"share of pixels":<{width}}' + ''.join(f'{name:>10}' for name in shares)]
        lines += [f'{name:<{width}}' + ''.join(f'{share[index]:>10.3%}' for share in shares.values())
                  for index, name in enumerate(examination.classes)]
    for finding in examination.findings:
        lines += ['', *finding.lines()]
    counts = [f'{count} {level}{"" if count == 1 else "s"}'
              for level, count in count_by_level(examination.findings).items()]
    return '\n'.join([*lines, '', ', '.join(counts) + ('' if examination.failed else ': ready to train')])
