"""Measure an accelerator within a given number of minutes.

The parts run in the order of their value, each in a separate process with a time limit. Each result is recorded at
once; a failure is recorded and does not stop the rest. Repeated, the command continues with what is missing.

examples:
  python -m benchmarks.accelerator --minutes 9                       # writes docs/accelerators/<device>.json
  python -m benchmarks.accelerator --only tests 'step: DACS, MiT-B5' # these parts
  python -m benchmarks.accelerator --device cpu --minutes 2 --out FILE.json   # rehearsal: tiny sizes, any machine
  python -m benchmarks.accelerator --page-only                       # render docs/accelerators.md from the records
"""

import argparse
import contextlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from mmseg_camix import cli
from mmseg_camix.files import atomic_write

from .accelerator_page import write_page
from .suites import read_json

ROOT = Path(__file__).parents[1]
CONFIGS = {  # name: config and the options in which it differs
    'DACS, DeepLabV2-R101': ['configs/dacs/gta2cs_deeplabv2.py'],
    'CAMix, DeepLabV2-R101': ['configs/camix/gta2cs_deeplabv2.py'],
    'CAMix fast, DeepLabV2-R101': ['configs/camix/gta2cs_deeplabv2.py',
                                   'model.pseudo_labels.significance.passes=3',
                                   'model.pseudo_labels.significance.reuse_clean=True'],
    'DACS, MiT-B5': ['configs/dacs/gta2cs_daformer.py'],
    'CAMix, MiT-B5': ['configs/camix/gta2cs_daformer.py'],
    'DSP, DeepLabV2-R101': ['configs/dsp/gta2cs_deeplabv2.py'],
    'RCCR, DeepLabV2-R101': ['configs/rccr/gta2cs_deeplabv2.py'],
    'MIC, MiT-B5': ['configs/mic/gta2cs_daformer.py'],
    'HRDA, MiT-B5': ['configs/hrda/gta2cs_hrda.py'],
    'MIC on HRDA, MiT-B5': ['configs/mic/gta2cs_hrda.py']}
MINIATURE = {'CAMix, miniature': ['configs/camix/mini_gta2cs_tiny.py']}
HEADLINE, PHOTOGRAPHS = (ROOT / f'configs/_suites_/{name}.py' for name in ('headline', 'headline_photographs'))

RESULTS = 'results'  # folder of the part that runs


@dataclass(frozen=True)
class Part:
    """One measurement: a command, and the seconds that it may take."""

    name: str
    command: list[str]
    limit_s: float
    read: Callable[[Path], dict]
    """The results that the command has left, finished or not, from the folder of logs."""


def plan(args: argparse.Namespace, work_dir: Path) -> list[Part]:
    """All parts in the order of their value; on a CPU of tiny size, to rehearse the command itself."""
    tiny, data = args.device == 'cpu', ['--data-root', args.data_root]
    worker = [sys.executable, '-m', 'benchmarks.accelerator_parts']
    common = [*data, '--device', args.device]
    configs = MINIATURE if tiny else {**CONFIGS, **MINIATURE}
    steps = [own_part(f'step: {name}', [*worker, 'steps', *common, '--config', config,
                                        *(['--cfg-options', *options] if options else [])], 45)
             for name, (config, *options) in configs.items()]
    tests = ['tests/ops/test_paste.py'] if tiny else ['-k', 'cuda', '-n', str(min(8, os.cpu_count() or 1))]
    single = [own_part(name, [*worker, name.replace(' ', '-'), *common], limit) for name, limit in
              (('agreement', 60), ('synchronisation', 40), ('float16', 60), ('trace', 40), ('loading', 60),
               ('two processes', 90))]
    suites = [trainings('headline', rehearsal_suite(work_dir) if tiny else HEADLINE, args.data_root, work_dir)]
    if args.photographs is not None:
        suites.append(trainings('photographs', PHOTOGRAPHS, args.photographs, work_dir))
    pytest = Part('tests', [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', '-m', 'not slow', *tests,
                            f'--junitxml={work_dir / RESULTS / "tests.xml"}'], 120,
                  lambda folder: junit_results(folder / RESULTS / 'tests.xml'))
    return [pytest, *steps[:2], *single[:3], *steps[2:], *single[3:], *suites]


def own_part(name: str, command: list[str], limit_s: float) -> Part:
    """A part of accelerator_parts.py, which writes its results to the file that it is given."""
    file = re.sub(r'\W+', '_', name) + '.json'
    return Part(name, [*command, '--results', file], limit_s, lambda folder: read_json(folder / RESULTS / file))


