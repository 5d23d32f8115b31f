"""A test's result as data (JSON) and as a Markdown table beside what a paper reports."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmseg_camix.version import __version__

from .reported import CLASSES_OF, Row, mean_over

NETWORKS = ('student', 'teacher')
PREFIX = 'IoU.'
OTHER_IMAGES = ("These are not the 500 images of Cityscapes' validation set on which the paper was tested, so that no "
                'difference is given')


def result_of(metrics: Mapping[str, float], config: str, options: Mapping, checkpoint: str, data: Mapping,
              classes: Sequence[str], evaluation: Mapping, tested_with: str, row: str | None = None) -> dict:
    """All that is worth keeping of a test.

    Args:
        metrics: as the test loop gives them.
        config: path of the config.
        options: what was overridden in it.
        checkpoint: path of the checkpoint; its name and digest are kept.
        data: `type` of the test set, number of `images`, and their `size` ('2048x1024').
        classes: their names.
        evaluation: `resolution`, `inference`, and the `scales` and `flip` of test-time augmentation.
        tested_with: the network whose numbers stand for the method.
        row: id of the reported row that the result is compared with.
    """
    with open(checkpoint, 'rb') as file:
        digest = hashlib.file_digest(file, 'sha256').hexdigest()
    return dict(row=row, config=config, options={key: str(value) for key, value in options.items()},
                checkpoint=dict(file=Path(checkpoint).name, sha256=digest), data=dict(data), classes=list(classes),
                evaluation=dict(evaluation), tested_with=tested_with, networks=networks_of(metrics),
                version=__version__)


def networks_of(metrics: Mapping[str, float]) -> dict[str, dict]:
    """Network -> its means and, under 'IoU', each class; a plain segmentor is called 'network'.

    Args:
        metrics: of the test loop: 'student/mIoU', 'student/IoU.road', ..., or without the network.
    """
    names = [name for name in NETWORKS if f'{name}/mIoU' in metrics]
    parts = {name: {key.removeprefix(f'{name}/'): value for key, value in metrics.items()
                    if key.startswith(f'{name}/')} for name in names}
    if not names:
        parts = dict(network={key: value for key, value in metrics.items() if '/' not in key})
    return {name: _nested(part) for name, part in parts.items()}


def _nested(metrics: Mapping[str, float]) -> dict:
    rounded = {key: round(float(value), 2) for key, value in metrics.items()}
    means = {key: value for key, value in rounded.items() if not key.startswith(PREFIX)}
    return {**means, 'IoU': {key.removeprefix(PREFIX): value for key, value in rounded.items()
                             if key.startswith(PREFIX)}}


def tested_network(result: Mapping) -> str:
    """The network whose numbers stand for the method."""
    networks = result['networks']
    return result['tested_with'] if result['tested_with'] in networks else next(iter(networks))


def compared(result: Mapping, row: Row) -> dict[int, tuple[float, float]]:
    """Number of classes -> (our mean over them, the printed mean), of the network that is tested."""
    own = result['networks'][tested_network(result)]['IoU']
    found = {}
    for size, printed in row.mIoU.items():
        mean = mean_over(own, CLASSES_OF[size])
        if mean is None:
            raise ValueError(f'{row.id} is a mean over {size} classes of Cityscapes, but this result has no IoU of '
                             f'{", ".join(sorted(set(CLASSES_OF[size]) - set(own)))}; compare it with no such row')
        found[size] = (mean, printed)
    return found


def is_comparable(result: Mapping) -> bool:
    """Whether the images were those of the papers: the 500 of Cityscapes' validation set, at their size."""
    data = result['data']
    return 'cityscapes' in data['type'].lower() and (data['images'], data['size']) == (500, '2048x1024')


def markdown(result: Mapping, row: Row | None = None) -> str:
    """Title, how it was tested, and one line per mean and class."""
    networks, tested = result['networks'], tested_network(result)
    evaluation, data = result['evaluation'], result['data']
    differs = row is not None and is_comparable(result)
    lines = [f'# {result["config"]}', '', f'Checkpoint `{result["checkpoint"]["file"]}`, tested on {data["images"]} '
             f'images of {data["type"]}; {describe(evaluation)}. The method is tested with its {tested}.',
             *_notes(result, row), '']
    head = ['IoU (%)', *networks, *([row.citation] if row else []), *([f'{tested} - paper'] if differs else [])]
    lines += ['| ' + ' | '.join(head) + ' |', '|---|' + '---:|' * (len(head) - 1)]
    for name, values, printed in _lines(result, row):
        cells = [f'{value:.2f}' if value is not None else '-' for value in values.values()]
        if row is not None:
            cells.append(row.shown(printed) if printed is not None else '-')
        if differs:
            cells.append(f'{values[tested] - printed:+.2f}' if None not in (values[tested], printed) else '')
        lines.append(f'| {name} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines) + '\n'


def describe(evaluation: Mapping) -> str:
    """How the prediction was made, in words."""
    views = '' if evaluation['scales'] is None else (
        f'; averaged over scales {", ".join(f"{scale:g}" for scale in evaluation["scales"])}'
        + (', each also mirrored' if evaluation['flip'] else ''))
    return f'{evaluation["inference"]}, compared at {evaluation["resolution"]} resolution{views}'


def _lines(result: Mapping, row: Row | None) -> list[tuple[str, dict, float | None]]:
    """Name, our value by network, the paper's value."""
    networks = result['networks']
    if row is None:
        means = dict.fromkeys(key for values in networks.values() for key in values if key.startswith('mIoU'))
        found = [(key, {name: values.get(key) for name, values in networks.items()}, None) for key in means]
    else:
        found = [(f'mIoU, {size} classes',
                  {name: mean_over(values['IoU'], CLASSES_OF[size]) for name, values in networks.items()}, printed)
                 for size, printed in row.mIoU.items()]
    reported = {} if row is None else row.per_class
    return found + [(cls, {name: values['IoU'].get(cls) for name, values in networks.items()}, reported.get(cls))
                    for cls in result['classes']]


def _notes(result: Mapping, row: Row | None) -> list[str]:
    if row is None:
        return []
    notes = [row.note[0].upper() + row.note[1:] + '.'] if row.note else []
    for size, printed in row.mIoU.items():
        mean = row.recomputed(size)
        if mean is not None and abs(mean - printed) > 0.1:
            notes.append(f'The paper prints {row.shown(printed)} over {size} classes; the mean of its own row is '
                         f'{mean:.2f}.')
    if not is_comparable(result):
        notes.append(f'{OTHER_IMAGES}.')
    return [f'\n{note}' for note in notes]

