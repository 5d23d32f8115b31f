"""Install combinations of Python, torch, numpy and mmseg's editions, and run a part of the tests in each.

Needs `uv` and the Pythons; downloads several GB per combination and deletes each environment after its tests. Results
are written to docs/versions.json, the table of docs/versions.md follows from them.

examples:
  python -m benchmarks.matrix
  python -m benchmarks.matrix --only oldest newest-onedl --prefix 'nice -n 10'
  python -m benchmarks.matrix --only                              # only write the table again
"""

import argparse
import json
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmseg_camix.files import atomic_write

from .accelerator import junit_results
from .suites import read_json
from .tables import markdown, replace_section

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / 'docs/versions.json', ROOT / 'docs/versions.md'
# Reading, training, testing, export, and what differs between versions; under a minute on one core.
SMOKE = ('tests/test_compat.py', 'tests/test_package_configs.py', 'tests/ops/test_augment.py',
         'tests/models/test_dacs.py', 'tests/models/test_daformer.py', 'tests/models/test_preprocessor.py',
         'tests/checkpoint/test_reading.py', 'tests/test_tools.py', 'tests/export/test_onnx.py')
PACKAGES = ('torch', 'torchvision', 'numpy', 'mmengine', 'onedl-mmengine', 'mmsegmentation', 'onedl-mmsegmentation',
            'mmcv', 'mmcv-lite', 'onedl-mmcv', 'timm', 'onnx')
FROZEN, ONEDL = ('{wheel}[frozen,export]', 'mmcv-lite==2.1.0'), ('{wheel}[onedl,export]',)


@dataclass(frozen=True)
class Combination:
    """What to install: a version of Python, and requirements as pip takes them, with `{wheel}` for this package."""

    name: str
    python: str
    requirements: tuple[str, ...]


COMBINATIONS = (
    Combination('oldest', '3.11', (*FROZEN, 'torch==2.4.*', 'torchvision==0.19.*', 'numpy==1.26.*')),
    Combination('oldest-onedl', '3.12', (*ONEDL, 'torch==2.4.*', 'torchvision==0.19.*', 'numpy>=2')),
    Combination('middle', '3.12', (*FROZEN, 'torch==2.8.*', 'torchvision==0.23.*', 'numpy>=2')),
    Combination('newest', '3.13', (*FROZEN, 'torch', 'torchvision', 'numpy>=2')),
    Combination('newest-onedl', '3.13', (*ONEDL, 'torch', 'torchvision', 'numpy>=2')),
)


def try_out(combination: Combination, prefix: Sequence[str] = ()) -> dict:
    """Install a combination, run the tests in it, and return versions and counts, or the error of the installation."""
    with tempfile.TemporaryDirectory() as folder:
        python, report = f'{folder}/env/bin/python', f'{folder}/report.xml'
        try:
            call_uv('build', '--out-dir', folder)
            wheel = str(next(Path(folder).glob('*.whl')))
            call_uv('venv', '--python', combination.python, f'{folder}/env')
            call_uv('pip', 'install', '--python', python, 'pytest', 'hypothesis',
                    *(requirement.format(wheel=wheel) for requirement in combination.requirements))
        except subprocess.CalledProcessError as error:
            return dict(error=' '.join(error.stderr.split())[-400:])
        versions = json.loads(subprocess.run([python, '-c', VERSIONS], capture_output=True, check=True).stdout)
        subprocess.run([*prefix, python, '-m', 'pytest', '-p', 'no:cacheprovider', '-m', 'not slow',
                        f'--junitxml={report}', *SMOKE], cwd=ROOT, check=False)
        return dict(versions=versions, **junit_results(Path(report)))


def call_uv(*arguments: str) -> None:
    """Run uv in the checkout."""
    subprocess.run(['uv', '--quiet', *arguments], cwd=ROOT, capture_output=True, text=True, check=True)


VERSIONS = f'''
import json, platform
from importlib.metadata import PackageNotFoundError, version
versions = dict(python=platform.python_version())
for name in {PACKAGES}:
    try:
        versions[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(versions))'''


def table(results: dict[str, dict]) -> str:
    """The results as a Markdown table."""
    rows = [[versions['python'], *(_version(versions, name) for name in ('torch', 'numpy')),
             *(_edition(versions, names) for names in (
                 ('mmsegmentation', 'onedl-mmsegmentation'), ('mmengine', 'onedl-mmengine'),
                 ('mmcv', 'mmcv-lite', 'onedl-mmcv'))),
             str(entry['passed']), str(entry['skipped']), ', '.join(entry['failed']) or '0']
            for entry in results.values() if 'passed' in entry and (versions := entry['versions'])]
    head = ['Python', 'torch', 'numpy', 'mmseg', 'mmengine', 'mmcv', 'passed', 'skipped', 'failed']
    return markdown(head, rows, left=range(6))


def _version(versions: dict[str, str], name: str) -> str:
    return versions[name].partition('+')[0]


def _edition(versions: dict[str, str], names: Sequence[str]) -> str:
    return ', '.join(f'{name} {versions[name]}' for name in names if name in versions)


def main() -> None:
    """Try the combinations, one after the other; each result is kept at once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [combination.name for combination in COMBINATIONS]
    parser.add_argument('--only', nargs='*', choices=names, default=names, metavar='NAME',
                        help=f'of {", ".join(names)}')
    parser.add_argument('--prefix', default='', help='command before that of the tests, e.g. "nice -n 10"')
    args = parser.parse_args()
    results = read_json(RESULTS)
    for combination in COMBINATIONS:
        if combination.name in args.only:
            results[combination.name] = try_out(combination, shlex.split(args.prefix))
            print(combination.name, results[combination.name])
            ordered = {name: results[name] for name in names if name in results}
            atomic_write(RESULTS, json.dumps(ordered, indent=1) + '\n')
    replace_section(PAGE, 'versions', table(results))


if __name__ == '__main__':
    main()
