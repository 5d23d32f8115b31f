"""Measure how far scores without labels can be trusted: score checkpoints of known mIoU, write table and plots.

WORK_DIRS are folders of trainings as benchmarks/methods.py leaves them (ROW/RUN with metrics.json and checkpoints).
Each holds trainings of one schedule, with a row "Source only ..." that adapted networks are compared with. Scores are
recorded one by one in docs/selection/NAME.json, so that the same command continues.

examples:
  python -m benchmarks.selection mini work_dirs/benchmark work_dirs/spoilt --images data/mini/cityscapes/leftImg8bit/val
  python -m benchmarks.selection dusk work_dirs/dusk --images data/camvid/images/dusk --limit 40 --device cuda
  python -m benchmarks.selection mini --table-only
  python -m benchmarks.selection mini --shuffle-prior data/mini/priors/gta.npz data/mini/priors/shuffled.npz
"""

import argparse
import json
import math
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mmseg_camix import cli
from mmseg_camix.engine.hooks.record_hook import read_record
from mmseg_camix.files import atomic_write
from mmseg_camix.selection import RECOMMENDED, SCORES
from mmseg_camix.spatial_prior import load_spatial_prior
from mmseg_camix_tools.scoring import find_candidates, find_images, score

from .rankings import Point, harm, summary
from .suites import read_json
from .tables import markdown, replace_section

PAGE = 'selection.md'


def checkpoints(root: Path) -> Iterator[tuple[Path, dict]]:
    """(checkpoint, metrics recorded at its iteration) of all trainings below a folder, last iterates first."""
    pairs = []
    for folder in sorted(path.parent for path in root.glob('*/*/metrics.json')):
        recorded = {entry['iteration']: entry['metrics'] for entry in read_record(folder)['val']}
        files = {int(match[1]): file for file in folder.glob('iter_*.pth')
                 if (match := re.fullmatch(r'iter_(\d+)', file.stem))}
        pairs += [(age, files[iteration], recorded[iteration])
                  for age, iteration in enumerate(sorted(files.keys() & recorded.keys(), reverse=True))]
    yield from ((file, metrics) for _, file, metrics in sorted(pairs, key=lambda pair: pair[0]))


def score_missing(record: Path, roots: Sequence[Path], images: Sequence[Path], seconds: float, batch_size: int,
                  device: str) -> None:
    """Score what the record lacks, until the time is over."""
    end, points = time.monotonic() + seconds, read_points(record)
    done = {(point.root, point.run, point.iteration) for point in points}
    for root in roots:
        for file, metrics in checkpoints(root):
            run, iteration = f'{file.parent.parent.name}/{file.parent.name}', int(file.stem.split('_')[1])
            if (root.name, run, iteration) in done:
                continue
            if time.monotonic() > end:
                print('time is over; the same command continues', flush=True)
                return
            for candidate in find_candidates([file]):
                network, tested = candidate.network.name, candidate.network.origin['tested']
                truth = metrics.get(f'{network}/mIoU', metrics.get('mIoU'))
                points.append(Point(root.name, file.parent.parent.name.replace('_', ' '), run, iteration, network,
                                    tested in (None, network), round(truth, 2),
                                    score(candidate, images, batch_size=batch_size, device=device)))
                print(f'{candidate.name}: mIoU {truth:.1f}, {RECOMMENDED} {points[-1].scores[RECOMMENDED]:.3f}',
                      flush=True)
            write_points(record, points, len(images))


def read_points(record: Path) -> list[Point]:
    """The points of a record; none if there is no file."""
    return [Point(**entry) for entry in read_json(record).get('points', ())]


def write_points(record: Path, points: Sequence[Point], images: int) -> None:
    """Write them, one a line."""
    ordered = sorted(points, key=lambda point: (point.root, point.run, point.iteration, point.network))
    lines = ',\n'.join(json.dumps({**asdict(point), 'scores': {name: round(value, 5) for name, value
                                                              in point.scores.items()}}) for point in ordered)
    atomic_write(record, f'{{"images": {images}, "points": [\n{lines}\n]}}\n')


