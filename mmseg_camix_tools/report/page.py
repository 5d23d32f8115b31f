"""The report as one HTML file."""

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jinja2 import Environment, PackageLoader, StrictUndefined

from mmseg_camix.checkpoint import read_checkpoint
from mmseg_camix.cli import describe, is_user_error
from mmseg_camix.datasets.base import spread_indices
from mmseg_camix.engine.hooks.collapse_hook import KEY, SCALARS
from mmseg_camix.files import check_place, write_output
from mmseg_camix.version import __version__

from ..export.metainfo import dataset_meta, mapping
from ..inference.inputs import InputsError
from ..inference.predictor import device_of
from . import summary
from .cards import groups_of, typical
from .charts import PANELS, Chart, Panel, curves, frequencies
from .examine import IGNORE, Examination, Network, TargetImages, examine
from .pictures import sheet
from .training import SCORE, ReportError, Training, iteration_of, read_training

EXAMINED = 4  # images that are labelled for each that is shown
SHEETS = 3  # pictures of training steps of a training
IOU = 'IoU.'
MOST_CURVES = 30  # of a panel, and panels of scores; a damaged or foreign log may have any number of names
PATHS = ('Paths in the recorded config are relative to the folder in which the training was started; --target names '
         'others.')
NO_CONFIG = ('--config is an option of mmseg-camix predict; a report runs only networks that the config in their '
             'checkpoint describes.')


