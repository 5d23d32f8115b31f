"""The stages of an adaptation, in their order."""

import io
import json
import os
import shlex
import tempfile
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmseg.registry import DATASETS

from mmseg_camix.checkpoint.latest import find_latest_checkpoint
from mmseg_camix.engine.hooks.record_hook import read_record
from mmseg_camix.engine.hooks.run_folder_hook import lock_folder
from mmseg_camix.files import atomic_write, write_output
from mmseg_camix.type_names import loads_label
from mmseg_camix_tools.doctor import report
from mmseg_camix_tools.doctor.pictures import draw_samples
from mmseg_camix_tools.preparation.prior_counting import count_labels
from mmseg_camix_tools.preparation.priors import LabelReader
from mmseg_camix_tools.processes import run_logged
from mmseg_camix_tools.report.page import write_report

from . import AdaptError, fitting, verdict
from .arguments import Request, format_duration
from .checks import check_checkpoint, check_data, check_disk, check_network
from .draft import make_draft, plain_dataset
from .drawn import draw_source
from .fitting import Candidate, Measured
from .probe import OUT_OF_MEMORY
from .recipe import count_classes, samples_rare_classes
from .stages import Stages, claim_folder, verify_folder
from .text import config_text
from .training import (
    VALIDATIONS,
    Fit,
    Plan,
    adapted_config,
    fewest_images,
    needs_prior,
    score_of,
    target_images,
    unadapted_config,
)

UNADAPTED_SHARE = 0.25  # of the training time, if no checkpoint is given
VALIDATION_SHARE = 0.1  # of the time
IMAGES = (4, 50)  # fewest and most target images of a validation
FEWEST = 10  # iterations of an adaptation
EXPORT_SECONDS = 20.0
PASSES = 2  # forward passes of an evaluated image: the prediction, and that of the score


