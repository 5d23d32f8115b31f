"""Pictures that people look at: predictions side by side."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from mmseg.registry import DATASETS, MODELS

from mmseg_camix.engine.config import move_data_root
from mmseg_camix.files import atomic_write

TITLE_HEIGHT = 26


def colourised(label: np.ndarray, palette: list) -> np.ndarray:
    """(H, W) train ids -> (H, W, 3) BGR; ignored pixels are black."""
    colours = np.zeros((256, 3), np.uint8)
    colours[:len(palette)] = np.array(palette, np.uint8)
    return colours[label.astype(np.uint8)][..., ::-1]


@torch.no_grad()
def predict(config: str, checkpoint: Path, samples: list[dict]) -> list[np.ndarray]:
    """(H, W) train ids of each sample, by the network that the method is tested with."""
    cfg = Config.fromfile(config)
    model = MODELS.build(cfg.model)
    load_checkpoint(model, str(checkpoint), map_location='cpu')
    model.eval()
    return [model.test_step(pseudo_collate([sample]))[0].pred_sem_seg.data[0].numpy() for sample in samples]


def draw_comparison(networks: dict[str, tuple[str, Path]], data_root: Path, path: Path, count: int = 4,
                    width: int = 384) -> None:
    """Write a picture: one line per image with the input, its ground truth, and each prediction.

    Args:
        networks: title -> (config file, checkpoint).
        data_root: folder of the data set; the validation images of the first config are shown.
        path: file to write.
        count: how many images, evenly spread over the set.
        width: of each tile in pixels.
    """
    init_default_scope('mmseg')
    cfg = Config.fromfile(next(iter(networks.values()))[0])
    move_data_root(cfg, str(data_root))
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    samples = [dataset[int(index)] for index in np.linspace(0, len(dataset) - 1, count)]
    palette = dataset.metainfo['palette']
    columns = {
        'target image': [sample['inputs'].permute(1, 2, 0).numpy() for sample in samples],
        'ground truth': [colourised(sample['data_samples'].gt_sem_seg.data[0].numpy(), palette)
                         for sample in samples]}
    for title, (config, checkpoint) in networks.items():
        columns[title] = [colourised(label, palette) for label in predict(config, checkpoint, samples)]
    sheet = np.hstack([column(title, tiles, width) for title, tiles in columns.items()])
    atomic_write(path, cv2.imencode('.png', sheet)[1].tobytes())


def column(title: str, tiles: list[np.ndarray], width: int) -> np.ndarray:
    """Pictures (H, W, 3) uint8 BGR below each other, with a title above them.

    Args:
        title: what stands above.
        tiles: the pictures, of one size.
        width: of each in pixels.
    """
    header = np.full((TITLE_HEIGHT, width, 3), 255, np.uint8)
    cv2.putText(header, title, (6, TITLE_HEIGHT - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (40, 40, 40), 1, cv2.LINE_AA)
    height = round(width * tiles[0].shape[0] / tiles[0].shape[1])
    scaled = [cv2.resize(tile, (width, height), interpolation=cv2.INTER_NEAREST) for tile in tiles]
    framed = [cv2.copyMakeBorder(tile[2:-2, 2:-2], 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(255,) * 3)
              for tile in scaled]
    return np.vstack([header, *framed])