def write_report(work_dirs: Sequence[str | Path], out: str | Path, images: int = 8,
                 baseline: str | Path | None = None, target: str | Path | None = None, device: str | None = None,
                 note: str = '', score_before: float | None = None) -> Path:
    """Write a report on one training, or on several beside each other, as a single HTML file.

    Args:
        work_dirs: work folders of trainings.
        out: file to write.
        images: number of target images to show; 0 runs no network.
        baseline: checkpoint of the network before adaptation; by default that of a source-only training among
            `work_dirs`, otherwise the earliest checkpoint that was kept.
        target: images to label instead of those of the recorded config.
        device: of the networks; by default a GPU where there is one.
        note: text at the top.
        score_before: the score without labels of the network before adaptation, where no training recorded it.

    Raises:
        ReportError: a folder is not a work folder; what is missing within it is listed in the report instead.
    """
    if not work_dirs:
        raise ReportError('give the work folder of at least one training')
    if baseline is not None and not Path(baseline).is_file():
        raise ReportError(f'{baseline}: no such checkpoint')
    check_place(out)
    trainings = name_trainings([read_training(Path(folder)) for folder in work_dirs])
    report = Report(trainings, images, baseline and Path(baseline), target and Path(target), device_of(device),
                    score_before)
    environment = Environment(loader=PackageLoader('mmseg_camix_tools.report', '.'), autoescape=True,
                              undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    script = environment.get_template('report.js').render()
    page = environment.get_template('report.html').render(
        report.context(), note=note, script=script, version=__version__,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        generated=f'{datetime.now():%Y-%m-%d %H:%M}')
    write_output(Path(out), page)
    return Path(out)


def name_trainings(trainings: Sequence[Training]) -> dict[str, Training]:
    """The trainings by name: their methods, with the folder where methods repeat."""
    methods = [training.method for training in trainings]
    named: dict[str, Training] = {}
    for training in trainings:
        name = training.method if methods.count(training.method) == 1 else f'{training.method} ({training.folder.name})'
        named[name if name not in named else f'{training.method} ({training.folder})'] = training
    return named


class Report:
    """The contents of the page.

    Args:
        trainings: by name.
        images: as in :func:`write_report`, like the others.
    """

    def __init__(self, trainings: Mapping[str, Training], images: int, baseline: Path | None, target: Path | None,
                 device: torch.device, score_before: float | None = None) -> None:
        self.trainings, self.images, self.missing = trainings, images, list[str]()
        self.score_before = score_before
        adapted = {name: training for name, training in trainings.items() if training.is_adapted} or dict(trainings)
        self.name = max(adapted, key=lambda name: adapted[name].quality)
        self.training = adapted[self.name]
        unadapted = [name for name, training in trainings.items() if not training.is_adapted and name != self.name]
        self.baseline = unadapted[0] if unadapted else None
        recorded = baseline and self.baseline and baseline.resolve().parent == trainings[self.baseline].folder.resolve()
        self.given = baseline is not None and not recorded
        self.networks = list(self._networks(baseline))
        self.examination = self._examine(target, device) if images else None
        if not images:
            self.missing.append('No network was run (--images 0): no pictures, confusion matrix or frequencies of '
                                'predictions.')

    def _networks(self, baseline: Path | None) -> Iterator[Network]:
        """Before adaptation, other trainings, after adaptation; at least the last where there is a checkpoint."""
        files = {name: training.checkpoint for name, training in self.trainings.items() if training.checkpoint}
        if self.name not in files:
            return
        after, first = files.pop(self.name), self.training.checkpoints[0]
        if baseline is not None:
            yield Network(self.baseline if self.baseline and not self.given else 'before', baseline)
        elif self.baseline in files:
            yield Network(self.baseline, files[self.baseline])
        elif first != after:
            yield Network(f'iteration {iteration_of(first)}', first)
        for name, file in files.items():
            if self.given or name != self.baseline:
                yield Network(name, file)
        yield Network(self.name, after)

    def _examine(self, target: Path | None, device: torch.device) -> Examination | None:
        if not self.networks:
            self.missing.append(f'{self.training.folder} has no checkpoint: no pictures, confusion matrix or '
                                'frequencies of predictions.')
            return None
        try:
            images = TargetImages(self.training.config, target, EXAMINED * self.images)
            return examine(self.networks, images, device)
        except Exception as error:  # the rest of the report does not need it
            if isinstance(error, InputsError) or not is_user_error(error):  # inputs: what --target names
                raise
            reason = describe(error)
            remedy = NO_CONFIG if '--config' in reason else PATHS
            self.missing.append(f'No target images were labelled: {reason}. {remedy}')
            return None

    @property
    def titles(self) -> tuple[str, str]:
        """The networks before and after adaptation; the same where there is only one."""
        return self.networks[0].title, self.networks[-1].title

    def context(self) -> dict[str, Any]:
        """Everything that the template shows."""
        baseline = None if self.given else self.trainings.get(self.baseline or '')
        titles = self.titles if self.networks else ('', '')
        comparison = summary.compare(baseline, self.training, self.examination, titles, self.given, self.score_before)
        facts = {name: summary.facts(training) for name, training in self.trainings.items()}
        groups = groups_of(self.examination, self.networks, self.images) if self.examination else []
        return dict(
            heading=self._heading(facts[self.name]), comparison=comparison, names=list(self.trainings), facts=facts,
            fact_keys=list(dict.fromkeys(key for entries in facts.values() for key in entries)),
            adapted=sum(training.is_adapted for training in self.trainings.values()),
            results={name: training.result.get('mIoU') for name, training in self.trainings.items()},
            main=self.name, charts=list(self._charts()), per_class=self._per_class(), confusion=self._confusion(),
            frequencies=self._frequencies(), groups=groups, hero=typical(groups), titles=titles,
            examination=self.examination, sheets=self._sheets(),
            logs={name: training.logs for name, training in self.trainings.items()},
            folders={name: training.folder for name, training in self.trainings.items()},
            configs={name: training.config_name for name, training in self.trainings.items()},
            missing=[*self._unrecorded(), *self.missing])

    def _heading(self, facts: Mapping[str, str]) -> str:
        domains = [facts[key].split(' (')[0] for key in ('Source', 'Target') if key in facts]
        return f'{self.name}: {" → ".join(domains)}' if domains else self.name

    def _unrecorded(self) -> Iterator[str]:
        if silent := [name for name, training in self.trainings.items() if not training.logs.commands]:
            yield f'The logs of {", ".join(silent)} have no command line; earlier versions did not record it.'
        for name, training in self.trainings.items():
            lacking = {'a config that is data': training.config, 'logged steps': training.steps,
                       'validations': training.validations, 'log files': training.logs.facts or training.logs.seconds}
            if nothing := [what for what, there in lacking.items() if not there]:
                yield f'{name}: {training.folder} has no {", no ".join(nothing)}.'
            if not training.finished:
                yield f'{name}: the training has not reached its last iteration; the report shows what there is.'

    def _charts(self) -> Iterator[Chart]:
        available = list(dict.fromkeys(key for training in self.trainings.values() for key in training.names()))
        scores = [Panel(f'Score without labels: {key.removeprefix(SCORE)}', (key,)) for key in available
                  if key.startswith(SCORE)]
        for panel in (PANELS[0], *scores[:MOST_CURVES], *PANELS[1:]):
            keys = panel.matches(available)
            if len(keys) > MOST_CURVES or (panel is PANELS[0] and len(scores) > MOST_CURVES):
                self.missing.append(f'More than {MOST_CURVES} values were recorded for "{panel.title}" or as scores: '
                                    'the others have no curves.')
                keys = keys[:MOST_CURVES]
            if len(self.trainings) == 1:
                series = {key: self.training.curve(key) for key in keys}
                if len(series) == 3 and panel is PANELS[0]:  # the network that is tested is one of the other two
                    del series['mIoU']
            else:
                series = {name: training.curve(keys[0]) for name, training in self.trainings.items() if keys}
            if any(steps for steps, _ in series.values()):
                several = len(self.trainings) > 1 and len(panel.keys) > 1 and '/' in keys[0]
                yield curves(f'{panel.title}: {keys[0]}' if several else panel.title, series)

    def _per_class(self) -> dict[str, Any] | None:
        """IoU per class of each training, or on the examined images; None without labels."""
        columns = {name: {key.removeprefix(IOU): value for key, value in training.result.items()
                          if key.startswith(IOU)} for name, training in self.trainings.items()}
        columns = {name: column for name, column in columns.items() if column}
        basis = 'All validation images.'
        if self.examination and self.examination.labelled and (self.name not in columns or len(columns) < 2):
            columns = {network.title: dict(zip(self.examination.classes, self.examination.iou(network.title)))
                       for network in self.networks}
            basis = f'{self.examination.labelled} labelled target images.'
        if self.name not in columns:
            return None
        before = self.titles[0] if self.networks and self.titles[0] in columns else self.baseline
        order = [name for name in columns if name not in (before, self.name)]
        pair = before in columns and before != self.name
        order = [*([before] if pair else []), self.name, *order]
        classes = list(dict.fromkeys(name for column in columns.values() for name in column))
        return dict(basis=basis, pair=pair, titles=order, rows=[
            (name, [_finite(columns[title].get(name)) for title in order]) for name in classes])

    def _confusion(self) -> dict[str, Any] | None:
        if self.examination is None or not self.examination.labelled:
            return None
        matrix, classes = self.examination.confusion[self.titles[1]], self.examination.classes
        rates = summary.rates_of(matrix)
        rows = [(name, [_finite(rate) for rate in row]) for name, row in zip(classes, rates)]
        return dict(classes=classes, rows=rows, sentences=summary.confusions(matrix, classes))

    def _frequencies(self) -> dict[str, Any] | None:
        classes, shares = self._trained_on()
        if self.examination is not None:
            shares |= {f'predicted: {title}': pixels / max(pixels.sum(), 1)
                       for title, pixels in self.examination.pixels.items() if title in self.titles}
            classes = self.examination.classes
        shares = {name: share for name, share in shares.items() if len(share) == len(classes)}
        if not shares:
            return None
        rows = [(name, [share[index] for share in shares.values()]) for index, name in enumerate(classes)]
        return dict(chart=frequencies(classes, shares), titles=list(shares), rows=rows)

    def _trained_on(self) -> tuple[Sequence[str], dict[str, np.ndarray]]:
        """Class names, and shares in the source's labels and in the pseudo-labels, that the checkpoint records."""
        for file in reversed(self.training.checkpoints):
            try:
                checkpoint = read_checkpoint(file, 'cpu')
                hub = mapping(mapping(checkpoint.get('message_hub')).get('runtime_info'))
                record = hub.get(KEY) or {}
                counts = np.array(record.get('mean'), float)
            except (ValueError, TypeError, AttributeError, OSError, RuntimeError):
                continue
            size = (counts.size - SCALARS) // 2
            if counts.ndim == 1 and 0 < size <= IGNORE and (counts[:2 * size] >= 0).all() and np.isfinite(counts).all():
                reference = 'first pseudo-labels' if record.get('first') else 'source labels'
                shares = {reference: counts[size:2 * size], 'pseudo-labels': counts[:size]}
                meta = dataset_meta(mapping(checkpoint.get('meta')), self.training.config, size)
                return meta['classes'], {name: share / max(share.sum(), 1e-9) for name, share in shares.items()}
        return (), {}

    def _sheets(self) -> dict[str, list[tuple[str, str]]]:
        chosen = {}
        for name, training in self.trainings.items():
            files = [training.pictures[index] for index in spread_indices(len(training.pictures), SHEETS)]
            sheets = [(f'iteration {iteration_of(file)}', uri) for file in files if (uri := sheet(file))]
            if sheets:
                chosen[name] = sheets
        return chosen


def _finite(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)
