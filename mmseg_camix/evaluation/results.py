"""The result of a test as data (JSON), and as a Markdown table beside the numbers of a paper."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmseg_camix.version import __version__

from .reported import CLASSES_OF, Row, mean_over

NETWORKS = ('student', 'teacher')
PREFIX = 'IoU.'
NO_MEANS = ('IoU', 'aAcc', 'mAcc')  # entries of a network that are no means of IoU over classes
OTHER_IMAGES = ("These are not the 500 images of Cityscapes' validation set used in the paper, so no difference is "
                'given')


def result_of(metrics: Mapping[str, float], config: str, options: Mapping, checkpoint: str, data: Mapping,
              classes: Sequence[str], evaluation: Mapping, tested_with: str, row: str | None = None) -> dict:
    """The record of a test.

    Args:
        metrics: of the test loop.
        config: path of the config.
        options: overridden entries of the config.
        checkpoint: path of the checkpoint; the record has its name and digest.
        data: `type` of the test set, number of `images`, and their `size` ('2048x1024').
        classes: names of the classes.
        evaluation: `resolution`, `inference`, and the `scales` and `flip` of test-time augmentation.
        tested_with: network whose numbers are those of the method.
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
    if not names:
        return dict(network=_nested({key: value for key, value in metrics.items()
                                     if '/' not in key or key.startswith(PREFIX)}))
    return {name: _nested({key.removeprefix(f'{name}/'): value for key, value in metrics.items()
                           if key.startswith(f'{name}/')}) for name in names}


def _nested(metrics: Mapping[str, float]) -> dict:
    nested: dict = {'IoU': {}}
    for key, value in metrics.items():
        target = nested['IoU'] if key.startswith(PREFIX) else nested
        target[key.removeprefix(PREFIX)] = round(float(value), 2)
    return nested


def tested_network(result: Mapping) -> str:
    """The network whose numbers are those of the method."""
    networks = result['networks']
    return result['tested_with'] if result['tested_with'] in networks else next(iter(networks))


def compare_means(result: Mapping, row: Row) -> dict[int, tuple[float, float]]:
    """Number of classes -> (our mean over them, the printed mean), of the network that is tested."""
    own = result['networks'][tested_network(result)]['IoU']
    means = {}
    for size, printed in row.mIoU.items():
        mean = mean_over(own, CLASSES_OF[size])
        if mean is None:
            raise ValueError(f'{row.id} is a mean over {size} classes of Cityscapes, but this result has no IoU of '
                             f'{", ".join(sorted(set(CLASSES_OF[size]) - set(own)))}; it cannot be compared')
        means[size] = (mean, printed)
    return means


def is_comparable(result: Mapping) -> bool:
    """Whether the images were those of the papers: the 500 of Cityscapes' validation set, at their size."""
    data = result['data']
    return 'cityscapes' in data['type'].lower() and (data['images'], data['size']) == (500, '2048x1024')


def markdown(result: Mapping, row: Row | None = None) -> str:
    """Title, evaluation settings, and one line per mean and class."""
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
            cells.append(row.format(printed) if printed is not None else '-')
        if differs:
            cells.append(f'{values[tested] - printed:+.2f}' if None not in (values[tested], printed) else '')
        lines.append(f'| {name} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines) + '\n'


def describe(evaluation: Mapping) -> str:
    """The evaluation settings in words."""
    views = '' if evaluation['scales'] is None else (
        f'; averaged over scales {", ".join(f"{scale:g}" for scale in evaluation["scales"])}'
        + (', each also mirrored' if evaluation['flip'] else ''))
    return f'{evaluation["inference"]}, compared at {evaluation["resolution"]} resolution{views}'


def _lines(result: Mapping, row: Row | None) -> list[tuple[str, dict, float | None]]:
    """(name, our value by network, the paper's value) of each mean and class."""
    networks, reported = result['networks'], {} if row is None else row.per_class
    if row is None:
        names = dict.fromkeys(key for values in networks.values() for key in values
                              if key not in NO_MEANS and '/' not in key)
        means = [(key, {network: values.get(key) for network, values in networks.items()}, None) for key in names]
    else:
        means = [(f'mIoU, {size} classes', {network: mean_over(values['IoU'], CLASSES_OF[size])
                                            for network, values in networks.items()}, printed)
                 for size, printed in row.mIoU.items()]
    return means + [(name, {network: values['IoU'].get(name) for network, values in networks.items()},
                     reported.get(name)) for name in result['classes']]


def _notes(result: Mapping, row: Row | None) -> list[str]:
    if row is None:
        return []
    notes = [row.note[0].upper() + row.note[1:] + '.'] if row.note else []
    for size, printed in row.mIoU.items():
        mean = row.recomputed(size)
        if mean is not None and abs(mean - printed) > 0.1:
            notes.append(f'The paper prints {row.format(printed)} over {size} classes; the mean of its own row is '
                         f'{mean:.2f}.')
    if not is_comparable(result):
        notes.append(f'{OTHER_IMAGES}.')
    return [f'\n{note}' for note in notes]
