"""Networks to choose from, and their scores on a folder of images."""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path

import torch
from mmengine.dataset import pseudo_collate
from tqdm import tqdm

from mmseg_camix.files import PrintableError, printable
from mmseg_camix.selection import Scorer
from mmseg_camix_tools.export.files import WEIGHTS, is_export, open_network
from mmseg_camix_tools.export.plain import PlainNetwork
from mmseg_camix_tools.inference.inputs import find_items
from mmseg_camix_tools.inference.predictor import Predictor

NETWORKS = ('student', 'teacher')


class ScoringError(PrintableError):
    """There is nothing to score, or scores cannot be compared; the message gives the reason and the remedy."""


@dataclass(frozen=True)
class Candidate:
    """One network of one checkpoint, and the other network of the same checkpoint if there is one."""

    path: Path
    network: PlainNetwork
    other: PlainNetwork | None = None

    @property
    def name(self) -> str:
        """'work_dirs/dacs/iter_1200.pth teacher'."""
        return f'{self.path} {self.network.name}'


def find_candidates(paths: Iterable[str | Path], config: str | None = None,
                    networks: Sequence[str] = NETWORKS) -> Iterator[Candidate]:
    """The networks of checkpoints, of all checkpoints in work dirs, and of exported folders.

    Args:
        paths: files and folders.
        config: file of the config of all of them; None takes the one in each checkpoint.
        networks: 'student', 'teacher', or both; a checkpoint with only one network yields that.
    """
    files = [file for path in paths for file in _checkpoints(Path(path))]
    classes = None
    for file in files:
        opened = {network.name: network for network in (open_network(file, config, name) for name in NETWORKS)}
        for name, network in opened.items():
            if classes is not None and network.classes != classes:
                raise ScoringError(f'{file} has {_named(network.classes)}, {files[0]} has {_named(classes)}; only '
                                   'scores of networks with the same classes can be compared')
            classes = network.classes
            if len(opened) == 1 or name in networks:
                yield Candidate(file, network, next((o for key, o in opened.items() if key != name), None))


def _named(classes: Sequence[str]) -> str:
    return f'{len(classes)} classes ({", ".join(classes[:3])}, ...)'


def _checkpoints(path: Path) -> list[Path]:
    if not path.exists():
        raise ScoringError(f'{path}: no such checkpoint, work dir or exported folder')
    others = [file for file in path.glob('*.pth') if file.name != WEIGHTS]
    if path.is_file() or (is_export(path) and not others):
        return [path]
    files = sorted(path.glob('*.pth'), key=lambda file: [int(part) if part.isdecimal() else part
                                                         for part in re.split(r'(\d+)', file.name)])
    if not files:
        raise ScoringError(f'{path}: no checkpoint (*.pth) there; give a file, a work dir or an exported folder')
    return files


def find_images(folder: str | Path, limit: int | None = None) -> list[Path]:
    """Images below a folder, sorted; at most `limit` of them, evenly spread."""
    images = [item.path for item in find_items([str(folder)]) if not item.is_video]
    if not images:
        raise ScoringError(f'{folder}: no images there, only videos')
    if limit is not None and len(images) > limit:
        images = [images[index * len(images) // limit] for index in range(limit)]
    return images


def score(candidate: Candidate, images: Sequence[Path], scores: Sequence[str] | None = None, batch_size: int = 1,
          device: torch.device | str = 'cpu', damaged: set[Path] | None = None) -> dict[str, float]:
    """Name -> score of the network on these images, which its own test pipeline reads.

    Args:
        scores: names; None takes all that can be computed for the network.
        batch_size: number of consecutive images of one size that pass through the network together.
        damaged: images that cannot be read are left out, and added here with a warning.
    """
    network = candidate.network.build().to(device)
    other = None if candidate.other is None else candidate.other.build().to(device)
    predictor, scorer = Predictor(network, candidate.network.pipeline), Scorer(network, other, scores)
    bar = tqdm(images, desc=printable(candidate.name), unit='image', leave=False, disable=None)
    prepared = _prepared(predictor, bar, set() if damaged is None else damaged)
    for _, same_size in groupby(prepared, lambda entry: entry['inputs'].shape):
        while batch := list(islice(same_size, batch_size)):
            scorer.update(network.data_preprocessor(pseudo_collate(batch), False)['inputs'])
    if not scorer.images_done:
        raise ScoringError('none of the images can be read')
    return scorer.results()


def _prepared(predictor: Predictor, images: Iterable[Path], damaged: set[Path]) -> Iterator[dict]:
    for path in images:
        if path in damaged:
            continue
        try:
            image = predictor.read(str(path))
        except OSError as error:
            damaged.add(path)
            tqdm.write(f'warning: {printable(error)}; it is left out', file=sys.stderr)
        else:
            yield predictor.prepare(image, str(path))
