"""Train a suite of methods and write its table and plot into docs/benchmark.md, or the page that it names.

Trains only what is not recorded yet; interrupted trainings resume, and each result is recorded at once. Results that
another suite has recorded for a row of the same name and protocol are reused.

examples:
  python -m benchmarks.methods configs/_suites_/dacs_family.py
  python -m benchmarks.methods SUITE --seeds 1 --only DACS iDACS
  python -m benchmarks.methods SUITE --processes 8    # several at once on a GPU
  python -m benchmarks.methods SUITE --table-only
  python -m benchmarks.methods configs/_suites_/day2dusk.py --data-root data/camvid
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import torch

from mmseg_camix import cli
from mmseg_camix.engine.hooks.record_hook import read_record

from .suites import DATA_ROOT, Results, Run, Suite, load_suite, runs_of
from .tables import class_table, collect, missing_runs, plot_classes, plot_curves, replace_section, summary_table

TOOLS = Path(__file__).parents[1] / 'tools'


def run_missing(runs: list[Run], results: Results, work_dir: Path, processes: int, threads: int,
                data_root: str) -> Iterator[tuple[Run, dict | Exception]]:
    """Train what is not recorded, several at once; yield each result or error as it comes.

    Trainings from which others begin come first, also where their results are recorded but their checkpoints are gone.
    """
    missing = [run for run in runs if results.get(run) is None]
    begun = [run for run in missing if run.start is not None]
    first = {run.key: run for run in missing if run.start is None}
    first |= {run.start.key: run.start for run in begun
              if run.start and not read_record(work_dir / run.start.folder)['finished']}
    for wave in (list(first.values()), begun):
        with ThreadPoolExecutor(processes) as pool:
            futures = {pool.submit(execute, run, work_dir, threads, data_root): run for run in wave}
            try:
                for future in as_completed(futures):
                    run = futures[future]
                    try:
                        entry = future.result()
                    except (subprocess.CalledProcessError, OSError) as error:
                        yield run, error
                        continue
                    if results.get(run) is None:
                        results.add(run, entry)
                    yield run, entry
            finally:  # Ctrl-C ends the suite, not only the trainings that it reaches
                pool.shutdown(wait=False, cancel_futures=True)


def execute(run: Run, work_dir: Path, threads: int, data_root: str) -> dict:
    """Train one run in a separate process, resuming it if possible, and return its numbers."""
    folder = work_dir / run.folder
    folder.mkdir(parents=True, exist_ok=True)
    options, start = {**run.row.options, 'data_root': data_root}, time.time()
    if run.start is not None:
        options['load_from'] = last_checkpoint(work_dir / run.start.folder)
    if not read_record(folder)['finished']:
        call([TOOLS / 'train.py', run.row.config, '--seed', run.seed, '--resume', '--work-dir', folder],
             {**options, 'train_dataloader.num_workers': 1, 'default_hooks.checkpoint.save_best': None}, threads,
             folder / 'train.txt')
    entry = dict(seconds=round(time.time() - start), torch=torch.__version__, threads=threads,
                 device=torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU')
    validations = read_record(folder)['val']
    entry['curve'] = [[validation['iteration'], {key: value for key, value in validation['metrics'].items()
                                                 if key.endswith('mIoU')}] for validation in validations]
    entry['metrics'] = validations[-1]['metrics']
    if run.row.source_val:
        checkpoint, out = last_checkpoint(folder), folder / 'source_val'
        call([TOOLS / 'test.py', run.row.config, checkpoint, '--work-dir', out, '--dataloader',
              'source_val_dataloader'], options, threads, folder / 'source_val.txt')
        entry['source_val'] = read_record(out)['test']['mIoU']
    return entry


def last_checkpoint(folder: Path) -> str:
    """Path of the last checkpoint of a finished training; refuse that of another one."""
    if not read_record(folder)['finished']:
        raise FileNotFoundError(f'{folder}: this training has not finished; its checkpoints are not those of its row')
    return (folder / 'last_checkpoint').read_text().strip()


def call(command: list, options: dict, threads: int, log: Path) -> None:
    """Run a tool with its output in a file, whose end is noted on the error if it fails."""
    settings = [f'{key}={value}' for key, value in options.items()]
    environment = {**os.environ, 'OMP_NUM_THREADS': str(threads), 'MKL_NUM_THREADS': str(threads)}
    with log.open('w') as file:
        try:
            subprocess.run([sys.executable, *map(str, command), '--cfg-options', *settings], check=True,
                           stdout=file, stderr=subprocess.STDOUT, env=environment)
        except subprocess.CalledProcessError as error:
            error.add_note(f'{log} ends:\n' + '\n'.join(log.read_text().splitlines()[-15:]))
            raise


def parse_args() -> argparse.Namespace:
    """Arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('suite', type=Path, help='file with the title and rows of the table')
    parser.add_argument('--seeds', type=cli.positive_int, help='maximum number of seeds per row')
    parser.add_argument('--only', nargs='+', metavar='ROW', help='train these rows only')
    parser.add_argument('--processes', type=cli.positive_int, default=os.cpu_count(),
                        help='number of simultaneous trainings (default: one per core)')
    parser.add_argument('--threads', type=cli.positive_int, default=1,
                        help='threads per training (default: %(default)s)')
    parser.add_argument('--data-root', help=f"folder of the data (default: the suite's, or {DATA_ROOT})")
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/benchmark'), help='logs and checkpoints')
    parser.add_argument('--docs', type=Path, default=Path('docs'), help='folder of the pages and their results')
    parser.add_argument('--table-only', action='store_true', help='train nothing, write the table of recorded results')
    cli.add_debug(parser)
    return parser.parse_args()


