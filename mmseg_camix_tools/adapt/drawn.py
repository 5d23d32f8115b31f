"""Without a config: drawn streets as the labelled source, and a small network with ImageNet weights."""

import os
from dataclasses import replace
from statistics import median

from mmengine.config import Config

from drawn_streets.writer import write_benchmark
from mmseg_camix import package_configs
from mmseg_camix.engine.config import load_config
from mmseg_camix.weights.initialiser import PACKAGE, find_in_package

from .arguments import Request
from .draft import image_sizes, labelled_folder
from .stages import claim_folder

CONFIG = 'mmseg_camix::source_only/drawn2camvid_lite.py'
IMAGES, ROWS = 500, 256  # rows of the drawings of Cityscapes; those of GTA are 640x360
SIDE = 360  # to which the drawings are resized
ASPECTS = (1.2, 2.0)  # to which they are squeezed at most


def drawn_request(request: Request) -> Request:
    """The request with the config of the drawn streets, which are drawn into the folder of results.

    They are squeezed to the aspect of the target, on which their spatial prior is laid.
    """
    source = 'train_dataloader.dataset.source'
    if request.few_labels:
        labelled_folder(request.few_labels, '--few-labels', ())
    aspect = min(max(median(width / height for height, width in image_sizes(request.target)), ASPECTS[0]), ASPECTS[1])
    _check_weights(load_config(CONFIG, request.options))
    options = {f'{source}.data_root': str((request.out / 'drawn/gta').resolve()),
               f'{source}.pipeline.2.scale': (round(SIDE * aspect), SIDE)}
    return replace(request, config=package_configs.resolve(CONFIG), options=options | (request.options or {}),
                   drawn=True)


def _check_weights(cfg: Config) -> None:
    """Raise where the network's weights are not installed: drawing takes minutes."""
    weights = (cfg.model.segmentor.backbone.get('init_cfg') or {}).get('checkpoint', '')
    if weights.startswith(PACKAGE):
        find_in_package(weights.removeprefix(PACKAGE))


def draw_source(request: Request) -> None:
    """Draw the source, unless it is complete."""
    claim_folder(request)
    write_benchmark(request.out / 'drawn', ('gta',), train=IMAGES, val=0, height=ROWS, workers=os.cpu_count() or 1)
