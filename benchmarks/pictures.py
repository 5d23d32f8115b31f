"""Draw the pictures of docs/benchmark.md.

mixes         source, target, DACS's mix and CAMix's mix, with their labels; white lines enclose what was pasted;
              with a config of CAMix with MIC, also MIC's masked view
significance  target crops at several checkpoints of one training: dropped pixels in red, below them the entropy
patches       DSP's templates, long-tail pixels, patches and both pastes
predictions   validation images, ground truth, and the prediction of each checkpoint (source only, adapted, ...)

Colour jitter and blur are left out.

examples:
  python -m benchmarks.pictures mixes configs/camix/mini_gta2cs_tiny.py CHECKPOINT --out docs/images/mixes.png
  python -m benchmarks.pictures significance configs/camix/mini_gta2cs_tiny.py iter_300.pth iter_1200.pth
  python -m benchmarks.pictures patches configs/dsp/mini_gta2cs_tiny.py --start 3
  python -m benchmarks.pictures predictions CONFIG SOURCE_ONLY.pth DACS.pth --cfg-options data_root=data/camvid
"""

import argparse
import copy
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from mmseg.registry import DATASETS
from torch import Tensor, nn

from mmseg_camix import cli
from mmseg_camix.checkpoint import read_checkpoint
from mmseg_camix.engine.config import load_config
from mmseg_camix.models.step import Step
from mmseg_camix.visualization.sheets import (
    colourise,
    comparison,
    denormalise,
    grid,
    outline,
    resize,
    tint,
    write_png,
)
from mmseg_camix_tools.export.plain import plain_network

from .timing import Training

# Titles -> view and mask. Views that a method lacks are left out, here and below.
MIXES = {'DACS: source over target': ('classmix', 'classes'), 'CAMix: target over source': ('camix', 'context'),
         'MIC: target with blanked blocks': ('masked', 'blocks')}
PASTES = {'source': 'source', 'pasted on the source': 'mixed_source', 'target': 'target',
          'pasted on the target': 'mixed_target'}


def training_of(cfg: Config, count: int, checkpoint: str | Path | None = None) -> Training:
    """A training without colour jitter and blur, on batches of `count` that are always the same."""
    cfg = copy.deepcopy(cfg)
    cfg.train_dataloader.update(batch_size=count, num_workers=0, persistent_workers=False)
    cfg.train_dataloader.pop('prefetch_factor', None)
    cfg.merge_from_dict({'model.augment': dict(jitter_probability=0.0, blur_probability=0.0)})
    training = Training.of(cfg, checkpoint)
    training.model.train()
    return training


def batch_at(training: Training, start: int) -> dict:
    """The batch after `start` skipped ones."""
    for _ in range(start):
        next(training.batches)
    return training.model.data_preprocessor(next(training.batches), True)


@torch.no_grad()
def prepared_step(model: nn.Module, batch: dict, iteration: int) -> Step:
    """A step whose masks and views are made, and nothing more."""
    model.set_progress(iteration, 100_000)
    step = model.begin_step(**batch)
    model.prepare_views(step)
    return step


@torch.no_grad()
def draw_mixes(cfg: Config, checkpoint: str | None, path: Path, count: int = 4, width: int = 240,
               start: int = 0) -> None:
    """Write a picture of `count` pairs of images and their mixes; without a checkpoint nothing is learned."""
    training = training_of(cfg, count, checkpoint)
    model, info = training.model, training.metainfo
    step = prepared_step(model, batch_at(training, start), start)
    mixes = {title: names for title, names in MIXES.items() if names[0] in model.views}
    for view, mask in mixes.values():
        step.masks.setdefault(mask, model.masks[mask](step))
        step.views.setdefault(view, model.views[view](step))
    columns: dict[str, list] = {}
    present: set[int] = set()
    for title, (name, mask) in {'source, ground truth': ('source', None), 'target, pseudo-label': ('target', None),
                                **mixes}.items():
        view, columns[title] = step.views[name], []
        labels = view.target.label.cpu().numpy()
        present.update(np.unique(labels).tolist())
        for index, label in enumerate(labels):
            image = resize(denormalise(view.image[index], model.data_preprocessor), width)
            if mask is not None:
                image = outline(image, step.masks[mask][index, 0].cpu().numpy())
            columns[title] += [image, resize(colourise(label, info['palette']), width, smooth=False)]
    names = [(info['classes'][index], tuple(info['palette'][index])) for index in sorted(present - {255})]
    write_png(path, grid(columns, names))


