"""What the report says first: the gain, the verdict, and the facts of each training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..export.metainfo import mapping
from .examine import Examination
from .training import SCORE, Training, iteration_of, name_of

# Points of mIoU; trainings that differ in their seeds alone differ by one or two.
CLEAR = 2.0


@dataclass(frozen=True)
class Comparison:
    """Before against after adaptation, in one measure; None where it was not measured."""

    measure: str
    before: float | None
    after: float | None
    basis: str
    """What was measured, in a sentence."""

    @property
    def gain(self) -> float | None:
        """After minus before."""
        if self.before is None or self.after is None:
            return None
        digits = 1 if self.measure == 'mIoU' else 6  # so that the numbers of the page add up
        return round(self.after, digits) - round(self.before, digits)

    def text(self, value: float, sign: str = '') -> str:
        """A value with the digits of its measure."""
        return f'{value:{sign}.1f}' if self.measure == 'mIoU' else f'{value:{sign}.3g}'

    @property
    def word(self) -> str:
        """'better', 'worse', 'unclear', or 'unknown'."""
        if self.gain is None:
            return 'unknown'
        if self.measure == 'mIoU' and abs(self.gain) < CLEAR:
            return 'unclear'
        return 'better' if self.gain > 0 else 'worse'

    @property
    def verdict(self) -> str:
        """The result in a sentence."""
        if self.gain is None:
            known = '' if self.after is None else f'{self.measure} {self.text(self.after)} after adaptation. '
            return f'{known}Nothing to compare with: whether adaptation has helped is unknown.'
        numbers = f'{self.measure} {self.text(self.before)} → {self.text(self.after)}'
        if self.measure != 'mIoU':
            change = 'rises' if self.gain > 0 else 'falls'
            return f'Without labels: {numbers}, the score {change}. It is an estimate, not a measurement of quality.'
        return {'better': f'Better: {numbers}.', 'worse': f'Worse: {numbers}. Use the network before adaptation.',
                'unclear': f'No clear difference: {numbers}. Seeds alone change mIoU by one or two points.'}[self.word]


def compare(baseline: Training | None, training: Training, examination: Examination | None,
            titles: tuple[str, str], given: bool, score_before: float | None = None) -> Comparison:
    """The comparison on the best basis there is.

    Args:
        baseline: a training without adaptation, if one was given.
        training: the adapted one.
        examination: of both networks on target images.
        titles: of the two networks in it.
        given: whether the first of them is the network before adaptation, and not an iterate of the training.
        score_before: the score without labels of the network before adaptation, where no training recorded it.
    """
    result, score = training.result, training.score
    if 'mIoU' in result:
        after = result['mIoU']
        if baseline is not None and 'mIoU' in baseline.result:
            return Comparison('mIoU', baseline.result['mIoU'], after,
                              f'All validation images; before: {baseline.method}, trained without target images.')
        if examination is not None and examination.labelled and given:
            before, after = (float(np.nanmean(examination.iou(title))) for title in titles)
            return Comparison('mIoU', before, after, f'{examination.labelled} labelled target images; before: '
                                                     f'the given checkpoint.')
        return Comparison('mIoU', None, after, 'All validation images. Give the work folder of a source-only training '
                                               'too, or --baseline CHECKPOINT.')
    if score is not None:
        recorded = baseline and baseline.result.get(score)
        return Comparison(score.removeprefix(SCORE), score_before if recorded is None else recorded, result[score],
                          'No target labels: a score of predictions on unlabelled images.')
    return Comparison('mIoU', None, None, 'The training recorded neither mIoU (the target has no labels) nor a score '
                                          'without labels.')


def facts(training: Training) -> dict[str, str]:
    """What was trained on what, how long and on which device; entries that are not recorded are left out."""
    config, logs = training.config, training.logs
    model, loader = mapping(config.get('model')), mapping(config.get('train_dataloader'))
    data = mapping(loader.get('dataset'))
    target = data.get('target')
    source = data.get('source', None if target else data)
    validation = mapping(config.get('val_dataloader')).get('dataset')
    optimizer = mapping(mapping(config.get('optim_wrapper')).get('optimizer'))
    last = max((*(entry['step'] for entry in (*training.steps, *training.validations)),
                *map(iteration_of, training.checkpoints)), default=0)
    total = mapping(config.get('train_cfg')).get('max_iters')
    times, memory = training.curve('time')[1], training.curve('memory')[1]
    entries = {
        'Method': training.method, 'Network': _network(model.get('segmentor', model)),
        'Source': _dataset(source), 'Target': _dataset(target), 'Validation': _dataset(validation),
        'Iterations': f'{last:,.0f}' + (f' of {total:,}' if isinstance(total, int) and total != last else ''),
        'Batch': _batch(loader.get('batch_size'), config.get('crop_size')),
        'Optimiser': f'{name_of(optimizer)}, rate {optimizer.get("lr")}' if optimizer else '',
        'Initial weights': str(config.get('load_from') or ''), 'Seed': logs.facts.get('seed', ''),
        'Duration': duration(logs.seconds) if logs.seconds else '',
        'Time of an iteration': f'{np.median(times):.3g} s (median)' if times else '',
        'Peak GPU memory': f'{max(memory) / 1024:.1f} GB' if memory else '',
        'Device': next((value for key, value in logs.facts.items() if key.startswith('GPU ')),
                       'CPU' if logs.facts else '')}
    return {key: value for key, value in entries.items() if value}


def _batch(size: Any, crop: Any) -> str:
    sides = (crop, crop) if isinstance(crop, int) else crop  # height, width
    shape = f'{sides[1]} × {sides[0]} (width × height)' if isinstance(sides, (list, tuple)) and len(sides) == 2 else ''
    return f'{size} crops of {shape}' if size and shape else str(size or '')


def _network(segmentor: Any) -> str:
    parts = [mapping(mapping(segmentor).get(key)) for key in ('backbone', 'decode_head')]
    return ', '.join('-'.join([name_of(part), *(str(part[key]) for key in ('depth', 'model_name') if key in part)])
                     for part in parts if part)


def _dataset(given: Any) -> str:
    while isinstance(given, Mapping) and isinstance(given.get('dataset'), Mapping):
        given = given['dataset']
    name, root = name_of(given).removesuffix('Dataset').removeprefix('Raw'), mapping(given).get('data_root')
    if name == 'Folder' and isinstance(root, str):  # the folder says more than the class
        name = '/'.join(Path(root).parts[-2:])
    return f'{name} ({root})' if root else name


def duration(seconds: float) -> str:
    """'2 h 05 min', '9 min', '40 s'."""
    if seconds < 60:
        return f'{seconds:.0f} s'
    hours, minutes = divmod(round(seconds / 60), 60)
    return f'{hours} h {minutes:02} min' if hours else f'{minutes} min'


def confusions(matrix: np.ndarray, classes: Sequence[str]) -> list[str]:
    """The five largest confusions as sentences, by their share of the true class."""
    rates = rates_of(matrix)
    np.fill_diagonal(rates, 0)
    largest = np.argsort(-np.nan_to_num(rates), axis=None)[:5]
    pairs = [divmod(int(index), len(classes)) for index in largest]
    return [f'{rates[true, predicted]:.0%} of {classes[true]} is labelled {classes[predicted]}'
            for true, predicted in pairs if rates[true, predicted] > 0.05]


def rates_of(matrix: np.ndarray) -> np.ndarray:
    """Rows of a confusion matrix as shares; NaN in the row of a class without pixels."""
    with np.errstate(invalid='ignore'):
        return matrix / matrix.sum(1, keepdims=True)