def find_data(suite: Suite, data_root: str | None) -> str:
    """The data root of a suite, unless another is given; refuse a missing folder."""
    root = data_root or suite.data_root
    if Path(root).is_dir():
        return root
    drawn = suite.data_root == DATA_ROOT
    raise SystemExit(f'error: no data at {root}; ' + (
        f'draw it: mmseg-camix draw --out {root}' if drawn else
        f"give --data-root FOLDER; docs/{suite.page} names the suite's data"))


def main() -> int:
    """Train, record, write; 1 if a training failed."""
    args = parse_args()
    suite = load_suite(args.suite)
    title, rows, data_root = suite.title, suite.rows, find_data(suite, args.data_root)
    names = [row.name for row in rows]
    for row in args.only or ():
        if row not in names:
            raise SystemExit(f"error: {args.suite} has no row '{row}'{cli.did_you_mean(row, names)}")
    name, folder, failed = args.suite.stem, args.docs / 'benchmark', 0
    results = Results(folder / f'{name}.json', others=sorted(folder.glob('*.json')))
    runs = [run for run in runs_of(rows, data_root, args.seeds) if not args.only or run.row.name in args.only]
    if not args.table_only:
        print(f'{title}: {len(runs)} runs, {sum(results.get(run) is None for run in runs)} missing', flush=True)
        for run, outcome in run_missing(runs, results, args.work_dir, args.processes, args.threads, data_root):
            if isinstance(outcome, Exception):
                failed = 1
                print('\n'.join([f'{run.key} FAILED: {outcome}', *getattr(outcome, '__notes__', [])]), flush=True)
            else:
                print(f'{run.key}: mIoU {outcome["metrics"]["mIoU"]:.1f} in {outcome["seconds"]} s', flush=True)
    runs = runs_of(rows, data_root)
    entries = collect(rows, runs, results)
    if not entries:
        raise SystemExit(f'{args.suite}: no row has a result yet')
    plot_curves(entries, folder / f'{name}.png', title)
    bars = f'{name}_classes.png'
    if suite.page != 'benchmark.md':  # nineteen classes are too many for bars
        plot_classes(entries, folder / bars, title)
    parts = [summary_table(entries), missing_runs(runs, results), f'![{title}](benchmark/{name}.png)',
             class_table(entries), f'![IoU of each class](benchmark/{bars})' if (folder / bars).is_file() else '']
    replace_section(args.docs / suite.page, name, '\n\n'.join(part for part in parts if part))
    print(parts[0])
    return failed


if __name__ == '__main__':
    cli.run(main)