def trainings(name: str, suite: Path, data_root: str, work_dir: Path) -> Part:
    """The part that trains a suite, several rows at once, and records its results in a separate folder."""
    docs = work_dir / name
    docs.mkdir(parents=True, exist_ok=True)
    for page in ('benchmark.md', 'real_photographs.md'):
        (docs / page).write_text(f'<!-- begin {suite.stem} -->\n<!-- end {suite.stem} -->\n')
    return Part(name, [sys.executable, '-m', 'benchmarks.methods', str(suite), '--data-root', data_root, '--docs',
                       str(docs), '--work-dir', str(work_dir / 'trainings'), '--processes',
                       str(min(8, os.cpu_count() or 1))], 200,
                lambda folder: read_json(folder / name / 'benchmark' / f'{suite.stem}.json'))


def rehearsal_suite(work_dir: Path) -> Path:
    """A suite of one training of two iterations."""
    options = {'train_cfg.max_iters': 2, 'train_cfg.val_interval': 2, 'max_iters': 2,
               'default_hooks.checkpoint.interval': 2}
    path = work_dir / 'headline.py'
    config = str(ROOT / 'configs/source_only/mini_gta2cs_tiny.py')
    row = dict(name='Source only', config=config, seeds=1, options=options)
    path.write_text(f'title = "rehearsal"\nrows = [{row!r}]\n')
    return path


def prepare_data(data_root: str, tiny: bool) -> None:
    """Draw the miniature benchmark with its statistics and prior, unless it is there."""
    if (Path(data_root) / 'priors' / 'gta.npz').is_file():
        return
    size = ['--train', '8', '--val', '2', '--sets', 'gta', 'cityscapes'] if tiny else []
    for command in (['make_mini.py', '--out', data_root, *size],
                    ['class_stats.py', 'gta', f'{data_root}/gta']):
        run_tool(*command)
    count_prior('configs/camix/mini_gta2cs_tiny.py', f'{data_root}/priors/gta.npz', data_root)


def count_prior(config: str, out: str, data_root: str) -> None:
    """Count the spatial prior of a config's source, unless it is there."""
    if not (ROOT / out).is_file():
        run_tool('build_spatial_prior.py', config, '--out', out, '--cfg-options', f'data_root={data_root}')


def run_tool(name: str, *arguments: str) -> None:
    """Run a program of tools/dataset."""
    subprocess.run([sys.executable, f'tools/dataset/{name}', *arguments], check=True, cwd=ROOT,
                   stdout=subprocess.DEVNULL)


def measure(part: Part, limit_s: float, work_dir: Path) -> dict:
    """Run a part; return its status, seconds, results, and the end of its output where it did not succeed."""
    log, start = work_dir / (re.sub(r'\W+', '_', part.name) + '.log'), time.monotonic()
    shutil.rmtree(work_dir / RESULTS, ignore_errors=True)  # those of an earlier part are in the record
    (work_dir / RESULTS).mkdir()
    environment = {**os.environ, 'ACCELERATOR_FOLDER': str(work_dir / RESULTS), 'PYTHONPATH': str(ROOT)}
    with log.open('w') as file:
        process = subprocess.Popen(part.command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, env=environment,
                                   start_new_session=True)
        try:
            status = 'done' if process.wait(limit_s) == 0 else 'failed'
        except subprocess.TimeoutExpired:
            status = 'timed out'
        except KeyboardInterrupt:
            end(process)
            raise
        end(process)  # and the processes that it has started
    entry: dict = dict(status=status, seconds=round(time.monotonic() - start, 1), results=part.read(work_dir))
    if status != 'done':
        entry['output'] = without_folders(log.read_text(errors='replace').splitlines()[-12:])
    return entry


def end(process: subprocess.Popen) -> None:
    """Kill a process and all that it has started, also in other process groups, as torchrun starts its workers."""
    started = descendants(process.pid)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for pid in started:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def descendants(pid: int) -> list[int]:
    """Processes that a process and its descendants have started, while their parents run."""
    lines = subprocess.run(['ps', '-e', '-o', 'pid=,ppid='], capture_output=True, text=True, check=True).stdout
    parents = [tuple(map(int, line.split())) for line in lines.splitlines()]
    pids = [pid]
    for parent in pids:  # grows while it is walked
        pids += [child for child, started_by in parents if started_by == parent]
    return pids[1:]


def without_folders(lines: Sequence[str]) -> list[str]:
    """Lines of output without the paths of this machine."""
    return [line.replace(f'{ROOT}/', '').replace(str(Path.home()), '~')[:300] for line in lines]


def junit_results(path: Path) -> dict:
    """Numbers of tests, and names and messages of those that failed, of a JUnit file."""
    from xml.etree import ElementTree
    if not path.is_file():
        return {}
    cases = list(ElementTree.parse(path).iter('testcase'))
    failed = {f'{case.get("classname")}::{case.get("name")}': (problem.get('message') or '')[:300]
              for case in cases for problem in case if problem.tag in ('failure', 'error')}
    skipped = sum(problem.tag == 'skipped' for case in cases for problem in case)
    return dict(passed=len(cases) - skipped - len(failed), skipped=skipped, failed=failed)