def table(points: Sequence[Point]) -> str:
    """One line per score, the best rank correlation first."""
    names = [name for name in SCORES if any(name in point.scores for point in points)]
    rows = {name: (summary(points, name), harm([p for p in points if name in p.scores], name)) for name in names}
    head = ['score', 'rho', 'tau', 'rho, settings', 'rho, iterates', 'lost to oracle', 'gain on last', 'harm found',
            'gain found']
    lines = []
    for name, (values, counts) in sorted(rows.items(), key=lambda row: -row[1][0]['rho']):
        found, harmed, confirmed, improved = counts
        numbers = [_cell(values[key], '.2f') for key in ('rho', 'tau', 'settings', 'iterates')]
        lines.append([f'`{name}`', *numbers, _cell(values['regret'], '.1f'), _cell(values['gain'], '+.1f'),
                      f'{found} of {harmed}' if harmed else '-', f'{confirmed} of {improved}' if improved else '-'])
    oracle = next(iter(rows.values()))[0]['oracle gain']
    trainings = len({(point.root, point.run) for point in points})
    return (f'{len(points)} networks of {trainings} trainings; the oracle gains {oracle:+.1f} on the last iterate.\n\n'
            + markdown(head, lines))


def _cell(value: float, form: str) -> str:
    return '-' if math.isnan(value) else format(value, form)


def plot(points: Sequence[Point], path: Path, title: str) -> None:
    """One panel per score: true mIoU over the score."""
    kinds = {'source only': lambda p: not p.adapted, 'student': lambda p: p.adapted and p.network == 'student',
             'teacher': lambda p: p.adapted and p.network == 'teacher'}
    figure = Figure(figsize=(13, 2.7 * -(-len(SCORES) // 5)), layout='constrained')
    panels = figure.subplots(-(-len(SCORES) // 5), 5).flatten()
    for axes, name in zip(panels, SCORES):
        for (label, belongs), marker in zip(kinds.items(), '^o+'):
            drawn = [point for point in points if belongs(point) and name in point.scores]
            axes.plot([p.scores[name] for p in drawn], [p.mIoU for p in drawn], marker, markersize=5, alpha=0.7,
                      label=label)
        axes.set_title(name, fontsize=10)
        axes.grid(alpha=0.3)
    for axes in panels[len(SCORES):]:
        axes.set_axis_off()
    panels[0].set_ylabel('mIoU on the target (%)')
    figure.legend(*panels[0].get_legend_handles_labels(), loc='lower right', ncols=3)
    figure.suptitle(title)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def shuffle_prior(source: str, target: str) -> None:
    """Write a spatial prior with its classes in another order, under the same names."""
    prior = load_spatial_prior(source)
    order = np.random.default_rng(0).permutation(len(prior.class_names))
    pairs = {name: getattr(prior, name)[..., order, :][..., order]
             for name in ('above', 'beside', 'touching', 'together')}
    replace(prior, counts=prior.counts[order], area=prior.area[:, order], **pairs).save(target)


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('name', help='of the record and of the section of the page')
    parser.add_argument('work_dirs', nargs='*', type=Path, metavar='WORK_DIRS', help='folders of trainings')
    parser.add_argument('--images', help='folder of unlabelled images of the target')
    parser.add_argument('--limit', type=cli.positive_int, default=40, help='number of images (default: %(default)s)')
    parser.add_argument('--batch-size', type=cli.positive_int, default=10, help='default: %(default)s')
    parser.add_argument('--device', default='cpu', help='default: %(default)s')
    parser.add_argument('--seconds', type=cli.positive_float, default=1e9, help='start no further checkpoint after')
    parser.add_argument('--docs', type=Path, default=Path('docs'), help='folder of selection.md')
    parser.add_argument('--title', help='of the plot (default: NAME)')
    parser.add_argument('--table-only', action='store_true', help='score nothing, write table and plot')
    parser.add_argument('--shuffle-prior', nargs=2, metavar=('FROM', 'TO'),
                        help='only write a prior with its classes in another order')
    cli.add_debug(parser)
    args = parser.parse_args(argv)
    if not (args.table_only or args.shuffle_prior or args.images and args.work_dirs):
        parser.error('give WORK_DIRS and --images, or --table-only')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Score, record, write."""
    args = parse_args(argv)
    if args.shuffle_prior:
        shuffle_prior(*args.shuffle_prior)
        return
    record = args.docs / 'selection' / f'{args.name}.json'
    if not args.table_only:
        missing = [root for root in args.work_dirs if not any(checkpoints(root))]
        if missing:
            raise SystemExit(f'{missing[0]}: no checkpoint of a recorded iteration in its folders ROW/RUN')
        score_missing(record, args.work_dirs, find_images(args.images, args.limit), args.seconds, args.batch_size,
                      args.device)
    points = read_points(record)
    if not points:
        raise SystemExit(f'{record}: no network is scored yet')
    text = table(points)
    plot(points, record.with_suffix('.png'), args.title or args.name)
    picture = f'![Scores and true mIoU]({record.parent.name}/{args.name}.png)'
    replace_section(args.docs / PAGE, args.name, f'{text}\n\n{picture}')
    print(text)


if __name__ == '__main__':
    cli.run(main)
