"""Count the spatial prior of CAMix: where each class of the source occurs, and which classes touch."""
import argparse
import os
from dataclasses import replace
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope

import mmseg_camix  # noqa: F401  (registers the datasets)
from mmcv.transforms import Compose
from mmseg.registry import DATASETS
from mmseg_camix.cli import add_config_options
from mmseg_camix.engine.config import load_config
from mmseg_camix.files import check_place
from mmseg_camix_tools.preparation.priors import LabelReader, default_path, resize_scale
from mmseg_camix.spatial_prior import SpatialPrior, load_spatial_prior
from mmseg_camix_tools.preparation.prior_counting import count_labels
from mmseg_camix_tools.preparation.prior_pictures import draw_prior, draw_relations
from mmseg_camix.ops.context import META_GROUPS, close_over, relation_matrix
from mmseg_camix.ops.relations import compare_relations, pair_names
from mmseg_camix.type_names import loads_label, type_name


def source_config(cfg: Config) -> ConfigDict:
    """The config of the labelled source dataset: the branch `source`, or the whole dataset."""
    if not cfg.get('train_dataloader'):
        raise SystemExit('the config has no train_dataloader; give one that trains, such as those of configs/camix/')
    dataset = cfg.train_dataloader.dataset
    if 'target' in dataset and not dataset.get('source'):
        raise SystemExit('the config trains without a source, whose labels a prior is counted from; give a config with '
                         'a labelled source')
    while 'source' in dataset or 'dataset' in dataset:
        dataset = dataset['source'] if 'source' in dataset else dataset['dataset']
    if 'pipeline' not in dataset:
        raise SystemExit(f"{dataset.get('type')} has no pipeline of its own; name a plain dataset as the source of the "
                         'config')
    return dataset


def label_transforms(pipeline: list[dict]) -> list[dict]:
    """The transforms that load the label, and not the image."""
    loaders = [t for t in pipeline if loads_label(t)]
    if not loaders:
        raise SystemExit('the source pipeline loads no labels; its transforms are '
                         f'{[type_name(t) for t in pipeline]}; add LoadIdLabels or '
                         'LoadAnnotations')
    return loaders


def resized_size(pipeline: list[dict], first: dict) -> tuple[int, int]:
    """(height, width) to which the pipeline resizes images; where it depends on them, of the first."""
    resizes = [t for t in pipeline if type_name(t) == 'Resize']
    if fixed := resize_scale(pipeline):
        return fixed[::-1]
    if any(not t.get('scale') for t in resizes):
        raise SystemExit('the source pipeline resizes by a factor; say at which size to count: --size WIDTH HEIGHT')
    resized = Compose([*label_transforms(pipeline), *resizes])(dict(first))
    return resized['gt_seg_map'].shape[:2]


def items_of(dataset: Any) -> list[dict]:
    """The description of each sample, without loading it."""
    if hasattr(dataset, 'get_data_info'):
        return [dataset.get_data_info(i) for i in range(len(dataset))]
    raise SystemExit(f'{type(dataset).__name__} gives no `get_data_info`; name a plain dataset as '
                     'the source of the config')


def count(args: argparse.Namespace, source: ConfigDict) -> SpatialPrior:
    """Counts the labels of the config's source."""
    reader = LabelReader(label_transforms(source.pipeline))
    dataset = DATASETS.build(source)
    items = items_of(dataset)
    size = tuple(args.size[::-1]) if args.size else resized_size(source.pipeline, items[0])
    return count_labels(items, reader, dataset.metainfo['classes'], size, args.stride, args.workers, **_options(args))


def made(args: argparse.Namespace, source: ConfigDict, path: str) -> SpatialPrior:
    """Counts the source and writes the file; or reads it, and writes it where its options are to change."""
    options = _options(args)
    prior = replace(load_spatial_prior(path), **options) if args.reuse else count(args, source)
    if options or not args.reuse:
        prior.save(path)
    print(f'{"wrote" if options or not args.reuse else "read"} {path}: {prior.num_images} labels, '
          f'{len(prior.class_names)} classes, counted at {prior.size[1]}x{prior.size[0]}, digest {prior.digest[:16]}')
    return prior