@torch.no_grad()
def draw_significance(cfg: Config, checkpoints: Sequence[str], path: Path, count: int = 3, width: int = 240,
                      start: int = 0) -> list[str]:
    """Write a picture of `count` target crops at several checkpoints.

    Returns:
        a line per checkpoint: iteration, threshold R, share of kept pixels.
    """
    columns: dict[str, list] = {}
    for checkpoint in checkpoints:
        iteration = int(read_checkpoint(str(checkpoint)).get('meta', {}).get('iter', 0))
        training = training_of(cfg, count, checkpoint)
        model, batch = training.model, batch_at(training, start)
        image = batch['inputs']['target']
        model.set_progress(iteration, cfg.train_cfg.max_iters)
        step = model.begin_step(**batch)
        step.teacher, step.teacher_logits = model.teacher, model.teacher(image)
        significance = model.pseudo_labels.significance
        kept = significance(step, image).cpu().numpy()
        threshold = float(significance.statistics()['significance/threshold'])
        crops = [resize(denormalise(crop, model.data_preprocessor), width) for crop in image]
        columns.setdefault('target crop\nred: dropped\nentropy: yellow is ln C', [
            tile for crop in crops for tile in (crop, None)])
        title = f'iteration {iteration}\nR = {threshold:.2f}, {kept.mean():.0%} kept'
        columns[title] = [tile for crop, mask, entropy in zip(crops, kept, significance.entropy)
                          for tile in (tint(crop, mask), resize(_heat(entropy, model.num_classes), width, False))]
    write_png(path, grid(columns))
    return [title.replace('\n', ', ') for title in list(columns)[1:]]


def _heat(entropy: Tensor, num_classes: int) -> np.ndarray:
    """Entropy (h, w) as colours, dark at 0 and bright at ln C."""
    share = entropy.cpu() / torch.tensor(float(num_classes)).log()
    return cv2.applyColorMap((255 * share.clamp(0, 1)).byte().numpy(), cv2.COLORMAP_INFERNO)[..., ::-1]


def draw_patches(cfg: Config, path: Path, count: int = 4, width: int = 288, start: int = 0) -> None:
    """Write a picture of `count` patches: template, long-tail pixels, the patch's mask, and both pastes."""
    training = training_of(cfg, count)
    model = training.model
    step = prepared_step(model, batch_at(training, start), start)

    def tiles(name: str) -> list[np.ndarray]:
        return [resize(denormalise(image, model.data_preprocessor), width) for image in step.views[name].image]

    rare = (step.views['rare'].target.label != step.ignore_index).cpu().numpy()
    shapes = (resize(mask.astype(np.uint8), width, smooth=False)[..., None] for mask in rare)
    masks = step.masks['patch'][:, 0].cpu().numpy().astype(np.uint8) * 255
    columns = {'template': tiles('donor'),
               'long-tail pixels': [np.where(shape > 0, tile, np.uint8(255))
                                    for shape, tile in zip(shapes, tiles('rare'))],
               'mask of the patch': [resize(mask[..., None].repeat(3, 2), width, smooth=False) for mask in masks]}
    columns.update({title: tiles(name) for title, name in PASTES.items() if name in step.views})
    write_png(path, grid(columns))


