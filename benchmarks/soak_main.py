#!/usr/bin/env python
"""Kill a small CAMix training again and again (SIGKILL); each time it resumes by itself. Is its end that of an
undisturbed one, bit for bit? Runs on the CPU, some 20 minutes for 50 kills; goes on where it was interrupted.

examples:
  python -m benchmarks.soak                                  # 50 kills; needs data/mini and its prior
  python -m benchmarks.soak --kills 10 --seed 1 --work-dir work_dirs/soak_1
  python -m benchmarks.soak --report docs/reliability.md     # and put the result there
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path

from benchmarks.soak import Soak
from benchmarks.soak_record import Settings, SoakError, summary
from benchmarks.tables import replace_section
from mmseg_camix.files import atomic_write

CONFIG = 'configs/camix/mini_gta2cs_tiny.py'


def parse_args() -> argparse.Namespace:
    """Arguments, checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--kills', type=int, default=50, help='how many (default: 50)')
    parser.add_argument('--seed', type=int, default=0, help='of the moments of the kills (default: 0)')
    parser.add_argument('--in-save', type=float, default=0.4,
                        help='share of the kills that wait for a checkpoint to be written (default: 0.4)')
    parser.add_argument('--iterations', type=int, default=200, help='of the training (default: 200)')
    parser.add_argument('--interval', type=int, default=4, help='iterations between checkpoints (default: 4)')
    parser.add_argument('--fresh', type=int, default=5,
                        help='every so many starts are those of a new interpreter, the others forks of this process, '
                             'which has loaded the libraries already (default: 5; 1: all)')
    parser.add_argument('--data-root', default='data/mini', help='the miniature benchmark (default: data/mini)')
    parser.add_argument('--prior', help='CAMix\'s spatial prior (default: DATA_ROOT/priors/gta.npz)')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/soak'),
                        help='where both trainings and soak.json go (default: work_dirs/soak)')
    parser.add_argument('--report', type=Path,
                        help='Markdown file with a section "soak" to fill; the record goes beside it, into a folder of '
                             'its name')
    args = parser.parse_args()
    lengths = args.iterations >= 8 and 1 <= args.interval <= args.iterations
    if not 0 <= args.in_save <= 0.9 or args.kills < 1 or not lengths:
        parser.error('--in-save must lie in [0, 0.9], --kills be at least 1, --iterations at least 8, and --interval '
                     'lie between 1 and --iterations')
    return args


def training(data_root: str, prior: str, iterations: int, interval: int) -> list[str]:
    """Arguments of tools/train.py: CAMix with dropout on small crops, saved and validated often."""
    branches = (f'train_dataloader.dataset.{name}.pipeline.{place}.crop_size=64,64'
                for name, place in (('source', 3), ('target', 2)))
    return [
        CONFIG, '--seed', '0', '--cfg-options', *branches,
        f'data_root={data_root}', f'model.masks.context.prior={prior}',
        'model.segmentor.data_preprocessor.size=64,64', 'model.segmentor.decode_head.dropout_ratio=0.1',
        'model.pseudo_labels.significance.passes=2', 'train_dataloader.batch_size=2', 'train_dataloader.num_workers=2',
        'val_dataloader.dataset.indices=4', f'train_cfg.max_iters={iterations}',
        f'train_cfg.val_interval={10 * interval}', f'param_scheduler.0.end={iterations // 4}',
        f'param_scheduler.1.begin={iterations // 4}', f'param_scheduler.1.end={iterations}',
        f'default_hooks.checkpoint.interval={interval}', 'default_hooks.checkpoint.max_keep_ckpts=2',
        'default_hooks.checkpoint.save_best=teacher/mIoU', 'default_hooks.logger.interval=1']


def main() -> None:
    """Kill, resume, compare, report."""
    args = parse_args()
    prior = args.prior or f'{args.data_root}/priors/gta.npz'
    if not os.path.isfile(prior):
        raise SystemExit(f'no spatial prior at {prior}; make the data with tools/dataset/make_mini.py and the prior '
                         f'with tools/dataset/build_spatial_prior.py {CONFIG} --out {prior}')
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C does, it ends the training too
    settings = Settings(tuple(training(args.data_root, prior, args.iterations, args.interval)), args.iterations,
                        args.interval, args.kills, args.in_save, fresh=args.fresh, seed=args.seed)
    try:
        record = Soak(settings, args.work_dir).run().content()
    except SoakError as error:
        raise SystemExit(str(error)) from None
    print(summary(record))
    if args.report:
        replace_section(args.report, 'soak', summary(record))
        atomic_write(args.report.with_suffix('') / 'soak.json', json.dumps(record, indent=1) + '\n')
    if any(one['differences'] for one in record['rounds']):
        raise SystemExit('the end differs from that of the undisturbed training')


if __name__ == '__main__':
    main()