def _options(args: argparse.Namespace) -> dict[str, float]:
    """Those that change the prior and not its counts, where they are given."""
    return {name: value for name, value in dict(sigma=args.smooth, epsilon=args.epsilon).items() if value is not None}


def report_relations(prior: SpatialPrior, picture: str | None) -> None:
    """Print the relations that the labels imply, and compare them with the paper's table where it has the classes."""
    related, names = prior.relations(), prior.class_names
    print(f'\nrelations from the labels: {", ".join(pair_names(related, names)) or "none"}')
    identity = torch.eye(len(names), dtype=torch.bool)
    closed = close_over(identity, torch.ones_like(identity), related) & ~identity
    table = [name for name, members in META_GROUPS.items() if isinstance(members, tuple)]
    for groups in (table[:1], table[1:2], table[:2], table):
        reference = relation_matrix(groups, names)
        members = reference.any(1)
        if not members.any():
            print(f'  {"+".join(groups):15s} not compared: these groups of the paper name no two of the classes')
            continue
        rated = members[:, None] | members  # a group defines the relations of its own members alone
        for kind, relations in (('pairs', related), ('closed', closed)):
            result = compare_relations(relations & rated, reference, names)
            precision = f'{result["precision"]:.2f}' if result['estimated'] else '-'  # no pair to be right about
            print('  {:15s} {:6s}: precision {} recall {recall:.2f} ({estimated} found, {reference} in the table) '
                  'missing {missing} extra {extra}'.format('+'.join(groups), kind, precision, **result))
    if picture:
        path = '{}_relations{}'.format(*os.path.splitext(picture))
        draw_relations(prior.relation_strength(), related, names, path)
        print(f'wrote {path}')


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog='example: mmseg-camix prior configs/camix/CONFIG.py '
                                    '--picture prior.png --relations')
    parser.add_argument('config', help='config whose train_dataloader names the source')
    parser.add_argument('--out', help='file of the prior (default: in the folder `priors` beside the data root)')
    parser.add_argument('--size', type=int, nargs=2, metavar=('W', 'H'),
                        help="count at this size instead of the source pipeline's Resize")
    parser.add_argument('--stride', type=int, default=4,
                        help='pixels per side of a cell; 1 counts each pixel separately (default: %(default)s)')
    parser.add_argument('--smooth', type=float, help='sigma of a Gaussian blur, in pixels at the size of counting '
                                                     '(default: 0)')
    parser.add_argument('--epsilon', type=float, help='value added to each probability, so that none is 0 '
                                                      '(default: 1e-4)')
    parser.add_argument('--workers', type=int, default=os.cpu_count() or 1,
                        help='processes; 0 or 1: count in this process (default: %(default)s)')
    parser.add_argument('--picture', metavar='PNG', help='draw a heat map per class')
    parser.add_argument('--relations', action='store_true',
                        help='print (and draw, with --picture) which classes belong together, '
                             'compared with Table I of CAMix')
    parser.add_argument('--reuse', action='store_true',
                        help='read the counts from the file at --out instead of counting again; --smooth and '
                             '--epsilon, if given, are changed in it')
    add_config_options(parser)
    args = parser.parse_args(argv)
    for name, least in dict(stride=1, smooth=0, epsilon=0, workers=0).items():
        value = getattr(args, name)
        if value is not None and not value >= least:
            parser.error(f'--{name} {value} must be at least {least}')
    if args.size and min(args.size) < 1:
        parser.error(f'--size {args.size[0]} {args.size[1]} must be a width and a height in pixels')
    if args.size and args.reuse:
        parser.error('--size needs another count; leave --reuse out')
    return args


def main(argv: list[str] | None = None) -> None:
    """Counts or reads, then draws and reports."""
    args = parse(argv)
    cfg = load_config(args.config, args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    source = source_config(cfg)
    path = args.out or str(default_path(source.get('data_root') or 'data/source'))
    for place in filter(None, (path, args.picture)):
        check_place(place)
    prior = made(args, source, path)
    if args.picture:
        draw_prior(prior.probabilities(), prior.class_names, args.picture)
        print(f'wrote {args.picture}')
    if args.relations:
        report_relations(prior, args.picture)
