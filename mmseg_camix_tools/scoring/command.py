"""Rank trained networks on images without labels.

CHECKPOINT is a checkpoint of a training, a work dir (all checkpoints in it) or an exported folder; student and teacher
of a checkpoint are candidates. Larger scores are better. docs/selection.md measures how reliable each score is.

examples:
  mmseg-camix score work_dirs/dacs work_dirs/camix --images photographs
  mmseg-camix score a/iter_40000.pth b/iter_40000.pth --images photographs --score consistency --json scores.json
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from mmseg_camix.cli import add_debug, aligned, positive_int
from mmseg_camix.files import check_place, printable, write_output
from mmseg_camix.selection import RECOMMENDED, SCORES
from mmseg_camix_tools.inference.predictor import device_of

from .candidates import NETWORKS, find_candidates, find_images, score


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='scores:\n' + '\n'.join(f'  {name:<12} {entry.meaning}' for name, entry in SCORES.items()))
    parser.add_argument('checkpoints', nargs='+', metavar='CHECKPOINT', help='file, work dir or exported folder')
    parser.add_argument('--images', required=True, metavar='FOLDER', help='unlabelled images of the target')
    parser.add_argument('--limit', type=positive_int, default=100,
                        help='number of images, evenly spread over the folder (default: %(default)s)')
    parser.add_argument('--score', choices=SCORES, default=RECOMMENDED, metavar='SCORE',
                        help='rank by this score (default: %(default)s)')
    parser.add_argument('--all', action='store_true', help='compute all scores, not only the one that ranks')
    parser.add_argument('--network', choices=(*NETWORKS, 'both'), default='both',
                        help='candidates of each checkpoint (default: %(default)s)')
    parser.add_argument('--config', help='config file of the checkpoints (default: the one in each checkpoint)')
    parser.add_argument('--batch-size', type=positive_int, default=1, help='images of one size at once (default: 1)')
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ... (default: cuda where there is one)')
    parser.add_argument('--json', type=Path, metavar='FILE', help='also write the scores to a file')
    add_debug(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Score, print the ranking; returns the exit code."""
    args = parse_args(argv)
    if args.json:
        check_place(args.json)
    images, device = find_images(args.images, args.limit), device_of(args.device)
    networks = NETWORKS if args.network == 'both' else (args.network,)
    damaged: set[Path] = set()
    results = []
    for candidate in find_candidates(args.checkpoints, args.config, networks):
        scores = score(candidate, images, None if args.all else [args.score], args.batch_size, device, damaged)
        # JSON has no NaN, the value of a score that the images do not define
        results.append(dict(checkpoint=str(candidate.path), network=candidate.network.name, scores={
            name: None if math.isnan(value) else value for name, value in scores.items()}))
    results.sort(key=lambda result: _rank(result['scores'].get(args.score)), reverse=True)
    print(table(results, args.score))
    if damaged:
        print(f'{len(damaged)} of {len(images)} images cannot be read: left out', file=sys.stderr)
    if args.json:
        content = dict(score=args.score, images=len(images) - len(damaged), ranking=results)
        write_output(args.json, json.dumps(content, indent=1, allow_nan=False) + '\n')
    return 0


def _rank(value: float | None) -> float:
    return -math.inf if value is None else value


def table(results: Sequence[dict], by: str) -> str:
    """The ranking as text, best first; the score that ranks comes first."""
    names = list(dict.fromkeys([by, *(name for result in results for name in result['scores'])]))
    rows = [['rank', *names, 'network', 'checkpoint']]
    for rank, result in enumerate(results, 1):
        values = [f'{value:.4f}' if (value := result['scores'].get(name)) is not None else '-' for name in names]
        rows.append([str(rank), *values, result['network'], printable(result['checkpoint'])])
    return aligned(rows)