class Workflow:
    """An adaptation, from the request to the export."""

    def __init__(self, request: Request) -> None:
        self.request, self.out = request, request.out
        verify_folder(request)
        if request.drawn:
            draw_source(request)
        self.draft = make_draft(request)
        self.stages = Stages(request.out)
        self.sizes = fitting.candidates(self.draft.crop, self.draft.batch, fewest_images(request.method))

    # ---------------------------------------------------------------- before training

    def check(self) -> str:
        """Verify network, checkpoint, disk and data; return the report on the data."""
        draft, request = self.draft, self.request
        config = self.adapted_config(self.largest_fit, Plan(1, 1, 1), prior=None)
        config.load_from = self._initial
        check_disk(request.out, check_network(config))
        if request.checkpoint:
            check_checkpoint(draft, request.checkpoint)
        self.examination = check_data(config)
        return report(self.examination)

    def dry_run(self) -> None:
        """Print what would be done, and write nothing."""
        print(self.check())
        limits = 'memory' if self.request.iterations else 'memory and time'
        print('\n'.join([f'\nMeasured steps choose the first of these sizes (width x height) that fits {limits}:',
                         *(f'  {size}' for size in self.sizes)]))
        plan = Plan(self.request.iterations or 1000, self.request.iterations or 1000, IMAGES[1])
        config = self.adapted_config(self.largest_fit, plan, self.prior_path, self._start(plan))
        print('\nThe config of the adaptation, with the first size:\n\n' + self.config_file(config, 'adapted'))
        if samples_rare_classes(self.draft, self.request.method):
            print('Its source will be sampled by class (RareClassDataset), from counts of its labels that the dry '
                  f'run does not create ({self._counts_path.name}).\n')
        names = ['adapted'] if self.request.checkpoint else ['unadapted', 'adapted']
        print('\n'.join(['Commands:', *(f'  {self._train_command(name, str(self.out / name))}' for name in names),
                         f'Results: {self.out}/export, {self.out}/summary.txt, {self.out}/report.html']))

    # ---------------------------------------------------------------- the stages

    def run(self) -> str:
        """Run all unfinished stages; return the summary."""
        if finished := self.stages.result('summary'):
            return finished['text']
        self.stages.run('check', self._record_check)
        with lock_folder(self.stages.folder, 'adaptation', '--out') or nullcontext():
            if needs_prior(self.draft, self.request.method):
                self.stages.run('prior', self._count_prior)
            if samples_rare_classes(self.draft, self.request.method):
                self.stages.run('classes', self._count_classes)
            self.stages.run('size', self._choose_size)
            self.stages.run('plan', self._write_configs)
            unadapted = self.stages.run('unadapted', self._train_unadapted)
            adapted = self.stages.run('adapted', self._train_adapted)
            decision = self.stages.run('export', lambda: self._export(unadapted, adapted))
            report_line = self.stages.run('report', lambda: self._report(unadapted, decision))['line']
            return self.stages.run('summary', lambda: self._summary(decision, report_line))['text']

    def _record_check(self) -> dict[str, Any]:
        """Check, and create the folder of results if there are no errors."""
        text = self.check()
        claim_folder(self.request)
        write_output(self.out / 'check.txt', text + '\n')
        draw_samples(self.examination, self.out / 'check.png', count=4)
        print(f'data: {text.splitlines()[-1]} (check.txt, check.png)')
        return self.examination.to_dict()

    def _count_prior(self) -> dict[str, Any]:
        """Count the spatial prior of the source, which CAMix uses."""
        dataset = DATASETS.build(plain_dataset(self.draft.source))
        infos = [dataset.get_data_info(index) for index in range(len(dataset))]
        loaders = [transform for transform in plain_dataset(self.draft.source)['pipeline'] if loads_label(transform)]
        partial = self.stages.folder / 'prior.npz'
        prior = count_labels(infos, LabelReader(loaders), self.draft.classes, self.draft.source_size,
                             jobs=os.cpu_count() or 1, partial_file=partial, key='prior')
        prior.save(str(self.prior_path))
        partial.unlink(missing_ok=True)
        print(f'prior: counted {prior.num_images} labels of the source')
        return dict(labels=prior.num_images, file=str(self.prior_path))

    def _count_classes(self) -> dict[str, Any]:
        """Count the pixels of each class in each source label, for rare-class sampling."""
        dataset = DATASETS.build(self.draft.source)
        counts, unreadable = count_classes(dataset, os.cpu_count() or 1)
        table = io.BytesIO()
        np.save(table, counts)
        atomic_write(self._counts_path, table.getvalue())
        rarest = [self.draft.classes[index] for index in np.argsort(counts.sum(0)) if counts[:, index].any()][:3]
        print(f'classes: counted {len(counts)} labels of the source; the rarest are {", ".join(rarest)}' +
              (f'; {unreadable} cannot be read' if unreadable else ''))
        return dict(labels=len(counts), file=str(self._counts_path))

    def _choose_size(self) -> dict[str, Any]:
        """Choose crop and batch size by measuring memory and time."""
        seconds = None if self.request.iterations else self.request.seconds * (1 - VALIDATION_SHARE)
        if seconds is not None and not self.request.checkpoint:
            seconds *= 1 - UNADAPTED_SHARE
        size, measured = fitting.choose(self.sizes, self._probe, fitting.free_memory(), seconds)
        print(f'size (width x height): {size}; a step takes {measured.steps["adapted"]:.2f} s')
        return asdict(measured) | size._asdict()

    def _probe(self, size: Candidate) -> Measured | None:
        """Measure a size in a separate process; None if memory is exhausted."""
        with tempfile.TemporaryDirectory() as folder:
            fit = replace(self.largest_fit, crop=size.crop, batch=size.batch)
            plan = Plan(1, 1, IMAGES[0])  # the adapted network comes first, because the memory peak is never reset
            configs = dict(adapted=self.adapted_config(fit, plan, self.prior_path, start=self._initial))
            if self.draft.source is not None:
                configs['unadapted'] = self.unadapted_config(fit, plan)
            paths = [Path(folder, f'{name}.py') for name in configs]
            for path, config in zip(paths, configs.values()):
                path.write_text(config_text(config.to_dict()))
            out = Path(folder, 'measured.json')
            code = run_logged(['-m', 'mmseg_camix_tools.adapt.probe', out, *paths], self.out / 'logs/probe.log',
                              f'probe of {size}', accepted=(0, OUT_OF_MEMORY, -9))
            return Measured(**json.loads(out.read_text())) if code == 0 else None

    def _write_configs(self) -> dict[str, Any]:
        """Compute the numbers of iterations, and write both configs."""
        plan, measured = self.make_plan(), self.stages.result('size') or {}
        fit = Fit(tuple(measured['crop']), measured['batch'], measured['steps'])
        configs = dict(unadapted=self.unadapted_config(fit, plan),
                       adapted=self.adapted_config(fit, plan, self.prior_path, self._start(plan)))
        for name, config in configs.items():
            write_output(self.out / f'{name}.py', self.config_file(config, name))
        print(f'plan: {f"{plan.unadapted} iterations on the source, then " if plan.unadapted else ""}{plan.adapted} '
              f'iterations of {self.request.method}; scores on {plan.images} target images')
        return dict(unadapted=plan.unadapted, adapted=plan.adapted, images=plan.images)

    def make_plan(self) -> Plan:
        """Numbers of iterations and evaluated images that fill the requested time, from the measured durations."""
        request, measured = self.request, self.stages.result('size') or {}
        adapted = measured['steps']['adapted']
        source = measured['steps'].get('unadapted', adapted)  # not trained without a source
        if request.iterations:
            return Plan(0 if request.checkpoint else request.iterations, request.iterations, IMAGES[1] // 2)
        trainings = 1 if request.checkpoint else 2  # further starts: this process, and that of the first scores
        left = request.seconds - self.stages.seconds() - (trainings + 2) * measured['start'] - EXPORT_SECONDS
        predictions = PASSES * (2 * VALIDATIONS + 1)  # per image: both networks, and the unadapted one once
        images = int(VALIDATION_SHARE * left / predictions / measured['image'])
        images = min(max(images, IMAGES[0]), IMAGES[1])
        left -= images * predictions * measured['image']
        share = 0.0 if request.checkpoint else UNADAPTED_SHARE
        iterations = int((1 - share) * left / adapted)
        if iterations < FEWEST:
            needed = request.seconds - left + FEWEST * adapted / (1 - share)
            raise AdaptError(f'--time: {format_duration(request.seconds)} is too short for {FEWEST} steps of '
                             f'{adapted:.1f} s besides all other stages; give at least '
                             f'{format_duration(1.1 * needed)}, in another --out')
        return Plan(max(1, int(share * left / source)) if share else 0, iterations, images)

    def _train_unadapted(self) -> dict[str, Any]:
        """Train on the source unless a checkpoint is given, and score the unadapted network."""
        plan = self.stages.result('plan') or {}
        folder = self.out / 'unadapted'
        checkpoint = self._initial or str(folder.absolute() / f'iter_{plan["unadapted"]}.pth')
        if not self._initial:
            self._train('unadapted')
        run_logged([*command('test'), self.out / 'unadapted.py', checkpoint, '--work-dir', folder],
                   self.out / 'logs/unadapted_scores.log', 'scores of the unadapted network')
        return dict(checkpoint=checkpoint, score=(read_record(folder).get('test') or {}).get(score_of(self.draft)))

    def _train_adapted(self) -> dict[str, Any]:
        self._train('adapted')
        return verdict.best_of(self.out / 'adapted', score_of(self.draft))

    def _train(self, name: str) -> None:
        """Train a written config, continuing from its last checkpoint if there is one."""
        folder = self.out / name
        resume = ['--resume'] if folder.is_dir() and find_latest_checkpoint(str(folder)) else []
        run_logged([*command('train'), self.out / f'{name}.py', '--work-dir', folder, *resume],
                   self.out / f'logs/{name}.log', f'training ({name})')

    def _export(self, unadapted: dict[str, Any], adapted: dict[str, Any]) -> dict[str, Any]:
        decision = verdict.choose(unadapted, adapted, score_of(self.draft))
        trained_here = decision['chosen'] == 'adapted' or self._initial is None
        lines = verdict.export(Path(decision['checkpoint']), self.out / f'{decision["chosen"]}.py',
                               self.out / 'export', trained_here)
        return dict(decision, files=lines)

    def _report(self, unadapted: dict[str, Any], decision: dict[str, Any]) -> dict[str, Any]:
        """Write the HTML report; a failure does not end the adaptation."""
        names = ['adapted'] if self.request.checkpoint else ['unadapted', 'adapted']
        try:
            write_report([self.out / name for name in names], self.out / 'report.html',
                         baseline=unadapted['checkpoint'], note=decision['text'], score_before=decision['before'])
        except Exception as error:  # in plots, pictures or logs; the trained network is kept
            return dict(line=f'report.html was not written ({type(error).__name__}: {error}); see `mmseg-camix report`')
        return dict(line=f'{self.out}/report.html: the report')

    def _summary(self, decision: dict[str, Any], report_line: str) -> dict[str, Any]:
        lines = [decision['text'], f'{self.out}/export:', *(f'  {line}' for line in decision['files']), report_line,
                 f'total time: {format_duration(self.stages.seconds())}',
                 f'label images with it: mmseg-camix predict {shlex.quote(f"{self.out}/export")} IMAGES --out LABELLED']
        text = '\n'.join(lines)
        write_output(self.out / 'summary.txt', text + '\n')
        return dict(text=text)

    # ---------------------------------------------------------------- configs

    @property
    def largest_fit(self) -> Fit:
        """The largest size, before anything is measured."""
        return Fit(self.sizes[0].crop, self.sizes[0].batch, dict(unadapted=1.0, adapted=1.0))

    @property
    def prior_path(self) -> Path:
        """File of the source's spatial prior."""
        return (self.out / 'prior.npz').absolute()

    @property
    def _counts_path(self) -> Path:
        return (self.out / 'classes.npy').absolute()

    @property
    def _initial(self) -> str | None:
        """The given checkpoint of the unadapted network."""
        return str(self.request.checkpoint.absolute()) if self.request.checkpoint else None

    def _start(self, plan: Plan) -> str:
        """The checkpoint from which the adaptation starts."""
        return self._initial or str((self.out / f'unadapted/iter_{plan.unadapted}.pth').absolute())

    def _train_command(self, name: str, folder: str) -> str:
        return shlex.join(['mmseg-camix', 'train', f'{self.out / name}.py', '--work-dir', folder])

    def unadapted_config(self, fit: Fit, plan: Plan) -> Config:
        """The config of the network before adaptation."""
        return unadapted_config(self.draft, fit, plan, self._initial)

    def adapted_config(self, fit: Fit, plan: Plan, prior: Path | None, start: str | None = None) -> Config:
        """The config of the adaptation; `prior` is used by methods that need it, counts of classes if they exist."""
        path = str(prior) if prior and needs_prior(self.draft, self.request.method) else None
        counts = self._counts_path if self._counts_path.is_file() else None
        return adapted_config(self.draft, fit, plan, self.request.method, start, path, counts)

    def config_file(self, config: Config, name: str) -> str:
        """Text of a config file, with a header about its origin."""
        what = f'{self.request.method}, an adaptation' if name == 'adapted' else 'The network before its adaptation'
        lines = [f'{what} to the images in {self.request.target}. Written by mmseg-camix adapt.']
        if (measured := self.stages.result('size')) and name in measured['steps']:
            lines.append(f'A step took {measured["steps"][name]:.2f} s when measured; the adaptation needed '
                         f'{measured["peak"] // 2**20} MiB of memory.')
        if config.train_dataloader:
            lines += ['Train it again:', f'  {self._train_command(name, "FOLDER")}']
        target = target_images(self.draft, [])
        return config_text(config.to_dict(), lines, dict(classes=target['classes'], palette=target['palette']))


def command(name: str) -> list[str]:
    """Arguments with which the Python interpreter runs a command of this package."""
    return ['-m', 'mmseg_camix', name]
