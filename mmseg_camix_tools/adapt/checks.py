"""Checks before anything is trained: network, checkpoint, disk, data."""

import os
import shutil
from pathlib import Path

from mmengine.config import Config
from mmseg.registry import MODELS

from mmseg_camix.checkpoint import read_checkpoint
from mmseg_camix_tools.doctor import Examination, examine
from mmseg_camix_tools.doctor.examine import NO_EVALUATION
from mmseg_camix_tools.export.metainfo import mapping
from mmseg_camix_tools.export.plain import plain_network

from . import AdaptError
from .draft import Draft

SAMPLES = 200  # of source and target that are opened
# Copies of the weights on the disk: two checkpoints of each training with the optimiser's state, the best, the exports.
COPIES = 20
OTHER_FILES = 100 * 2**20


def check_network(config: Config) -> int:
    """Number of parameters of the student; raise if the model of the config cannot be built."""
    model = MODELS.build(config.model)
    return sum(parameter.numel() for parameter in model.student.parameters())


def check_checkpoint(draft: Draft, checkpoint: Path) -> None:
    """Raise if a checkpoint is of another network or of other classes."""
    if not checkpoint.is_file():
        raise AdaptError(f'no checkpoint at {checkpoint}')
    content = read_checkpoint(checkpoint, 'cpu')
    plain_network(content, dict(draft.cfg.to_dict(), model=draft.segmentor), 'student', str(checkpoint))
    named = mapping(mapping(mapping(content).get('meta')).get('dataset_meta')).get('classes')
    if named and tuple(named) != draft.classes:
        raise AdaptError(f'{checkpoint} was trained on the classes {", ".join(map(str, named))}, but those of the '
                         f'data are {", ".join(draft.classes)}; give them the same classes in the same order')


def check_disk(out: Path, parameters: int) -> None:
    """Raise if the disk cannot hold the results."""
    needed = COPIES * 4 * parameters + OTHER_FILES
    place = next(path for path in (out.absolute(), *out.absolute().parents) if path.is_dir())
    if not os.access(place, os.W_OK):
        raise AdaptError(f'--out {out}: no permission to write into {place}; choose another folder')
    free = shutil.disk_usage(place).free
    if free < needed:
        raise AdaptError(f'--out {out}: {free // 2**20} MiB are free, but the checkpoints of this network need about '
                         f'{needed // 2**20} MiB; free some space, or choose another disk')


def check_data(config: Config) -> Examination:
    """Open samples of source and target through the config's pipelines; raise if there are errors."""
    examined = Config(config.to_dict())
    examined.val_dataloader = examined.test_dataloader = None
    examination = examine(examined, SAMPLES, os.cpu_count() or 1)
    # The target images are evaluated without labels.
    examination.findings = [finding for finding in examination.findings if finding.text != NO_EVALUATION]
    errors = [finding for finding in examination.findings if finding.level == 'error']
    if errors:
        first, files = errors[0], ', '.join(errors[0].files[:2])
        more = f'; and {len(errors) - 1} more' if errors[1:] else ''
        raise AdaptError(f'{first.part}: {first.text}{f" ({files})" if files else ""}; {first.remedy}{more}')
    return examination