def describe(device: str) -> dict:
    """What was measured: device, its memory, versions."""
    facts = dict(device=platform.processor() or platform.machine(), cores=os.cpu_count(), rehearsal=device == 'cpu',
                 python=platform.python_version(),
                 **{name: version(name) for name in ('torch', 'mmengine', 'mmsegmentation', 'timm')})
    if device == 'cuda':
        card = torch.cuda.get_device_properties(0)
        facts |= dict(device=card.name, memory_gib=round(card.total_memory / 2**30, 1), cuda=torch.version.cuda)
    return facts


def continued(out: Path, facts: dict) -> dict:
    """The record at `out` with these facts, to which results are added; one of another device is refused."""
    record = read_json(out) or dict(parts={})
    for fact in ('device', 'rehearsal'):
        if record.get(fact, facts[fact]) != facts[fact]:
            raise SystemExit(f'{out} is the record of another run ({fact}: {record[fact]}, here {facts[fact]}); '
                             'name another file with --out')
    return record | facts


def ordered(parts: Sequence[Part], record: dict) -> list[Part]:
    """What is left to do: parts that were not tried, then those that ran out of time, then those that failed."""
    rank = {None: 0, 'timed out': 1, 'failed': 2}
    status = {part.name: record['parts'].get(part.name, {}).get('status') for part in parts}
    return sorted((part for part in parts if status[part.name] != 'done'), key=lambda part: rank[status[part.name]])


def parse_args() -> argparse.Namespace:
    """Arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--minutes', type=float, default=9, help='total time (default: %(default)s)')
    parser.add_argument('--out', type=Path, help='the record (default: docs/accelerators/<device>.json)')
    parser.add_argument('--device', choices=['cuda', 'cpu'], default='cuda' if torch.cuda.is_available() else None)
    parser.add_argument('--only', nargs='+', metavar='PART', help='these parts')
    parser.add_argument('--data-root', help='the miniature benchmark, drawn if it is missing (default: data/mini, in a '
                                            'rehearsal a few images in the work folder)')
    parser.add_argument('--photographs', metavar='FOLDER', help='CamVid: also train the main rows on photographs')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/accelerator'), help='logs and trainings')
    parser.add_argument('--page-only', action='store_true', help='measure nothing, render the page')
    cli.add_debug(parser)
    args = parser.parse_args()
    if args.device is None and not args.page_only:
        parser.error('there is no accelerator on this machine; --device cpu rehearses the command with tiny sizes')
    if args.device == 'cuda' and not torch.cuda.is_available():
        parser.error('--device cuda: torch does not find an accelerator')
    if not 0 < args.minutes < float('inf'):
        parser.error(f'--minutes {args.minutes} must be positive')
    if args.device == 'cpu' and args.out is None and not args.page_only:
        parser.error('a rehearsal is no record of a device: name its file with --out FILE.json')
    return args


def main() -> int:
    """Measure, record, render; 1 if a part failed."""
    args = parse_args()
    folder = ROOT / 'docs' / 'accelerators'
    if args.page_only:
        write_page(folder)
        return 0
    deadline, facts = time.monotonic() + 60 * args.minutes, describe(args.device)
    out = (args.out or folder / f'{re.sub(r"[^a-z0-9]+", "_", facts["device"].lower())}.json').absolute()
    work_dir = (args.work_dir / out.stem).absolute()
    work_dir.mkdir(parents=True, exist_ok=True)
    record = continued(out, facts)
    args.data_root = str(Path(args.data_root or (work_dir / 'mini' if facts['rehearsal'] else 'data/mini')).absolute())
    prepare_data(args.data_root, args.device == 'cpu')
    if args.photographs is not None:
        args.photographs = str(Path(args.photographs).absolute())
        count_prior('configs/camix/day2dusk_lite.py', 'data/priors/camvid_day.npz', args.photographs)
    parts = plan(args, work_dir)
    names = [part.name for part in parts]
    if unknown := sorted(set(args.only or ()) - set(names)):
        raise SystemExit(f'--only: {unknown[0]!r} is not a part; choose from {", ".join(names)}')
    chosen = [part for part in parts if not args.only or part.name in args.only]
    for part in ordered(chosen, record):
        left_s = deadline - time.monotonic()
        if left_s < 5:
            print(f'{part.name}: no time left; repeat the command to continue')
            continue
        entry = measure(part, min(part.limit_s, left_s), work_dir)
        record['parts'][part.name] = entry
        out.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(out, json.dumps(record, indent=1) + '\n')
        print(f'{part.name}: {entry["status"]} in {entry["seconds"]:.0f} s', *entry.get('output', [])[-1:], flush=True)
    if out.parent == folder:
        write_page(folder)
    return int(any(entry['status'] == 'failed' for entry in record['parts'].values()))


if __name__ == '__main__':
    cli.run(main)
