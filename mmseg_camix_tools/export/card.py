"""The model card of an export: what the network is, what it was trained on, its scores, its limits, how to make it."""

import hashlib
import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any

import torch

from mmseg_camix.engine.hooks.record_hook import read_record
from mmseg_camix.files import atomic_write, printable
from mmseg_camix.type_names import type_name
from mmseg_camix.version import __version__

from .plain import PlainNetwork

CARD = 'card.md'
NO_TERMS = 'not stated: `--terms` does, and is due before the network is published'
LEARNED = 1.0  # IoU in percent below which a class counts as not learned
_COMMAND = re.compile(r'Command \(mmseg_camix ([\w.+-]+)\): (.+)')
# Above the last part of an absolute path; a comma before another path separates them. Each folder is followed by a part
# of the path: where only the last one had to be, a long line of others would take hours.
_FOLDERS = re.compile(r"""(?<![\w.])/(?:(?:[^=/,]|,(?! *['"]?/))+/(?=[^'"\])},]))+""")


def write_card(network: PlainNetwork, checkpoint: Path, folder: Path, terms: str | None = None) -> None:
    """Write the card of the files in a folder.

    Args:
        network: that was exported.
        checkpoint: of its training; scores and command are read from the work folder around it.
        folder: where the exported files are, and where the card goes.
        terms: licence of the weights and terms of the training data.
    """
    metrics = scores(network, checkpoint.parent)
    title = network.training.get('config', checkpoint.stem)
    lines = [f'# {title}: {network.description}', '', _network_line(network), '',
             '## Training', '', *_table(('', ''), training_rows(network, terms)), '',
             '## Scores', '', *_score_lines(network, metrics), '',
             '## Files', '', *_table(('file', 'bytes', 'SHA-256'), _file_rows(folder)), '',
             '## Limits', '', *(f'- {line}' for line in _limits(network, metrics)), '']
    lines = [line.replace('<', '&lt;') for line in lines]  # Markdown may contain HTML
    lines += ['## Commands', '', '```bash', *commands(network, checkpoint), '```', '']
    atomic_write(folder / CARD, '\n'.join(map(printable, lines)))  # names come from checkpoints


def training_rows(network: PlainNetwork, terms: str | None) -> list[tuple[str, object]]:
    """What is known about the training, by name."""
    training = network.training
    data = [(f'data, {role}', text) for role, text in training.get('data', {}).items()]
    rows = [(name, training[name]) for name in ('config', 'seed') if name in training]
    return [*data, *rows, ('terms', terms or NO_TERMS),
            ('exported by', f'mmseg_camix {__version__}, torch {torch.__version__}')]


def scores(network: PlainNetwork, work_dir: Path) -> dict[str, float]:
    """The metrics of the network, recorded at the iteration of its checkpoint; empty where there are none."""
    try:
        metrics = next((entry['metrics'] for entry in read_record(work_dir)['val']
                        if entry['iteration'] == network.origin['iteration']), {})
    except (ValueError, KeyError, TypeError):  # damaged, or a metrics.json of another program
        metrics = {}
    prefix = f'{network.name}/'
    own = {name.removeprefix(prefix): value for name, value in metrics.items() if name.startswith(prefix)}
    is_tested = network.origin['tested'] in (None, network.name)
    return own or ({name: value for name, value in metrics.items() if '/' not in name} if is_tested else {})


def commands(network: PlainNetwork, checkpoint: Path) -> list[str]:
    """The recorded command of the training, without absolute folders, and those of the export and of its use."""
    option = f'--{network.name} ' if network.name == 'student' else ''
    return [*_recorded_command(checkpoint.parent),
            f'mmseg-camix export {shlex.quote(checkpoint.name)} {option}--out exported',
            'mmseg-camix predict exported IMAGES --out labelled']


def _recorded_command(work_dir: Path) -> list[str]:
    """The first command of a training in the logs, with what it was run by, quoted for a shell; [] without one."""
    logs = sorted(work_dir.glob('*/*.log'))
    matches = (match for log in logs for match in _COMMAND.finditer(log.read_text(errors='replace')))
    commands = ((_training_command(match[2]), match[1]) for match in matches)
    return [f'{command}  # mmseg_camix {version}' for command, version in commands if command][:1]


def _training_command(line: str) -> str | None:
    """A logged command line, each word quoted and without absolute folders; None where it is not of a training."""
    try:
        first, program, *arguments = shlex.split(line)
    except ValueError:  # quotes that do not match, or no program
        return None
    by_name = (first, program) == ('mmseg-camix', 'train') or program == 'mmseg-camix train'  # as formerly logged
    if not by_name and PurePath(program).name != 'train.py':
        return None
    return shlex.join(['mmseg-camix', 'train', *(_FOLDERS.sub('', word) for word in arguments)])


def _network_line(network: PlainNetwork) -> str:
    parts = [type_name(part) for name in ('backbone', 'decode_head')
             if isinstance(part := network.segmentor.get(name), Mapping)]
    millions = sum(value.numel() for value in network.state.values()) / 1e6
    return (f'{type_name(network.segmentor)} of {" and ".join(parts)}, {millions:.1f} M weights; '
            f'{len(network.classes)} classes: {", ".join(network.classes)}.')


def _score_lines(network: PlainNetwork, metrics: Mapping[str, float]) -> list[str]:
    if not metrics:
        return ['No scores were recorded at this iteration.']
    classes = {name.removeprefix('IoU.'): value for name, value in metrics.items() if name.startswith('IoU.')}
    means = {name: value for name, value in metrics.items() if not name.startswith('IoU.')}
    on = network.training.get('data', {}).get('validation', 'the validation data of the config')
    return [f'On {on}, one training:', '',
            *_table(means, [[f'{value:.2f}' if value > 1 else f'{value:.4g}' for value in means.values()]]),
            *(['', *_table(('IoU of', *classes), [['%', *(f'{value:.1f}' for value in classes.values())]])]
              if classes else [])]


def _limits(network: PlainNetwork, metrics: Mapping[str, float]) -> list[str]:
    weak = [name.removeprefix('IoU.') for name, value in metrics.items() if name.startswith('IoU.') and value < LEARNED]
    crop = network.training.get('crop')
    trained = f'Trained on crops of {crop[1]}x{crop[0]} (width x height), and scored' if crop else 'Scored'
    return [*([f'Not learned (IoU below {LEARNED:g} %): {", ".join(weak)}.'] if weak else []),
            f'{trained} on the data above only: measure before you use it with another camera, in another place or '
            'weather.',
            'Scores are those of one training; trainings with other seeds differ.']


def _file_rows(folder: Path) -> list[tuple[str, int, str]]:
    return [(file.name, file.stat().st_size, hashlib.sha256(file.read_bytes()).hexdigest())
            for file in sorted(folder.iterdir()) if file.name != CARD]


def _table(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> list[str]:
    """Lines of a table in Markdown."""
    names = [*header]
    cells = [[str(cell).replace('|', r'\|') for cell in row] for row in (names, *rows)]
    lines = [f'| {" | ".join(row)} |' for row in cells]
    return [lines[0], '|' + '---|' * len(names), *lines[1:]]