def draw_predictions(cfg: Config, checkpoints: Sequence[str], path: Path, count: int = 4, width: int = 240,
                     start: int = 0) -> None:
    """Write a picture of `count` validation images, evenly spread from `start`, with ground truth and predictions.

    Of each checkpoint, the network is drawn with which its method is tested.
    """
    with DefaultScope.overwrite_default_scope('mmseg'):
        dataset = DATASETS.build(cfg.val_dataloader.dataset)
    info = dataset.metainfo
    if start >= len(dataset):
        raise ValueError(f'start={start}: the config has only {len(dataset)} validation images')
    samples = [dataset[int(index)] for index in np.linspace(start, len(dataset) - 1, count)]
    labels = {'ground truth': [sample['data_samples'].gt_sem_seg.data[0].numpy() for sample in samples]}
    for checkpoint in checkpoints:
        network = plain_network(read_checkpoint(str(checkpoint)), choice='tested', source=str(checkpoint))
        if len(network.classes) != len(info['classes']):
            raise ValueError(f"{checkpoint}: a network of {len(network.classes)} classes, but the config's data have "
                             f'{len(info["classes"])}; give the config of its training')
        model, title = network.build(), f'{network.origin["method"] or "segmentor"}, {network.name}'
        if title in labels:
            title += f'\n{Path(checkpoint).parent.name}/{Path(checkpoint).stem}'
        labels[title] = [model.test_step(pseudo_collate([copy.deepcopy(sample)]))[0].pred_sem_seg.data[0].numpy()
                         for sample in samples]
    images = [sample['inputs'].permute(1, 2, 0).numpy()[..., ::-1] for sample in samples]
    names = [(name, tuple(colour)) for name, colour in zip(info['classes'], info['palette'])]
    write_png(path, grid(comparison(images, labels, info['palette'], width), names))


def parse_args() -> argparse.Namespace:
    """Arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('picture', choices=['mixes', 'significance', 'patches', 'predictions'])
    parser.add_argument('config', help='config of a CAMix training (mixes, significance), of a DSP training, or of any '
                                       '(predictions)')
    parser.add_argument('checkpoints', nargs='*', help='trained weights: one for mixes, several for significance '
                                                               'and predictions')
    parser.add_argument('--out', type=Path, help='picture to write (default: <picture>.png)')
    parser.add_argument('--count', type=int, default=4, help='rows (default: %(default)s)')
    parser.add_argument('--start', type=int, default=0, help='batches to skip (default: %(default)s)')
    parser.add_argument('--width', type=int, default=240, help='width of a tile in pixels (default: %(default)s)')
    cli.add_config_options(parser)
    args = parser.parse_args()
    if args.count < 1 or args.start < 0 or args.width < 64:
        parser.error('--count must be at least 1, --start at least 0, --width at least 64')
    args.out = args.out or Path(f'{args.picture}.png')
    if args.out.is_dir():
        parser.error(f'--out {args.out} is a folder; name a file in it')
    return args


def main() -> None:
    """Draw the picture."""
    args = parse_args()
    MMLogger.get_instance('mmengine', log_level='WARNING')
    cfg = load_config(args.config, args.cfg_options)
    method = dict(patches='DSP', predictions=cfg.model.type).get(args.picture, 'CAMix')
    if cfg.model.type != method:
        raise SystemExit(f'{args.config}: {args.picture} needs a config of {method}, not of {cfg.model.type}')
    if args.picture == 'mixes':
        draw_mixes(cfg, next(iter(args.checkpoints), None), args.out, args.count, args.width, args.start)
    elif args.picture == 'significance':
        print('\n'.join(draw_significance(cfg, args.checkpoints, args.out, args.count, args.width, args.start)))
    elif args.picture == 'predictions':
        draw_predictions(cfg, args.checkpoints, args.out, args.count, args.width, args.start)
    else:
        draw_patches(cfg, args.out, args.count, args.width, args.start)
    print(f'wrote {args.out}')


if __name__ == '__main__':
    cli.run(main)
