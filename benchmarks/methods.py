#!/usr/bin/env python
"""Run a suite of methods on the miniature benchmark and write its table and plot.

Runs what is not recorded yet (a run that was interrupted goes on), records each result as it comes,
and writes the table into docs/benchmark.md. Without anything missing it only writes. A row that another
suite has run under the same name and the same protocol is taken over.

examples:
  python -m benchmarks.methods configs/_suites_/dacs_family.py
  python -m benchmarks.methods SUITE --seeds 1 --only DACS iDACS
  python -m benchmarks.methods SUITE --processes 8    # several at once on a GPU
  python -m benchmarks.methods SUITE --table-only
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from benchmarks.suites import Results, load_suite, run_missing, runs_of
from benchmarks.tables import class_table, markdown_table, not_run, plot_curves, replace_section


def parse_args() -> argparse.Namespace:
    """Arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('suite', type=Path, help='file with the title and rows of the table')
    parser.add_argument('--seeds', type=int, help='at most so many seeds of each row')
    parser.add_argument('--only', nargs='+', metavar='ROW', help='run only these rows')
    parser.add_argument('--processes', type=int, default=os.cpu_count(), help='runs at once (default: one a core)')
    parser.add_argument('--threads', type=int, default=1, help='threads of each run (default: 1)')
    parser.add_argument('--data-root', default='data/mini', help='folder of the miniature benchmark')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/benchmark'), help='logs and checkpoints')
    parser.add_argument('--docs', type=Path, default=Path('docs'), help='folder of benchmark.md and its results')
    parser.add_argument('--table-only', action='store_true', help='run nothing, write the table of what is there')
    args = parser.parse_args()
    if not Path(args.data_root).is_dir():
        parser.error(f'no data at {args.data_root}; make it: python tools/dataset/make_mini.py --out {args.data_root}')
    return args


def main() -> None:
    """Run, record, write."""
    args = parse_args()
    title, rows = load_suite(args.suite)
    name = args.suite.stem
    folder = args.docs / 'benchmark'
    results = Results(folder / f'{name}.json', others=sorted(folder.glob('*.json')))
    runs = runs_of(rows, args.data_root, args.seeds)
    wanted = [run for run in runs if not args.only or run.row.name in args.only]
    failed = 0
    if not args.table_only:
        missing = sum(results.get(run) is None for run in wanted)
        print(f'{title}: {len(wanted)} runs, {missing} missing', flush=True)
        for run, outcome in run_missing(wanted, results, args.work_dir, args.processes, args.threads, args.data_root):
            if isinstance(outcome, Exception):
                failed += 1
                print(f'{run.key} FAILED: {outcome}\n' + '\n'.join(outcome.__notes__), flush=True)
            else:
                print(f'{run.key}: mIoU {outcome["metrics"]["mIoU"]:.1f} in {outcome["seconds"]} s', flush=True)
    every = runs_of(rows, args.data_root)
    plot = args.docs / 'benchmark' / f'{name}.png'
    plot_curves(rows, every, results, plot, title)
    table = markdown_table(rows, every, results)
    parts = [table, not_run(rows, every, results), f'![{title}](benchmark/{name}.png)',
             class_table(rows, every, results)]
    replace_section(args.docs / 'benchmark.md', name, '\n\n'.join(part for part in parts if part))
    print(table)
    raise SystemExit(1 if failed else 0)


if __name__ == '__main__':
    main()
